import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../../lib/clock.ts'
import { LazyAbort } from '../../lib/leaving.ts'
import { openTestDatabases } from './embedded-fixture.ts'
import { MOST_PARSED, SessionPool } from './session-pool.ts'
import { SharedSessions } from './shared-sessions.ts'

const one = (text: string, values: readonly unknown[] = []) => ({ text, values })
const DEPTH = 16
const HELD_UP_MS = 50
const nobody = () => new LazyAbort()

describe('sessions that many share', () => {
  let databases: Awaited<ReturnType<typeof openTestDatabases>>['databases']
  let close: () => Promise<void>
  before(async () => {
    const opened = await openTestDatabases()
    databases = opened.databases
    close = opened.close
    await databases.ensureProject('demo')
  })
  const warned: Error[] = []
  const onWarning = (warning: Error) => void warned.push(warning)
  process.on('warning', onWarning)
  after(async () => {
    process.off('warning', onWarning)
    await close()
    assert.deepEqual(warned, [], 'the driver is used as it wants to be')
  })

  const cancel = async (pid: number) => void (await (await databases.openProject('demo')).sql`select pg_cancel_backend(${pid})`)
  const open = async ({ max = 1, heldUpMs = 60_000 } = {}) =>
    new SharedSessions(await databases.rolesConnection('demo'), {
      max,
      depth: DEPTH,
      heldUpMs,
      connectMs: 10_000,
      clock: systemClock,
      cancel,
    })
  const rowOf = (shared: Awaited<ReturnType<SharedSessions['flight']>>) => shared?.settled.at(-1)?.result?.rows[0]

  it('keep what each was told apart, in one session, and end each by itself', async () => {
    await using sessions = await open()
    const ask = (who: string) =>
      sessions.flight(
        [one("select pg_catalog.set_config('request.who', $1, true)", [who]), one("select current_setting('request.who') as who, pg_backend_pid() as pid")],
        nobody(),
      )
    const first = (await Promise.all([ask('0')])).map(rowOf)[0]
    const rows = (await Promise.all(Array.from({ length: DEPTH }, (_, n) => ask(String(n))))).map(rowOf)
    assert.deepEqual(
      rows.map((row) => row?.who),
      rows.map((_, n) => String(n)),
    )
    assert.deepEqual(new Set(rows.map((row) => row?.pid)), new Set([first?.pid]))
    const left = rowOf(await sessions.flight([one("select coalesce(current_setting('request.who', true), '') as who")], nobody()))
    assert.equal(left?.who, '')
  })

  it('have one that fails take no other along', async () => {
    await using sessions = await open()
    const divided = (by: number) => sessions.flight([one('select 1 as before'), one('select 6 / $1::int as n', [by]), one('select 2 as behind')], nobody())
    const all = await Promise.all([3, 0, 2, 0, 1].map(divided))
    assert.deepEqual(
      all.map((each) => each?.settled[1]?.result?.rows[0]?.n ?? (each?.settled[1]?.error as { sqlState?: string })?.sqlState),
      [2, '22012', 3, '22012', 6],
    )
    assert.deepEqual(
      all.map((each) => (each?.settled[2]?.error as { sqlState?: string } | null)?.sqlState ?? null),
      [null, '25P02', null, '25P02', null],
    )
  })

  it('take so many at once and no more', async () => {
    await using sessions = await open()
    await sessions.flight([one('select 1')], nobody())
    const over = 3
    const all = await Promise.all(Array.from({ length: DEPTH + over }, () => sessions.flight([one('select pg_sleep(0.01)')], nobody())))
    // Those that waited for the session to be there found it full.
    assert.equal(all.filter((each) => each === null).length, over)
  })

  it('give back those behind one that is slow, and have it end when its client leaves', async () => {
    await using sessions = await open({ heldUpMs: HELD_UP_MS })
    const pid = async () => rowOf(await sessions.flight([one('select pg_backend_pid() as pid')], nobody()))?.pid
    const before = await pid()
    const leaving = new LazyAbort()
    const slow = sessions.flight([one('select pg_sleep(60)')], leaving)
    const behind = await Promise.all(Array.from({ length: 5 }, () => sessions.flight([one('select 1')], nobody())))
    assert.deepEqual(behind, Array(5).fill(null))
    // Nobody is sent behind it any more.
    assert.equal(await sessions.flight([one('select 1')], nobody()), null)
    leaving.abort(new Error('left'))
    assert.equal(((await slow)?.settled[0]?.error as { sqlState?: string } | undefined)?.sqlState, '57014')
    const next = await pid()
    assert.ok(next !== undefined && next !== before)
  })

  it('hold nobody for slow whose answer is there, and only not read yet', async () => {
    await using sessions = await open({ heldUpMs: 200 })
    const { sql } = await databases.openProject('demo')
    const first = sessions.flight([one('select pg_sleep(0.1)')], nobody())
    while ((await sql`select from pg_stat_activity where wait_event = 'PgSleep'`).length === 0) await systemClock.sleep(1)
    const behind = sessions.flight([one('select 1 as n')], nobody())
    await new Promise((soon) => setImmediate(soon))
    // This process stands still.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600)
    assert.deepEqual((await Promise.all([first, behind])).map(rowOf), [{ pg_sleep: '' }, { n: 1 }])
  })

  it('let another one go on while one is slow', async () => {
    await using sessions = await open({ max: 2, heldUpMs: HELD_UP_MS })
    const slow = sessions.flight([one('select pg_sleep(1)')], nobody())
    await Promise.all(Array.from({ length: 5 }, () => sessions.flight([one('select 1')], nobody())))
    const quick = await Promise.all(Array.from({ length: 5 }, () => sessions.flight([one('select 1 as n')], nobody())))
    assert.deepEqual(quick.map(rowOf), Array(5).fill({ n: 1 }))
    assert.ok(((await slow)?.ms ?? 0) >= 900)
  })

  it('say nothing of what a broken session had, and open another one', async () => {
    await using sessions = await open()
    const pid = Number(rowOf(await sessions.flight([one('select pg_backend_pid() as pid')], nobody()))?.pid)
    const slow = sessions.flight([one('select pg_sleep(60)')], nobody())
    const behind = sessions.flight([one('select 1')], nobody())
    await (await databases.openProject('demo')).sql`select pg_terminate_backend(${pid})`
    assert.deepEqual(await Promise.all([slow, behind]), [null, null])
    assert.notEqual(rowOf(await sessions.flight([one('select pg_backend_pid() as pid')], nobody()))?.pid, pid)
  })

  it('give back what a session has parsed wrongly, since a column has another type', async () => {
    await using sessions = await open()
    const { sql } = await databases.openProject('demo')
    await sql`create table public.typed (n text)`
    await sql`grant select on public.typed to authenticator, anon`
    const ask = () => sessions.flight([one('select n from public.typed where n = $1', ['1'])], nobody())
    for (let times = 0; times < 3; times++) assert.equal((await ask())?.settled[0]?.error, null)
    await sql`alter table public.typed alter column n type bigint using n::bigint`
    assert.equal(await ask(), null)
    assert.equal((await ask())?.settled[0]?.error, null)
  })

  it('refuse a value that is none before anything is sent', async () => {
    await using sessions = await open()
    await assert.rejects(sessions.flight([one('select $1', [Symbol('no')])], nobody()), TypeError)
    assert.deepEqual(rowOf(await sessions.flight([one('select 1 as n')], nobody())), { n: 1 })
  })

  it('are given back where the client leaves while one is opened for it, and end', async () => {
    const sessions = await open()
    const leaving = new LazyAbort()
    const left = sessions.flight([one('select 1')], leaving)
    leaving.abort(new Error('left'))
    await assert.rejects(left, /left/)
    // It would wait for ever for one that nobody gives back.
    await sessions[Symbol.asyncDispose]()
  })

  it('are replaced when they have parsed much, though there is always something under way', async () => {
    await using sessions = await open()
    const ask = (n: number, slow = '') => sessions.flight([one(`select pg_backend_pid() as pid, ${n} as n${slow}`)], nobody())
    const pids = new Set<unknown>()
    for (let n = 0; n < MOST_PARSED + 50; n += 5) {
      // Met twice they have names; the last is under way still when the first of the next ones are sent.
      const all = Array.from({ length: 10 }, (_, at) => ask(n + (at >> 1)))
      const last = ask(0, ', pg_sleep(0.01)')
      pids.add(rowOf(await (all[0] as (typeof all)[0]))?.pid)
      void last
    }
    assert.ok(pids.size > 1, `${[...pids]}`)
  })

  it('run what they are sent as read committed and not read only, whatever their role has for a default', async () => {
    const connection = await databases.rolesConnection('demo')
    const project = await databases.openProject('demo')
    await project.script(`alter role "${connection.user}" set default_transaction_isolation = serializable`)
    await project.script(`alter role "${connection.user}" set default_transaction_read_only = on`)
    try {
      const asked = [one("select current_setting('transaction_isolation') as isolation, current_setting('transaction_read_only') as only")]
      await using sessions = await open()
      await using pool = new SessionPool(connection, { max: 1, waitMs: 10_000, maxWaiting: 1 })
      const told = { isolation: 'read committed', only: 'off' }
      assert.deepEqual(rowOf(await sessions.flight(asked, nobody())), told)
      assert.deepEqual((await pool.use((session) => session.flight(asked)))[0]?.result?.rows[0], told)
    } finally {
      await project.script(`alter role "${connection.user}" reset all`)
    }
  })
})
