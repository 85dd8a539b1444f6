import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { CONTRASTS, launchBrowser, skip } from './browser.ts'
import { type AnyClient, guestOf, serviceOf } from './data-fixture.ts'
import { makeFolder, mayfly, ROOT, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

const FOLDER = path.join(ROOT, 'examples', 'todo')

describe('the shared lists of examples/todo, in Chromium', { skip }, () => {
  const folder = makeFolder()
  /** Below the checkout, so that its packages are found without installing them. */
  let below = ''
  let node: RunningMayfly
  let browser: Browser
  let address = ''
  let anna: Page
  let bora: Page
  /** What any page complained about, or was refused. A test that breaks something takes away what it asked for. */
  const faults: string[] = []
  let invitation = ''

  const open = async (options: Parameters<Browser['newContext']>[0] = {}, at = address): Promise<Page> => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-US', ...options })
    const page = await context.newPage()
    page.setDefaultTimeout(40_000)
    page.on('console', (message) => {
      // Another node of this machine that comes or goes changes its network: Chromium asks again.
      if (['error', 'warning'].includes(message.type()) && !message.text().includes('ERR_NETWORK_CHANGED')) faults.push(message.text())
    })
    page.on('pageerror', (error) => void faults.push(String(error)))
    page.on('dialog', (dialog) => void dialog.accept())
    await page.goto(at)
    await page.waitForSelector('#door:not([hidden])')
    await page.evaluate('window.isAsOpened = true')
    return page
  }
  const sign = async (page: Page, how: 'in' | 'up', name: string, password = `secret of ${name}`) => {
    await page.fill('#email', `${name}@example.com`)
    await page.fill('#password', password)
    await page.click(`#sign button[value=${how}]`)
  }
  const signUp = async (page: Page, name: string) => {
    await sign(page, 'up', name)
    await page.waitForSelector('#live[data-state="live"]')
  }
  const addTodo = async (page: Page, text: string) => {
    await page.fill('#new-todo', text)
    await page.press('#new-todo', 'Enter')
    await page.getByRole('checkbox', { name: text }).waitFor()
  }
  const says = (page: Page, words: string) => page.getByRole('alert').filter({ hasText: words }).waitFor()
  const shoot = async (page: Page, name: string) => {
    if (process.env.MAYFLY_TEST_SHOTS) await page.screenshot({ path: path.join(process.env.MAYFLY_TEST_SHOTS, `${name}.png`), fullPage: true })
  }
  const faultsBut = (expected: RegExp) => faults.splice(0).filter((fault) => !expected.test(fault))

  before(async () => {
    const cache = path.join(ROOT, 'node_modules', '.cache')
    mkdirSync(cache, { recursive: true })
    below = mkdtempSync(path.join(cache, 'todo-'))
    node = await startMayfly(path.join(folder, 'data'), ['--empty'])
    browser = await launchBrowser()
    const deployed = mayfly(['deploy', FOLDER, '--data', node.data])
    assert.equal(deployed.code, 0, `${deployed.stdout}${deployed.stderr}`)
    address = `http://todo.demo.localhost:${new URL(node.ready.url).port}/`
  })
  after(async () => {
    await browser?.close()
    await node?.stop()
    removeFolder(folder)
    removeFolder(below)
  })

  it('is deployed as it is, its types are those of its tables, and lint finds nothing in them', () => {
    const again = mayfly(['deploy', FOLDER, '--data', node.data])
    assert.match(again.stdout, /nothing changes/i)
    const lint = mayfly(['db', 'lint', '--data', node.data])
    assert.deepEqual([lint.code, lint.stdout.trim()], [0, 'Nothing was found.'], lint.stderr)
    assert.equal(mayfly(['types', '--data', node.data]).stdout, readFileSync(path.join(FOLDER, 'site', 'database.ts'), 'utf8'))
  })

  it('signs up, and makes a list with something to do', async () => {
    anna = await open()
    await signUp(anna, 'anna')
    assert.equal(await anna.textContent('#name'), 'anna@example.com')
    await anna.getByLabel('New list').fill('Trip to Jeju')
    await anna.getByRole('button', { name: 'Make' }).click()
    await anna.getByRole('heading', { name: 'Trip to Jeju' }).waitFor()
    await addTodo(anna, 'book the ferry')
    assert.deepEqual(faults, [])
  })

  it('is shared by an invitation: the other, in Korean, sees the list and ticks, and the first sees it ticked without reloading', async () => {
    await anna.getByRole('button', { name: 'Invite somebody' }).click()
    await anna.waitForSelector('#invitation:not([hidden])')
    invitation = await anna.getByLabel('Invitation link').inputValue()
    assert.ok(invitation.startsWith(`${address}#invitation=`), invitation)
    bora = await open({ locale: 'ko-KR' }, invitation)
    assert.deepEqual([await bora.textContent('h1'), await bora.getAttribute('html', 'lang'), await bora.title()], ['할 일', 'ko', '할 일'])
    await bora.getByText('목록에 초대받았습니다. 로그인하거나').waitFor()
    await signUp(bora, 'bora')
    await bora.getByRole('button', { name: '참여', exact: true }).click()
    await bora.getByRole('heading', { name: 'Trip to Jeju' }).waitFor()
    await bora.getByRole('checkbox', { name: 'book the ferry' }).waitFor()
    await bora.getByText('anna@example.com 님이 공유').waitFor()
    await anna.getByText('bora@example.com', { exact: true }).waitFor()

    await addTodo(anna, 'pack a coat')
    await bora.getByRole('checkbox', { name: 'pack a coat' }).check()
    await anna.getByRole('checkbox', { name: 'pack a coat', checked: true }).waitFor()
    assert.equal(await anna.getByRole('checkbox', { name: 'book the ferry' }).isChecked(), false)
    await addTodo(bora, '귤 사기')
    await anna.getByRole('checkbox', { name: '귤 사기' }).waitFor()
    await bora.getByRole('button', { name: '귤 사기 지우기' }).click()
    await anna.getByRole('checkbox', { name: '귤 사기' }).waitFor({ state: 'detached' })
    for (const page of [anna, bora]) assert.equal(await page.evaluate('window.isAsOpened'), true, 'the page was loaded again')
    assert.deepEqual(faults, [])
  })

  it('shows a third nothing, and lets nobody do what is another’s', async () => {
    const code = invitation.replace(/^.*=/, '')
    const [carl, member] = [guestOf(node.ready), guestOf(node.ready)]
    assert.equal((await carl.auth.signUp({ email: 'carl@example.com', password: 'secret of carl' })).error, null)
    assert.equal((await member.auth.signInWithPassword({ email: 'bora@example.com', password: 'secret of bora' })).error, null)
    const [list] = (await member.from('lists').select('id, owner')).data as [{ id: string; owner: string }]
    const heard: string[] = []
    await new Promise<void>((resolve, reject) => {
      const channel = carl.channel('all')
      for (const table of ['lists', 'members', 'todos'])
        channel.on('postgres_changes', { event: '*', schema: 'public', table }, (change) => {
          if (change.eventType !== 'DELETE') heard.push(JSON.stringify(change.new))
        })
      channel
        .on('system', {}, ({ message }: { message: string }) => (message === 'Subscribed to PostgreSQL' ? resolve() : reject(new Error(message))))
        .subscribe()
    })
    await addTodo(anna, 'a secret of anna')
    await bora.getByRole('checkbox', { name: 'a secret of anna' }).waitFor()

    for (const table of ['lists', 'members', 'todos', 'invitations']) {
      assert.deepEqual((await carl.from(table).select()).data, [], table)
      assert.equal((await guestOf(node.ready).from(table).select()).error?.code, '42501', table)
    }
    const me = (await carl.auth.getUser()).data.user?.id
    const other = (await serviceOf(node.ready).from('invitations').insert({ list_id: list.id }).select('code').single()).data?.code
    await serviceOf(node.ready).from('invitations').update({ expires_at: '2020-01-01' }).eq('code', other)
    const refusals: [what: string, PromiseLike<{ error: { code?: string } | null; data?: unknown }>, string][] = [
      ['a todo in the list of another', carl.from('todos').insert({ list_id: list.id, text: 'x' }), '42501'],
      ['a list in the name of another', carl.from('lists').insert({ title: 'x', owner: list.owner }), '42501'],
      ['a name of his own choice', carl.from('lists').insert({ title: 'x', owner_name: 'anna@example.com' }), '42501'],
      ['himself as member', carl.from('members').insert({ list_id: list.id, user_id: me, name: 'x' }), '42501'],
      ['an invitation to the list of another', carl.from('invitations').insert({ list_id: list.id }), '42501'],
      ['a used invitation', carl.rpc('join_list', { code }), 'PT404'],
      ['an invitation whose time is over', carl.rpc('join_list', { code: other }), 'PT404'],
      ['an invitation that never was', carl.rpc('join_list', { code: list.id }), 'PT404'],
      ['a guest', guestOf(node.ready).rpc('join_list', { code }), '42501'],
      ['a member invites', member.from('invitations').insert({ list_id: list.id }), '42501'],
      ['a member moves a todo', member.from('todos').update({ list_id: list.id }).eq('text', 'book the ferry'), '42501'],
      ['a member takes the list', member.from('lists').update({ owner: me }).eq('id', list.id), '42501'],
      ['nothing but spaces', member.from('todos').insert({ list_id: list.id, text: '  ' }), '23514'],
      ['the schema that is private', carl.schema('private').rpc('my_lists'), 'PGRST106'],
    ]
    for (const [what, request, expected] of refusals) assert.equal((await request).error?.code, expected, what)
    const unseen: [string, ReturnType<AnyClient['from']>['delete'] extends (...args: never[]) => infer R ? R : never][] = [
      ['a list of another', carl.from('lists').delete()],
      ['a list, by a member', member.from('lists').delete()],
      ['todos of others', carl.from('todos').delete()],
      ['members of others', carl.from('members').delete()],
    ]
    for (const [what, request] of unseen) assert.deepEqual((await request.neq('id', me).select()).data, [], what)

    // What came before this came before his own row, or it never comes.
    assert.equal((await carl.from('lists').insert({ title: 'of carl' })).error, null)
    while (!heard.some((row) => row.includes('of carl'))) await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(heard.length, 1, heard.join('\n'))
    await carl.removeAllChannels()
    assert.deepEqual(faults, [])
  })

  it('says in words what is wrong, in the language that is chosen, which stays', async () => {
    const page = await open({ locale: 'ko-KR' })
    await sign(page, 'in', 'anna', 'wrong')
    await says(page, '이메일 주소나 비밀번호가 맞지 않습니다.')
    await shoot(page, 'todo-sign-in')
    await page.getByRole('button', { name: 'English' }).click()
    await page.getByRole('button', { name: 'Create an account' }).waitFor()
    await sign(page, 'up', 'anna')
    await says(page, 'This address has an account already: sign in.')
    await sign(page, 'up', 'dora', 'short')
    await says(page, 'The password is too short: 8 characters or more.')
    await page.context().setOffline(true)
    await sign(page, 'in', 'anna')
    await says(page, 'The server cannot be reached. Try again in a moment.')
    await page.context().setOffline(false)
    await page.reload()
    assert.equal(await page.textContent('h1'), 'To do')
    await sign(page, 'in', 'anna')
    await page.getByRole('heading', { name: 'Trip to Jeju' }).waitFor()
    await page.getByLabel('Invitation code').fill(invitation)
    await page.getByRole('button', { name: 'Join' }).click()
    await says(page, 'There is no such invitation, or it has been used.')
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.waitForSelector('#door:not([hidden])')
    assert.doesNotMatch((await page.textContent('body')) ?? '', /Jeju|ferry|anna@/)
    await page.context().close()
    assert.deepEqual(faultsBut(/status of (400|422|404)|ERR_INTERNET_DISCONNECTED/), [])
  })

  for (const [width, height] of [
    [360, 640],
    [1280, 800],
  ] as const)
    for (const colorScheme of ['light', 'dark'] as const)
      it(`at ${width} pixels, ${colorScheme}: no scroll bar to the side, words that can be read, fields with names`, async () => {
        const page = colorScheme === 'light' ? anna : bora
        await page.setViewportSize({ width, height })
        await page.emulateMedia({ colorScheme })
        if (page === anna) {
          await page.getByRole('button', { name: 'Invite somebody' }).click()
          await page.waitForSelector('#invitation:not([hidden])')
          if (width === 360) await addTodo(page, `${'a long thing to do '.repeat(8)}${'x'.repeat(80)}`)
        }
        const wide = await page.evaluate<number>('document.documentElement.scrollWidth')
        assert.ok(wide <= width, `${wide} pixels wide`)
        const contrasts = await page.evaluate<[string, number][]>(CONTRASTS)
        assert.ok(contrasts.length > 8, 'words were found')
        assert.deepEqual(
          contrasts.filter(([, ratio]) => ratio < 4.5),
          [],
        )
        const unnamed = `[...document.querySelectorAll('input, button')].filter((one) => one.checkVisibility() && !one.labels?.[0]?.textContent.trim() && !one.ariaLabel && !one.textContent.trim()).map((one) => one.outerHTML)`
        assert.deepEqual(await page.evaluate<string[]>(unnamed), [])
        await shoot(page, `todo-${width}-${colorScheme}`)
      })

  it('is no longer shared with whom its owner sends away', async () => {
    await anna.getByRole('button', { name: 'Remove bora@example.com' }).click()
    await bora.getByText('아직 목록이 없습니다.').waitFor()
    assert.equal(await bora.getByRole('checkbox').count(), 0)
    await anna.getByRole('button', { name: 'Delete this list' }).click()
    await anna.getByText('No list yet.').waitFor()
    assert.equal((await serviceOf(node.ready).from('todos').select('*', { count: 'exact', head: true })).count, 0)
    for (const page of [anna, bora]) assert.equal(await page.evaluate('window.isAsOpened'), true, 'the page was loaded again')
    assert.deepEqual(faults, [])
  })

  it('is a template as well, and lives in a project of its own', async () => {
    const made = path.join(below, 'ours')
    assert.equal(mayfly(['init', made, '--template', 'todo', '--no-install']).code, 0)
    assert.equal(mayfly(['projects', 'create', 'shop', '--data', node.data]).code, 0)
    const deployed = mayfly(['deploy', made, '--project', 'shop', '--data', node.data])
    assert.equal(deployed.code, 0, deployed.stderr)
    const page = await open({ locale: 'ko-KR' }, address.replace('demo', 'shop'))
    await signUp(page, 'anna')
    await page.getByText('아직 목록이 없습니다.').waitFor()
    assert.deepEqual(faults, [])
  })
})
