import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import pg from 'pg'
import type { Databases } from '../../backends/database/database.ts'
import { openTestDatabases } from '../../backends/database/embedded-fixture.ts'
import { LIMITS } from '../../core/limits.ts'
import { silentLog } from '../../core/log.ts'
import type { SqlRole } from '../../core/principal.ts'
import type { SqlIdentity } from '../../core/session.ts'
import { type Clock, systemClock } from '../../lib/clock.ts'
import { type Asked, readJoin } from '../join.ts'
import type { Subscriber, Subscription } from '../client.ts'
import { ChangeFeed } from './feed.ts'
import { isVisible } from './visibility.ts'

interface Data {
  readonly schema: string
  readonly table: string
  readonly type: string
  readonly commit_timestamp: string
  readonly columns: { name: string; type: string }[]
  readonly record?: Record<string, unknown>
  readonly old_record?: Record<string, unknown>
  readonly errors: string[] | null
}

class Listener implements Subscriber {
  readonly identity: SqlIdentity
  readonly asked: readonly Asked[]
  readonly changes: Data[] = []
  readonly ids: (readonly number[])[] = []
  readonly said: [string, string][] = []
  subscription: Subscription | null = null
  constructor(role: SqlRole, postgres_changes: readonly Record<string, unknown>[], claims: Record<string, unknown> = {}) {
    this.identity = { role, claims: { role, ...claims } }
    this.asked = readJoin({ config: { postgres_changes } }).changes
  }
  change(ids: readonly number[], data: string): void {
    this.ids.push(ids)
    this.changes.push(JSON.parse(data) as Data)
  }
  system(status: 'ok' | 'error', message: string): void {
    this.said.push([status, message])
  }
}

async function until(what: () => boolean, label: string, ms = 15_000): Promise<void> {
  const deadline = performance.now() + ms
  while (!what()) {
    if (performance.now() > deadline) throw new Error(`never came: ${label}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

describe('the feed of row changes', () => {
  let databases: Awaited<ReturnType<typeof openTestDatabases>>['databases']
  let close: () => Promise<void>
  let owner: pg.Client
  let feed: ChangeFeed
  let cut = 0
  let ids = 0
  const feeds: ChangeFeed[] = []
  const makeFeed = (more: Partial<{ databases: Databases; clock: Clock }> = {}) => {
    const made = new ChangeFeed({
      project: 'demo',
      databases,
      newId: () => `test-${++ids}`,
      clock: systemClock,
      log: silentLog,
      onCut: () => void cut++,
      ...more,
    })
    feeds.push(made)
    return made
  }
  before(async () => {
    const opened = await openTestDatabases()
    databases = opened.databases
    close = opened.close
    await databases.ensureProject('demo')
    owner = new pg.Client(databases.connection('demo', 'owner'))
    await owner.connect()
    // What a user does, as the owner of the project's tables.
    await owner.query(`
      create table notes (id bigint primary key, who text, body text, price numeric, done boolean default false, tags text[], data jsonb, at timestamptz, secret text);
      alter table notes enable row level security;
      create policy own on notes for select to anon, authenticated using (who = 'all' or who = (auth.jwt() ->> 'sub'));
      revoke select on notes from anon; grant select (id, who, body, price, done, tags, data, at) on notes to anon;
      create table plain (id int primary key, body text);
      create table keyless (body text); alter table keyless enable row level security;
      create table closed (id int primary key); revoke all on closed from anon;
      create table whole (id int primary key, body text); alter table whole replica identity full; alter table whole enable row level security;
      create policy all_of_it on whole for select to anon using (true);
      create table fragile (id int primary key, n int); alter table fragile enable row level security;
      create policy breaks on fragile for select to anon using (1 / n > -1);
      create table unpublished (id int primary key);
      alter publication supabase_realtime add table notes, plain, keyless, closed, whole, fragile;`)
    feed = makeFeed()
  })
  afterEach(async () => {
    for (const made of feeds.splice(0)) await made[Symbol.asyncDispose]()
    feed = makeFeed()
  })
  after(async () => {
    for (const made of feeds) await made[Symbol.asyncDispose]()
    await owner?.end()
    await close()
  })
  const listen = async (role: SqlRole, changes: Record<string, unknown> | Record<string, unknown>[], claims = {}) => {
    const listener = new Listener(role, Array.isArray(changes) ? changes : [changes], claims)
    listener.subscription = await feed.subscribe(listener)
    await listener.subscription.live
    return listener
  }
  const slots = async () => Number((await owner.query(`select count(*) from pg_replication_slots where slot_name like 'mayfly%'`)).rows[0].count)

  it('tells an insert, an update and a delete as clients of the dialect expect them', async () => {
    const all = await listen('service_role', { event: '*', schema: 'public', table: 'plain' })
    await owner.query(`insert into plain values (1, 'a'); `)
    await owner.query(`update plain set body = 'b' where id = 1`)
    await owner.query('delete from plain where id = 1')
    await until(() => all.changes.length === 3, 'three changes')
    const [insert, update, gone] = all.changes as [Data, Data, Data]
    assert.match(insert.commit_timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    assert.ok(Math.abs(Date.parse(insert.commit_timestamp) - systemClock.now()) < 60_000)
    const columns = [
      { name: 'id', type: 'int4' },
      { name: 'body', type: 'text' },
    ]
    assert.deepEqual(
      { ...insert, commit_timestamp: '' },
      { schema: 'public', table: 'plain', commit_timestamp: '', type: 'INSERT', columns, record: { id: 1, body: 'a' }, errors: null },
    )
    assert.deepEqual([update.type, update.record, update.old_record], ['UPDATE', { id: 1, body: 'b' }, { id: 1 }])
    assert.deepEqual([gone.type, gone.record, gone.old_record], ['DELETE', undefined, { id: 1 }])
    assert.deepEqual(all.ids[0], [all.asked[0]?.id])
  })
  it('values have the JSON that PostgreSQL gives them', async () => {
    const all = await listen('service_role', { event: 'INSERT', schema: 'public', table: 'notes' })
    await owner.query(
      `insert into notes values (9007199254740993, 'all', E'"q"\\n한', 1.50, true, array['a,b', null, 'NULL', '{x}', '"'], '{"a": [1, null]}', '2026-01-02 03:04:05.678+02')`,
    )
    await until(() => all.changes.length === 1, 'the change')
    const [{ expected } = { expected: null }] = (await owner.query('select to_jsonb(notes) as expected from notes where id = 9007199254740993')).rows
    assert.deepEqual(all.changes[0]?.record, expected)
    assert.deepEqual(
      all.changes[0]?.columns.map(({ type }) => type),
      ['int8', 'text', 'text', 'numeric', 'bool', '_text', 'jsonb', 'timestamptz', 'text'],
    )
    await owner.query('delete from notes')
  })
  it('a row that a policy hides does not arrive, nor does a column that may not be read', async () => {
    const guest = await listen('anon', { event: '*', schema: 'public', table: 'notes' })
    const anna = await listen('authenticated', { event: '*', schema: 'public', table: 'notes' }, { sub: 'anna' })
    const ben = await listen('authenticated', { event: '*', schema: 'public', table: 'notes' }, { sub: 'ben' })
    const service = await listen('service_role', { event: '*', schema: 'public', table: 'notes' })
    await owner.query(`insert into notes (id, who, secret) values (1, 'anna', 'x'), (2, 'ben', 'y'), (3, 'all', 'z')`)
    await until(() => service.changes.length === 3 && guest.changes.length === 1 && anna.changes.length === 2, 'what each may see')
    const seen = (listener: Listener) => listener.changes.map(({ record }) => record?.id)
    assert.deepEqual([seen(guest), seen(anna), seen(ben)], [[3], [1, 3], [2, 3]])
    assert.equal('secret' in (guest.changes[0]?.record ?? {}), false)
    assert.equal(
      guest.changes[0]?.columns.some(({ name }) => name === 'secret'),
      false,
    )
    assert.equal(anna.changes[0]?.record?.secret, 'x')
    // Hidden by an update: not told to who saw it before, told to who sees it now.
    await owner.query(`update notes set who = 'ben' where id = 1`)
    await until(() => ben.changes.length === 3, 'the update')
    assert.deepEqual(seen(anna), [1, 3])
    // Of a deleted row all who may read the table learn the key, and nothing else.
    await owner.query('delete from notes where id = 2')
    await until(() => guest.changes.length === 2, 'the deletion')
    assert.deepEqual(guest.changes[1]?.old_record, { id: 2 })
    await owner.query('delete from notes')
  })
  it('a change that is streamed before its commit is seen by others is told when it is', async () => {
    const guest = await listen('anon', { event: 'INSERT', schema: 'public', table: 'notes' })
    const project = await databases.openProject('demo')
    const setting = async (text: string) => {
      await project.script(text)
      await project.script('select pg_reload_conf()')
    }
    // A commit that waits for a standby is on disk and in the stream, but nobody sees it yet.
    await setting(`alter system set synchronous_standby_names = 'none_such'`)
    let inserted: Promise<unknown>
    try {
      // The server takes the setting over by and by.
      await new Promise((resolve) => setTimeout(resolve, 1_000))
      inserted = owner.query(`set synchronous_commit = on; insert into notes (id, who) values (50, 'all')`)
      await new Promise((resolve) => setTimeout(resolve, 500))
      assert.equal(guest.changes.length, 0)
    } finally {
      await setting('alter system reset synchronous_standby_names')
    }
    await inserted
    await until(() => guest.changes.length === 1, 'the change')
    assert.equal(guest.changes[0]?.record?.id, 50)
    await owner.query('reset synchronous_commit; delete from notes')
  })
  it('transactions are compared across the turn of their numbers', () => {
    const turn = 1n << 32n
    assert.equal(isVisible(new Set([5]), turn + 6n, new Set()), true)
    assert.equal(isVisible(new Set([6]), turn + 6n, new Set()), false)
    assert.equal(isVisible(new Set([5]), turn + 6n, new Set([turn + 5n])), false)
    assert.equal(isVisible(new Set([2 ** 32 - 1]), turn + 6n, new Set()), true, 'from before the turn')
    assert.equal(isVisible(new Set([3]), turn - 2n, new Set()), false, 'from after it')
  })
  it('of rows that are filtered the old one is told by its key alone, whatever its replica identity', async () => {
    const guest = await listen('anon', { event: '*', schema: 'public', table: 'whole' })
    const service = await listen('service_role', { event: '*', schema: 'public', table: 'whole' })
    const probe = await listen('anon', { event: 'DELETE', schema: 'public', table: 'whole', filter: 'body=eq.b' })
    // One after the other: a row that is gone when its change is read is seen by nobody.
    for (const [at, change] of [`insert into whole values (1, 'a')`, `update whole set body = 'b'`, 'delete from whole'].entries()) {
      await owner.query(change)
      await until(() => guest.changes.length === at + 1 && service.changes.length === at + 1, change)
    }
    assert.deepEqual(
      guest.changes.slice(1).map(({ old_record }) => old_record),
      [{ id: 1 }, { id: 1 }],
    )
    assert.deepEqual(
      service.changes.slice(1).map(({ old_record }) => old_record),
      [
        { id: 1, body: 'a' },
        { id: 1, body: 'b' },
      ],
    )
    assert.deepEqual(probe.changes, [], 'a filter tells nothing of what may not be seen')
  })
  it('filters are asked before anything is told', async () => {
    const by = async (filter: string, event = 'INSERT') => await listen('service_role', { event, schema: 'public', table: 'notes', filter })
    const listeners = {
      'id=eq.2': await by('id=eq.2'),
      'id=in.(1,3)': await by('id=in.(1,3)'),
      'price=gte.10': await by('price=gte.10'),
      'price=lt.9.5': await by('price=lt.9.5'),
      'body=like.a%,who=neq.ben': await by('body=like.a%,who=neq.ben'),
      'body=ilike.A_': await by('body=ilike.A_'),
      'body=is.null': await by('body=is.null'),
      'body=not.is.null': await by('body=not.is.null'),
      'at=gt.2026-01-01T12:00:00Z': await by('at=gt.2026-01-01T12:00:00Z'),
    }
    await owner.query(`insert into notes (id, who, body, price, at) values
      (1, 'anna', 'ab', 9.50, '2026-01-01 14:00:00+02'), (2, 'ben', 'ac', 10, '2026-01-01 12:00:00.001+00'), (3, 'ben', null, 9, null), (4, 'all', 'b', 100, '2027-01-01')`)
    await until(() => listeners['price=gte.10'].changes.length === 2, 'the changes')
    const seen = Object.fromEntries(Object.entries(listeners).map(([filter, { changes }]) => [filter, changes.map(({ record }) => record?.id)]))
    assert.deepEqual(seen, {
      'id=eq.2': [2],
      'id=in.(1,3)': [1, 3],
      'price=gte.10': [2, 4],
      'price=lt.9.5': [3],
      'body=like.a%,who=neq.ben': [1],
      'body=ilike.A_': [1, 2],
      'body=is.null': [3],
      'body=not.is.null': [1, 2, 4],
      'at=gt.2026-01-01T12:00:00Z': [2, 4],
    })
    await owner.query('delete from notes')
  })
  it('what cannot be subscribed to is said', async () => {
    const refused = async (role: SqlRole, asked: Record<string, unknown>) => {
      const listener = new Listener(role, [{ event: '*', schema: 'public', ...asked }])
      const subscription = await feed.subscribe(listener)
      await assert.rejects(
        subscription.live,
        { code: 'bad_request', message: /^Unable to subscribe to changes with given parameters\. / },
        JSON.stringify(asked),
      )
      subscription.end()
    }
    for (const filter of ['nonsense', 'id=eqq.1', 'nothing=eq.1', 'id=eq.x', 'id=in.1', "id=eq.1';drop table notes", '"id=eq.1'])
      await refused('service_role', { table: 'notes', filter })
    // A filter on what one may not read would tell it.
    await refused('anon', { table: 'notes', filter: 'secret=eq.x' })
    await refused('service_role', { table: 'unpublished' })
    await refused('service_role', { table: 'none' })
    await refused('service_role', { filter: 'id=eq.1' })
    assert.equal(feed.open, false)
  })
  it('every table of a schema by a wildcard; a table that may not be read, or has no key, is told as an error', async () => {
    const guest = await listen('anon', { event: '*', schema: 'public' })
    await owner.query(`insert into closed values (1); insert into keyless values ('x'); insert into plain values (1, 'a'); insert into unpublished values (1)`)
    await until(() => guest.changes.length === 3, 'three changes')
    assert.deepEqual(
      guest.changes.map(({ table, errors, record }) => [table, errors, record]),
      [
        ['closed', ['Error 401: Unauthorized'], {}],
        ['keyless', ['Error 400: Bad Request, no primary key'], {}],
        ['plain', null, { id: 1, body: 'a' }],
      ],
    )
    await owner.query('delete from closed; delete from plain; truncate keyless; delete from unpublished')
  })
  it('a policy that fails at one row hides that one', async () => {
    const guest = await listen('anon', { event: 'INSERT', schema: 'public', table: 'fragile' })
    await owner.query('insert into fragile values (1, 1), (2, 0), (3, 3)')
    await until(() => guest.changes.length === 2, 'two changes')
    assert.deepEqual(
      guest.changes.map(({ record }) => record?.id),
      [1, 3],
    )
  })
  it('one message tells every kind of change of a channel that it is', async () => {
    const both = await listen('service_role', [
      { event: '*', schema: 'public', table: 'plain' },
      { event: 'INSERT', schema: 'public', table: 'plain', filter: 'id=gt.10' },
      { event: 'DELETE', schema: 'public', table: 'plain' },
    ])
    await owner.query(`insert into plain values (1, 'a'), (11, 'b')`)
    await until(() => both.changes.length === 2, 'two changes')
    const [first, second] = both.asked as [Asked, Asked]
    assert.deepEqual(both.ids, [[first.id], [first.id, second.id]])
    await owner.query('delete from plain')
  })
  it('realtimeRecord: of a larger row only small values are told', async () => {
    const all = await listen('service_role', { event: 'INSERT', schema: 'public', table: 'plain' })
    await owner.query(`insert into plain values (1, repeat('x', $1)), (2, repeat('x', $2))`, [LIMITS.realtimeRecord.value - 400, LIMITS.realtimeRecord.value])
    await until(() => all.changes.length === 2, 'both')
    assert.deepEqual([all.changes[0]?.errors, all.changes[1]?.errors, all.changes[1]?.record], [null, ['Error 413: Payload Too Large'], { id: 2 }])
    await owner.query('delete from plain')
  })
  it('realtimeChangeBuffer: a transaction of many times its size arrives whole and in order', async () => {
    const all = await listen('service_role', { event: 'INSERT', schema: 'public', table: 'plain' })
    const rows = Math.ceil((LIMITS.realtimeChangeBuffer.value * 5) / 10_000)
    await owner.query(`insert into plain select n, repeat('x', 10000) from generate_series(1, $1::int) n`, [rows])
    await until(() => all.changes.length === rows, 'all rows', 30_000)
    assert.ok(all.changes.every(({ record }, at) => record?.id === at + 1))
    await owner.query('delete from plain')
  })
  it('a connection that breaks off is made again, with a gap that is told', async () => {
    const all = await listen('service_role', { event: 'INSERT', schema: 'public', table: 'plain' })
    const project = await databases.openProject('demo')
    await project.sql`select pg_terminate_backend(active_pid) from pg_replication_slots`
    await until(() => all.said.length === 2, 'both messages')
    assert.deepEqual(
      all.said.map(([status]) => status),
      ['error', 'ok'],
    )
    await owner.query(`insert into plain values (1, 'after')`)
    await until(() => all.changes.length === 1, 'the change after it')
    await owner.query('delete from plain')
  })
  it('realtimeIdleSlot: the slot outlives its last subscriber by that, and then is gone', async () => {
    const timers: { ms: number; fire: () => void; off: boolean }[] = []
    const clock: Clock = {
      ...systemClock,
      timer: (ms, fire) => {
        const timer = { ms, fire, off: false }
        timers.push(timer)
        return { [Symbol.dispose]: () => void (timer.off = true) }
      },
    }
    feed = makeFeed({ clock })
    const first = await listen('anon', { event: '*', schema: 'public' })
    assert.equal(await slots(), 1)
    first.subscription?.end()
    const [waiting] = timers
    assert.equal(waiting?.ms, LIMITS.realtimeIdleSlot.value)
    const second = await listen('anon', { event: '*', schema: 'public' })
    assert.equal(waiting?.off, true, 'who comes again keeps it')
    second.subscription?.end()
    timers.at(-1)?.fire()
    await until(() => !feed.open, 'the end of the feed')
    let left = 1
    for (let round = 0; left > 0 && round < 200; round++) {
      left = await slots()
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    assert.equal(left, 0)
  })
  it('realtimeLag: a stream that is further behind is cut, told, and begins anew', async () => {
    let ahead = 0
    const clock: Clock = { ...systemClock, monotonic: () => performance.now() + ahead, timer: systemClock.timer, sleep: systemClock.sleep }
    // The question to the database is held, so that what comes after it waits.
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    let asked = 0
    const slow = Object.assign(Object.create(databases) as Databases, {
      openRoles: async (ref: string) => {
        if (asked++ === 1) await held
        return await databases.openRoles(ref)
      },
      openProject: (ref: string) => databases.openProject(ref),
      projectConnection: (ref: string) => databases.projectConnection(ref),
    })
    feed = makeFeed({ clock, databases: slow })
    const all = await listen('service_role', { event: 'INSERT', schema: 'public', table: 'plain' })
    await owner.query(`insert into plain values (1, 'a')`)
    await until(() => asked === 2, 'the first question')
    await owner.query(`insert into plain values (2, 'b')`)
    await new Promise((resolve) => setTimeout(resolve, 100))
    ahead = LIMITS.realtimeLag.value + 1
    release()
    await until(() => all.said.length === 2, 'both messages')
    assert.match(all.said[0]?.[1] ?? '', /^Changes were lost: /)
    assert.deepEqual([all.said.map(([status]) => status), cut], [['error', 'ok'], 1])
    await owner.query(`insert into plain values (3, 'c')`)
    await until(() => all.changes.some(({ record }) => record?.id === 3), 'what comes after it')
    assert.equal(
      all.changes.some(({ record }) => record?.id === 2),
      false,
    )
    await owner.query('delete from plain')
  })
  it('who leaves while it subscribes leaves nothing behind', async () => {
    const listener = new Listener('anon', [{ event: '*', schema: 'public', table: 'notes', filter: 'id=eq.1' }])
    const subscription = await feed.subscribe(listener)
    subscription.end()
    await subscription.live
    assert.equal(feed.open, false)
  })
  it('realtimeSubscriptions: one past it is told too_many_channels, and who leaves makes room', async () => {
    const most = LIMITS.realtimeSubscriptions.value
    const asked = Array.from({ length: most }, () => ({ event: 'INSERT', schema: 'public' }))
    const all = await listen('anon', asked)
    await assert.rejects(feed.subscribe(new Listener('anon', [{ schema: 'public' }])), { code: 'too_many_channels' })
    await owner.query(`insert into plain values (1, 'a')`)
    await until(() => all.changes.length === 1, 'one change')
    assert.equal(all.ids[0]?.length, 1, 'equal questions have one id')
    all.subscription?.end()
    await listen('anon', { schema: 'public' })
    await owner.query('delete from plain')
  })
  it('a long value that thousands compare with leaves the thread to others in between, and the order is kept', async () => {
    const listeners: Listener[] = []
    const never = 'x%'.repeat(40)
    // Each compares a long text in vain before it finds the one that fits.
    const asked = [...Array.from({ length: 99 }, () => never), 'a%'].map((pattern) => ({
      event: 'INSERT',
      schema: 'public',
      table: 'plain',
      filter: `body=like.${pattern}`,
    }))
    for (let n = 0; n < 10; n++) listeners.push(await listen('anon', asked))
    let from = performance.now()
    let longest = 0
    let turns = 0
    let counting = true
    const turn = () => {
      const now = performance.now()
      longest = Math.max(longest, now - from)
      from = now
      turns++
      if (counting) setImmediate(turn)
    }
    await owner.query(`insert into plain select n, 'a' || repeat('x', 60000) from generate_series(1, 3) as n`)
    from = performance.now()
    const began = from
    turn()
    await until(() => listeners.every(({ changes }) => changes.length === 3), 'all changes', 60_000)
    counting = false
    const took = performance.now() - began
    for (const { changes } of listeners)
      assert.deepEqual(
        changes.map(({ record }) => record?.id),
        [1, 2, 3],
      )
    assert.ok(longest < took / 5, `of ${Math.round(took)} ms, ${Math.round(longest)} ms in one turn of ${turns}`)
    await owner.query('delete from plain')
  })
  it('a database that cannot stream is refused by realtime_unavailable', async () => {
    const project = await databases.openProject('demo')
    await project.script('alter publication supabase_realtime rename to another')
    try {
      await assert.rejects(feed.subscribe(new Listener('anon', [{ schema: 'public' }])), { code: 'realtime_unavailable' })
    } finally {
      await project.script('alter publication another rename to supabase_realtime')
    }
  })
})
