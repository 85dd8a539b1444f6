import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { NoSession, SessionPool } from '../backends/database/session-pool.ts'
import { LIMITS } from '../core/limits.ts'
import { dataSettings } from './config.ts'

describe('sessions of the data API', () => {
  let databases: Awaited<ReturnType<typeof openTestDatabases>>['databases']
  let close: () => Promise<void>
  before(async () => {
    const opened = await openTestDatabases()
    databases = opened.databases
    close = opened.close
    await databases.ensureProject('demo')
  })
  after(async () => await close())
  const one = (text: string, values: unknown[] = []) => ({ text, values })

  it('are as few as the limits say', () => {
    assert.equal(dataSettings.connections.default, LIMITS.dataConnections.value)
    assert.equal(dataSettings.waitMs.default, LIMITS.dataWait.value)
    assert.ok(LIMITS.dataWaiting.value > LIMITS.dataConnections.value)
  })
  it('send all at once, and what fails takes down what is behind it and nothing else', async () => {
    await using pool = new SessionPool(await databases.rolesConnection('demo'), { max: 1, waitMs: 10_000, maxWaiting: 10 })
    const settled = await pool.use((session) =>
      session.flight([one('begin'), one('select $1::int / $2::int as n', [1, 0]), one('select 1 as n'), one('commit')]),
    )
    assert.deepEqual(
      settled.map(({ result, error }) => result?.tag ?? (error as { sqlState: string }).sqlState),
      ['BEGIN', '22012', '25P02', '25P02'],
    )
    const next = await pool.use((session) => session.flight([one('select $1::text as t', ['x'])]))
    assert.deepEqual(next[0]?.result?.rows, [{ t: 'x' }])
  })
  it('are not kept where a column has another type than when their statements were parsed', async () => {
    await using pool = new SessionPool(await databases.rolesConnection('demo'), { max: 1, waitMs: 10_000, maxWaiting: 10 })
    const made = await pool.use(async (session) => {
      const ask = async () => (await session.flight([one('select n::text as n from pg_temp.t where n = $1', ['1'])]))[0]
      await session.flight([one('create temp table t as select 1 as n')])
      for (let i = 0; i < 3; i++) assert.deepEqual((await ask())?.result?.rows, [{ n: '1' }])
      await session.flight([one('alter table pg_temp.t alter column n type text')])
      assert.equal(((await ask())?.error as { sqlState?: string })?.sqlState, '42883')
      return session.pid
    })
    assert.notEqual(await pool.use(async ({ pid }) => pid), made)
  })
  it('run nothing behind what failed, and tell whether a transaction is open', async () => {
    await using pool = new SessionPool(await databases.rolesConnection('demo'), { max: 1, waitMs: 10_000, maxWaiting: 10 })
    // Twice, three times: by then its statements have names.
    for (let n = 0; n < 3; n++)
      await pool.use(async (session) => {
        const settled = await session.flight([one('nonsense'), one(`select set_config('mayfly.left', 'behind', false)`), one('rollback')])
        assert.deepEqual(
          settled.map(({ error }) => (error as { sqlState?: string } | null)?.sqlState),
          ['42601', '25P02', '25P02'],
        )
        assert.equal(session.isOpen, false)
        const [left] = await session.flight([one(`select current_setting('mayfly.left', true) as left`)])
        assert.deepEqual(left?.result?.rows, [{ left: null }])
        await session.flight([one('begin'), one('select $1::int / $2::int as n', [1, 0])])
        assert.equal(session.isOpen, true)
        assert.equal((await session.flight([one('rollback')]))[0]?.result?.tag, 'ROLLBACK')
        assert.equal(session.isOpen, false)
        assert.deepEqual((await session.flight([one('select $1::int / $2::int as n', [4, 2])]))[0]?.result?.rows, [{ n: 2 }])
      })
  })
  it('give lists, nulls, numbers and what looks like SQL as what they are', async () => {
    await using pool = new SessionPool(await databases.rolesConnection('demo'), { max: 1, waitMs: 10_000, maxWaiting: 10 })
    const list = ['a,b', 'c"d', 'e\\f', '', 'NULL', '{}', "'; drop"]
    for (let n = 0; n < 3; n++) {
      const [settled] = await pool.use((session) =>
        session.flight([one('select to_json($1::text[])::text as list, $2::text as nothing, $3::int + 1 as number', [list, null, n])]),
      )
      assert.deepEqual(settled?.result?.rows, [{ list: JSON.stringify(list), nothing: null, number: n + 1 }])
    }
  })
  it('are waited for in line, for a bounded time, by a bounded number', async () => {
    await using pool = new SessionPool(await databases.rolesConnection('demo'), { max: 1, waitMs: 300, maxWaiting: 1 })
    let free = () => {}
    let held = () => {}
    const isHeld = new Promise<void>((resolve) => {
      held = resolve
    })
    const first = pool.use(async () => {
      held()
      await new Promise<void>((resolve) => {
        free = resolve
      })
    })
    await isHeld
    const second = pool.use(async () => 'late')
    await assert.rejects(
      pool.use(async () => 'too many'),
      NoSession,
    )
    await assert.rejects(second, NoSession)
    free()
    await first
    assert.equal(await pool.use(async () => 'free'), 'free')
  })
  it('whose transaction was left open go to nobody else', async () => {
    await using pool = new SessionPool(await databases.rolesConnection('demo'), { max: 1, waitMs: 10_000, maxWaiting: 10 })
    const pids: number[] = []
    const flight = async (...texts: string[]) =>
      await pool.use(async (session) => {
        pids.push(session.pid)
        return await session.flight(texts.map((text) => one(text)))
      })
    await flight('begin', 'select 1 as n')
    await flight('begin', 'select 1 / 0 as n')
    const clean = await flight('begin', 'select 1 as n', 'commit')
    assert.deepEqual(
      clean.map(({ result }) => result?.tag),
      ['BEGIN', 'SELECT', 'COMMIT'],
    )
    await flight('select 1 as n')
    assert.equal(new Set(pids).size, 3)
    assert.equal(pids[2], pids[3])
  })
  it('that were cut are replaced', async () => {
    await using pool = new SessionPool(await databases.rolesConnection('demo'), { max: 1, waitMs: 10_000, maxWaiting: 10 })
    const own = await databases.openProject('demo')
    const settled = await pool.use(async (session) => {
      await own.sql`select pg_terminate_backend(${session.pid})`
      return await session.flight([one('select 1 as n')])
    })
    assert.match(String((settled[0]?.error as { sqlState?: string } | null)?.sqlState), /^(57P01|08006)$/)
    assert.deepEqual((await pool.use((session) => session.flight([one('select 1 as n')])))[0]?.result?.rows, [{ n: 1 }])
  })
})
