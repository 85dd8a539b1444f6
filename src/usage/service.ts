import type { Database } from '../backends/database/database.ts'
import type { InvocationCounters } from '../core/counters.ts'
import type { Journal } from '../core/journal.ts'
import { JournalConsumer } from '../core/journal-consumer.ts'
import type { Log } from '../core/log.ts'
import type { Meter, MeterRecord } from '../core/meter.ts'
import type { Clock } from '../lib/clock.ts'
import { cutOpenMeters, type DayUsage, finishMeters, insertStarts, type MeterStart, selectUsage } from './store.ts'

export type MeterEntry = { readonly start: MeterStart } | { readonly end: MeterRecord }

export interface UsageDeps {
  readonly journal: Journal<MeterEntry>
  readonly database: Database
  readonly clock: Clock
  readonly log: Log
  readonly counters: InvocationCounters
}

const nameOf = (one: { readonly invocationId: string; readonly attempt: number }) => `${one.invocationId}/${one.attempt}`

/** What was executed: a start mark and an end record per execution in the journal, one row of each in the database. */
export class Usage implements Meter, AsyncDisposable {
  readonly #deps: UsageDeps
  readonly #consumer: JournalConsumer<MeterEntry>

  constructor(deps: UsageDeps) {
    this.#deps = deps
    this.#consumer = new JournalConsumer({
      ...deps,
      name: 'main/meters',
      store: async (tx, entries) => {
        const ends = new Map<string, MeterRecord>()
        for (const entry of entries) {
          if ('end' in entry && !ends.has(nameOf(entry.end))) ends.set(nameOf(entry.end), entry.end)
        }
        // An execution that began and ended in one batch is one row, written once.
        const starts = entries.flatMap((entry) => ('start' in entry && !ends.has(nameOf(entry.start)) ? [entry.start] : []))
        if (starts.length > 0) await insertStarts(tx, starts)
        if (ends.size > 0) await finishMeters(tx, [...ends.values()])
      },
    })
  }

  /** Before any call runs: what a former life began and never ended is recorded as cut. */
  async start(): Promise<void> {
    await this.#consumer.start()
    await this.#consumer.catchUp()
    const cut = await cutOpenMeters(this.#deps.database.sql, this.#deps.clock.now())
    if (cut.length > 0) this.#deps.log.info({ invocations: cut.length }, 'executions of a former life ended with it')
  }

  /** Records that were lost: not written, or refused by the database. */
  get dropped(): number {
    return this.#deps.journal.dropped + this.#consumer.refused
  }

  get writable(): boolean {
    return this.#deps.journal.writable
  }

  started(start: MeterStart): void {
    this.#deps.journal.append({ start })
  }
  ended(end: MeterRecord): void {
    this.#deps.counters.count(end)
    this.#deps.journal.append({ end })
  }

  settled(): Promise<void> {
    return this.#deps.journal.settled()
  }

  /** Executions, errors and GB-seconds per function and day. */
  async read(project: string, days: number): Promise<DayUsage[]> {
    await this.#consumer.catchUp()
    return await selectUsage(this.#deps.database.sql, project, days)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#consumer[Symbol.asyncDispose]()
  }
}
