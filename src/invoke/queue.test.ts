import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import type { EmbeddedDatabases } from '../backends/database/embedded.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import type { ProjectRef } from '../core/project.ts'
import { systemClock } from '../lib/clock.ts'
import { Queue, type QueueDeps } from './queue.ts'
import type { Invocation, Outcome } from './service.ts'
import { leaseDue, retryEntry } from './store.ts'

const DEMO = 'demo' as ProjectRef
const HOLDER = randomUUID()

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
  beforeEach(() => databases.control.script('truncate mayfly.entry, mayfly.entry_payload, mayfly.dead_letter'))

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
            : { kind: 'error' as const, errorType: end, payload: Buffer.from(JSON.stringify({ errorType: end, errorMessage: `it said ${end}\0` })) }
        return { result, over: Promise.resolve({}) } as unknown as Outcome
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
    await until(async () => (await queue.deadLetters(DEMO, null, 10)).length === 1)
    assert.deepEqual(ran, [
      { id: entry.id, attempt: 1 },
      { id: entry.id, attempt: 2 },
    ])
    const [letter] = await queue.deadLetters(DEMO, 'f', 10)
    assert.deepEqual(
      [letter?.id, letter?.reason, letter?.attempts, letter?.lost, letter?.errorType, letter?.errorMessage, letter?.payloadBytes],
      [entry.id, 'attempts', 2, 0, 'Oops', 'it said Oops\u{fffd}', 2],
    )
    assert.equal(queue.length, 0)
    assert.deepEqual(await queue.deadLetters(DEMO, 'g', 10), [])
    assert.deepEqual(await queue.deadLetters('other' as ProjectRef, null, 10), [])
  })
  it('spends an attempt on a reply that breaks off: the function has run', async () => {
    const { queue, ran } = open(() => 'breaks off', { maxAttempts: 2 })
    await queue.start()
    await queue.enqueue(entryOf())
    await until(async () => (await queue.deadLetters(DEMO, null, 10)).length === 1)
    const [letter] = await queue.deadLetters(DEMO, null, 10)
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
    await until(async () => (await waiting())[0]?.leased === false && ran.length === 1)
    assert.deepEqual(await waiting(), [{ attempt: 1, spent: 0, lost: 0, leased: false }])
    await until(() => queue.length === 0)
    await queue.enqueue(entryOf({ gone: true }))
    await until(() => queue.length === 0)
    assert.deepEqual(
      (await queue.deadLetters(DEMO, null, 10)).map((letter) => [letter.reason, letter.attempts]),
      [['function_gone', 0]],
    )
  })
  it('gives up by age rather than try past it', async () => {
    const { queue } = open(() => 'Oops', { maxAgeMs: 100 })
    await queue.start()
    await queue.enqueue(entryOf())
    await until(async () => (await queue.deadLetters(DEMO, null, 10)).length === 1)
    assert.equal((await queue.deadLetters(DEMO, null, 10))[0]?.reason, 'age')
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
      assert.equal((await queue.deadLetters(DEMO, null, 10)).length, buried)
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
    await retryEntry(databases.control.sql, { id: entry.id, attempt: 1 }, 0, 1, 0)
    assert.deepEqual(other.ran, [{ id: entry.id, attempt: 2 }])
    assert.deepEqual(await waiting(), [])
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
  it('takes an event of LIMITS.queuedPayload bytes and none of one more', async () => {
    const { queue, ran } = open(() => 'ok')
    await queue.start()
    const bytes = LIMITS.queuedPayload.value
    await queue.enqueue({ ...entryOf(), payload: Buffer.from(JSON.stringify({ a: 'x'.repeat(bytes - 8) })) })
    await until(() => ran.length === 1)
    await assert.rejects(queue.enqueue({ ...entryOf(), payload: Buffer.alloc(bytes + 1, 'x') }), { code: 'payload_too_large' })
  })
  it('is full at LIMITS.queuedEntries, and says queue_full', async () => {
    // As many rows as that would take minutes: the count is what it goes by.
    const counted = {
      ...databases.control,
      transaction: databases.control.transaction.bind(databases.control),
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
  it('leaves nothing of a project that is gone', async () => {
    const { queue } = open(() => 'ok')
    await queue.enqueue(entryOf())
    await queue.enqueue(entryOf({}, randomUUID(), 'other'))
    await queue.dropProject(DEMO)
    assert.equal(queue.length, 1)
    assert.deepEqual(await databases.control.sql`select project from mayfly.entry_payload`, [{ project: 'other' }])
  })
})
