import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Browser, BrowserContext, Page, WebSocketRoute } from 'playwright-core'
import sharp from 'sharp'
import { CONTRASTS, launchBrowser, skip } from './browser.ts'
import { makeFolder, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'
import { clientOf, deployPhotoApp, PHOTO_APP, photo, thumbnailsOf, until } from './photos.ts'

/** What a page shows of a picture: the width of each version, and of the image that really came. */
interface Shown {
  readonly name: string
  readonly versions: readonly (readonly [string, number])[]
}
const SHOWN = `[...document.querySelectorAll('#gallery .card')].map((card) => ({
  name: card.querySelector('.name').textContent,
  versions: [...card.querySelectorAll('img')].map((image) => [image.dataset.width, image.complete ? image.naturalWidth : 0]),
}))`
const TOLD = `[...document.querySelectorAll('#uploads li')].map((row) => row.querySelector('.name').textContent + ': ' + row.querySelector('.told').textContent)`

describe('the page of the photo app in Chromium', { skip }, () => {
  let folder = ''
  let data = ''
  let node: RunningMayfly
  let browser: Browser
  let address = ''
  let first: Page
  let second: Page
  const contexts: BrowserContext[] = []
  /** What any page complained about, or was refused. A test that breaks something takes away what it asked for. */
  const faults: string[] = []
  let navigations = 0

  const open = async (options: Parameters<Browser['newContext']>[0] = {}, prepare: (page: Page) => Promise<void> = async () => {}): Promise<Page> => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })
    contexts.push(context)
    const page = await context.newPage()
    page.setDefaultTimeout(40_000)
    page.on('console', (message) => {
      // Another node of this machine that comes or goes changes its network: Chromium asks again.
      if (['error', 'warning'].includes(message.type()) && !message.text().includes('ERR_NETWORK_CHANGED')) faults.push(message.text())
    })
    page.on('pageerror', (error) => void faults.push(String(error)))
    // Which part of being live took its time stands in the failure.
    const from = performance.now()
    const steps: string[] = []
    const step = (what: string) => void (steps.length < 60 && steps.push(`${Math.round(performance.now() - from)} ms ${what.slice(0, 160)}`))
    page.on('websocket', (socket) => {
      step('a socket')
      socket.on('framesent', ({ payload }) => step(`said ${payload}`))
      socket.on('framereceived', ({ payload }) => step(`heard ${payload}`))
      socket.on('socketerror', (error) => step(error))
      socket.on('close', () => step('it closed'))
    })
    await prepare(page)
    await page.goto(address)
    step('the page is there')
    await page.waitForSelector('#live[data-state="live"]').catch((error: Error) => {
      throw new Error(`${error.message}\n${[...steps, ...faults].join('\n')}`)
    })
    page.on('framenavigated', () => void navigations++)
    return page
  }
  const shown = (page: Page) => page.evaluate<Shown[]>(SHOWN)
  const told = (page: Page) => page.evaluate<string[]>(TOLD)
  /** The picture's three versions are on the page, and have come. */
  const versionsOn = (page: Page, name: string) =>
    until(
      `three versions of ${name}`,
      async () => {
        const card = (await shown(page)).find((one) => one.name === name)
        return card?.versions.length === 3 && card.versions.every(([, width]) => width > 0) && card.versions
      },
      20_000,
    )
  const says = (page: Page, words: RegExp, ms = 40_000) => until(`the page says ${words}`, async () => (await told(page)).find((line) => words.test(line)), ms)
  const drop = (page: Page, selector: string, name: string, type: string, bytes: Buffer) =>
    page.evaluate(`(() => {
      const bytes = Uint8Array.from(atob(${JSON.stringify(bytes.toString('base64'))}), (one) => one.charCodeAt(0))
      const dataTransfer = new DataTransfer()
      dataTransfer.items.add(new File([bytes], ${JSON.stringify(name)}, { type: ${JSON.stringify(type)} }))
      const target = document.querySelector(${JSON.stringify(selector)})
      for (const kind of ['dragenter', 'dragover', 'drop']) {
        const event = new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer })
        target.dispatchEvent(event)
        if (kind !== 'dragenter' && !event.defaultPrevented) throw new Error(kind + ' is left to the browser')
      }
    })()`)
  const service = () => clientOf(node.ready, node.ready.project.secretKey)
  /** The faults since the last look, without those that the test has brought about itself. */
  const faultsBut = (expected: RegExp) => faults.splice(0).filter((fault) => !expected.test(fault))

  before(async () => {
    folder = makeFolder()
    data = path.join(folder, 'data')
    node = await startMayfly(data)
    deployPhotoApp(data)
    address = `http://photo-app.demo.localhost:${new URL(node.ready.url).port}/`
    browser = await launchBrowser()
    first = await open()
    second = await open()
  })
  after(async () => {
    await browser?.close()
    await node?.stop()
    removeFolder(folder)
  })

  it('is reached by the address below the project too, and says when there is nothing yet', async () => {
    const page = await (contexts[0] as BrowserContext).newPage()
    await page.goto(`${node.ready.project.url}/sites/photo-app/`)
    assert.equal(page.url(), address)
    await page.waitForSelector('#none:not([hidden])')
    await page.close()
    assert.deepEqual(faults, [])
  })

  it('by the file chooser: the progress is seen, and three versions come in both browsers without a navigation', async () => {
    const network = await (contexts[0] as BrowserContext).newCDPSession(first)
    const slow = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 400_000 }
    await network.send('Network.emulateNetworkConditions', slow)
    // Every value that the progress had, whoever looks when.
    await first.evaluate(`(() => {
      window.progress = []
      const look = () => { const bar = document.querySelector('#uploads progress'); if (bar) window.progress.push(bar.value); requestAnimationFrame(look) }
      look()
    })()`)
    const noise = await sharp({ create: { width: 700, height: 400, channels: 3, background: '#888', noise: { type: 'gaussian', mean: 128, sigma: 60 } } })
      .png()
      .toBuffer()
    await first.setInputFiles('#file', { name: 'noise.png', mimeType: 'image/png', buffer: noise })
    await first.waitForSelector('#uploads progress')
    await says(first, /^noise\.png: resized \d+\.\d\d s after the upload$/)
    const values = await first.evaluate<number[]>('window.progress')
    assert.ok(
      values.some((value) => value > 0.05 && value < 0.95),
      `half-way values: ${[...new Set(values)].join(' ')}`,
    )
    assert.equal(await first.locator('#uploads progress').count(), 0)
    await network.detach()
    for (const page of [first, second])
      assert.deepEqual(await versionsOn(page, 'noise'), [
        ['64', 64],
        ['256', 256],
        ['1024', 700],
      ])
    assert.equal(navigations, 0)
    assert.deepEqual(faults, [])
  })

  it('by drag and drop, with a name in Korean and emoji; what misses the field does not take the place of the page', async () => {
    await drop(first, '#drop', '제주도 여름 휴가 😀🏝️.jpeg', 'image/jpeg', await sharp(photo('coffee.png')).jpeg().toBuffer())
    for (const page of [first, second]) await versionsOn(page, '제주도 여름 휴가 😀🏝️')
    await says(first, /^제주도 여름 휴가 😀🏝️\.jpeg: resized/)
    const before = (await told(first)).length
    await drop(first, 'h1', 'missed.png', 'image/png', photo('cat.png'))
    assert.equal((await told(first)).length, before)
    await drop(second, '#drop', 'no ending', 'image/png', photo('cat.png'))
    for (const page of [first, second]) await versionsOn(page, 'no ending')
    assert.deepEqual(
      (await shown(first)).map((one) => one.name),
      ['no ending', '제주도 여름 휴가 😀🏝️', 'noise'],
      'the newest first',
    )
    assert.equal(navigations, 0)
    assert.deepEqual(faults, [])
  })

  it('shows a picture whose name has signs that an address gives a meaning', async () => {
    await drop(second, '#drop', '#1 of 2? 50%.png', 'image/png', photo('cat.png'))
    for (const page of [first, second]) await versionsOn(page, '#1 of 2? 50%')
    const [name = ''] = await first.evaluate<string[]>(
      `[...document.querySelectorAll('#gallery .card')].map((card) => card.dataset.stem).filter((stem) => stem.includes('50%'))`,
    )
    assert.equal(
      (
        await service()
          .storage.from('avatars')
          .remove([`${name}.png`])
      ).data?.length,
      1,
    )
    for (const page of [first, second]) await until('the card is gone', async () => !(await shown(page)).some((one) => one.name.includes('50%')), 40_000)
    assert.equal(navigations, 0)
    assert.deepEqual(faults, [])
  })

  it('says in words why a file is refused, and what to think of one that is never resized', async () => {
    await first.setInputFiles('#file', { name: 'dance.gif', mimeType: 'image/gif', buffer: Buffer.from('GIF89a') })
    await says(first, /^dance\.gif: .*image\/gif is not supported/)
    await first.setInputFiles('#file', { name: 'large.png', mimeType: 'image/png', buffer: Buffer.alloc(20_971_521) })
    await says(first, /^large\.png: .*more than 20 MB/)
    assert.equal(await first.locator('#uploads .bad').count(), 2)
    const page = await open()
    // The one long wait of the page is ended by the test.
    await page.evaluate(`(() => {
      const real = window.setTimeout
      window.setTimeout = (work, ms) => ms === 30_000 ? void (window.late = work) : real(work, ms)
    })()`)
    await drop(page, '#drop', 'words.png', 'image/png', Buffer.from('no picture at all'))
    await says(page, /^words\.png: uploaded; the sizes are being made$/)
    await page.evaluate('window.late()')
    await says(page, /^words\.png: not resized after 30 s: it may be no picture/)
    await page.close()
    assert.equal(navigations, 0)
    assert.deepEqual(faultsBut(/status of 400/), [])
  })

  it('comes back by itself after the node was away, and shows what came and what went meanwhile', async () => {
    const port = new URL(node.ready.url).port
    await node.kill()
    for (const page of [first, second]) await page.waitForSelector('#live[data-state="waiting"]')
    node = await startMayfly(data)
    assert.equal(new URL(node.ready.url).port, port)
    const { error } = await clientOf(node.ready).storage.from('avatars').upload('mb2k3j9x-meanwhile.png', photo('cat.png'), { contentType: 'image/png' })
    assert.equal(error, null)
    await thumbnailsOf(node.ready, 'mb2k3j9x-meanwhile.png')
    for (const page of [first, second]) {
      await page.waitForSelector('#live[data-state="live"]')
      await versionsOn(page, 'meanwhile')
    }
    assert.equal(navigations, 0)
    assert.deepEqual(faultsBut(/ERR_CONNECTION_REFUSED|WebSocket connection|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/), [])
  })

  it('removes the card of a picture that is deleted, in both browsers', async () => {
    const { data: removed } = await service().storage.from('avatars').remove(['mb2k3j9x-meanwhile.png'])
    assert.equal(removed?.length, 1)
    for (const page of [first, second]) await until('the card is gone', async () => !(await shown(page)).some((one) => one.name === 'meanwhile'), 40_000)
    assert.equal((await shown(second)).length, 3)
    assert.equal(navigations, 0)
    assert.deepEqual(faults, [])
  })

  it('shows a picture in folders the same way live and after a reload', async () => {
    const { error } = await clientOf(node.ready).storage.from('avatars').upload('holiday/2026/beach.png', photo('cat.png'), { contentType: 'image/png' })
    assert.equal(error, null)
    for (const page of [first, second]) await versionsOn(page, 'holiday/2026/beach')
    const page = await open()
    const versions = await versionsOn(page, 'holiday/2026/beach')
    assert.deepEqual(versions, await versionsOn(first, 'holiday/2026/beach'))
    assert.deepEqual(
      (await shown(page)).map((one) => one.name),
      (await shown(first)).map((one) => one.name),
    )
    await page.close()
    assert.equal((await service().storage.from('avatars').remove(['holiday/2026/beach.png'])).error, null)
    for (const other of [first, second]) await until('the card is gone', async () => !(await shown(other)).some((one) => one.name.includes('beach')), 40_000)
    assert.deepEqual(faults, [])
  })

  it('shows a picture in a folder without a name, and all others beside it', async () => {
    const response = await fetch(`${node.ready.project.url}/storage/v1/object/avatars/holiday//lake.png`, {
      method: 'POST',
      headers: { apikey: node.ready.project.publishableKey, 'content-type': 'image/png' },
      body: new Uint8Array(photo('cat.png')),
    })
    assert.equal(response.status, 200, await response.text())
    for (const page of [first, second]) await versionsOn(page, 'holiday//lake')
    const page = await open()
    await versionsOn(page, 'holiday//lake')
    assert.deepEqual(
      (await shown(page)).map((one) => one.name),
      (await shown(first)).map((one) => one.name),
    )
    await page.close()
    assert.equal((await service().storage.from('avatars').remove(['holiday//lake.png'])).data?.length, 1)
    for (const other of [first, second]) await until('the card is gone', async () => !(await shown(other)).some((one) => one.name.includes('lake')), 40_000)
    assert.deepEqual(faults, [])
  })

  it('with more pictures than it shows: the newest, and none that was deleted while it was away', async () => {
    const storage = service().storage.from('thumbnails')
    const names = async (page: Page) => (await shown(page)).map((one) => one.name)
    const before = await names(first)
    const stem = (n: number) => `zz${String(n).padStart(6, '0')}-many-${n}`
    const bytes = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#48a' } })
      .webp()
      .toBuffer()
    for (let from = 0; from < 80; from += 10)
      await Promise.all(
        Array.from({ length: 10 }, async (_, n) =>
          assert.equal((await storage.upload(`${stem(from + n)}/64.webp`, bytes, { contentType: 'image/webp' })).error, null),
        ),
      )
    const newest = (from: number, to: number) => Array.from({ length: from - to + 1 }, (_, n) => `many-${from - n}`)
    // A connection that the test can take away.
    let away = false
    const sockets: WebSocketRoute[] = []
    const page = await open({}, (made) =>
      made.routeWebSocket(/realtime/, (socket) => {
        if (away) return void socket.close()
        socket.connectToServer()
        sockets.push(socket)
      }),
    )
    for (const each of [first, page]) await until('the newest sixty', async () => (await names(each)).join() === newest(79, 20).join(), 40_000)
    // Away: what is deleted now is told to nobody.
    away = true
    for (const socket of sockets) await socket.close()
    await page.waitForSelector('#live[data-state="waiting"]')
    assert.equal((await storage.remove([`${stem(79)}/64.webp`, `${stem(50)}/64.webp`])).error, null)
    away = false
    const left = ['many-78', ...newest(77, 51), ...newest(49, 18)]
    await until('what is left', async () => (await names(page)).join() === left.join(), 60_000)
    await page.close()
    for (let from = 0; from < 80; from += 40) await storage.remove(Array.from({ length: 40 }, (_, n) => `${stem(from + n)}/64.webp`))
    await until('the older ones again', async () => (await names(first)).join() === before.join(), 40_000)
    assert.deepEqual(faults, [])
  })

  it('says the limit that the bucket has, and holds to it', async () => {
    const { buckets } = JSON.parse(readFileSync(path.join(PHOTO_APP, 'mayfly.json'), 'utf8')) as { buckets: { name: string; fileSizeLimit: string }[] }
    const limit = Number.parseInt(buckets.find(({ name }) => name === 'avatars')?.fileSizeLimit ?? '', 10)
    assert.match((await first.textContent('#drop')) ?? '', new RegExp(`up to ${limit} MB`))
    await first.setInputFiles('#file', { name: 'over.png', mimeType: 'image/png', buffer: Buffer.alloc(limit * 1e6 + 1) })
    await says(first, new RegExp(`^over\\.png: not uploaded: .* is more than ${limit} MB`))
    // The last byte that fits is the server's to look at.
    await first.setInputFiles('#file', { name: 'fits.gif', mimeType: 'image/gif', buffer: Buffer.alloc(limit * 1e6) })
    await says(first, /^fits\.gif: .*image\/gif is not supported/)
    faultsBut(/status of 400/)
  })

  for (const [width, height] of [
    [360, 640],
    [1280, 800],
  ] as const)
    for (const colorScheme of ['light', 'dark'] as const)
      it(`at ${width} pixels, ${colorScheme}: no scroll bar to the side, words that can be read, a focus that is seen`, async () => {
        const page = await open({ viewport: { width, height }, colorScheme })
        await drop(page, '#drop', `${'a very long name '.repeat(12)}${'x'.repeat(60)}.gif`, 'image/gif', Buffer.from('GIF89a'))
        await says(page, /not supported/)
        for (const { name } of await shown(page)) await versionsOn(page, name)
        const wide = await page.evaluate<number>('document.documentElement.scrollWidth')
        assert.ok(wide <= width, `${wide} pixels wide`)
        const contrasts = await page.evaluate<[string, number][]>(CONTRASTS)
        assert.ok(contrasts.length > 8, 'words were found')
        assert.deepEqual(
          contrasts.filter(([, ratio]) => ratio < 4.5),
          [],
        )
        const unfocused = await page.evaluate<string>(`getComputedStyle(document.querySelector('#drop')).outlineStyle`)
        await page.evaluate('document.activeElement.blur()')
        await page.keyboard.press('Tab')
        assert.equal(await page.evaluate<string>('document.activeElement.id'), 'file')
        const [style, thick] = await page.evaluate<[string, string]>(
          `[getComputedStyle(document.querySelector('#drop')).outlineStyle, getComputedStyle(document.querySelector('#drop')).outlineWidth]`,
        )
        assert.deepEqual([unfocused, style], ['none', 'solid'])
        assert.ok(Number.parseFloat(thick) >= 2)
        if (process.env.MAYFLY_TEST_SHOTS)
          await page.screenshot({ path: path.join(process.env.MAYFLY_TEST_SHOTS, `photo-app-${width}-${colorScheme}.png`), fullPage: true })
        await page.close()
        assert.deepEqual(faultsBut(/status of 400/), [])
      })
})
