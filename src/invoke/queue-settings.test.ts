import assert from 'node:assert/strict'
import { createHmac, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import type { Database } from '../backends/database/database.ts'
import type { EmbeddedDatabases } from '../backends/database/embedded.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { noCrash } from '../core/crash.ts'
import { silentLog } from '../core/log.ts'
import type { ProjectRef } from '../core/project.ts'
import { publicFetch } from '../core/public-fetch.ts'
import { systemClock } from '../lib/clock.ts'
import { ANY } from './letters/service.ts'
import { shownLife } from './lives/shown.ts'
import { Queue, type QueueDeps } from './queue.ts'
import { NO_QUEUES } from './queues-fixture.ts'
import type { Outcome } from './service.ts'
import type { Tries } from './settling.ts'
import { leaseDue, type NewEntry, selectWaitingFunctions } from './store.ts'

const DEMO = 'demo' as ProjectRef
const UNSAID = { maxAttempts: null, maxAgeSeconds: null }

describe('what a function says of its queued calls', () => {
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  let databases: EmbeddedDatabases
  before(async () => {
    opened = await openTestDatabases()
    databases = opened.databases
  })
  after(() => opened.close())
  beforeEach(() =>
    databases.control.script(
      'truncate mayfly.entry, mayfly.entry_payload, mayfly.dead_letter, mayfly.entry_failure, mayfly.entry_key, mayfly.kept_result, mayfly.told_outcome',
    ),
  )
  const queues: Queue[] = []
  afterEach(async () => {
    for (const queue of queues.splice(0)) await queue[Symbol.asyncDispose]()
  })

  /** `run` gives the name of an error, or null for an answer that is the event. */
  const open = (own: Partial<Tries>, run: (n: number, attempt: number) => string | null | Promise<string | null>, changes: Partial<QueueDeps> = {}) => {
    const ran: number[] = []
    const queue = new Queue({
      database: databases.control,
      admitSpace: () => {},
      recorded: async () => {},
      holder: randomUUID(),
      concurrency: 8,
      maxAttempts: 3,
      maxAgeMs: 3_600_000,
      deadLetterDays: 14,
      triesOf: async () => ({ ...UNSAID, retryAfter: 0, ...own }),
      destinationsOf: async () => null,
      queues: NO_QUEUES,
      webhooks: { fetch: () => Promise.reject(new Error('nobody is told here')), secretOf: async () => null, now: () => systemClock.now() },
      newId: randomUUID,
      crash: noCrash,
      clock: systemClock,
      random: () => 0,
      log: silentLog,
      invoke: async (invocation) => {
        const { payload } = (await invocation.content('lambda', {} as never)) as { payload: Uint8Array }
        const { n } = JSON.parse(Buffer.from(payload).toString()) as { n: number }
        ran.push(n)
        const errorType = await run(n, invocation.attempt ?? 1)
        const result =
          errorType === null
            ? { kind: 'event' as const, payload }
            : { kind: 'error' as const, errorType, payload: Buffer.from(JSON.stringify({ errorType, errorMessage: `no ${n}` })) }
        return { version: { version: '$LATEST' }, result, over: Promise.resolve({}) } as unknown as Outcome
      },
      ...changes,
    })
    queues.push(queue)
    return { queue, ran }
  }
  const F = randomUUID()
  const entryOf = (event: object, changes: Partial<NewEntry> = {}): NewEntry => ({
    id: randomUUID(),
    project: DEMO,
    functionId: F,
    functionName: 'f',
    traceId: null,
    clientContext: null,
    depth: 0,
    payload: Buffer.from(JSON.stringify(event)),
    ...changes,
  })
  const until = async (what: () => boolean | Promise<boolean>, ms = 20_000) => {
    for (const end = performance.now() + ms; performance.now() < end; await systemClock.sleep(5)) if (await what()) return
    assert.fail('it did not come to that')
  }

  /** As only one that there is can be paused. */
  const someFunction = async (): Promise<string> => {
    const [project, id, version] = [randomUUID(), randomUUID(), randomUUID()]
    const sha = 'a'.repeat(64)
    await databases.control.script(`begin;
      insert into mayfly.project (id, ref, name, state, data_key) values ('${project}', 'p${project}', 'p', 'active', '');
      insert into mayfly.artefact (project_id, sha256, bytes) values ('${project}', '${sha}', 1);
      insert into mayfly.function (id, project_id, name, version_id, revision_id) values ('${id}', '${project}', 'p', '${version}', '${version}');
      insert into mayfly.function_version (id, function_id, project_id, definition, artefact, code_bytes, state)
        values ('${version}', '${id}', '${project}', '{}', '${sha}', 1, 'active');
      commit`)
    return id
  }

  it('keeps the order of each key with retries in between, past one that is given up, and lets the keys run beside each other', async () => {
    const failing = new Map<number, number>([
      [3, 2],
      [7, 99],
    ])
    const { queue, ran } = open({ orderBy: 'key' }, async (n) => {
      await systemClock.sleep(n % 3)
      const left = failing.get(n) ?? 0
      failing.set(n, left - 1)
      return left > 0 ? 'NotYet' : null
    })
    // Half of them come in one group, half one by one, and some while others run.
    await Promise.all(Array.from({ length: 10 }, (_, n) => queue.enqueue(entryOf({ n, key: n % 2 === 0 ? 'even' : 'odd' }))))
    await queue.start()
    for (let n = 10; n < 20; n++) await queue.enqueue(entryOf({ n, key: n % 2 === 0 ? 'even' : 'odd' }))
    await until(() => queue.length === 0)
    const odd = ran.filter((n) => n % 2 === 1)
    assert.deepEqual(odd, [1, 3, 3, 3, 5, 7, 7, 7, 9, 11, 13, 15, 17, 19])
    assert.deepEqual(
      ran.filter((n) => n % 2 === 0),
      [0, 2, 4, 6, 8, 10, 12, 14, 16, 18],
    )
    assert.equal((await queue.letters.list(DEMO, ANY, 10)).length, 1, 'the one that always failed')
  })
  it('keeps the order where entries come while the first of their key ends', async () => {
    const { queue, ran } = open({}, () => null)
    await queue.start()
    const COUNT = 50
    for (let n = 0; n < COUNT; n++) await queue.enqueue(entryOf({ n }, { orderKey: 'one' }))
    await until(() => queue.length === 0)
    assert.deepEqual(
      ran,
      Array.from({ length: COUNT }, (_, n) => n),
    )
  })
  it('runs no more at once than it says', async () => {
    let at = 0
    let most = 0
    const { queue } = open({ parallelism: 2 }, async () => {
      most = Math.max(most, ++at)
      await systemClock.sleep(5)
      at--
      return null
    })
    await Promise.all(Array.from({ length: 12 }, (_, n) => queue.enqueue(entryOf({ n }))))
    await queue.start()
    await until(() => queue.length === 0)
    assert.equal(most, 2)
  })
  it('begins no more in a second than it says', async () => {
    const began: number[] = []
    const { queue } = open({ rate: 4 }, () => {
      began.push(performance.now())
      return null
    })
    await Promise.all(Array.from({ length: 9 }, (_, n) => queue.enqueue(entryOf({ n }))))
    await queue.start()
    await until(() => queue.length === 0)
    assert.equal(began.length, 9)
    // A slow machine makes the span longer, never shorter, but for the way from the lease to the run.
    assert.ok((began[8] as number) - (began[0] as number) >= 1_900, `${began.map(Math.round)}`)
  })
  it('begins nothing of a function that is paused between the look that found it and the lease', async () => {
    const { control } = databases
    const functionId = await someFunction()
    let isPaused = false
    const database: Database = {
      sql: (async (strings: TemplateStringsArray, ...values: unknown[]) => {
        const rows = await control.sql(strings, ...values)
        if (!isPaused && rows.length > 0 && strings.join('').includes('with recursive waiting')) {
          await queue.pause(functionId)
          isPaused = true
        }
        return rows
      }) as Database['sql'],
      transaction: (work, signal) => control.transaction(work, signal),
      flight: (work) => control.flight(work),
      script: (text) => control.script(text),
      [Symbol.asyncDispose]: async () => {},
    }
    const { queue, ran } = open({}, () => null, { database, concurrency: 2 })
    await Promise.all(Array.from({ length: 20 }, (_, n) => queue.enqueue(entryOf({ n }, { functionId }))))
    await queue.start()
    await until(() => isPaused)
    // What begins all the same would do so before this one, which comes to another function.
    await queue.enqueue(entryOf({ n: 99 }))
    await until(() => ran.includes(99))
    await until(() => queue.running === 0)
    assert.deepEqual([ran, queue.length], [[99], 20])
    await queue.resume(functionId)
    await until(() => queue.length === 0)
  })
  it('lets entries wait while a function is paused, and loses none, however old they are by then', async () => {
    const paused = await someFunction()
    const { queue, ran } = open({ maxAgeSeconds: 60 }, (_, attempt) => (attempt === 1 ? 'NotYet' : null))
    await queue.start()
    const since = await queue.pause(paused)
    assert.deepEqual(await queue.pause(paused), since, 'a second pause changes nothing')
    const entry = entryOf({ n: 1 }, { functionId: paused })
    await queue.enqueue(entry)
    await queue.enqueue(entryOf({ n: 2 }))
    await until(() => ran.filter((n) => n === 2).length === 2)
    assert.deepEqual(ran.includes(1), false)
    assert.deepEqual([...(await queue.pausedOf([paused, F])).keys()], [paused])
    assert.equal(shownLife(entry.id, await queue.lifeOf(DEMO, entry.id), [])?.status, 'paused')
    await databases.control.sql`update mayfly.entry set enqueued_at = clock_timestamp() - interval '1 day' where id = ${entry.id}`
    assert.equal(await queue.resume(paused), true)
    assert.equal(await queue.resume(paused), false)
    await until(() => queue.length === 0)
    assert.deepEqual(
      ran.filter((n) => n === 1),
      [1, 1],
      'it was tried again, as it was no older than its pause left it',
    )
    assert.deepEqual(await queue.letters.list(DEMO, ANY, 10), [])
  })
  it('queues an event once for each key, also of one instant, and again when the window is over', async () => {
    const { queue, ran } = open({ onceWithinSeconds: 60 }, () => null)
    const ids = await Promise.all(Array.from({ length: 6 }, (_, n) => queue.enqueue(entryOf({ n }), `key-${n % 2}`)))
    assert.equal(new Set(ids).size, 2)
    assert.equal(queue.length, 2)
    const again = await queue.enqueue(entryOf({ n: 6 }), 'key-0')
    assert.ok(ids.includes(again))
    await queue.enqueue(entryOf({ n: 7 }, { functionId: randomUUID() }), 'key-0')
    assert.equal(queue.length, 3, 'the key of another function is another')
    await queue.start()
    await until(() => queue.length === 0)
    assert.deepEqual(ran.toSorted(), [0, 1, 7])
    await databases.control.sql`update mayfly.entry_key set expires_at = clock_timestamp()`
    assert.ok(!ids.includes(await queue.enqueue(entryOf({ n: 8 }), 'key-0')))
  })
  it('shows the life of an invocation from its first attempt to what it answered', async () => {
    const gate = Promise.withResolvers<void>()
    const { queue } = open({ keepResultSeconds: 60 }, async (_, attempt) => {
      if (attempt === 1) return 'TypeError'
      await gate.promise
      return null
    })
    const entry = entryOf({ n: 1, told: 'so' })
    await queue.enqueue(entry)
    const life = async () => shownLife(entry.id, await queue.lifeOf(DEMO, entry.id), [])
    assert.equal((await life())?.status, 'waiting')
    await queue.start()
    await until(async () => (await life())?.status === 'running' && (await life())?.attempts.length === 1)
    const { attempt, errorType, errorMessage, nextAt } = (await life())?.attempts[0] ?? {}
    assert.deepEqual([attempt, errorType, errorMessage], [1, 'TypeError', 'no 1'])
    assert.ok(nextAt)
    gate.resolve()
    await until(() => queue.length === 0)
    const ended = await life()
    assert.deepEqual([ended?.status, ended?.result?.isError, ended?.result?.payload], ['succeeded', false, { n: 1, told: 'so' }])
    assert.equal(shownLife(entry.id, await queue.lifeOf('other' as ProjectRef, entry.id), [])?.result ?? null, null, 'no other project sees it')
  })
  it('stores what a run used in the transaction that ends it, or does neither', async () => {
    const stored: unknown[] = []
    let refuses = true
    const record = { invocationId: 'x' }
    const { queue } = open({}, () => null, {
      meterIn: async (_, records) => {
        if (refuses) throw new Error('not now')
        stored.push(...records)
      },
      invoke: async () =>
        ({
          version: { version: '$LATEST' },
          result: { kind: 'event', payload: Buffer.from('null') },
          over: Promise.resolve({ record }),
        }) as unknown as Outcome,
    })
    await queue.enqueue(entryOf({ n: 1 }))
    await queue.start()
    await until(() => queue.running === 0 && refuses)
    assert.equal(queue.length, 1, 'its entry is there as long as that is not stored')
    refuses = false
    await databases.control.sql`update mayfly.entry set leased_until = clock_timestamp() where leased_until is not null`
    await until(() => queue.length === 0)
    assert.ok(stored.length >= 1 && stored.every((one) => one === record))
  })
  it('sends dead letters again by reason and error, with another event where that is said, and drops others', async () => {
    let broken = true
    const { queue, ran } = open({ maxAttempts: 1 }, (n) => (broken ? (n === 2 ? 'Other' : 'TypeError') : null))
    const entries = [0, 1, 2].map((n) => entryOf({ n }))
    for (const entry of entries) await queue.enqueue(entry)
    await queue.start()
    await until(async () => (await queue.letters.list(DEMO, ANY, 10)).length === 3)
    broken = false
    ran.length = 0
    const functionOf = async () => F
    const typeErrors = { ...ANY, errorType: 'TypeError' }
    assert.deepEqual(await queue.letters.replayMany(DEMO, { ...ANY, reason: 'age' }, 10, functionOf), { replayed: 0, stayed: 0 })
    const [newest, , oldest] = await queue.letters.list(DEMO, ANY, 10)
    // As they are told, in milliseconds: both ends of a span belong to it.
    const span = async (from: Date | undefined, to: Date | undefined) =>
      (await queue.letters.list(DEMO, { ...ANY, from: from ?? null, to: to ?? null }, 10)).map(({ id }) => id)
    assert.equal((await span(oldest?.deadAt, newest?.deadAt)).length, 3)
    assert.equal((await span(newest?.deadAt, undefined))[0], newest?.id)
    assert.deepEqual(await span(new Date(Date.now() + 60_000), undefined), [])
    assert.deepEqual(await span(undefined, new Date((oldest?.deadAt.getTime() ?? 0) - 1)), [])
    const whole: string[] = []
    for await (const letter of queue.letters.whole(DEMO, typeErrors)) whole.push(letter.payload.toString())
    assert.deepEqual(whole.toSorted(), ['{"n":0}', '{"n":1}'])
    assert.equal(await queue.letters.replay(DEMO, entries[2]?.id ?? '', functionOf, Buffer.from('{"n":9}')).then((id) => typeof id), 'string')
    assert.deepEqual(await queue.letters.replayMany(DEMO, typeErrors, 1, functionOf), { replayed: 1, stayed: 0 })
    assert.equal(await queue.letters.removeMany(DEMO, typeErrors, 10), 1)
    assert.equal(await queue.letters.removeMany('other' as ProjectRef, ANY, 10), 0)
    await until(() => queue.length === 0)
    // Which of the two was given up last, and so came again, is open: they ran at the same time.
    assert.equal(ran.length, 2)
    assert.ok(ran.includes(9) && !ran.includes(2), ran.join())
  })

  describe('webhooks', () => {
    const SECRET = `whsec_${Buffer.from('a secret of twenty-four b').toString('base64')}`
    const heard: { id: string; isSigned: boolean; body: Record<string, unknown> }[] = []
    let answers: number[] = []
    const receiver = createServer(async (request, response) => {
      const body = Buffer.concat(await request.toArray())
      const { 'webhook-id': id = '', 'webhook-timestamp': at = '', 'webhook-signature': signature = '' } = request.headers as Record<string, string>
      const key = Buffer.from(SECRET.slice('whsec_'.length), 'base64')
      const own = `v1,${createHmac('sha256', key).update(`${id}.${at}.${body}`).digest('base64')}`
      heard.push({ id, isSigned: own === signature && Math.abs(Number(at) - Date.now() / 1000) < 300, body: JSON.parse(String(body)) })
      response.writeHead(answers.shift() ?? 204, { location: `${origin}/elsewhere` }).end()
    })
    let origin = ''
    before(async () => {
      receiver.listen(0, '127.0.0.1')
      await once(receiver, 'listening')
      origin = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
    })
    after(() => receiver.close())
    beforeEach(() => {
      heard.length = 0
      answers = []
    })
    const telling = (allowed: readonly string[], secret: string | null = SECRET) => ({
      destinationsOf: async () => ({ functionArn: 'arn', onSuccess: { of: 'f', url: `${origin}/hook`, secret: 'HOOK' }, onFailure: null }),
      webhooks: {
        fetch: (url: string, asked: Parameters<typeof publicFetch>[1]) => publicFetch(url, asked, allowed),
        secretOf: async () => secret,
        now: () => systemClock.now(),
      },
    })
    const hurry = async (queue: Queue) => {
      await databases.control.sql`update mayfly.entry set due_at = clock_timestamp() where due_at > clock_timestamp()`
      // Who lets something go on has the queue look.
      await queue.resume(randomUUID())
    }

    it('tells an address of an outcome, signed, again until it is taken, under one id', async () => {
      answers = [500, 302]
      const { queue } = open({}, () => null, telling([origin]))
      const entry = entryOf({ n: 1 })
      await queue.enqueue(entry)
      await queue.start()
      await until(async () => {
        await hurry(queue)
        return heard.length === 3 && queue.length === 0
      })
      assert.deepEqual([new Set(heard.map(({ id }) => id)).size, heard.every(({ isSigned }) => isSigned)], [1, true])
      const { requestContext, requestPayload, responsePayload } = (heard[2]?.body ?? {}) as {
        requestContext: { requestId: string; condition: string }
      } & Record<string, unknown>
      assert.deepEqual([requestContext.requestId, requestContext.condition, requestPayload, responsePayload], [entry.id, 'Success', { n: 1 }, { n: 1 }])
      const ran = { attempt: 1, functionName: 'f', version: '$LATEST', startedAt: new Date(5_000), outcome: 'ok', durationMs: 1, queueMs: 2_000 } as const
      const told = shownLife(entry.id, await queue.lifeOf(DEMO, entry.id), [ran])
      assert.equal(told?.enqueuedAt, new Date(3_000).toISOString(), 'when it was queued is known by what was metered')
      assert.deepEqual([told?.destination?.kind, told?.destination?.target, told?.destination?.delivery], ['webhook', `${origin}/hook`, heard[0]?.id])
    })
    it('reaches nobody that only the node can reach, and makes a dead letter of what is never taken, which can be sent again', async () => {
      const { queue } = open({}, () => null, telling([]))
      await queue.enqueue(entryOf({ n: 1 }))
      await queue.start()
      await until(async () => {
        await hurry(queue)
        return (await queue.letters.list(DEMO, ANY, 10)).length === 1
      })
      const [letter] = await queue.letters.list(DEMO, ANY, 10)
      assert.deepEqual([letter?.errorType, letter?.url, letter?.functionName], ['Webhook.Unreachable', `${origin}/hook`, 'f'])
      assert.match(letter?.errorMessage ?? '', /no public address/)
      assert.deepEqual(heard, [])
      await queue[Symbol.asyncDispose]()
      const other = open({}, () => null, telling([origin]))
      await other.queue.start()
      const never = () => Promise.reject(new Error('no function is meant'))
      await other.queue.letters.replay(DEMO, letter?.id ?? '', never)
      await until(() => heard.length === 1 && other.queue.length === 0)
    })
    it('sends nothing that it cannot sign', async () => {
      const { queue } = open({}, () => null, telling([origin], null))
      await queue.enqueue(entryOf({ n: 1 }))
      await queue.start()
      await until(async () => (await databases.control.sql`select 1 from mayfly.entry_failure where error_type = 'Webhook.NoSecret'`).length > 0)
      assert.deepEqual(heard, [])
    })
  })

  it('comes to the head of a long queue by some pages of an index, whatever stands behind it, is held or is paused', async () => {
    const COUNT = 120_000
    await databases.control.script(`
      insert into mayfly.entry (id, function_id, due_at, order_key, held)
      select gen_random_uuid(), ('00000000-0000-4000-8000-' || lpad((n % 5)::text, 12, '0'))::uuid, clock_timestamp() - n * interval '1 ms',
             case when n % 5 = 4 then 'k' end, n % 5 = 4 and n > 4
        from generate_series(1, ${COUNT}) as n;
      insert into mayfly.entry_payload (entry_id, project, function_name, depth, payload) select id, 'demo', 'f', 0, '{}' from mayfly.entry;
      analyze mayfly.entry; analyze mayfly.entry_payload`)
    const plan = await databases.control.transaction(async (tx) => {
      const free = { functions: Array.from({ length: 5 }, (_, n) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`), slots: [4, 4, 4, 4, 4] }
      const before = await pagesOf(tx)
      const waiting = await selectWaitingFunctions(tx)
      const middle = await pagesOf(tx)
      const leased = await leaseDue(tx, randomUUID(), free, 60_000)
      const after = await pagesOf(tx)
      return { waiting: waiting.length, leased: leased.length, looked: middle - before, claimed: after - middle }
    })
    assert.equal(plan.waiting, 5)
    assert.equal(plan.leased, 17, 'four of each but of the one whose entries stand behind each other')
    assert.ok(plan.looked < 200 && plan.claimed < 1_000, JSON.stringify(plan))

    // What has ended, few as they are beside those behind them, is out of the way once the table was vacuumed.
    await databases.control.script(`
      with came as (
        insert into mayfly.entry (id, function_id, due_at)
        select gen_random_uuid(), '00000000-0000-4000-8000-000000000009', clock_timestamp() - interval '1 hour' + n * interval '1 ms' from generate_series(1, 2000) as n
        returning id)
      insert into mayfly.entry_payload (entry_id, project, function_name, depth, payload) select id, 'demo', 'f', 0, '{}' from came;
      delete from mayfly.entry
       where function_id = '00000000-0000-4000-8000-000000000009' and due_at < (select max(due_at) from mayfly.entry where function_id = '00000000-0000-4000-8000-000000000009')`)
    await databases.control.script('vacuum mayfly.entry')
    const after = await databases.control.transaction(async (tx) => {
      const before = await pagesOf(tx)
      return { waiting: (await selectWaitingFunctions(tx)).length, looked: (await pagesOf(tx)) - before }
    })
    assert.equal(after.waiting, 5, 'of the first five the ordered one runs by now')
    assert.ok(after.looked < plan.looked + 30, JSON.stringify({ plan, after }))
  })
})

/** How many pages of the queue's tables and indexes this transaction has read so far. */
const pagesOf = async (tx: Parameters<typeof selectWaitingFunctions>[0]): Promise<number> => {
  const [row] = await tx<{ pages: string }>`
    select sum(pg_stat_get_xact_blocks_fetched(oid)) as pages from pg_class
     where oid in ('mayfly.entry'::regclass, 'mayfly.entry_payload'::regclass)
        or oid in (select indexrelid from pg_index where indrelid in ('mayfly.entry'::regclass, 'mayfly.entry_payload'::regclass))`
  return Number(row?.pages ?? 0)
}
