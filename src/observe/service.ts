import type { Database } from '../backends/database/database.ts'
import type { Journal } from '../core/journal.ts'
import { JournalConsumer } from '../core/journal-consumer.ts'
import type { Log } from '../core/log.ts'
import type { LogRecord, LogWriter } from '../core/meter.ts'
import type { Clock } from '../lib/clock.ts'
import { deleteOldLines, insertLines, type LinesOf, selectLines, type StoredLine } from './store.ts'

const SWEEP_MS = 3_600_000

export interface LogsDeps {
  readonly journal: Journal<LogRecord>
  readonly database: Database
  readonly clock: Clock
  readonly log: Log
  readonly retentionDays: number
}

/** The log of functions: written to the process's journal, moved to the control database from there. */
export class Logs implements LogWriter, AsyncDisposable {
  readonly #deps: LogsDeps
  readonly #consumer: JournalConsumer<LogRecord>
  #sweeper: NodeJS.Timeout | null = null

  constructor(deps: LogsDeps) {
    this.#deps = deps
    this.#consumer = new JournalConsumer({ ...deps, name: 'main/logs', store: async (tx, records) => void (await insertLines(tx, records)) })
  }

  async start(): Promise<void> {
    await this.#consumer.start()
    this.#sweeper = setInterval(() => void this.sweep(), SWEEP_MS)
    this.#sweeper.unref()
    void this.sweep()
  }

  /** Removes the lines that are too old. */
  async sweep(): Promise<void> {
    const { database, log, retentionDays } = this.#deps
    await deleteOldLines(database.sql, retentionDays).catch((error: Error) => log.warn({ error: error.message }, 'old lines could not be removed'))
  }

  write(record: LogRecord): void {
    this.#deps.journal.append(record)
  }

  /** The last lines of a function, or those after one, oldest first; what was written before this call is among them. */
  async read(of: LinesOf): Promise<StoredLine[]> {
    await this.#consumer.catchUp()
    return await selectLines(this.#deps.database.sql, of)
  }

  /** Records that were lost: not written, or refused by the database. */
  get dropped(): number {
    return this.#deps.journal.dropped + this.#consumer.refused
  }

  /** Resolves when new lines may be there, or after `ms`. */
  changed(ms: number, signal: AbortSignal): Promise<void> {
    return this.#consumer.moved(ms, signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#sweeper) clearInterval(this.#sweeper)
    await this.#consumer[Symbol.asyncDispose]()
  }
}
