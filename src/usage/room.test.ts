import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { appendFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { EmbeddedDatabases } from '../backends/database/embedded.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { InvocationCounters } from '../core/counters.ts'
import { Journal } from '../core/journal.ts'
import { silentLog } from '../core/log.ts'
import type { MeterRecord } from '../core/meter.ts'
import { systemClock } from '../lib/clock.ts'
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
  waitMs: 0,
  initMs: 0,
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
  let journals = 0
  const journalAt = (name: string) => Journal.open<MeterEntry>(path.join(folder, name), silentLog)
  /** Each test begins as a node with nothing in its tables. */
  const fresh = async () => {
    await databases.control.script('truncate mayfly.invocation_meter; truncate mayfly.journal_position')
    const name = `journal-${journals++}`
    const open = async () => {
      const journal = await journalAt(name)
      return { journal, usage: new Usage({ journal, database: databases.control, clock: systemClock, log: silentLog, counters: new InvocationCounters() }) }
    }
    return { name, open }
  }
  const rows = () =>
    databases.control.sql<{
      outcome: string | null
      billed: string
    }>`select outcome, billed_ms as billed from mayfly.invocation_meter order by started_at, invocation_id`

  it('counts what ended, by function and day, in GB-seconds', async () => {
    const { open } = await fresh()
    const { journal, usage } = await open()
    await usage.start()
    for (const outcome of ['ok', 'ok', 'error', 'timeout'] as const) {
      const start = begun()
      usage.started(start)
      usage.ended(ended(start, { outcome }))
    }
    usage.started(begun())
    const day = new Date(Date.now() - 1_000).toISOString().slice(0, 10)
    assert.deepEqual(await usage.read('demo', 31), [{ day, functionName: 'f', executions: 4, errors: 2, gbSeconds: 4, billedMs: 8_000 }])
    assert.deepEqual(await usage.read('other', 31), [])
    await usage[Symbol.asyncDispose]()
    await journal[Symbol.asyncDispose]()
  })
  it('records a start without an end as cut, once the next life begins, and bills nothing', async () => {
    const { open } = await fresh()
    const first = await open()
    first.journal.append({ start: begun() })
    await first.journal[Symbol.asyncDispose]()
    const { journal, usage } = await open()
    await usage.start()
    assert.deepEqual(await rows(), [{ outcome: 'cut', billed: '0' }])
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
