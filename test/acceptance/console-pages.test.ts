import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import type { BrowserContextOptions } from 'playwright-core'
import { skip } from './browser.ts'
import { card, ConsoleBrowser, LOOK, look, settled, shot, until } from './console-fixture.ts'
import { deployFiles } from './door-fixture.ts'
import { makeFolder, mayfly, ROOT, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'
import { deadLetters, executions, until as come } from './photos.ts'

const HOSTILE = '<img src=x onerror="document.title=\'owned\'">'
const KEY = '프로필 사진 😀.jpg'
const NIL = '00000000-0000-4000-8000-000000000000'
const PHOTOGRAPH = path.join(ROOT, 'examples', 'photos', 'deep-field.jpg')
const FUNCTIONS = {
  greeter: `export const handler = async (event) => {
    console.log('asked for', event.name ?? 'nobody', ${JSON.stringify(HOSTILE)})
    if (event.fail) throw new RangeError('asked to fail ' + ${JSON.stringify(HOSTILE)})
    return { greeting: 'Hello ' + event.name }
  }`,
  broken: `export const handler = async () => { throw new TypeError('always') }`,
}

/** Loads for a while, then answers at once and goes on writing. */
const PARTS = `
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
await pause(120)
export default { fetch: async (request) => {
  const { fail } = await request.json()
  await pause(60)
  if (fail) throw new RangeError('asked to fail')
  return new Response(new ReadableStream({ async start(to) {
    to.enqueue(Buffer.from('{'))
    await pause(90)
    to.enqueue(Buffer.from('}'))
    to.close()
  } }))
} }`

describe("the console's pages in Chromium", { skip }, () => {
  let folder = ''
  let node: RunningMayfly
  let browser: ConsoleBrowser
  const link = () => mayfly(['console', '--data', node.data]).stdout.trim()
  const at = (...parts: string[]) => `${node.ready.console}/#/${parts.map(encodeURIComponent).join('/')}`
  const storage = (method: string, of: string, body: string | Uint8Array<ArrayBuffer>, type = 'application/json') =>
    fetch(`${node.ready.project.url}/storage/v1${of}`, {
      method,
      body,
      headers: { authorization: `Bearer ${node.ready.project.secretKey}`, 'content-type': type },
    })

  const openPage = (options: BrowserContextOptions = {}) => browser.open(options)
  before(async () => {
    folder = makeFolder()
    node = await startMayfly(path.join(folder, 'data'))
    for (const [name, text] of Object.entries(FUNCTIONS)) await deployFiles(node.ready, name, { 'index.mjs': text })
    const made = await storage('POST', '/bucket', JSON.stringify({ id: 'avatars', name: 'avatars', public: true }))
    assert.equal(made.status, 200, await made.text())
    const put = await storage('POST', `/object/avatars/team/${encodeURIComponent(KEY)}`, new Uint8Array(readFileSync(PHOTOGRAPH)), 'image/jpeg')
    assert.equal(put.status, 200, await put.text())
    for (const event of ['{"name":"first"}', '{"name":"second"}', '{"fail":true}']) mayfly(['invoke', 'greeter', '--data', node.data, '--data', event])
    browser = await ConsoleBrowser.launch(node)
    await browser.signIn()
  })
  afterEach(() => browser?.closePages())
  after(async () => {
    await browser?.[Symbol.asyncDispose]()
    await node?.stop()
    removeFolder(folder)
  })

  it('who is not signed in is told how; a link signs in once and leaves no code behind', async () => {
    const { page } = await openPage({ storageState: { cookies: [], origins: [] }, viewport: { width: 360, height: 640 } })
    await page.goto(at('demo', 'functions'))
    await page.getByText('npx mayfly console', { exact: true }).waitFor()
    assert.deepEqual(await look(page), [])
    await shot(page, 'signed-out')
    const once = link()
    await page.goto(once)
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
    assert.doesNotMatch(page.url(), /code/)
    await page.goBack()
    assert.doesNotMatch(page.url(), /code/)
    // Another browser with the same link is told that it was used.
    const { page: late } = await openPage({ storageState: { cookies: [], origins: [] } })
    await late.goto(once)
    await late.getByRole('alert').getByText('login_code_invalid').waitFor()
    assert.doesNotMatch(late.url(), /code/)
    assert.equal(await late.getByText('npx mayfly console', { exact: true }).count(), 1)
  })

  for (const [width, height] of [
    [360, 640],
    [1280, 800],
  ] as const) {
    for (const colorScheme of ['light', 'dark'] as const) {
      it(`every page at ${width} pixels, ${colorScheme}: no fault, no scroll bar, readable, each button with a name`, async () => {
        const { page, faults } = await openPage({ viewport: { width, height }, colorScheme })
        const pages: [string, string[], string][] = [
          ['overview', ['demo'], 'Overview'],
          ['functions', ['demo', 'functions'], 'Functions'],
          ['function', ['demo', 'functions', 'greeter'], 'greeter'],
          ['buckets', ['demo', 'buckets'], 'Buckets'],
          ['bucket', ['demo', 'buckets', 'avatars', 'team'], 'team'],
          ['events', ['demo', 'events'], 'Events'],
          ['usage', ['demo', 'usage'], 'Usage'],
        ]
        for (const [name, parts, title] of pages) {
          await page.goto(at(...parts))
          await page.getByRole('heading', { level: 1, name: title }).waitFor()
          await settled(page)
          if (name === 'bucket') await page.locator('.thumb img').waitFor()
          if (name === 'function') await page.locator('.log .line').first().waitFor()
          assert.deepEqual(await look(page), [], name)
          await shot(page, `${name}-${width}-${colorScheme}`)
        }
        assert.deepEqual(faults, [])
        // The look sees what is wrong.
        await page.evaluate(`(() => {
          const pale = document.createElement('p')
          pale.textContent = 'hardly to be read'
          pale.style.color = 'color-mix(in srgb, ' + getComputedStyle(document.body).backgroundColor + ', gray 20%)'
          const nameless = document.createElement('button')
          const wide = document.createElement('div')
          wide.style.width = '3000px'
          wide.style.height = '1px'
          nameless.style.width = '40px'
          document.body.append(pale, nameless, wide)
        })()`)
        const seen = (await page.evaluate<string[]>(LOOK)).map((fault) => fault.split(/[ :]/)[0])
        assert.deepEqual(seen, ['contrast', 'no', 'wider'])
      })
    }
  }

  it('a function is invoked: result, why cold, its log live, and the invocation drawn', async () => {
    const { page, faults } = await openPage()
    await page.goto(at('demo', 'functions', 'greeter'))
    const bars = page.locator('.plot g.bar')
    await bars.first().waitFor()
    const drawn = await bars.count()
    await page.getByText('live', { exact: true }).waitFor()
    await page.getByLabel('Event (JSON)').fill('{"name":"Ada"}')
    await page.getByRole('button', { name: 'Invoke' }).click()
    const invoke = card(page, 'Invoke')
    await invoke.getByText('"greeting": "Hello Ada"').waitFor()
    await invoke.getByText(/REPORT RequestId/).waitFor()
    assert.match((await invoke.locator('.result p').first().textContent()) ?? '', /^ok [\d.]+ ms.*(warm|cold: )/)
    const log = page.getByRole('log')
    await log.getByText('asked for Ada').waitFor()
    // What a function wrote is text, whatever it is.
    await log.getByText(HOSTILE).first().waitFor()
    await until(page, `document.querySelectorAll('.plot g.bar').length > ${drawn}`)
    const table = page.getByRole('table', { name: 'Recent invocations' })
    assert.match((await table.getByRole('row').nth(1).textContent()) ?? '', /ok/)
    assert.ok((await table.getByText(/^cold: /).count()) >= 1, 'the first one was cold, and says why')
    assert.ok((await page.locator('.plot text.mark').count()) >= 1, 'and is marked')
    // An error has its own colour and its word.
    await page.getByLabel('Event (JSON)').fill('{"fail":true}')
    await page.getByRole('button', { name: 'Invoke' }).click()
    await invoke.getByText('failed', { exact: true }).waitFor()
    await invoke.getByText('RangeError').first().waitFor()
    await table.getByRole('row').nth(1).getByText('error', { exact: true }).waitFor()
    assert.ok((await page.locator('.plot rect.bar-bad').count()) >= 1)
    // By keys, too: the line below the bars says the chosen one.
    await page.locator('.plot').focus()
    await page.keyboard.press('End')
    assert.match((await page.locator('.told').textContent()) ?? '', /error · .* · run [\d.]+ m?s/)
    assert.equal(await page.title(), 'greeter · Mayfly console')
    assert.deepEqual(faults, [])
  })

  it('where the time of each invocation went is drawn in its parts, and its sandboxes stand below', async () => {
    await deployFiles(node.ready, 'parts', { 'index.mjs': PARTS })
    mayfly(['invoke', 'parts', '--async', '--data', node.data, '--data', '{}'])
    await come('the queued one', async () => (await executions(node.data, 'parts')).some(({ outcome }) => outcome === 'ok'))
    for (const fail of [false, false, true]) mayfly(['invoke', 'parts', '--data', node.data, '--data', JSON.stringify({ fail })])
    for (const width of [1280, 360]) {
      for (const colorScheme of ['light', 'dark'] as const) {
        const { page, faults } = await openPage({ viewport: { width, height: 800 }, colorScheme })
        await page.goto(at('demo', 'functions', 'parts'))
        await until(page, "document.querySelectorAll('.plot g.bar').length === 4")
        // A kind of its own for each part, in the bars and in the words below them.
        for (const kind of ['init', 'run', 'bad', 'response']) assert.ok((await page.locator(`.plot rect.bar-${kind}`).count()) >= 1, kind)
        const legend = (await page.locator('figure.chart figcaption').textContent()) ?? ''
        assert.match(legend, /loading \(cold\).*run.*answer on its way/)
        await page.locator('.plot').focus()
        await page.keyboard.press('Home')
        const told = (await page.locator('.told').textContent()) ?? ''
        assert.match(told, /ok · cold: [a-z-]+ · queue [\d.]+ m?s · sandbox [\d.]+ m?s · loading [\d.]+ m?s · run [\d.]+ m?s · response [\d.]+ m?s$/)
        const sandboxes = card(page, 'Sandboxes').getByRole('table', { name: 'Sandboxes' })
        assert.match((await sandboxes.getByRole('row').nth(1).textContent()) ?? '', /^s-\d+\$LATEST(ready|frozen|freezing|busy).*\d+ \/ \d+ MB$/)
        assert.deepEqual(await look(page), [])
        await shot(page, `parts-${width}-${colorScheme}`)
        const table = page.getByRole('table', { name: 'Recent invocations' })
        assert.equal(await table.getByRole('img', { name: /^(queue .* · )?sandbox .* · run .* · response / }).count(), 4)
        await table.getByRole('row').nth(4).getByRole('button').click()
        const dialog = page.getByRole('dialog')
        await dialog.getByText('Answer on its way').waitFor()
        assert.ok((await dialog.locator('.parts rect.bar-response').count()) === 1)
        assert.deepEqual(await look(page), [])
        await shot(page, `parts-one-${width}-${colorScheme}`)
        assert.deepEqual(faults, [])
      }
    }
    const { page } = await openPage()
    await page.goto(at('demo'))
    await page.getByRole('table', { name: 'Sandboxes' }).getByRole('link', { name: 'parts' }).first().waitFor()
    assert.match((await card(page, 'Node').textContent()) ?? '', /Waiting for a functionnodejs24\.x: \d+ \/ \d+.*Memory[\d,]+ \/ [\d,]+ MB/)
  })

  it('what is not JSON is not sent; what waits is sent to the queue', async () => {
    const { page, faults } = await openPage()
    await page.goto(at('demo', 'functions', 'greeter'))
    const event = page.getByLabel('Event (JSON)')
    await event.fill('{"name":')
    await page.getByText(/^Not JSON: /).waitFor()
    assert.equal(await page.getByRole('button', { name: 'Invoke' }).isDisabled(), true)
    await event.fill('{"name":"queued one"}')
    await page.getByRole('button', { name: 'Queue it' }).click()
    await page.getByText('queued', { exact: true }).waitFor()
    await page.getByRole('log').getByText('asked for queued one').waitFor()
    assert.deepEqual(faults, [])
  })

  it('live logs are paused, go on without a gap, and are searched', async () => {
    const { page, faults } = await openPage()
    await page.goto(at('demo', 'functions', 'greeter'))
    const log = page.getByRole('log')
    await log.locator('.line').first().waitFor()
    await page.getByRole('button', { name: 'Pause' }).click()
    mayfly(['invoke', 'greeter', '--data', node.data, '--data', '{"name":"while-paused"}'])
    await page.getByRole('table', { name: 'Recent invocations' }).getByRole('row').nth(1).waitFor()
    await page.waitForTimeout(1000)
    assert.equal(await log.getByText('asked for while-paused').count(), 0)
    await page.getByRole('button', { name: 'Resume' }).click()
    await log.getByText('asked for while-paused').waitFor()
    await page.getByRole('searchbox', { name: 'Only lines with' }).fill('WHILE-paused')
    await until(page, "document.querySelectorAll('.log .line').length === 1")
    assert.deepEqual(faults, [])
  })

  it('a file is uploaded, seen, downloaded as it was, replaced only when asked, and deleted when confirmed', async () => {
    const { page, faults } = await openPage()
    await page.goto(at('demo', 'buckets', 'avatars'))
    const bytes = readFileSync(PHOTOGRAPH)
    const file = { name: HOSTILE.replaceAll('/', '') + KEY, mimeType: 'image/jpeg', buffer: bytes }
    await page.getByLabel('Files to upload').setInputFiles(file)
    const row = page.getByRole('row').filter({ hasText: KEY })
    await row.locator('.thumb img').waitFor()
    await until(page, "document.querySelector('.thumb img').naturalWidth > 100")
    const download = page.waitForEvent('download')
    await row.getByRole('button', { name: /^Download/ }).click()
    assert.deepEqual(readFileSync(await (await download).path()), bytes)
    // The picture, large.
    await row.getByRole('button', { name: file.name, exact: true }).click()
    await page.getByRole('dialog').locator('img').waitFor()
    await until(page, "document.querySelector('dialog img').naturalWidth > 100")
    await shot(page, 'picture')
    await page.keyboard.press('Escape')
    assert.equal(await page.getByRole('dialog').count(), 0)
    // The same name again is refused until it is meant.
    assert.deepEqual(faults, [])
    await page.getByLabel('Files to upload').setInputFiles({ ...file, buffer: Buffer.from(bytes.subarray(0, 1000)) })
    await page.getByRole('button', { name: 'Replace it' }).click()
    await row.getByText('1,000 B').waitFor()
    await row.getByRole('button', { name: /^Delete/ }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
    assert.equal(await row.count(), 1)
    await row.getByRole('button', { name: /^Delete/ }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await row.waitFor({ state: 'detached' })
    // What only calls itself a picture is shown as a file, and said to be none.
    await page.getByLabel('Files to upload').setInputFiles({ name: 'none.jpg', mimeType: 'image/jpeg', buffer: Buffer.from('no picture') })
    await page.getByRole('button', { name: 'none.jpg', exact: true }).click()
    await page.getByRole('dialog').getByText('No browser can draw this').waitFor()
    assert.equal(await page.getByRole('dialog').locator('img').count(), 0)
    await page.keyboard.press('Escape')
    await until(
      page,
      "document.querySelectorAll('.thumb img').length === 0 && [...document.querySelectorAll('.thumb')].some((one) => one.textContent === 'jpg')",
    )
    assert.notEqual(await page.title(), 'owned')
  })

  it('a dragged file is uploaded into the folder that is shown, and its public address works', async () => {
    const { page, faults } = await openPage({ permissions: ['clipboard-read', 'clipboard-write'] })
    await page.goto(at('demo', 'buckets', 'avatars', 'team'))
    await page.getByRole('link', { name: 'avatars' }).waitFor()
    const data = await page.evaluateHandle(
      "(() => { const data = new DataTransfer(); data.items.add(new File(['dragged'], 'drag ged.txt', { type: 'text/plain' })); return data })()",
    )
    await page.dispatchEvent('section.drop', 'dragover', { dataTransfer: data })
    await page.dispatchEvent('section.drop', 'drop', { dataTransfer: data })
    const row = page.getByRole('row').filter({ hasText: 'drag ged.txt' })
    await row.getByText('7 B').waitFor()
    await row.getByRole('button', { name: /^Copy the public URL/ }).click()
    const url = await page.evaluate<string>('navigator.clipboard.readText()')
    assert.equal(await (await fetch(url)).text(), 'dragged')
    assert.equal(url, `${node.ready.project.url}/storage/v1/object/public/avatars/team/drag%20ged.txt`)
    assert.deepEqual(faults, [])
  })

  it('a dead letter is shown with its event, replayed and deleted', async () => {
    await deployFiles(node.ready, 'broken', { 'index.mjs': FUNCTIONS.broken }, { async: { maxAttempts: 1 } })
    mayfly(['invoke', 'broken', '--async', '--data', node.data, '--data', '{"order":42}'])
    const { page, faults } = await openPage()
    await page.goto(at('demo', 'events'))
    const row = page.getByRole('table', { name: 'Dead letters' }).getByRole('row').nth(1)
    await row.getByText('always').waitFor()
    assert.match((await row.textContent()) ?? '', /all attempts failed[\s\S]*TypeError/)
    await row.getByRole('button', { name: /^Show/ }).click()
    await page.getByRole('dialog').getByText('"order": 42').waitFor()
    await shot(page, 'dead-letter')
    await page.keyboard.press('Escape')
    const [first] = await deadLetters(node.data)
    await row.getByRole('button', { name: /^Replay/ }).click()
    // It fails again, as it always does, under an id of its own.
    await come('another dead letter', async () => {
      const [letter, ...more] = await deadLetters(node.data)
      return more.length === 0 && letter !== undefined && letter.id !== first?.id
    })
    await page.reload()
    await row.getByText('always').waitFor()
    await row.getByRole('button', { name: /^Delete/ }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await page.getByText('None: no event was given up.').waitFor()
    assert.deepEqual(faults, [])
  })

  it('calls are seen by function and state, one of them from its queue to who was told; what was given up is filtered, changed, replayed, exported and deleted', async () => {
    const told = 'export const handler = async () => null'
    await deployFiles(node.ready, 'told', { 'index.mjs': told })
    await deployFiles(
      node.ready,
      'picky',
      { 'index.mjs': "export const handler = async ({ n }) => { if (n !== 'good') throw new RangeError('bad ' + n); return { got: n } }" },
      { async: { maxAttempts: 2, retryAfter: 0, keepResult: 600, onSuccess: { function: 'told' } } },
    )
    const { page, faults } = await openPage()
    await page.goto(at('demo', 'events'))
    await page.getByRole('combobox', { name: 'Function' }).selectOption('picky')
    const queue = page.getByRole('table', { name: 'Queue' })
    const letters = page.getByRole('table', { name: 'Dead letters' })
    const state = page.getByRole('combobox', { name: 'State' })
    const rows = (of: typeof queue) => of.getByRole('row')
    await page.getByRole('button', { name: 'Pause its queue' }).click()
    await page.getByRole('button', { name: 'Resume its queue' }).waitFor()
    const sent = [1, 2, 3].map((n) => {
      const { stdout } = mayfly(['invoke', 'picky', '--async', '--json', '--data', node.data, '--data', JSON.stringify({ n })])
      return (JSON.parse(stdout) as { invocation: string }).invocation
    })
    await state.selectOption('paused')
    await rows(queue).nth(3).waitFor()
    assert.match((await rows(queue).nth(1).textContent()) ?? '', /^pickypaused0/)
    await page.getByRole('log', { name: 'As it happens' }).getByText('queued').nth(2).waitFor()
    await state.selectOption('running')
    await page.getByText('There is none.', { exact: true }).waitFor()
    await page.getByRole('button', { name: 'Resume its queue' }).click()
    await rows(letters).nth(3).waitFor()
    await page
      .getByRole('log', { name: 'As it happens' })
      .getByText(/RangeError: bad/)
      .first()
      .waitFor()
    await state.selectOption('dead')
    await queue.getByText('RangeError').nth(2).waitFor()
    await shot(page, 'calls-dead')
    // One of them, from the beginning to its end.
    await queue.getByRole('link', { name: sent[0] ?? '' }).click()
    const attempts = page.getByRole('table', { name: 'Attempts' })
    await attempts.waitFor()
    assert.deepEqual(
      await Promise.all(
        [1, 2].map(async (n) => ((await attempts.getByRole('row').nth(n).textContent()) ?? '').replace(/^#(\d).*?error.*?(RangeError bad 1).*$/s, '$1 $2')),
      ),
      ['1 RangeError bad 1', '2 RangeError bad 1'],
    )
    await card(page, 'Dead letter').getByText('"n": 1').waitFor()
    // What is no JSON does not go; what is goes as a call of its own, whose page is shown.
    await page.getByRole('button', { name: 'Edit and replay' }).click()
    const event = page.getByRole('dialog').getByLabel('Event (JSON)')
    assert.equal(await event.inputValue(), '{\n  "n": 1\n}')
    const send = page.getByRole('dialog').getByRole('button', { name: 'Replay with this event' })
    for (const wrong of ['{"n":', '']) {
      await event.fill(wrong)
      await page.getByText(/^Not JSON: /).waitFor()
      assert.equal(await send.isDisabled(), true)
    }
    await event.fill('{"n":"good"}')
    await send.click()
    await page.locator('.page-head').getByText('succeeded').waitFor()
    await card(page, 'Result').getByText('"got": "good"').waitFor()
    await card(page, 'Its life').getByText('Queued').waitFor()
    assert.doesNotMatch(page.url(), new RegExp(sent[0] ?? ''))
    const replayed = page.url()
    await card(page, 'Told').getByRole('link').click()
    await page.getByRole('link', { name: 'told', exact: true }).waitFor()
    await page.locator('.page-head').getByText('succeeded').waitFor()
    for (const [width, colorScheme] of [
      [1280, 'light'],
      [1280, 'dark'],
      [360, 'light'],
      [360, 'dark'],
    ] as const) {
      const { page: other } = await openPage({
        viewport: { width, height: 800 },
        colorScheme,
        locale: width === 360 && colorScheme === 'dark' ? 'ko-KR' : 'en-US',
      })
      for (const [name, where, seen] of [
        ['life', replayed, '"got": "good"'],
        ['life-dead', at('demo', 'events', sent[1] ?? ''), '"n": 2'],
        ['events-of', at('demo', 'events', 'of', 'picky'), 'RangeError'],
      ] as const) {
        await other.goto(where)
        await other.getByText(seen).first().waitFor()
        assert.deepEqual(await look(other), [], name)
        await shot(other, `${name}-${width}-${colorScheme}`)
      }
    }
    // By the function's own address, with a filter of reason and time.
    await page.goto(at('demo', 'functions', 'picky'))
    await page.getByRole('link', { name: 'Its queue and dead letters' }).click()
    await rows(letters).nth(2).waitFor()
    assert.equal(await rows(letters).count(), 3, 'the head, and the two that are left')
    await state.selectOption('succeeded')
    await rows(queue).nth(1).getByText('succeeded').waitFor()
    await page.getByRole('combobox', { name: 'Function' }).selectOption('')
    await queue.getByRole('link', { name: 'told', exact: true }).first().waitFor()
    await page.getByRole('combobox', { name: 'Function' }).selectOption('picky')
    await page.getByRole('combobox', { name: 'Reason' }).selectOption('age')
    await page.getByText('There is none of these.').waitFor()
    await page.getByRole('combobox', { name: 'Reason' }).selectOption('attempts')
    await page.getByLabel('Given up until').fill('2020-01-31T12:00')
    await page.getByText('There is none of these.').waitFor()
    await page.getByLabel('Given up until').fill('')
    await page.getByLabel('Given up from').fill('2020-01-31T12:00')
    await rows(letters).nth(2).waitFor()
    const download = page.waitForEvent('download')
    await page.getByRole('link', { name: 'Export' }).click()
    const file = await download
    assert.equal(file.suggestedFilename(), 'dead-letters-demo.ndjson')
    const lines = readFileSync(await file.path(), 'utf8')
      .trimEnd()
      .split('\n')
    assert.deepEqual(lines.map((line) => (JSON.parse(line) as { payload: string }).payload).toSorted(), ['{"n":2}', '{"n":3}'])
    // All that are meant, and not those that come meanwhile: they fail again.
    await page.getByRole('button', { name: 'Replay all of these' }).click()
    await page.getByRole('dialog').getByText('Replay 2 dead letters?').waitFor()
    await shot(page, 'replay-all')
    await page.getByRole('dialog').getByRole('button', { name: 'Replay all of these' }).click()
    await page.getByText('2 are queued again.').waitFor()
    await come('both again', async () => {
      const ids = (await deadLetters(node.data)).filter((one) => one.function === 'picky').map(({ id }) => id)
      return ids.length === 2 && !ids.some((id) => sent.includes(id))
    })
    await page.reload()
    await rows(letters).nth(2).waitFor()
    await page.getByRole('button', { name: 'Delete all of these' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Delete all of these' }).click()
    await page.getByText('2 are deleted.').waitFor()
    await page.getByText('There is none of these.').waitFor()
    // What nobody knows of, by the field of the page.
    await page.getByRole('searchbox', { name: 'Id of an invocation' }).fill(NIL)
    assert.deepEqual(faults, [])
    await page.getByRole('button', { name: 'Show its life' }).click()
    await page.getByRole('alert').getByText('invocation_not_found').waitFor()
  })

  it('keys are shown when asked for, and not before', async () => {
    const { page, faults } = await openPage()
    await page.goto(at('demo'))
    await settled(page)
    const { secretKey } = node.ready.project
    assert.equal(await page.getByText(secretKey).count(), 0)
    await page.getByRole('button', { name: 'Show keys' }).click()
    await page.getByText(secretKey).waitFor()
    await page.getByRole('button', { name: 'Hide keys' }).click()
    assert.equal(await page.getByText(secretKey).count(), 0)
    assert.deepEqual(faults, [])
  })

  it('usage says the cost by day and function, and by which prices', async () => {
    const { page, faults } = await openPage()
    await page.goto(at('demo', 'usage'))
    await page.getByRole('table', { name: 'By function and day' }).getByRole('link', { name: 'greeter' }).first().waitFor()
    await page.getByRole('button', { name: 'Executions' }).click()
    await page.locator('.plot').focus()
    await page.keyboard.press('End')
    assert.match((await page.locator('.told').textContent()) ?? '', /^\d{4}-\d\d-\d\d · \d+ · errors: \d+/)
    assert.match((await card(page, 'Price list in force').textContent()) ?? '', /A million executions[\d.]+ [A-Z]{3}/)
    assert.deepEqual(faults, [])
  })

  it('published versions stand with the aliases that name them, and their shares', async () => {
    const { page, faults } = await openPage()
    await page.goto(at('demo', 'functions', 'greeter'))
    await card(page, 'Versions').getByText('No version is published').waitFor()
    for (const args of [
      ['promote', 'greeter'],
      ['alias', 'greeter', 'edge', '$LATEST'],
    ])
      assert.equal(mayfly([...args, '--data', node.data]).code, 0)
    await page.reload()
    const table = page.getByRole('table', { name: 'Versions' })
    assert.match((await table.getByRole('row').nth(1).textContent()) ?? '', /^1live/)
    assert.deepEqual(faults, [])
  })

  it('what the node refuses is shown with code, message and hint', async () => {
    const { page } = await openPage()
    await page.goto(at('demo', 'functions', 'nothing-here'))
    const alert = card(page, 'Definition').getByRole('alert')
    assert.match((await alert.textContent()) ?? '', /function_not_found[\s\S]*nothing-here[\s\S]*mayfly ls/)
    await page.goto(at('nowhere', 'functions'))
    await page.getByText('There is no project “nowhere”.').waitFor()
  })

  it('works by keyboard: to the content, through the pages, with the focus in sight', async () => {
    const { page, faults } = await openPage()
    await page.goto(at('demo'))
    await settled(page)
    // The browser decides where the first Tab of a page begins; of the page it is the first that takes the focus.
    const first = page.locator('button, a[href], select, input, textarea, [tabindex]').first()
    assert.equal(await first.textContent(), 'To the content')
    await first.focus()
    await page.keyboard.press('Enter')
    assert.equal(await page.evaluate('document.activeElement.id'), 'main')
    const link = page.getByRole('navigation').getByRole('link', { name: 'Usage' })
    await link.focus()
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { level: 1, name: 'Usage' }).waitFor()
    assert.equal(await link.getAttribute('aria-current'), 'page')
    await until(page, "document.activeElement.id === 'main'")
    await page.keyboard.press('Tab')
    const outline = await page.evaluate<string>('getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth')
    assert.equal(outline, 'solid2px')
    assert.deepEqual(faults, [])
  })

  it('speaks Korean to who does, and the language that is chosen', async () => {
    const { page, faults } = await openPage({ locale: 'ko-KR' })
    await page.goto(at('demo', 'events'))
    await page.getByRole('heading', { level: 1, name: '이벤트' }).waitFor()
    await settled(page)
    assert.equal(await page.evaluate('document.documentElement.lang'), 'ko')
    assert.deepEqual(await look(page), [])
    await shot(page, 'korean')
    await page.getByRole('button', { name: 'English' }).click()
    await page.getByRole('heading', { level: 1, name: 'Events' }).waitFor()
    await page.reload()
    await page.getByRole('heading', { level: 1, name: 'Events' }).waitFor()
    assert.deepEqual(faults, [])
  })

  it('a session that ends leaves nothing on the page', async () => {
    const { page } = await openPage({ storageState: { cookies: [], origins: [] } })
    await page.goto(link())
    await page.getByRole('link', { name: 'Functions' }).click()
    await page.getByRole('link', { name: 'greeter' }).first().waitFor()
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByText('npx mayfly console', { exact: true }).waitFor()
    assert.equal(await page.getByText('greeter').count(), 0)
    await page.reload()
    await page.getByText('npx mayfly console', { exact: true }).waitFor()
    // Ended from elsewhere while the page is open.
    await page.goto(link())
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
    assert.equal(mayfly(['console', '--sign-out', '--data', node.data]).code, 0)
    await page.getByText('npx mayfly console', { exact: true }).waitFor()
  })
})
