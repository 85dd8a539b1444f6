import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { type Database, DatabaseError } from '../backends/database/database.ts'
import type { EmbeddedDatabases } from '../backends/database/embedded.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { noCrash } from '../core/crash.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import type { ProjectRef } from '../core/project.ts'
import { systemClock } from '../lib/clock.ts'
import { Queues } from '../queues/index.ts'
import { ANY } from './letters/service.ts'
import { shownLife } from './lives/shown.ts'
import { selectLife } from './lives/store.ts'
import { Queue, type QueueDeps } from './queue.ts'
import { NO_QUEUES } from './queues-fixture.ts'
import type { Invocation, Outcome } from './service.ts'
import { leaseDue, renewLeases, retryEntry } from './store.ts'

const DEMO = 'demo' as ProjectRef
const HOLDER = randomUUID()
const NO_WEBHOOKS = { fetch: () => Promise.reject(new Error('nobody is told here')), secretOf: async () => null, now: () => 0 }

describe('Queue', () => {
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  let databases: EmbeddedDatabases
  before(async () => {
    opened = await openTestDatabases()
    databases = opened.databases
  })
  after(async () => {
    await opened.close()
  })
  beforeEach(() =>
    databases.control.script(
      'truncate mayfly.entry, mayfly.entry_payload, mayfly.dead_letter, mayfly.entry_failure, mayfly.entry_key, mayfly.kept_result, mayfly.told_outcome',
    ),
  )

  type Way = (event: { readonly [name: string]: unknown }, invocation: Invocation) => Promise<'ok' | string> | 'ok' | string
  /** A queue whose function ends as `way` says: `ok`, the type of an error, or by throwing. */
  const queues: Queue[] = []
  afterEach(async () => {
    for (const queue of queues.splice(0)) await queue[Symbol.asyncDispose]()
  })
  const open = (way: Way, changes: Partial<QueueDeps> = {}) => {
    const ran: { id: string; attempt: number }[] = []
    const queue = new Queue({
      database: databases.control,
      admitSpace: () => {},
      recorded: async () => {},
      holder: HOLDER,
      concurrency: 8,
      maxAttempts: 3,
      maxAgeMs: 3_600_000,
      deadLetterDays: 14,
      triesOf: async () => ({ maxAttempts: null, maxAgeSeconds: null }),
      destinationsOf: async () => null,
      queues: NO_QUEUES,
      webhooks: NO_WEBHOOKS,
      newId: randomUUID,
      crash: noCrash,
      clock: systemClock,
      random: () => 0,
      log: silentLog,
      invoke: async (invocation) => {
        ran.push({ id: invocation.id, attempt: invocation.attempt ?? 1 })
        const content = await invocation.content('lambda', {} as never)
        const event = JSON.parse(Buffer.from((content as { payload: Uint8Array }).payload).toString()) as Record<string, unknown>
        const end = await way(event, invocation)
        const broken = (async function* () {
          yield Buffer.from('half')
          throw new Error('the function broke its response off')
        })()
        if (end === 'breaks off') return { result: { kind: 'http', status: 200, headers: [], body: broken }, over: Promise.resolve({}) } as unknown as Outcome
        const result =
          end === 'ok'
            ? { kind: 'event' as const, payload: Buffer.from('null') }
            : {
                kind: 'error' as const,
                errorType: end,
                payload: Buffer.from(JSON.stringify({ errorType: end, errorMessage: `it said ${end}\0`, trace: [`${end}\0`, '    at its.js:1:2'] })),
              }
        return { version: { version: '$LATEST' }, result, over: Promise.resolve({}) } as unknown as Outcome
      },
      ...changes,
    })
    queues.push(queue)
    return { queue, ran }
  }
  const entryOf = (event: unknown = {}, functionId: string = randomUUID(), project: string = DEMO) => ({
    id: randomUUID(),
    project,
    functionId,
    functionName: 'f',
    traceId: null,
    clientContext: null,
    depth: 0,
    payload: Buffer.from(JSON.stringify(event)),
  })
  const until = async (what: () => boolean | Promise<boolean>, ms = 10_000) => {
    for (const end = performance.now() + ms; performance.now() < end; await systemClock.sleep(5)) if (await what()) return
    assert.fail('it did not come to that')
  }
  const waiting = () => databases.control.sql<{ attempt: number; spent: number; lost: number; leased: boolean }>`
    select attempt, spent, lost, leased_by is not null as leased from mayfly.entry order by id`

  it('has an entry on disk before its sender is answered, and runs it once when it succeeds', async () => {
    const { queue, ran } = open(() => 'ok')
    const entries = Array.from({ length: 50 }, (_, n) => entryOf({ n }))
    await Promise.all(entries.map((entry) => queue.enqueue(entry)))
    assert.equal((await waiting()).length, 50)
    await queue.start()
    await until(() => queue.length === 0)
    assert.deepEqual(ran.map((one) => one.id).toSorted(), entries.map((entry) => entry.id).toSorted())
    assert.deepEqual(await waiting(), [])
    assert.deepEqual(await databases.control.sql`select 1 from mayfly.entry_payload`, [])
  })
  it('tells an attempt how the last one that came to user code failed, whatever that said', async () => {
    const told: unknown[] = []
    // Where it is cut stands the half of a character, which PostgreSQL holds in no JSON.
    const long = 'x'.repeat(4_096 - 'it said '.length - 1)
    const { queue } = open((_, { lastError, failures, attempt }) => {
      told.push([failures, lastError?.message, lastError?.stack?.length === 4_096 || lastError?.stack])
      // The third time it does not come to user code.
      if (attempt === 3) throw new MayflyError('too_many_invocations', 'a full house')
      return attempt === 1 ? 'Oops' : attempt === 2 ? `${long}\u{1f600}` : 'ok'
    })
    await queue.enqueue(entryOf())
    await queue.start()
    await until(() => queue.length === 0)
    const second = [2, `it said ${long}\u{fffd}`, true]
    assert.deepEqual(told, [[0, undefined, undefined], [1, 'it said Oops\u{fffd}', 'Oops\u{fffd}\n    at its.js:1:2'], second, second])
  })
  it('tells each attempt how long its event is in the queue by then', async () => {
    const told: number[] = []
    const { queue } = open((_, { queueMs, attempt }) => {
      told.push(queueMs ?? -1)
      return attempt === 1 ? 'Oops' : 'ok'
    })
    await queue.enqueue(entryOf())
    await systemClock.sleep(60)
    const from = performance.now()
    await queue.start()
    await until(() => queue.length === 0)
    const [first = 0, second = 0] = told
    assert.ok(first >= 60 && second > first, told.join())
    assert.ok(second <= 60 + performance.now() - from + 1_000, 'not more than there was')
  })
  it('keeps the qualifier that an entry was sent with, through retries, its burial and its replay', async () => {
    const asked: unknown[] = []
    const { queue } = open(() => 'Oops', {
      maxAttempts: 2,
      invoke: async ({ qualifier }) => {
        asked.push(qualifier)
        return {
          version: { version: '1' },
          result: { kind: 'error', errorType: 'Oops', payload: Buffer.from('{}') },
          over: Promise.resolve({}),
        } as unknown as Outcome
      },
    })
    await queue.start()
    const entry = { ...entryOf(), qualifier: 'live' }
    await queue.enqueue(entry)
    await until(async () => (await queue.letters.list(DEMO, ANY, 10)).length === 1)
    assert.equal((await queue.letters.list(DEMO, ANY, 10))[0]?.qualifier, 'live')
    const replayed = await queue.letters.replay(DEMO, entry.id, async () => entry.functionId)
    await until(async () => (await queue.letters.list(DEMO, ANY, 10)).some((letter) => letter.id === replayed))
    assert.deepEqual(asked, ['live', 'live', 'live', 'live'])
  })
  it('wakes at once for what comes while it is idle', async () => {
    const { queue, ran } = open(() => 'ok')
    await queue.start()
    await systemClock.sleep(100)
    const from = performance.now()
    await queue.enqueue(entryOf())
    await until(() => ran.length === 1)
    assert.ok(performance.now() - from < 900, 'the bell, not the look once a second')
  })
  it('tries again what fails, with the same id and the next attempt, and buries it after its attempts with what it said', async () => {
    const { queue, ran } = open(() => 'Oops', { maxAttempts: 2 })
    await queue.start()
    const entry = entryOf()
    await queue.enqueue(entry)
    await until(async () => (await queue.letters.list(DEMO, ANY, 10)).length === 1)
    assert.deepEqual(ran, [
      { id: entry.id, attempt: 1 },
      { id: entry.id, attempt: 2 },
    ])
    const [letter] = await queue.letters.list(DEMO, { ...ANY, functionName: 'f' }, 10)
    assert.deepEqual(
      [letter?.id, letter?.reason, letter?.attempts, letter?.lost, letter?.errorType, letter?.errorMessage, letter?.payloadBytes],
      [entry.id, 'attempts', 2, 0, 'Oops', 'it said Oops\u{fffd}', 2],
    )
    assert.equal(queue.length, 0)
    assert.deepEqual(await queue.letters.list(DEMO, { ...ANY, functionName: 'g' }, 10), [])
    assert.deepEqual(await queue.letters.list('other' as ProjectRef, ANY, 10), [])
  })
  it('spends an attempt on a reply that breaks off: the function has run', async () => {
    const { queue, ran } = open(() => 'breaks off', { maxAttempts: 2 })
    await queue.start()
    await queue.enqueue(entryOf())
    await until(async () => (await queue.letters.list(DEMO, ANY, 10)).length === 1)
    const [letter] = await queue.letters.list(DEMO, ANY, 10)
    assert.deepEqual([letter?.reason, letter?.attempts, letter?.lost, letter?.errorType], ['attempts', 2, 0, 'function_failed'])
    assert.match(letter?.errorMessage ?? '', /broke its response off/)
    assert.equal(ran.length, 2)
  })
  it('spends no attempt on what did not come to user code, and says what is gone', async () => {
    let refusals = 0
    const { queue, ran } = open((event) => {
      if (event.gone) throw new MayflyError('function_not_found', 'no function named f')
      if (refusals++ === 0) throw new MayflyError('too_many_invocations', 'a full house')
      return 'ok'
    })
    await queue.start()
    await queue.enqueue(entryOf({ full: true }))
    // One look: at the next it may run again.
    let seen: Awaited<ReturnType<typeof waiting>> = []
    await until(async () => {
      seen = await waiting()
      return seen[0]?.leased === false && ran.length === 1
    })
    assert.deepEqual(seen, [{ attempt: 1, spent: 0, lost: 0, leased: false }])
    await until(() => queue.length === 0)
    await queue.enqueue(entryOf({ gone: true }))
    await until(() => queue.length === 0)
    assert.deepEqual(
      (await queue.letters.list(DEMO, ANY, 10)).map((letter) => [letter.reason, letter.attempts]),
      [['function_gone', 0]],
    )
  })
  it('takes no more of a function than may run now, and looks again', async () => {
    const busy = randomUUID()
    let free = 2
    let most = 0
    let now = 0
    const { queue, ran } = open(
      async () => {
        most = Math.max(most, ++now)
        await systemClock.sleep(20)
        now--
        return 'ok'
      },
      { freeOf: (functionId) => (functionId === busy ? Math.max(0, free - now) : Number.POSITIVE_INFINITY) },
    )
    for (let n = 0; n < 6; n++) await queue.enqueue(entryOf({}, busy))
    await queue.start()
    await until(() => queue.length === 0)
    assert.deepEqual([ran.length, most], [6, 2])
    free = 0
    await queue.enqueue(entryOf({}, busy))
    await queue.enqueue(entryOf())
    await until(() => ran.length === 7 && queue.length === 1)
    assert.deepEqual(await waiting(), [{ attempt: 0, spent: 0, lost: 0, leased: false }], 'others go on, and it is not even tried')
    free = 1
    await until(() => queue.length === 0)
  })
  it('gives up by age rather than try past it', async () => {
    const { queue } = open(() => 'Oops', { maxAgeMs: 100 })
    await queue.start()
    await queue.enqueue(entryOf())
    await until(async () => (await queue.letters.list(DEMO, ANY, 10)).length === 1)
    assert.equal((await queue.letters.list(DEMO, ANY, 10))[0]?.reason, 'age')
  })
  it('gives up by age what is refused again and again, with no attempt spent', async () => {
    const { queue } = open(
      () => {
        throw new MayflyError('function_concurrency_reached', '0 are reserved for it')
      },
      { maxAgeMs: 100 },
    )
    await queue.start()
    const entry = entryOf()
    await queue.enqueue(entry)
    await until(async () => (await queue.letters.list(DEMO, ANY, 10)).length === 1)
    const [letter] = await queue.letters.list(DEMO, ANY, 10)
    assert.deepEqual([letter?.reason, letter?.attempts, letter?.lost, letter?.errorType], ['age', 0, 0, 'function_concurrency_reached'])
    const [refused] = shownLife(entry.id, await queue.lifeOf(DEMO, entry.id), [])?.attempts ?? []
    assert.deepEqual([refused?.outcome, refused?.errorType, refused?.startedAt], ['refused', 'function_concurrency_reached', null])
  })
  it('takes back what its former life held, at once and without spending an attempt', async () => {
    const entry = entryOf()
    const { queue: first } = open(() => 'ok')
    await first.enqueue(entry)
    // The node dies after the lease: nothing gives it back.
    const leased = await leaseDue(databases.control.sql, HOLDER, { functions: [entry.functionId], slots: [1] }, 60_000)
    assert.equal(leased.length, 1)
    assert.deepEqual(await waiting(), [{ attempt: 1, spent: 0, lost: 0, leased: true }])
    const { queue, ran } = open(() => 'ok')
    await queue.start()
    await until(() => queue.length === 0)
    assert.deepEqual(ran, [{ id: entry.id, attempt: 2 }])
  })
  it('buries what ends nodes after lostLeases times, and not before', async () => {
    const entry = entryOf()
    const { queue: first } = open(() => 'ok')
    await first.enqueue(entry)
    for (const [lost, buried] of [
      [LIMITS.lostLeases.value - 2, 0],
      [LIMITS.lostLeases.value - 1, 1],
    ] as const) {
      await leaseDue(databases.control.sql, HOLDER, { functions: [entry.functionId], slots: [1] }, 60_000)
      await databases.control.sql`update mayfly.entry set lost = ${lost}`
      // It runs without end here, so that only the start can have buried it.
      const { queue } = open(() => new Promise(() => {}), { clock: { ...systemClock, sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 50), signal) } })
      await queue.start()
      assert.equal((await queue.letters.list(DEMO, ANY, 10)).length, buried)
      await queue[Symbol.asyncDispose]()
    }
  })
  it('lets nobody settle what another holder has by now', async () => {
    const entry = entryOf()
    const { queue } = open(() => 'ok')
    await queue.enqueue(entry)
    const slots = { functions: [entry.functionId], slots: [1] }
    const [former] = await leaseDue(databases.control.sql, HOLDER, slots, 60_000)
    await databases.control.sql`update mayfly.entry set leased_until = clock_timestamp() - interval '1 second'`
    const other = open(() => 'ok', { holder: randomUUID() })
    await other.queue.start()
    await until(() => other.queue.length === 0)
    assert.equal(former?.attempt, 1)
    await retryEntry(
      databases.control.sql,
      { id: entry.id, attempt: 1 },
      { waitMs: 0, spent: 1, lost: 0, error: null, told: { errorType: null, errorMessage: null } },
    )
    assert.deepEqual(other.ran, [{ id: entry.id, attempt: 2 }])
    assert.deepEqual(await waiting(), [])
  })
  it('knows of a second run of an entry whose first outlasted its lease, though that ends meanwhile', async () => {
    const ends: (() => void)[] = []
    const { queue, ran } = open(() => new Promise((resolve) => ends.push(() => resolve('ok'))))
    await queue.start()
    await queue.enqueue(entryOf())
    await until(() => ends.length === 1)
    // As after a node that stood still for longer than that.
    await databases.control.sql`update mayfly.entry set leased_until = clock_timestamp() - interval '1 s'`
    await until(() => ends.length === 2)
    ends[0]?.()
    // Behind the group in which the first ends.
    await queue.enqueue(entryOf())
    await until(() => ends.length === 3)
    ends[2]?.()
    await until(async () => (await waiting()).length === 1)
    assert.deepEqual([queue.running, ran.map(({ attempt }) => attempt), (await waiting())[0]?.attempt], [1, [1, 2, 1], 2])
    ends[1]?.()
    await until(() => queue.length === 0 && queue.running === 0)
  })
  const databaseWith = (other: Partial<Pick<Database, 'sql' | 'transaction' | 'flight'>>): Database => ({
    sql: databases.control.sql,
    transaction: (work, signal) => databases.control.transaction(work, signal),
    flight: (work) => databases.control.flight(work),
    script: (text) => databases.control.script(text),
    [Symbol.asyncDispose]: async () => {},
    ...other,
  })
  const isAway = () => new DatabaseError('08006', 'the connection to PostgreSQL was lost')
  it('runs nothing a second time because the answer to its end was lost', async () => {
    const { control } = databases
    // Each settling is done, and its answer is lost twice.
    let lost = 4
    const losing = async <T>(done: Promise<T>): Promise<T> => {
      await done
      // Away, and given way to another transaction.
      if (lost-- > 0) throw lost % 2 === 0 ? isAway() : new DatabaseError('40P01', 'deadlock detected')
      return await done
    }
    const { queue, ran } = open(({ fails }, { attempt }) => (fails && attempt === 1 ? 'Error' : 'ok'), {
      database: databaseWith({ transaction: (work, signal) => losing(control.transaction(work, signal)), flight: (work) => losing(control.flight(work)) }),
    })
    const [good, bad] = [entryOf(), entryOf({ fails: true })]
    await control.transaction(async (tx) => {
      await queue.enqueueIn(tx, [good, bad])
    })
    await queue.start()
    await until(async () => queue.length === 0 && (await waiting()).length === 0)
    const runs = ran.map(({ id, attempt }) => `${id === good.id ? 'good' : 'bad'} ${attempt}`).toSorted()
    assert.deepEqual(runs, ['bad 1', 'bad 2', 'good 1'])
    assert.ok(lost < 0)
  })
  it('gives back what was leased while the answer was lost, though others of its leases are renewed', async () => {
    const { control } = databases
    let isLost = false
    const sql = (async (text: TemplateStringsArray, ...values: never[]) => {
      const rows = await control.sql(text, ...values)
      if (!isLost && rows.length > 0 && text[0]?.includes('with due as materialized')) {
        isLost = true
        throw isAway()
      }
      return rows
    }) as Database['sql']
    const { queue, ran } = open(() => 'ok', { database: databaseWith({ sql }) })
    const entry = entryOf()
    await queue.enqueue(entry)
    await queue.start()
    await until(async () => (await waiting()).length === 0)
    assert.deepEqual([isLost, ran], [true, [{ id: entry.id, attempt: 2 }]])
  })
  it('renews the leases of what runs, and of nothing else', async () => {
    const [runs, gone] = [entryOf(), entryOf()]
    const { queue } = open(() => 'ok')
    for (const entry of [runs, gone]) {
      await queue.enqueue(entry)
      await leaseDue(databases.control.sql, HOLDER, { functions: [entry.functionId], slots: [1] }, 1_000)
    }
    await renewLeases(databases.control.sql, HOLDER, [runs.id], 600_000)
    const renewed = await databases.control.sql<{ id: string }>`select id from mayfly.entry where leased_until > clock_timestamp() + interval '1 minute'`
    assert.deepEqual(
      renewed.map(({ id }) => id),
      [runs.id],
    )
  })
  it('lets no function with many entries hold up one with few', async () => {
    const busy = randomUUID()
    const gate = Promise.withResolvers<void>()
    const { queue, ran } = open(async (event) => {
      if (event.slow) await gate.promise
      return 'ok'
    })
    await Promise.all(Array.from({ length: 100 }, () => queue.enqueue(entryOf({ slow: true }, busy))))
    const quick = entryOf()
    await queue.enqueue(quick)
    await queue.start()
    await until(() => ran.some((one) => one.id === quick.id))
    assert.ok(ran.findIndex((one) => one.id === quick.id) < 8, 'among the first that had room')
    gate.resolve()
    await until(() => queue.length === 0, 20_000)
  })
  it('gives back at its end what did not finish, and counts that against nobody', async () => {
    const { queue, ran } = open(() => new Promise(() => {}), { clock: { ...systemClock, sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 100), signal) } })
    await queue.start()
    await queue.enqueue(entryOf())
    await until(() => ran.length === 1)
    await queue[Symbol.asyncDispose]()
    assert.deepEqual(await waiting(), [{ attempt: 1, spent: 0, lost: 0, leased: false }])
  })
  it('gives back what heeds its end, and what was being stored at that moment', async () => {
    const ran: string[] = []
    const invoke: QueueDeps['invoke'] = ({ id }, signal) => {
      ran.push(id)
      signal.throwIfAborted()
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    }
    const stored = Promise.withResolvers<void>()
    const sql = (async (text: TemplateStringsArray, ...values: never[]) => {
      const rows = await databases.control.sql(text, ...values)
      if (ran.length > 0 && text[0]?.includes('with came as materialized')) await stored.promise
      return rows
    }) as Database['sql']
    const { queue } = open(() => 'ok', { invoke, database: databaseWith({ sql }) })
    await queue.start()
    await queue.enqueue(entryOf())
    await until(() => ran.length === 1)
    const second = queue.enqueue(entryOf())
    await until(async () => (await waiting()).filter(({ leased }) => leased).length === 2)
    const closed = queue[Symbol.asyncDispose]()
    stored.resolve()
    await Promise.all([second, closed])
    assert.deepEqual(await waiting(), Array(2).fill({ attempt: 1, spent: 0, lost: 0, leased: false }))
  })
  it('takes an event of LIMITS.queuedPayload bytes and none of one more', async () => {
    const { queue, ran } = open(() => 'ok')
    await queue.start()
    const bytes = LIMITS.queuedPayload.value
    await queue.enqueue({ ...entryOf(), payload: Buffer.from(JSON.stringify({ a: 'x'.repeat(bytes - 8) })) })
    await until(() => ran.length === 1)
    await assert.rejects(queue.enqueue({ ...entryOf(), payload: Buffer.alloc(bytes + 1, 'x') }), { code: 'payload_too_large' })
  })
  it('refuses an entry with a text that PostgreSQL keeps none of by itself: those of the same instant are stored', async () => {
    const { queue } = open(() => 'ok')
    const texts = [{ qualifier: 'a\0' }, { traceId: '\0' }, { clientContext: '{"a":"\0"}' }, { functionName: 'f\0' }]
    const [good, ...bad] = await Promise.allSettled([entryOf(), ...texts.map((text) => ({ ...entryOf(), ...text }))].map((entry) => queue.enqueue(entry)))
    assert.equal(good?.status, 'fulfilled')
    for (const one of bad) assert.deepEqual([one.status, one.status === 'rejected' && (one.reason as MayflyError).code], ['rejected', 'bad_request'])
    assert.equal((await waiting()).length, 1)
    assert.equal(queue.length, 1)
  })

  it('is full at LIMITS.queuedEntries, and says queue_full', async () => {
    // As many rows as that would take minutes: the count is what it goes by.
    const counted = {
      ...databases.control,
      transaction: databases.control.transaction.bind(databases.control),
      flight: databases.control.flight.bind(databases.control),
      sql: (async (strings: TemplateStringsArray, ...values: unknown[]) =>
        strings.join('').includes('count(*)') ? [{ n: String(LIMITS.queuedEntries.value - 1) }] : await databases.control.sql(strings, ...values)) as never,
    }
    const { queue } = open(() => new Promise(() => {}), {
      database: counted as never,
      clock: { ...systemClock, sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 50), signal) },
    })
    await queue.start()
    await queue.enqueue(entryOf())
    await assert.rejects(queue.enqueue(entryOf()), { code: 'queue_full' })
  })
  it('enters what somebody else commits: nothing before, all of it after, dead letters too', async () => {
    const { queue, ran } = open(() => 'ok')
    await queue.start()
    const stillBorn = (id: string) => ({
      id,
      project: DEMO,
      functionName: 'f',
      payload: Buffer.from('{}'),
      reason: 'recursion' as const,
      errorType: 'recursion_too_deep',
      errorMessage: null,
    })
    await databases.control
      .transaction(async (tx) => {
        await queue.enqueueIn(tx, [entryOf()], [stillBorn(randomUUID())])
        throw new Error('rolled back')
      })
      .catch(() => {})
    assert.equal(queue.length, 0)
    const entered = await databases.control.transaction((tx) => queue.enqueueIn(tx, [entryOf(), entryOf()], [stillBorn(randomUUID())]))
    const from = performance.now()
    entered.committed()
    await until(() => ran.length === 2 && queue.length === 0)
    assert.ok(performance.now() - from < 900, 'the bell was rung')
    assert.deepEqual(
      (await queue.letters.list(DEMO, ANY, 10)).map((letter) => letter.reason),
      ['recursion'],
    )
    assert.equal(await queue.countDeadLetters(), 1)
  })
  it('takes no entry of another transaction past its end, and says queue_full or what the disk says', async () => {
    const { queue } = open(() => 'ok', {
      admitSpace: () => {
        throw new MayflyError('storage_full', 'no room')
      },
    })
    await assert.rejects(
      databases.control.transaction((tx) => queue.enqueueIn(tx, [entryOf()])),
      { code: 'storage_full' },
    )
  })
  it('goes by what a function says of its tries, and by its own settings where it says nothing', async () => {
    const own: Record<string, { maxAttempts: number | null; maxAgeSeconds: number | null }> = {
      once: { maxAttempts: 1, maxAgeSeconds: null },
      brief: { maxAttempts: null, maxAgeSeconds: 0.1 },
      silent: { maxAttempts: null, maxAgeSeconds: null },
    }
    const { queue } = open(() => 'Oops', {
      maxAttempts: 2,
      triesOf: async (_, name) => own[name] ?? Promise.reject(new MayflyError('function_not_found', 'gone')),
    })
    await queue.start()
    for (const functionName of [...Object.keys(own), 'gone']) await queue.enqueue({ ...entryOf(), functionName })
    await until(() => queue.length === 0)
    const ends = (await queue.letters.list(DEMO, ANY, 10)).map((letter) => `${letter.functionName} ${letter.reason} ${letter.attempts}`)
    assert.deepEqual(ends.toSorted(), ['brief age 1', 'gone attempts 2', 'once attempts 1', 'silent attempts 2'])
  })
  it('waits between attempts as a function says, and tells each call how often it has failed', async () => {
    const failures: (number | undefined)[] = []
    const { queue } = open(
      (_, invocation) => {
        failures.push(invocation.failures)
        return 'Oops'
      },
      { triesOf: async () => ({ maxAttempts: 4, maxAgeSeconds: null, retryAfter: 0 }) },
    )
    await queue.start()
    await queue.enqueue(entryOf())
    await until(() => queue.length === 0)
    assert.deepEqual(failures, [0, 1, 2, 3])
  })
  it('replays a dead letter once, as an invocation of its own with the same event', async () => {
    let broken = true
    const events: unknown[] = []
    const { queue, ran } = open(
      (event) => {
        events.push(event)
        return broken ? 'Oops' : 'ok'
      },
      { maxAttempts: 1 },
    )
    await queue.start()
    const entry = entryOf({ n: 7 })
    await queue.enqueue(entry)
    await until(async () => (await queue.letters.list(DEMO, ANY, 10)).length === 1)
    broken = false
    const replays = await Promise.allSettled(Array.from({ length: 5 }, () => queue.letters.replay(DEMO, entry.id, async () => entry.functionId)))
    const [id, ...more] = replays.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    assert.deepEqual(more, [], 'one alone got it')
    for (const one of replays) if (one.status === 'rejected') assert.equal((one.reason as MayflyError).code, 'dead_letter_not_found')
    await until(() => queue.length === 0)
    assert.deepEqual(ran.at(-1), { id, attempt: 1 })
    assert.notEqual(id, entry.id)
    assert.deepEqual(events, [{ n: 7 }, { n: 7 }])
    assert.deepEqual(await queue.letters.list(DEMO, ANY, 10), [])
  })
  it('keeps a dead letter whose replay is refused, and lets no other project touch it', async () => {
    const { queue } = open(() => 'Oops', { maxAttempts: 1 })
    await queue.start()
    const entry = entryOf()
    await queue.enqueue(entry)
    await until(async () => (await queue.letters.list(DEMO, ANY, 10)).length === 1)
    const gone = () => Promise.reject(new MayflyError('function_not_found', 'gone'))
    await assert.rejects(queue.letters.replay(DEMO, entry.id, gone), { code: 'function_not_found' })
    const other = 'other' as ProjectRef
    await assert.rejects(
      queue.letters.replay(other, entry.id, async () => entry.functionId),
      { code: 'dead_letter_not_found' },
    )
    await assert.rejects(queue.letters.remove(other, entry.id), { code: 'dead_letter_not_found' })
    await assert.rejects(queue.letters.one(other, entry.id), { code: 'dead_letter_not_found' })
    assert.equal((await queue.letters.list(DEMO, ANY, 10)).length, 1)
    await queue.letters.remove(DEMO, entry.id)
    await assert.rejects(queue.letters.remove(DEMO, entry.id), { code: 'dead_letter_not_found' })
  })
  it('shows LIMITS.shownPayload bytes of a dead letter, and replays the whole', async () => {
    let length = 0
    const { queue } = open(
      (event) => {
        length = String(event.a).length
        return 'Oops'
      },
      { maxAttempts: 1 },
    )
    await queue.start()
    const bytes = LIMITS.shownPayload.value
    const entry = { ...entryOf(), payload: Buffer.from(JSON.stringify({ a: 'x'.repeat(bytes) })) }
    await queue.enqueue(entry)
    await until(async () => (await queue.letters.list(DEMO, ANY, 10)).length === 1)
    const letter = await queue.letters.one(DEMO, entry.id)
    assert.deepEqual([letter.payload.length, letter.payloadBytes], [bytes, bytes + 8])
    length = 0
    await queue.letters.replay(DEMO, entry.id, async () => entry.functionId)
    await until(() => length === bytes)
  })
  it('shows what waits and what runs of one project', async () => {
    const gate = Promise.withResolvers<void>()
    const { queue, ran } = open(
      async () => {
        await gate.promise
        return 'ok'
      },
      { concurrency: 1 },
    )
    await queue.enqueue(entryOf())
    await queue.start()
    await until(() => ran.length === 1)
    for (let n = 0; n < 3; n++) await queue.enqueue(entryOf())
    await queue.enqueue(entryOf({}, randomUUID(), 'other'))
    const { waiting: n, running, entries } = await queue.entriesOf(DEMO, 2)
    assert.deepEqual([n, running, entries.length], [3, 1, 2])
    assert.deepEqual([entries[0]?.state, entries[0]?.attempt, entries[0]?.id], ['running', 1, ran[0]?.id])
    assert.deepEqual([entries[1]?.state, entries[1]?.attempt], ['waiting', 0])
    gate.resolve()
    await until(() => queue.length === 0)
  })
  /** With what it has asked for, by the first words of the statement that takes what waits. */
  const counted = () => {
    let looks = 0
    const sql = ((text: TemplateStringsArray, ...values: never[]) => {
      if (text[0]?.includes('with due as materialized')) looks++
      return databases.control.sql(text, ...values)
    }) as Database['sql']
    return { database: databaseWith({ sql }), looks: () => looks }
  }
  it('leases what comes while there is a place for it as it is stored, and runs it without another look', async () => {
    const { database, looks } = counted()
    const seen: unknown[] = []
    const entry = { ...entryOf({ text: '"a\\b"' }), traceId: 'Root="1\\2"', qualifier: "li've", clientContext: '{"a":"NULL"}', depth: 2 }
    const { queue } = open(
      async (event, { attempt, queueMs, traceId, qualifier, clientContext, depth }) => {
        seen.push(event.text, attempt, traceId, qualifier, clientContext, depth, (queueMs ?? -1) >= 0)
        seen.push(
          await databases.control.sql`
          select payload, trace_id, qualifier, client_context, depth, attempt, leased_by = ${HOLDER} as ours, leased_until > clock_timestamp() as holds
            from mayfly.entry join mayfly.entry_payload on entry_id = id`,
        )
        return 'ok'
      },
      { database },
    )
    await queue.start()
    await queue.enqueue(entry)
    await until(() => queue.length === 0)
    const { payload, traceId, qualifier, clientContext, depth } = entry
    const stored = { payload, trace_id: traceId, qualifier, client_context: clientContext, depth, attempt: 1, ours: true, holds: true }
    assert.deepEqual(seen, ['"a\\b"', 1, traceId, qualifier, clientContext, depth, true, [stored]])
    assert.equal(looks(), 0)
  })
  it('has nothing run as it comes that has an order to keep, that its function has no place for, or that others stand before', async () => {
    const gate = Promise.withResolvers<void>()
    const { database, looks } = counted()
    const { queue, ran } = open(
      async () => {
        await gate.promise
        return 'ok'
      },
      { database, triesOf: async (_, name) => ({ maxAttempts: null, maxAgeSeconds: null, ...(name === 'one' ? { parallelism: 1 } : {}) }) },
    )
    await queue.start()
    const one = { ...entryOf(), functionName: 'one' }
    await Promise.all([queue.enqueue(one), queue.enqueue({ ...one, id: randomUUID() })])
    await until(() => ran.length === 1)
    await queue.enqueue({ ...one, id: randomUUID() })
    assert.deepEqual((await waiting()).filter(({ leased }) => leased).length, 1)
    assert.equal(looks(), 0)
    await queue.enqueue({ ...entryOf(), orderKey: 'k' })
    await until(() => ran.length === 2)
    assert.equal(looks(), 1)
    gate.resolve()
    await until(() => queue.length === 0)
    assert.equal(ran.length, 4)
  })
  it('leaves places to what waits, however much comes', async () => {
    const gate = Promise.withResolvers<void>()
    const { queue, ran } = open(async () => {
      await gate.promise
      return 'ok'
    })
    await queue.start()
    const slow = randomUUID()
    for (let n = 0; n < 6; n++) await queue.enqueue(entryOf({ n }, slow))
    assert.deepEqual([ran.length, (await waiting()).filter(({ leased }) => leased).length], [6, 6])
    const entered = await databases.control.transaction((tx) => queue.enqueueIn(tx, [entryOf()]))
    entered.committed()
    await until(() => ran.length === 7)
    gate.resolve()
    await until(() => queue.length === 0)
  })
  it('runs what was stored as leased though the answer to that was lost', async () => {
    let isLost = false
    const sql = (async (text: TemplateStringsArray, ...values: never[]) => {
      const rows = await databases.control.sql(text, ...values)
      if (!isLost && text[0]?.includes('with came as materialized')) {
        isLost = true
        throw isAway()
      }
      return rows
    }) as Database['sql']
    const { queue, ran } = open(() => 'ok', { database: databaseWith({ sql }) })
    await queue.start()
    const entry = entryOf()
    await assert.rejects(queue.enqueue(entry), DatabaseError)
    await until(async () => ran.length === 1 && (await waiting()).length === 0)
    assert.deepEqual([isLost, ran], [true, [{ id: entry.id, attempt: 2 }]])
  })
  it('passes the named points of a run in their order', async () => {
    const passed: string[] = []
    const { queue } = open(
      async (_, invocation) => {
        invocation.handed?.()
        await systemClock.sleep(50)
        passed.push('ran')
        return 'ok'
      },
      { crash: (point) => void passed.push(point), recorded: async () => void passed.push('recorded') },
    )
    await queue.start()
    await queue.enqueue(entryOf())
    await until(() => queue.length === 0)
    const run = ['duringRun', 'ran', 'afterRunBeforeRecord', 'recorded', 'afterRunBeforeSettle', 'beforeAckCommit', 'afterAckCommit']
    assert.deepEqual(passed.splice(0), ['beforeLease', 'beforeEnqueueCommit', 'afterEnqueueCommit', 'afterLease', ...run])
    const entered = await databases.control.transaction((tx) => queue.enqueueIn(tx, [entryOf()]))
    entered.committed()
    await until(() => queue.length === 0)
    assert.deepEqual(passed, ['beforeLease', 'afterLease', ...run])
  })
  it('leaves nothing of a project that is gone', async () => {
    const { queue } = open(() => 'ok')
    await queue.enqueue(entryOf())
    await queue.enqueue(entryOf({}, randomUUID(), 'other'))
    await queue.dropProject(DEMO)
    assert.equal(queue.length, 1)
    assert.deepEqual(await databases.control.sql`select project from mayfly.entry_payload`, [{ project: 'other' }])
  })

  describe('destinations', () => {
    const target = { functionId: randomUUID(), functionName: 'told', qualifier: 'live', mayLoop: false }
    const arn = 'arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST'
    const to =
      (change: Partial<NonNullable<Awaited<ReturnType<QueueDeps['destinationsOf']>>>>): QueueDeps['destinationsOf'] =>
      async (_, name) =>
        name === 'f' ? { functionArn: arn, onSuccess: null, onFailure: null, ...change } : null
    /** What the told function gets is kept; the others end as their event says. */
    const openTelling = (changes: Partial<QueueDeps>) => {
      const got: { event: Record<string, unknown>; invocation: Invocation }[] = []
      const { queue } = open((event, invocation) => {
        if (invocation.functionName !== 'told') return (event.end as string | undefined) ?? 'ok'
        got.push({ event, invocation })
        return 'ok'
      }, changes)
      return { queue, got }
    }

    it('are told of a success with the record of Lambda, whose members stand in order', async () => {
      const { queue, got } = openTelling({ destinationsOf: to({ onSuccess: target }) })
      await queue.start()
      const entry = { ...entryOf({ n: 1 }), depth: 3, traceId: 'Root=1-a' }
      await queue.enqueue(entry)
      await until(() => got.length === 1)
      const [{ event, invocation }] = got as [(typeof got)[0]]
      const { timestamp, ...rest } = event
      assert.equal(new Date(timestamp as string).toISOString(), timestamp)
      assert.deepEqual(Object.keys(event), ['version', 'timestamp', 'requestContext', 'requestPayload', 'responseContext', 'responsePayload'])
      assert.deepEqual(rest, {
        version: '1.0',
        requestContext: { requestId: entry.id, functionArn: arn, condition: 'Success', approximateInvokeCount: 1 },
        requestPayload: { n: 1 },
        responseContext: { statusCode: 200, executedVersion: '$LATEST' },
        responsePayload: null,
      })
      assert.deepEqual([invocation.depth, invocation.qualifier, invocation.traceId], [4, 'live', 'Root=1-a'])
      await until(async () => (await waiting()).length === 0 && queue.length === 0)
    })
    it('are told of a failure once it is given up, beside the dead letter', async () => {
      const { queue, got } = openTelling({ destinationsOf: to({ onFailure: target }), maxAttempts: 2 })
      await queue.start()
      await queue.enqueue(entryOf({ end: 'Oops' }))
      await until(() => got.length === 1)
      assert.partialDeepStrictEqual(got[0]?.event, {
        requestContext: { condition: 'RetriesExhausted', approximateInvokeCount: 2 },
        responseContext: { statusCode: 200, executedVersion: '$LATEST', functionError: 'Unhandled' },
        responsePayload: { errorType: 'Oops' },
      })
      assert.deepEqual(
        (await queue.letters.list(DEMO, ANY, 10)).map(({ reason, functionName }) => [functionName, reason]),
        [['f', 'attempts']],
      )
    })
    it('are told of what became too old without having run, and then without a response', async () => {
      const { queue, got } = openTelling({
        destinationsOf: to({ onFailure: target }),
        maxAgeMs: 100,
        invoke: async (invocation) => {
          if (invocation.functionName === 'f') throw new MayflyError('too_many_invocations', 'full')
          const { payload } = (await invocation.content('lambda', {} as never)) as { payload: Uint8Array }
          got.push({ event: JSON.parse(Buffer.from(payload).toString()), invocation })
          return { version: { version: '1' }, result: { kind: 'event', payload: Buffer.from('1') }, over: Promise.resolve({}) } as unknown as Outcome
        },
      })
      await queue.start()
      await queue.enqueue(entryOf())
      await until(() => got.length === 1)
      assert.deepEqual(Object.keys(got[0]?.event ?? {}), ['version', 'timestamp', 'requestContext', 'requestPayload'])
      assert.partialDeepStrictEqual(got[0]?.event, { requestContext: { condition: 'EventAgeExceeded', approximateInvokeCount: 0 } })
    })
    const untold: [string, Partial<QueueDeps>, object, string, string][] = [
      ['is gone', { destinationsOf: to({ onSuccess: { ...target, functionId: null } }) }, {}, 'function_gone', 'function_not_found'],
      ['would make a loop', { destinationsOf: to({ onSuccess: target }) }, { depth: LIMITS.callDepth.value - 1 }, 'recursion', 'recursion_too_deep'],
      [
        'would get more than can be queued',
        { destinationsOf: to({ onSuccess: target }) },
        { payload: Buffer.from(`"${'x'.repeat(LIMITS.queuedPayload.value - 2)}"`) },
        'destination',
        'payload_too_large',
      ],
    ]
    it('keep what a queue that is not there was to be told as a letter, which stays when it is sent again until the queue comes', async () => {
      const { queue } = openTelling({ destinationsOf: to({ onSuccess: { of: 'f', queue: 'mail' } }) })
      await queue.start()
      const entry = entryOf({ n: 1 })
      await queue.enqueue(entry)
      await until(async () => (await queue.letters.list(DEMO, ANY, 10)).length === 1)
      const [letter] = await queue.letters.list(DEMO, ANY, 10)
      assert.deepEqual([letter?.functionName, letter?.queue, letter?.reason, letter?.errorType], ['f', 'mail', 'destination', 'queue_not_found'])
      const there = async () => entry.functionId
      assert.deepEqual(await queue.letters.replayMany(DEMO, ANY, 10, there), { replayed: 0, stayed: 1 })
      await assert.rejects(queue.letters.replay(DEMO, letter?.id ?? '', there), { code: 'queue_not_found' })
      await using queues = new Queues({
        database: databases.control,
        admitSpace: () => {},
        projectBytes: LIMITS.queueBytes.value,
        mostQueues: 1,
        newId: randomUUID,
        crash: noCrash,
        clock: systemClock,
        log: silentLog,
      })
      await queues.start()
      await databases.control.sql`insert into mayfly.project (id, ref, name, state, data_key) values (${randomUUID()}, 'demo', 'demo', 'active', '')`
      const mail = await queues.create(DEMO, 'mail', { maxMessageBytes: 1_024 })
      const next = openTelling({ destinationsOf: to({ onSuccess: { of: 'f', queue: 'mail' } }), queues })
      assert.deepEqual(await next.queue.letters.replayMany(DEMO, ANY, 10, there), { replayed: 1, stayed: 0 })
      assert.deepEqual(await next.queue.letters.list(DEMO, ANY, 10), [])
      const receive = () => queues.receive(mail, { most: 10, waitMs: 10_000 }, new AbortController().signal)
      const [message] = await receive()
      assert.partialDeepStrictEqual(JSON.parse(message?.body ?? ''), {
        requestContext: { requestId: entry.id, condition: 'Success' },
        requestPayload: { n: 1 },
      })
      assert.equal(message?.sender, 'f')
      // What is too long for the queue, even without a response.
      await next.queue.start()
      await next.queue.enqueue(entryOf({ long: 'x'.repeat(1_024) }))
      await until(async () => (await next.queue.letters.list(DEMO, ANY, 10))[0]?.errorType === 'payload_too_large')
    })
    it('keep the letter that the dead-letter queue of a function did not take, tell of it in the life of the call, and send it there with why', async () => {
      await databases.control
        .sql`insert into mayfly.project (id, ref, name, state, data_key) values (${randomUUID()}, 'demo', 'demo', 'active', '') on conflict do nothing`
      const { queue } = openTelling({ destinationsOf: to({ letters: 'letters' }), maxAttempts: 1 })
      await queue.start()
      const entry = entryOf({ n: 1, end: 'TypeError' })
      await queue.enqueue(entry)
      await until(async () => (await queue.letters.list(DEMO, ANY, 10)).length === 2)
      const unsent = (await queue.letters.list(DEMO, { ...ANY, reason: 'destination' }, 10))[0]
      assert.deepEqual([unsent?.functionName, unsent?.queue, unsent?.errorType], ['f', 'letters', 'queue_not_found'])
      const life = async (id: string) => shownLife(id, await selectLife(databases.control.sql, DEMO, id), []) ?? assert.fail(`nothing is known of ${id}`)
      const before = await life(entry.id)
      assert.deepEqual([before.status, before.destination], ['dead', null])
      assert.partialDeepStrictEqual(before.sentLetter, { condition: 'attempts', kind: 'queue', target: 'letters', delivery: unsent?.id, isDead: true })
      await using queues = new Queues({
        database: databases.control,
        admitSpace: () => {},
        projectBytes: LIMITS.queueBytes.value,
        mostQueues: 2,
        newId: randomUUID,
        crash: noCrash,
        clock: systemClock,
        log: silentLog,
      })
      await queues.start()
      const letters = await queues.create(DEMO, 'letters', {})
      const next = openTelling({ destinationsOf: to({ letters: 'letters' }), maxAttempts: 1, queues })
      await next.queue.letters.replay(DEMO, unsent?.id ?? '', async () => entry.functionId)
      const receive = async () => (await queues.receive(letters, { most: 1, waitMs: 10_000 }, new AbortController().signal))[0]
      const message = await receive()
      assert.deepEqual(JSON.parse(message?.body ?? ''), JSON.parse(Buffer.from(entry.payload).toString()))
      assert.deepEqual((JSON.parse(message?.attributes ?? '{}') as { RequestID?: object }).RequestID, { DataType: 'String', StringValue: entry.id })
      assert.equal((await life(entry.id)).sentLetter?.isDead, false)
      // One that is taken is told of as well.
      const taken = entryOf({ n: 2, end: 'TypeError' })
      await next.queue.start()
      await next.queue.enqueue(taken)
      const second = await receive()
      const { sentLetter } = await life(taken.id)
      assert.deepEqual([sentLetter?.delivery, sentLetter?.isDead], [second?.id, false])
    })
    for (const [what, changes, entry, reason, error] of untold)
      it(`leave a dead letter of the record when who is to be told ${what}`, async () => {
        const { queue, got } = openTelling(changes)
        await queue.start()
        await queue.enqueue({ ...entryOf(), ...entry })
        await until(async () => (await queue.letters.list(DEMO, ANY, 10)).length === 1)
        const [letter] = await queue.letters.list(DEMO, ANY, 10)
        assert.deepEqual([letter?.functionName, letter?.qualifier, letter?.reason, letter?.errorType, got.length], ['told', 'live', reason, error, 0])
        assert.equal(queue.length, 0)
      })
    it('go on past the limit of loops where the function may', async () => {
      const { queue, got } = openTelling({ destinationsOf: to({ onSuccess: { ...target, mayLoop: true } }) })
      await queue.start()
      await queue.enqueue({ ...entryOf(), depth: LIMITS.callDepth.value })
      await until(() => got.length === 1)
      assert.equal(got[0]?.invocation.depth, LIMITS.callDepth.value)
    })
    it('are told again when the node ended before the call was settled, never only half', async () => {
      let fails = true
      const { queue, got } = openTelling({
        destinationsOf: async (...call) => {
          if (fails && call[1] === 'f') throw new Error('the database went away')
          return await to({ onSuccess: target })(...call)
        },
      })
      await queue.start()
      await queue.enqueue(entryOf())
      await until(async () => (await waiting()).some(({ leased }) => leased))
      await queue[Symbol.asyncDispose]()
      assert.deepEqual([got.length, (await waiting()).length], [0, 1])
      fails = false
      const next = openTelling({ destinationsOf: to({ onSuccess: target }) })
      await next.queue.start()
      await until(() => next.got.length === 1)
    })
  })
})
