import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { appendFileSync, cpSync, mkdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import { type Database, DatabaseError } from '../backends/database/database.ts'
import { EmbeddedDatabases } from '../backends/database/embedded.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { InvocationCounters } from '../core/counters.ts'
import { Journal } from '../core/journal.ts'
import { silentLog } from '../core/log.ts'
import type { MeterRecord } from '../core/meter.ts'
import type { ProjectRef } from '../core/project.ts'
import { systemClock } from '../lib/clock.ts'
import { uuidv7 } from '../lib/ids.ts'
import { readPriceList } from './prices.ts'
import { type MeterEntry, Usage } from './service.ts'

const begun = (more: Partial<MeterRecord> = {}) => ({
  invocationId: randomUUID(),
  attempt: 1,
  project: 'demo',
  functionName: 'f',
  version: '1',
  memoryMb: 512,
  startedAt: Date.now() - 1_000,
  ...more,
})
const ended = (start: ReturnType<typeof begun>, more: Partial<MeterRecord> = {}): MeterRecord => ({
  ...start,
  outcome: 'ok',
  durationMs: 2_000,
  billedMs: 2_000,
  maxMemoryMb: 90,
  cold: null,
  queueMs: null,
  waitMs: 0,
  initMs: 0,
  responseMs: 0,
  bytesIn: 1,
  bytesOut: 2,
  ...more,
})

describe('Usage', () => {
  let folder = ''
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  let databases: EmbeddedDatabases
  before(async () => {
    opened = await openTestDatabases()
    databases = opened.databases
    folder = opened.folder
  })
  after(async () => {
    await opened.close()
  })
  const usageOf = (journal: Journal<MeterEntry>, process: string | null = null, database: Database = databases.control) =>
    new Usage({
      ...(process === null ? {} : { process }),
      journal,
      database,
      clock: systemClock,
      log: silentLog,
      counters: new InvocationCounters(),
      prices: readPriceList(null),
      detailDays: 40,
      totalDays: 731,
    })
  let journals = 0
  const journalAt = (name: string) => Journal.open<MeterEntry>(path.join(folder, name), silentLog)
  /** Each test begins as a node with nothing in its tables. */
  const fresh = async () => {
    await databases.control.script('truncate mayfly.invocation_meter, mayfly.execution_pack, mayfly.usage_day; truncate mayfly.journal_position')
    const name = `journal-${journals++}`
    const open = async () => {
      const journal = await journalAt(name)
      return { journal, usage: usageOf(journal) }
    }
    return { name, open }
  }
  const rows = () =>
    databases.control.sql<{
      outcome: string | null
      billed: string
    }>`select outcome, billed_ms as billed from mayfly.invocation_meter order by started_at, invocation_id`

  /** So many that ended at once, of which nobody else keeps a record. */
  const endAlone = (usage: Usage, functionName: string, count: number, more: Partial<MeterRecord> = {}) =>
    Array.from({ length: count }, (_, n) => {
      const startedAt = Date.now() - 1_000 + (n >> 1)
      const start = begun({ invocationId: uuidv7(startedAt), functionName, startedAt })
      const record = ended(start, { durationMs: 1.25, billedMs: n, maxMemoryMb: n % 3 === 0 ? null : n, waitMs: 0.5, bytesIn: n, ...more })
      usage.ended(record, usage.started(start), true)
      return record
    })
  const packs = async () =>
    (await databases.control.sql<{ executions: number }>`select executions from mayfly.execution_pack order by 1`).map((row) => row.executions)

  /** What the bill is read from, and the same added up from the executions. */
  const sums = async (control = databases.control) => [
    await control.sql`
      select project, to_char(day, 'YYYY-MM-DD') as day, function_name as name, executions, errors, cut, cold, billed_ms, billed_mb_ms, bytes_in, bytes_out
        from mayfly.usage_day order by 1, 2, 3`,
    await control.sql`
      select project, to_char(started_at at time zone 'UTC', 'YYYY-MM-DD') as day, function_name as name,
             count(*) filter (where outcome <> 'cut') as executions, count(*) filter (where outcome in ('error', 'timeout', 'exit')) as errors,
             count(*) filter (where outcome = 'cut') as cut, count(*) filter (where outcome <> 'cut' and cold is not null) as cold,
             coalesce(sum(billed_ms) filter (where outcome <> 'cut'), 0)::bigint as billed_ms,
             coalesce(sum(billed_ms * memory_mb) filter (where outcome <> 'cut'), 0)::bigint as billed_mb_ms,
             coalesce(sum(bytes_in) filter (where outcome <> 'cut'), 0)::bigint as bytes_in,
             coalesce(sum(bytes_out) filter (where outcome <> 'cut'), 0)::bigint as bytes_out
        from (select project, function_name, started_at, outcome, cold, billed_ms, memory_mb, bytes_in, bytes_out from mayfly.invocation_meter
               union all
              select project, function_name, started_at, outcome, cold, billed_ms, memory_mb, bytes_in, bytes_out from mayfly.packed_execution) as execution
       where outcome is not null group by 1, 2, 3 order by 1, 2, 3`,
  ]

  it('keeps apart what several processes began: one that comes back cuts its own alone, a start of the node all', async () => {
    await fresh()
    const open = async (process: string | null) => {
      const journal = await journalAt(`process-${journals++}`)
      return { journal, usage: usageOf(journal, process) }
    }
    const states = async () =>
      (await databases.control.sql<{ process: string; outcome: string | null }>`select process, outcome from mayfly.invocation_meter order by 1`).map(
        ({ process, outcome }) => `${process} ${outcome}`,
      )
    const all = await Promise.all([open(null), open('worker-1'), open('worker-2')])
    for (const { usage } of all) {
      await usage.start()
      usage.started(begun())
      await usage.catchUp()
    }
    assert.deepEqual(await states(), ['main null', 'worker-1 null', 'worker-2 null'])
    const again = await open('worker-1')
    await again.usage.start()
    assert.deepEqual(await states(), ['main null', 'worker-1 cut', 'worker-2 null'])
    const next = await open(null)
    await next.usage.start()
    assert.deepEqual(await states(), ['main cut', 'worker-1 cut', 'worker-2 cut'])
    for (const { usage, journal } of [...all, again, next]) {
      await usage[Symbol.asyncDispose]()
      await journal[Symbol.asyncDispose]()
    }
  })

  it('writes down that an execution has begun only where its end does not come at once', async () => {
    const { open } = await fresh()
    const { journal, usage } = await open()
    const [short, long] = [begun(), begun()]
    usage.started(long)
    usage.ended(ended(short), usage.started(short))
    const told = async () =>
      (await journal.read(null, 10)).map(({ value }) => ('end' in value ? `end ${value.end.invocationId}` : 'start' in value && value.start.invocationId))
    while ((await told()).length < 2) await new Promise((resolve) => setTimeout(resolve, 1))
    assert.deepEqual((await told()).toSorted(), [`end ${short.invocationId}`, long.invocationId].toSorted())
    usage.ended(ended(long), null)
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })

  it('counts what ended, by function and day, in GB-seconds and money', async () => {
    const { open } = await fresh()
    const { journal, usage } = await open()
    await usage.start()
    for (const outcome of ['ok', 'ok', 'error', 'timeout', 'cut'] as const) {
      const start = begun()
      usage.started(start)
      usage.ended(ended(start, { outcome, ...(outcome === 'cut' ? { billedMs: 0 } : { cold: outcome === 'ok' ? null : 'first-call' }) }))
    }
    usage.started(begun())
    const day = new Date(Date.now() - 1_000).toISOString().slice(0, 10)
    // 4 × 0.0000002 + 4 GB-s × 0.0000166667 + 8 bytes × 0.09 / 10^9 = 0.00006746752
    const total = {
      executions: 4,
      errors: 2,
      cut: 1,
      cold: 2,
      billedMs: 8_000,
      gbSeconds: 4,
      bytesIn: 4,
      bytesOut: 8,
      egressIn: 0,
      egressOut: 0,
      cost: '0.000067468',
    }
    const read = await usage.read('demo', 31)
    assert.deepEqual(read, { usage: [{ day, functionName: 'f', ...total }], total, prices: readPriceList(null) })
    assert.deepEqual((await usage.read('demo', 31, 'function')).usage, [{ day: null, functionName: 'f', ...total }])
    assert.deepEqual((await usage.read('demo', 31, 'day')).usage, [{ day, functionName: null, ...total }])
    assert.deepEqual((await usage.read('other', 31)).usage, [])
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('adds up to its executions, in whatever order and however often records come, over ends of the node', async () => {
    const hour = 3_600_000
    const executions = fc.array(
      fc.record({
        functionName: fc.constantFrom('f', 'g'),
        startedAt: fc.integer({ min: -40, max: 0 }).map((hours) => Date.now() + hours * hour),
        memoryMb: fc.constantFrom(128, 10_240),
        outcome: fc.constantFrom('ok', 'error', 'timeout', 'exit', 'cut'),
        billedMs: fc.integer({ min: 1, max: 900_000 }),
        cold: fc.constantFrom(null, 'first-call'),
        bytesIn: fc.nat(1e9),
        bytesOut: fc.nat(1e9),
        attempt: fc.integer({ min: 1, max: 3 }),
      }),
      { minLength: 1, maxLength: 12 },
    )
    const steps = fc.array(
      fc.record({
        of: fc.nat(),
        what: fc.constantFrom('start', 'end', 'end', 'alone', 'few', 'store', 'life', 'lost'),
      }),
      { maxLength: 60 },
    )
    await fc.assert(
      fc.asyncProperty(executions, steps, async (given, todo) => {
        const { open } = await fresh()
        let { journal, usage } = await open()
        await usage.start()
        const made = given.map((one) => ({ ...begun(), ...one }))
        let alone = 0
        for (const { of, what } of todo) {
          const one = made[of % made.length] as (typeof made)[number]
          if (what === 'start') usage.started(one)
          else if (what === 'end') usage.ended(ended(one, one as Partial<MeterRecord>))
          else if (what === 'alone') alone += endAlone(usage, one.functionName, 20).length
          else if (what === 'few') alone += endAlone(usage, one.functionName, 9).length
          else if (what === 'store') await usage.read('demo', 1)
          else {
            // A life that ends; `lost`: and its position with it, so that the journal is read again.
            await usage[Symbol.asyncDispose]()
            await journal[Symbol.asyncDispose]()
            if (what === 'lost') await databases.control.script('truncate mayfly.journal_position')
            ;({ journal, usage } = await open())
            await usage.start()
          }
          if (what === 'store') assert.deepEqual(...((await sums()) as [unknown, unknown]))
        }
        await usage[Symbol.asyncDispose]()
        await journal[Symbol.asyncDispose]()
        const [rolledUp, details] = await sums()
        assert.deepEqual(rolledUp, details)
        // Each that ended counts once: what was cut and ends after all is no longer cut.
        const finished = new Set(todo.filter(({ what }) => what === 'end').map(({ of }) => of % made.length))
        const ran = [...finished].filter((at) => made[at]?.outcome !== 'cut').length
        assert.equal(
          (rolledUp as { executions: string }[]).reduce((sum, row) => sum + Number(row.executions), 0),
          ran + alone,
        )
      }),
      { numRuns: 25 },
    )
  })
  it('removes executions that are too old, and keeps what they add up to', async () => {
    const { open } = await fresh()
    const { journal, usage } = await open()
    const daysAgo = (days: number) => Date.now() - days * 86_400_000
    await usage.start()
    await usage.sweep() // the one that begins with it
    for (const days of [1, 39.9, 40.1, 300, 800]) journal.append({ end: ended(begun({ startedAt: daysAgo(days) })) })
    for (const days of [1, 50]) {
      const startedAt = daysAgo(days)
      for (let n = 0; n < 20; n++) {
        const start = begun({ invocationId: uuidv7(startedAt), startedAt })
        usage.ended(ended(start), usage.started(start), true)
      }
    }
    await usage.catchUp()
    assert.deepEqual(await packs(), [20, 20])
    await usage.sweep()
    assert.deepEqual([(await rows()).length, await packs()], [2, [20]])
    assert.equal((await usage.read('demo', 3_650)).total.executions, 44, 'the sums of more than two years ago go too')
    await usage.dropProject('demo')
    assert.deepEqual([await rows(), (await usage.read('demo', 3_650)).usage], [[], []])
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('counts nothing of what ends when its project is gone, also for one that has its ref since', async () => {
    const { open } = await fresh()
    const { journal, usage } = await open()
    await usage.start()
    const running = begun({ startedAt: Date.now() - 50 })
    usage.started(running)
    await usage.read('demo', 31)
    await usage.dropProject('demo')
    const late = ended(running)
    usage.ended(late)
    // As an entry of the queue whose run outlasts its project.
    await databases.control.transaction((tx) => usage.storeIn(tx, [late]))
    await new Promise((resolve) => setTimeout(resolve, 5))
    const own = begun({ startedAt: Date.now() })
    usage.started(own)
    usage.ended(ended(own))
    const { total } = await usage.read('demo', 31)
    assert.deepEqual([total.executions, total.cut], [1, 0])
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  for (const isConsumerFirst of [true, false]) {
    it(`takes what others take too in the same order as they do: who reads the journal comes ${isConsumerFirst ? 'before' : 'behind'} an entry of the queue`, async () => {
      const { open } = await fresh()
      const { journal, usage } = await open()
      await usage.start()
      const [held, other] = isConsumerFirst ? ['a', 'b'] : ['b', 'a']
      const running = begun({ functionName: held })
      usage.ended(ended(begun({ functionName: 'b' })))
      usage.ended(ended(begun({ functionName: 'a' })))
      usage.started(running)
      await usage.catchUp() // its start stands as a row, and the sums are there
      const records = [ended(running), ended(begun({ functionName: other }))]
      const [isHeld, isOver] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const waiting = async (count: number) => {
        for (;;) {
          const [row] = await databases.control.sql<{ count: number }>`
            select count(*)::int as count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
          if (row?.count === count) return
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      }
      const holder = databases.control.transaction(async (tx) => {
        await tx`select from mayfly.usage_day where function_name = ${held} for update`
        isHeld.resolve()
        await isOver.promise
      })
      await isHeld.promise
      // As by an entry of the queue, whose executions the journal has as well.
      for (const record of records) usage.ended(record)
      const store = () => databases.control.transaction((tx) => usage.storeIn(tx, isConsumerFirst ? records.slice(0, 1) : records))
      const both: Promise<unknown>[] = []
      for (const [at, work] of (isConsumerFirst ? [() => usage.catchUp(), store] : [store, () => usage.catchUp()]).entries()) {
        both.push(work())
        await waiting(at + 1)
      }
      isOver.resolve()
      await holder
      // One of them would be ended as a deadlock otherwise.
      assert.deepEqual(
        (await Promise.allSettled(both)).map(({ status }) => status),
        ['fulfilled', 'fulfilled'],
      )
      await usage.catchUp()
      assert.equal((await usage.read('demo', 2)).total.executions, 4)
      assert.deepEqual(...((await sums()) as [unknown, unknown]))
      await usage[Symbol.asyncDispose]()
      await journal[Symbol.asyncDispose]()
    })
  }
  it('takes what was executed before there were sums into them', async () => {
    const at = path.join(folder, 'older')
    const migrations = path.join(import.meta.dirname, '../../migrations')
    mkdirSync(path.join(at, 'pg'), { recursive: true })
    cpSync(migrations, path.join(at, 'migrations'), { recursive: true, filter: (file) => !/\d{4}_(usage_rollup|egress)/.test(file) })
    const open = (from: string) =>
      EmbeddedDatabases.open({ folder: path.join(at, 'pg'), runtimeBase: tmpdir(), migrations: from, clock: systemClock, log: () => {} })
    {
      await using before = await open(path.join(at, 'migrations'))
      await before.control.script(`
        insert into mayfly.invocation_meter (invocation_id, attempt, project, function_name, version, started_at, outcome, billed_ms, memory_mb, cold, bytes_in)
        select gen_random_uuid(), 1, 'demo', 'f' || n % 3, '1', now() - n * interval '7 hours', (array['ok', 'error', 'cut', null])[n % 4 + 1],
               n, 128, (array['first-call', null])[n % 2 + 1], n from generate_series(1, 100) n`)
    }
    await using now = await open(migrations)
    const [rolledUp, details] = await sums(now.control)
    assert.ok((rolledUp?.length ?? 0) > 30)
    assert.deepEqual(rolledUp, details)
    await now.control.script(`update mayfly.invocation_meter set outcome = 'cut' where outcome is null`)
    assert.deepEqual(...((await sums(now.control)) as [unknown, unknown]))
  })
  it('adds to the day what sandboxes sent to others, each byte once, with or without an execution, and prices it', async () => {
    const { open } = await fresh()
    const first = await open()
    const day = new Date(Date.now() - 1_000).toISOString().slice(0, 10)
    const at = Date.now() - 1_000
    const carried = (functionName: string, bytesIn: number, bytesOut: number) => ({ project: 'demo', functionName, version: '1', at, bytesIn, bytesOut })
    await first.usage.start()
    first.usage.carried(carried('f', 1_000, 2_000_000_000))
    first.usage.carried(carried('f', 1, 0))
    first.usage.carried(carried('g', 7, 9))
    await first.usage.read('demo', 31)
    await first.usage[Symbol.asyncDispose]()
    // Stands in the journal's file when the node ends, and is read by its next life.
    first.journal.append({ egress: carried('g', 3, 1) })
    await first.journal[Symbol.asyncDispose]()
    const { journal, usage } = await open()
    await usage.start()
    const read = await usage.read('demo', 31)
    const shown = read.usage.map((one) => [one.day, one.functionName, one.executions, one.egressIn, one.egressOut, one.cost])
    assert.deepEqual(shown, [
      [day, 'f', 0, 1_001, 2_000_000_000, '0.180000000'],
      [day, 'g', 0, 10, 10, '0.000000001'],
    ])
    assert.deepEqual((await usage.read('other', 31)).usage, [])
    await usage.dropProject('demo')
    assert.deepEqual((await usage.read('demo', 31)).usage, [])
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('records a start without an end as cut, once the next life begins, and bills nothing', async () => {
    const { open } = await fresh()
    const first = await open()
    first.journal.append({ start: begun() })
    // The clock of that life was ahead, and has been set back.
    first.journal.append({ start: begun({ startedAt: systemClock.now() + 86_400_000 }) })
    await first.journal[Symbol.asyncDispose]()
    const { journal, usage } = await open()
    await usage.start()
    assert.deepEqual(await rows(), [
      { outcome: 'cut', billed: '0' },
      { outcome: 'cut', billed: '0' },
    ])
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('makes one row of many that ended at once, and shows each as if it had its own, page by page', async () => {
    const { open } = await fresh()
    const { journal, usage } = await open()
    await usage.start()
    const made: MeterRecord[] = []
    for (let n = 0; n < 3; n++) {
      made.push(...endAlone(usage, 'f', 50))
      const own = begun({ startedAt: Date.now() - 990 })
      usage.ended(ended(own, { outcome: n === 0 ? 'error' : 'ok' }))
      made.push(ended(own))
      await usage.catchUp()
    }
    endAlone(usage, 'g', 60)
    const few = endAlone(usage, 'h', 3)
    await usage.catchUp()
    assert.deepEqual(await packs(), [50, 50, 50, 60])
    assert.equal((await rows()).length, 3 + few.length)
    assert.deepEqual(...((await sums()) as [unknown, unknown]))
    const { total } = await usage.read('demo', 2)
    assert.deepEqual([total.executions, total.billedMs], [153 + 60 + 3, 3 * (1_225 + 2_000) + 1_770 + 3])
    const wanted = made.toSorted((a, b) => b.startedAt - a.startedAt || (a.invocationId < b.invocationId ? -1 : 1)).map(({ invocationId }) => invocationId)
    const paged = async (of: { state: 'succeeded' | 'failed' | 'running' | null; functionName: string | null }, limit: number) => {
      const all = []
      for (;;) {
        const last = all.at(-1)
        const before = last === undefined ? null : { startedUs: last.startedUs, id: last.id, attempt: last.attempt }
        const page = await usage.executions({ project: 'demo', from: null, to: null, before, limit, ...of })
        all.push(...page)
        if (page.length < limit) return all
      }
    }
    for (const limit of [7, 50, 1_000]) {
      assert.deepEqual(
        (await paged({ state: null, functionName: 'f' }, limit)).map(({ id }) => id),
        wanted,
      )
    }
    assert.equal((await paged({ state: null, functionName: null }, 20)).length, 216)
    assert.equal((await paged({ state: 'succeeded', functionName: null }, 20)).length, 215)
    assert.deepEqual(
      [(await paged({ state: 'failed', functionName: 'f' }, 20)).length, (await paged({ state: 'running', functionName: null }, 20)).length],
      [1, 0],
    )
    const one = made[11] as MeterRecord
    const span = { project: 'demo', functionName: 'f', state: null, before: null, limit: 1_000 }
    const within = await usage.executions({ ...span, from: new Date(one.startedAt), to: new Date(one.startedAt + 1) })
    assert.deepEqual(new Set(within.map(({ startedAt }) => startedAt.getTime())), new Set([one.startedAt]))
    const shown = within.find(({ id }) => id === one.invocationId)
    assert.deepEqual(
      [shown?.durationMs, shown?.billedMs, shown?.maxMemoryMb, shown?.waitMs, shown?.bytesIn, shown?.bytesOut, shown?.memoryMb, shown?.outcome, shown?.runMs],
      [1.25, 11, 11, 0.5, 11, 2, 512, 'ok', 1.25],
    )
    assert.deepEqual(
      (await usage.executionsOf('demo' as ProjectRef, one.invocationId)).map(({ attempt, durationMs, functionName }) => [attempt, durationMs, functionName]),
      [[1, 1.25, 'f']],
    )
    assert.deepEqual(await usage.executionsOf('other' as ProjectRef, one.invocationId), [])
    await usage.dropProject('demo')
    assert.deepEqual([await packs(), await rows()], [[], []])
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('lists those of all functions page by page as one list, however many there are and wherever they stand', async () => {
    const { open } = await fresh()
    const { journal, usage } = await open()
    await usage.start()
    for (let n = 0; n < 40; n++) {
      const functionName = `f-${n}`
      if (n % 3 === 0) endAlone(usage, functionName, 17 + n)
      for (let own = 0; own < n % 5; own++) {
        const start = begun({ functionName, startedAt: Date.now() - 1_000 + n * 3 - own * 7 })
        usage.ended(ended(start, { outcome: own === 1 ? 'error' : 'ok' }))
      }
      if (n % 10 === 0) await usage.catchUp()
    }
    endAlone(usage, 'f-0', 40, { project: 'other' })
    await usage.catchUp()
    assert.ok((await packs()).length > 10)
    const all = await databases.control.sql<{ id: string; name: string; outcome: string; at: Date }>`
      select invocation_id as id, function_name as name, outcome, started_at as at from (
        select invocation_id, function_name, outcome, started_at from mayfly.invocation_meter where project = 'demo'
        union all select invocation_id, function_name, outcome, started_at from mayfly.packed_execution where project = 'demo') as one
       order by started_at desc, invocation_id`
    const to = all[all.length >> 2]?.at ?? null
    for (const [state, functionName, until] of [
      [null, null, null],
      ['succeeded', null, null],
      ['failed', null, null],
      [null, 'f-9', null],
      [null, null, to],
    ] as const) {
      const wanted = all.filter(
        ({ name, outcome, at }) =>
          (functionName === null || name === functionName) &&
          (state === null || (outcome === 'ok') === (state === 'succeeded')) &&
          (until === null || at.getTime() < until.getTime()),
      )
      for (const limit of [1, 3, 20, 70, 1_000]) {
        const found: string[] = []
        for (let before = null as { startedUs: string; id: string; attempt: number } | null; ; ) {
          const page = await usage.executions({ project: 'demo', functionName, state, from: null, to: until, before, limit })
          found.push(...page.map(({ id }) => id))
          const last = page.at(-1)
          if (page.length < limit || !last || found.length > 60) break
          before = { startedUs: last.startedUs, id: last.id, attempt: last.attempt }
        }
        assert.deepEqual(
          found,
          wanted.slice(0, found.length).map(({ id }) => id),
          `${state}, ${functionName}, ${until}, ${limit}`,
        )
        assert.ok(found.length > 60 || found.length === wanted.length)
      }
    }
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('counts those once whose position in the journal was lost, and takes what comes after them', async () => {
    const { open } = await fresh()
    for (let life = 1; life <= 3; life++) {
      const { journal, usage } = await open()
      await usage.start()
      endAlone(usage, 'f', 40)
      await usage.catchUp()
      endAlone(usage, 'f', 20)
      await usage[Symbol.asyncDispose]()
      await journal[Symbol.asyncDispose]()
      await databases.control.script('truncate mayfly.journal_position')
      const [rolledUp, details] = await sums()
      assert.deepEqual(rolledUp, details)
      assert.equal((rolledUp as { executions: string }[])[0]?.executions, String(60 * life))
    }
  })
  it('counts those once that were rows before their position was lost, and would be a pack now', async () => {
    const { open } = await fresh()
    for (let life = 1; life <= 2; life++) {
      const { journal, usage } = await open()
      await usage.start()
      for (let batch = 0; batch < 4; batch++) {
        endAlone(usage, 'f', 9)
        await usage.catchUp()
      }
      await usage[Symbol.asyncDispose]()
      await journal[Symbol.asyncDispose]()
      await databases.control.script('truncate mayfly.journal_position')
    }
    const { journal, usage } = await open()
    await usage.start()
    assert.equal((await usage.read('demo', 2)).total.executions, 72)
    assert.deepEqual(...((await sums()) as [unknown, unknown]))
    endAlone(usage, 'f', 40)
    await usage.catchUp()
    assert.deepEqual(await packs(), [40], 'what comes after is told together again')
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('adds nothing again to the sums when those who stood in them are removed and the position is lost', async () => {
    const { open } = await fresh()
    const first = await open()
    await first.usage.start()
    const startedAt = Date.now() - 50 * 86_400_000
    for (let n = 0; n < 20; n++) {
      const start = begun({ invocationId: uuidv7(startedAt), startedAt })
      first.usage.ended(ended(start), first.usage.started(start), true)
    }
    first.usage.ended(ended(begun({ startedAt })))
    await first.usage.catchUp()
    await first.usage.sweep()
    await first.usage[Symbol.asyncDispose]()
    await first.journal[Symbol.asyncDispose]()
    assert.deepEqual([await packs(), await rows()], [[], []])
    await databases.control.script('truncate mayfly.journal_position')
    const { journal, usage } = await open()
    await usage.start()
    assert.equal((await usage.read('demo', 100)).total.executions, 21)
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('counts once what was committed and nobody heard of, at once or later than it is tried again', async () => {
    for (const isLate of [false, true]) {
      await fresh()
      const journal = await journalAt(`journal-${journals++}`)
      let breaks = false
      let others: Promise<unknown> = Promise.resolve()
      const database: Database = {
        sql: databases.control.sql,
        flight: (work) => databases.control.flight(work),
        script: (text) => databases.control.script(text),
        [Symbol.asyncDispose]: async () => {},
        transaction: async (work, signal) => {
          if (!breaks) return await databases.control.transaction(work, signal)
          breaks = false
          const worked = Promise.withResolvers<void>()
          others = databases.control.transaction(async (tx) => {
            const done = await work(tx)
            worked.resolve()
            if (isLate) await new Promise((resolve) => setTimeout(resolve, 200))
            return done
          })
          await (isLate ? worked.promise : others)
          throw new DatabaseError('08006', 'the connection broke')
        },
      }
      const usage = usageOf(journal, null, database)
      await usage.start()
      endAlone(usage, 'f', 40)
      await usage.catchUp()
      endAlone(usage, 'f', 30)
      usage.carried({ project: 'demo', functionName: 'f', version: '1', at: Date.now(), bytesIn: 5, bytesOut: 7 })
      breaks = true
      await usage.catchUp().catch(() => {})
      endAlone(usage, 'f', 20)
      await usage.catchUp()
      await others
      const { total } = await usage.read('demo', 2)
      assert.deepEqual([total.executions, total.egressIn, await packs()], [90, 5, [20, 30, 40]], `late: ${isLate}`)
      assert.deepEqual(...((await sums()) as [unknown, unknown]))
      await usage[Symbol.asyncDispose]()
      await journal[Symbol.asyncDispose]()
    }
  })
  it('goes on from where another has come, or a database that was put back is', async () => {
    const { open } = await fresh()
    const { journal, usage } = await open()
    await usage.start()
    endAlone(usage, 'f', 40)
    await usage.catchUp()
    const before = await databases.control.sql<{ segment: string; position: string }>`select segment, position from mayfly.journal_position`
    endAlone(usage, 'f', 30)
    await usage.catchUp()
    // As a backup from between the two.
    await databases.control.script(`delete from mayfly.execution_pack where executions = 30; update mayfly.usage_day set executions = 40, billed_ms = 780`)
    await databases.control.sql`update mayfly.journal_position set segment = ${before[0]?.segment}, position = ${before[0]?.position}`
    endAlone(usage, 'f', 20)
    await usage.catchUp()
    assert.equal((await usage.read('demo', 2)).total.executions, 90)
    await databases.control.script('truncate mayfly.journal_position')
    endAlone(usage, 'f', 17)
    assert.equal((await usage.read('demo', 2)).total.executions, 107, 'what this life knows is not asked of the database')
    await databases.control.script('update mayfly.journal_position set segment = segment + 7')
    endAlone(usage, 'f', 18)
    assert.equal((await usage.read('demo', 2)).total.executions, 125, 'nor is it taken for a place in this journal that it has not come to')
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('gives those a row of their own that may stand elsewhere too, or are not as most', async () => {
    const { open } = await fresh()
    const { journal, usage } = await open()
    await usage.start()
    endAlone(usage, 'f', 20, { cold: 'first-call' })
    endAlone(usage, 'f', 20, { outcome: 'error' })
    endAlone(usage, 'f', 20, { queueMs: 1 })
    endAlone(usage, 'f', 20, { attempt: 2 })
    for (let n = 0; n < 20; n++) usage.ended(ended(begun()), null, true) // its start stands in the journal, for all that is known
    for (let n = 0; n < 20; n++) {
      const start = begun()
      usage.ended(ended(start), usage.started(start)) // its entry of the queue stores it too
    }
    await usage.catchUp()
    assert.deepEqual([await packs(), (await rows()).length], [[], 120])
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('leaves out of many only what the database refuses, which nobody reads in vain', async () => {
    const { open } = await fresh()
    const { journal, usage } = await open()
    await usage.start()
    endAlone(usage, 'f', 30)
    const wrong = [{ billedMs: 1.5 }, { bytesIn: 2 ** 70 }, { maxMemoryMb: 2 ** 40 }, { durationMs: 'x' as unknown as number }, { invocationId: "'); drop" }]
    for (const one of wrong) endAlone(usage, 'f', 1, one)
    endAlone(usage, 'f', 30)
    await usage.catchUp()
    assert.equal((await usage.invocations({ project: 'demo', functionName: 'f', before: null, limit: 100 })).length, 60)
    assert.equal((await usage.read('demo', 2)).total.executions, 60)
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('counts once what stands in the journal twice, and keeps the first end', async () => {
    const { open } = await fresh()
    const { journal, usage } = await open()
    const start = begun()
    for (const entry of [{ start }, { end: ended(start) }, { end: ended(start, { billedMs: 9_000 }) }]) journal.append(entry)
    await usage.start()
    journal.append({ end: ended(start, { billedMs: 9_999 }) })
    await usage.read('demo', 1)
    assert.deepEqual(await rows(), [{ outcome: 'ok', billed: '2000' }])
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('reads a journal again whose position was lost without counting twice', async () => {
    const { open } = await fresh()
    for (let life = 0; life < 2; life++) {
      const { journal, usage } = await open()
      await usage.start()
      const start = begun()
      usage.started(start)
      usage.ended(ended(start))
      await usage[Symbol.asyncDispose]()
      await journal[Symbol.asyncDispose]()
      await databases.control.script('truncate mayfly.journal_position')
    }
    const { journal, usage } = await open()
    await usage.start()
    assert.equal((await rows()).length, 2)
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('keeps of a record from before its parts were measured what there is', async () => {
    const { open } = await fresh()
    const { journal, usage } = await open()
    const { queueMs: _, responseMs: __, ...before } = ended(begun())
    journal.append({ end: before as MeterRecord })
    await usage.start()
    const [one] = await usage.invocations({ project: 'demo', functionName: 'f', before: null, limit: 10 })
    assert.deepEqual([one?.queueMs, one?.runMs, one?.responseMs, one?.durationMs], [null, 2_000, null, 2_000])
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('leaves out a record that the database refuses, and none of its neighbours', async () => {
    const { open } = await fresh()
    const { journal, usage } = await open()
    for (const id of [null, 'no-uuid', null, null]) {
      const start = begun(id === null ? {} : { invocationId: id })
      journal.append({ end: ended(start) })
    }
    await usage.start()
    assert.equal((await rows()).length, 3)
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('goes on when the journal lost its end, or all, after it was consumed', async () => {
    const { open, name } = await fresh()
    const first = await open()
    for (let n = 0; n < 5; n++) first.journal.append({ end: ended(begun()) })
    await first.usage.start()
    await first.usage[Symbol.asyncDispose]()
    await first.journal[Symbol.asyncDispose]()
    rmSync(path.join(folder, name), { recursive: true })
    const { journal, usage } = await open()
    await usage.start()
    usage.ended(ended(begun()))
    await usage.read('demo', 1)
    assert.equal((await rows()).length, 6)
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('takes a torn end for what it is', async () => {
    const { open, name } = await fresh()
    const first = await open()
    first.journal.append({ end: ended(begun()) })
    await first.journal[Symbol.asyncDispose]()
    appendFileSync(path.join(folder, name, '000000000001.log'), Buffer.from([9, 0, 0, 0, 1]))
    const { journal, usage } = await open()
    await usage.start()
    usage.ended(ended(begun()))
    await usage.read('demo', 1)
    assert.equal((await rows()).length, 2)
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
})
