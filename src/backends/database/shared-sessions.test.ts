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
  const open = async ({ max = 1, heldUpMs = 60_000, mayRunTwice = true, few = 4 } = {}) =>
    new SharedSessions(await databases.rolesConnection('demo'), {
      max,
      few,
      depth: DEPTH,
      heldUpMs,
      mayRunTwice,
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

  describe('in which many write', () => {
    const stateOf = (shared: Awaited<ReturnType<SharedSessions['flight']>>) => {
      const fault = shared?.settled.find(({ error }) => error !== null)?.error as { sqlState?: string } | undefined
      return shared === null ? null : (fault?.sqlState ?? 'done')
    }
    const insert = (n: number, ...before: string[]) => [...before.map((text) => one(text)), one('insert into public.written values ($1)', [n])]
    const written = async () => {
      const { sql } = await databases.openProject('demo')
      return (await sql<{ n: number; times: string }>`select n, count(*) as times from public.written group by n order by n`).map(({ n, times }) => [
        n,
        Number(times),
      ])
    }
    before(async () => {
      const project = await databases.openProject('demo')
      await project.script('create table public.written (n int); create table public.locked (n int); insert into public.locked values (1)')
      await project.script('create table public.late (n int check (n <> 0), constraint known unique (n) deferrable initially deferred)')
      await project.script('grant all on public.written, public.locked, public.late to authenticator')
    })
    const emptied = async () => void (await (await databases.openProject('demo')).script('truncate public.written'))

    it('do each once, where one of them fails, or meets its bound, or is ended from outside', async () => {
      await emptied()
      await using sessions = await open({ mayRunTwice: false })
      const bound = "select set_config('statement_timeout', '30', true)"
      const all = await Promise.all([
        sessions.flight(insert(1), nobody()),
        sessions.flight([...insert(2), one("select 'none'::int")], nobody()),
        sessions.flight(insert(3), nobody()),
        sessions.flight([...insert(4, bound), one('select pg_sleep(60)')], nobody()),
        sessions.flight(insert(5), nobody()),
        sessions.flight([...insert(6), one('select pg_cancel_backend(pg_backend_pid())'), one('select pg_sleep(60)')], nobody()),
        sessions.flight(insert(7), nobody()),
      ])
      assert.deepEqual(all.map(stateOf), ['done', '22P02', 'done', '57014', 'done', '57014', 'done'])
      assert.deepEqual(
        await written(),
        [1, 3, 5, 7].map((n) => [n, 1]),
      )
    })

    it('tell what fails when all of it is done by that one alone', async () => {
      await using sessions = await open({ mayRunTwice: false })
      const put = (n: number) => sessions.flight([one('select 1'), one('insert into public.late values ($1)', [n]), one('select 2')], nobody())
      assert.deepEqual((await Promise.all([1, 2, 2, 0, 3].map(put))).map(stateOf), ['done', 'done', '23505', '23514', 'done'])
    })

    it('tell those as lost whose session is ended, and give none of them back to be done twice', async () => {
      await emptied()
      await using sessions = await open({ mayRunTwice: false })
      const pid = Number(rowOf(await sessions.flight([one('select pg_backend_pid() as pid')], nobody()))?.pid)
      const first = sessions.flight(insert(1), nobody())
      const slow = sessions.flight([...insert(2), one('select pg_sleep(60)')], nobody())
      const behind = Array.from({ length: 5 }, (_, n) => sessions.flight(insert(3 + n), nobody()))
      assert.equal(stateOf(await first), 'done')
      const { sql } = await databases.openProject('demo')
      while ((await sql`select from pg_stat_activity where pid = ${pid} and wait_event = 'PgSleep'`).length === 0) await systemClock.sleep(1)
      await sql`select pg_terminate_backend(${pid})`
      for (const each of [slow, ...behind]) assert.match(String(stateOf(await each)), /^(57P01|08006)$/)
      assert.deepEqual(await written(), [[1, 1]])
      assert.equal(stateOf(await sessions.flight(insert(9), nobody())), 'done')
    })

    it('give none back that was sent, and end what no bound of PostgreSQL ends, each by itself', async () => {
      await emptied()
      await using sessions = await open({ mayRunTwice: false, heldUpMs: HELD_UP_MS })
      const slow = sessions.flight([...insert(1), one('select pg_sleep(60)')], nobody())
      const behind = Array.from({ length: 3 }, (_, n) => sessions.flight(insert(2 + n), nobody()))
      assert.deepEqual((await Promise.all([slow, ...behind])).map(stateOf), ['57014', 'done', 'done', 'done'])
      assert.deepEqual(
        await written(),
        [2, 3, 4].map((n) => [n, 1]),
      )
    })

    it('say by the clock of the database until when what waits may begin', async () => {
      await using sessions = await open({ mayRunTwice: false, heldUpMs: HELD_UP_MS })
      const told = (startBy: number) => [
        one('select extract(epoch from clock_timestamp())::float8 as now, $1::float8 as by, pg_sleep(0.04)', [String(startBy)]),
      ]
      const [first, second] = (await Promise.all([sessions.flight(told, nobody()), sessions.flight(told, nobody())])).map(rowOf)
      const leftOf = (row: typeof first) => (Number(row?.by) - Number(row?.now)) * 1000
      // However long this process was held up, the second begins when the first is over.
      assert.ok(leftOf(first) <= HELD_UP_MS + 1, `${leftOf(first)}`)
      assert.ok(leftOf(first) - leftOf(second) > 30, `${leftOf(first)}, ${leftOf(second)}`)
    })

    it('give back what began too late, as nothing was done of it', async () => {
      await emptied()
      await using sessions = await open({ mayRunTwice: false })
      const late = [one('select 1 / $1::int', [0]), ...insert(1)]
      assert.deepEqual((await Promise.all([sessions.flight(late, nobody()), sessions.flight(insert(2), nobody())])).map(stateOf), [null, 'done'])
      assert.deepEqual(await written(), [[2, 1]])
    })

    it('have nobody wait for what an ended one has locked for its session', async () => {
      await using sessions = await open({ mayRunTwice: false })
      const lock = one('select pg_advisory_lock(77)')
      const ended = await sessions.flight([lock, one("select set_config('statement_timeout', '20', true)"), one('select pg_sleep(60)')], nobody())
      assert.equal(stateOf(ended), '57014')
      await using other = await open()
      assert.equal(stateOf(await other.flight([lock, one('select pg_advisory_unlock(77)')], nobody())), 'done')
    })

    it('are opened for each until there are as many as there may be', async () => {
      const pidsOfTwo = async () => {
        await using sessions = await open({ mayRunTwice: false, max: 3, few: 1 })
        const pid = () => sessions.flight([one('select pg_backend_pid() as pid, pg_sleep(0.05)')], nobody())
        const first = pid()
        const second = (async () => (await systemClock.sleep(20), await pid()))()
        return new Set((await Promise.all([first, second])).map((each) => rowOf(each)?.pid)).size
      }
      // On a busy machine the first may be over when the second comes.
      let pids = await pidsOfTwo()
      for (let tries = 0; pids < 2 && tries < 20; tries++) pids = await pidsOfTwo()
      assert.equal(pids, 2)
    })
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
