import type { Database, Tx } from '../backends/database/database.ts'
import type { Clock } from '../lib/clock.ts'
import type { Journal, JournalPosition } from './journal.ts'
import type { Log } from './log.ts'
import { readJournalPosition, writeJournalPosition } from './store.ts'

const BATCH = 2_000
const IDLE_MS = 1_000

export interface JournalConsumerDeps<T> {
  /** Names the position in the database: unique per process and kind. */
  readonly name: string
  readonly journal: Journal<T>
  readonly database: Database
  readonly clock: Clock
  readonly log: Log
  /** Makes rows of records, in the transaction that also moves the position on. */
  readonly store: (tx: Tx, values: readonly T[]) => Promise<void>
}

/** Moves a journal's records into the database, each exactly once. */
export class JournalConsumer<T> implements AsyncDisposable {
  readonly #deps: JournalConsumerDeps<T>
  readonly #stop = new AbortController()
  #position: JournalPosition | null = null
  #running: Promise<void> | null = null
  #inMove: Promise<void> | null = null
  #moved = Promise.withResolvers<void>()

  constructor(deps: JournalConsumerDeps<T>) {
    this.#deps = deps
  }

  async start(): Promise<void> {
    this.#position = await readJournalPosition(this.#deps.database.sql, this.#deps.name)
    this.#running = this.#run()
  }

  /** Stores all that was appended before this call. */
  async catchUp(): Promise<void> {
    this.#deps.journal.flush()
    await this.#inMove?.catch(() => {})
    await this.#move()
  }

  /** Resolves when something was stored after this call, or after `ms`. */
  async moved(ms: number, signal: AbortSignal): Promise<void> {
    const waiting = new AbortController()
    await Promise.race([this.#moved.promise, this.#deps.clock.sleep(ms, AbortSignal.any([signal, waiting.signal])).catch(() => {})])
    waiting.abort()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
    await this.catchUp().catch((error: Error) => this.#deps.log.warn({ journal: this.#deps.name, error: error.message }, 'the rest of a journal is stored at the next start'))
  }

  async #run(): Promise<void> {
    const { clock, journal, log, name } = this.#deps
    while (!this.#stop.signal.aborted) {
      const changed = journal.changed(clock, IDLE_MS, this.#stop.signal)
      try {
        await this.#move()
      } catch (error) {
        log.warn({ journal: name, error: (error as Error).message }, 'records of a journal could not be stored yet')
        await clock.sleep(IDLE_MS, this.#stop.signal).catch(() => {})
      }
      await changed
      // What is written in one burst becomes one transaction.
      await clock.sleep(20, this.#stop.signal).catch(() => {})
    }
  }

  #move(): Promise<void> {
    this.#inMove ??= this.#moveAll().finally(() => {
      this.#inMove = null
    })
    return this.#inMove
  }

  async #moveAll(): Promise<void> {
    const { journal, database, store, name } = this.#deps
    for (;;) {
      const records = await journal.read(this.#position, BATCH)
      const last = records.at(-1)
      if (!last) return
      const values = records.map((record) => record.value)
      await database.transaction(async (tx) => {
        await store(tx, values)
        await writeJournalPosition(tx, name, last.end)
      })
      this.#position = last.end
      await journal.consumed(last.end)
      const moved = this.#moved
      this.#moved = Promise.withResolvers<void>()
      moved.resolve()
      if (records.length < BATCH) return
    }
  }
}
