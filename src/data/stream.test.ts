import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import { systemClock } from '../lib/clock.ts'
import { TakenTooSlowly } from './handover.ts'
import { planRequest } from './plan/plan-request.ts'
import { piecesOf } from './query/pieces.ts'
import { type Made, queryOf } from './query/query.ts'
import { readRequest } from './request/request.ts'
import { Data, type DataPlace } from './service.ts'
import { stream } from './stream.ts'
import { type Answer, type Setting, transact } from './transaction.ts'

const SETTING: Setting = {
  identity: { role: 'anon', claims: { role: 'anon' } },
  schema: 'public',
  method: 'GET',
  path: '/',
  headers: '{}',
  timezone: null,
  isReadOnly: true,
  depth: 0,
  hoisted: new Map(),
  rollsBack: false,
}

describe('answers that leave in pieces', () => {
  let data: Data
  let place: DataPlace
  let close: () => Promise<void>
  before(async () => {
    const opened = await openTestDatabases()
    await opened.databases.ensureProject('demo')
    await using owner = await opened.databases.openOwner('demo')
    await owner.script(`
      create table rows (id int primary key, name text, more json);
      insert into rows select n, repeat('é"x', n % 7 * 1000), case when n % 2 = 0 then '{"a": null}'::json end from generate_series(1, 400) as n;
      create table parts (id int primary key, row_id int references rows (id));
      insert into parts select n, n % 20 + 1 from generate_series(1, 100) as n;
      create view broken as select id, 1 / (390 - id) as part, repeat('y', 20000) as body from rows;
      create function named(n int) returns setof rows language sql stable as 'select * from public.rows where id <= n';
      create function numbers() returns setof int language sql stable as 'select * from generate_series(1, 300)';
      create function nothing() returns text language sql stable as 'select null::text';
      create function told() returns setof text language plpgsql stable as $$ begin perform set_config('response.headers', '[{"x-told": "yes"}]', true); return query select repeat('z', 50000) from generate_series(1, 3); end $$;
      grant select on rows, parts, broken to anon;
    `)
    data = new Data({
      databases: opened.databases,
      config: { connections: 4, sharedSessions: 1, waitMs: 10_000, maxRows: 1_000 },
      clock: systemClock,
      log: silentLog,
    })
    place = await data.placeOf('demo')
    close = async () => {
      await data[Symbol.asyncDispose]()
      await opened.close()
    }
  })
  after(async () => await close())

  const planned = async (path: string, rawQuery: string, accept: string, prefer = '') => {
    const body = async () => Buffer.alloc(0)
    const request = await readRequest({ method: 'GET', path, rawQuery, headers: { accept, prefer }, body, clock: systemClock })
    const snapshot = await place.schema.current()
    return { request, snapshot, plan: planRequest(request, snapshot) as Made }
  }
  interface More {
    readonly idleMs?: number
    readonly wholeMs?: number
    readonly signal?: AbortSignal
    readonly onCut?: (why: string) => void
    readonly onFree?: () => void
  }
  const open = async (path: string, rawQuery: string, accept = 'application/json', more: More = {}, prefer = '') => {
    const { request, snapshot, plan } = await planned(path, rawQuery, accept, prefer)
    let answer: Answer | null = null
    const { idleMs = 60_000, wholeMs = 60_000, signal = new AbortController().signal, onCut = () => {}, onFree = () => {} } = more
    const pieces = await stream(
      { ...place.streaming, bounds: { idleMs, wholeMs }, onCut },
      snapshot,
      SETTING,
      piecesOf(plan, request.preferences, snapshot.settings.maxRows),
      {
        judge: (told) => {
          answer = told
        },
        isHeadOnly: false,
        held: { [Symbol.dispose]: onFree },
        signal,
      },
    )
    return { pieces, answer: answer as unknown as Answer }
  }
  const textOf = async (pieces: AsyncIterable<Uint8Array>) => {
    const parts: Uint8Array[] = []
    for await (const piece of pieces) parts.push(piece)
    return Buffer.concat(parts).toString('utf8')
  }
  const running = async () => (await transactCount()).running
  const transactCount = async () => {
    const settled = await place.pool.use((session) =>
      session.flight([
        {
          text: `select count(*)::int as running from pg_stat_activity where pid <> pg_backend_pid() and application_name = 'mayfly data' and state <> 'idle'`,
          values: [],
        },
      ]),
    )
    return settled[0]?.result?.rows[0] as { running: number }
  }

  it('are the same, byte for byte, as where they are made as one', async () => {
    for (const [path, query, accept] of [
      ['rows', 'order=id', 'application/json'],
      ['rows', 'select=id,name,parts(id)&order=id.desc&limit=30&offset=2', 'application/json'],
      ['rows', 'id=gt.10&name=like.*x*&order=id', 'text/csv'],
      ['rows', 'id=lt.0', 'text/csv'],
      ['rows', 'id=lt.0', 'application/json'],
      ['rows', 'select=id,more&order=id', 'application/vnd.pgrst.array+json;nulls=stripped'],
      ['rows', 'id=eq.6', 'application/vnd.pgrst.object+json'],
      ['rpc/named', 'n=300&select=name,id&order=id', 'application/json'],
      ['rpc/numbers', '', 'application/json'],
      ['rpc/nothing', '', 'application/json'],
      ['rpc/told', '', 'application/json'],
    ] as const) {
      const { request, snapshot, plan } = await planned(path, query, accept, 'count=exact')
      const signal = new AbortController().signal
      const whole = await transact(place.pool, snapshot, SETTING, queryOf(plan, request.preferences, null), {
        judge: null,
        cancel: place.cancel,
        clock: systemClock,
        signal,
      })
      const { pieces, answer } = await open(path, query, accept, {}, 'count=exact')
      assert.ok((await textOf(pieces)) === whole.row.body, `${path}?${query} ${accept}`)
      assert.deepEqual([answer.row.page, answer.row.total, answer.headers], [whole.row.page, whole.row.total, whole.headers], `${path}?${query}`)
    }
    assert.equal(await running(), 0)
  })
  it('break where the database does, and never end well then', async () => {
    const { pieces } = await open('broken', 'order=id')
    let bytes = 0
    await assert.rejects(
      async () => {
        for await (const piece of pieces) bytes += piece.length
      },
      { sqlState: '22012' },
    )
    assert.ok(bytes > 1_000_000)
    assert.equal(await running(), 0)
  })
  it('are waited for by a slow client for a bounded time, `dataStreamIdle`; then the session is free', async () => {
    assert.ok(LIMITS.dataStreamIdle.value < LIMITS.dataStreamTime.value)
    const freed = Promise.withResolvers<string>()
    let why = ''
    const { pieces } = await open('rows', '', 'application/json', { idleMs: 50, onCut: (told) => (why = told), onFree: () => freed.resolve(why) })
    const taking = pieces[Symbol.asyncIterator]()
    assert.equal((await taking.next()).done, false)
    await freed.promise
    await assert.rejects(async () => {
      for (;;) if ((await taking.next()).done) return
    }, TakenTooSlowly)
    assert.match(why, /50 ms/)
    assert.equal(await running(), 0)
  })
  it('last for a bounded time, `dataStreamTime`, however steadily they are taken', async () => {
    const { pieces } = await open('rows', '', 'application/json', { wholeMs: 1 })
    await assert.rejects(async () => {
      for await (const _ of pieces) await systemClock.sleep(5)
    }, TakenTooSlowly)
  })
  it('end when the client leaves, whether it is being waited for or not', async () => {
    const leaving = new AbortController()
    const freed = Promise.withResolvers<void>()
    const { pieces } = await open('rows', '', 'application/json', { signal: leaving.signal, onFree: freed.resolve })
    leaving.abort(new Error('left'))
    await freed.promise
    await assert.rejects(textOf(pieces), /left/)
    const again = Promise.withResolvers<void>()
    const { pieces: others } = await open('rows', '', 'application/json', { onFree: again.resolve })
    for await (const _ of others) break
    await again.promise
    assert.equal(await running(), 0)
  })
  it('are few at once, `dataStreams`, and leave a session to others', async () => {
    const most = LIMITS.dataStreams.value
    assert.ok(most < LIMITS.dataConnections.value)
    const nobody = new AbortController().signal
    const held = await Promise.all(Array.from({ length: most }, (_, at) => place.streams.enter(`party ${at}`, nobody)))
    let isIn = false
    const next = place.streams.enter('one more', nobody).then((turn) => {
      isIn = true
      return turn
    })
    ;(await place.gate.enter('small', nobody))[Symbol.dispose]()
    assert.equal(isIn, false)
    for (const turn of held) turn[Symbol.dispose]()
    ;(await next)[Symbol.dispose]()
  })
})
