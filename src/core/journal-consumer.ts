import { type Database, DatabaseError, type Tx } from '../backends/database/database.ts'
import { Bell } from '../lib/bell.ts'
import type { Clock } from '../lib/clock.ts'
import type { Journal, JournalPosition, JournalRecord } from './journal.ts'
import type { Log } from './log.ts'
import { readJournalPosition, writeJournalPosition } from './store.ts'

const BATCH = 2_000
const IDLE_MS = 1_000
const BURST_MS = 200

export interface JournalConsumerDeps<T> {
  /** Names the position in the database: unique per process and kind. */
  readonly name: string
  readonly journal: Journal<T>
  readonly database: Database
  readonly clock: Clock
  readonly log: Log
  /** Makes rows of records, in the transaction that also moves the position on, to `end`. */
  readonly store: (tx: Tx, values: readonly T[], end: JournalPosition) => Promise<void>
  /** How far the rows themselves say that the journal was read, where its position was lost. */
  readonly reached?: () => Promise<JournalPosition | null>
}

/** Moves a journal's records into the database, each exactly once. */
export class JournalConsumer<T> implements AsyncDisposable {
  readonly #deps: JournalConsumerDeps<T>
  readonly #stop = new AbortController()
  #position: JournalPosition | null = null
  #running: Promise<void> | null = null
  #inMove: Promise<void> | null = null
  /** Records that the database refused for what stands in them. */
  refused = 0
  readonly #moved = new Bell()

  constructor(deps: JournalConsumerDeps<T>) {
    this.#deps = deps
  }

  async start(): Promise<void> {
    this.#position = (await readJournalPosition(this.#deps.database.sql, this.#deps.name)) ?? (await this.#deps.reached?.()) ?? null
    if (this.#position) this.#deps.journal.resumeAfter(this.#position)
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
    await this.#moved.wait(this.#deps.clock, ms, signal)
  }

  /** Something was stored by another process. */
  ring(): void {
    this.#moved.ring()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
    await this.catchUp().catch((error: Error) =>
      this.#deps.log.warn({ journal: this.#deps.name, error: error.message }, 'the rest of a journal is stored at the next start'),
    )
  }

  async #run(): Promise<void> {
    const { clock, journal, log, name } = this.#deps
    // Said when it begins and when it is over, not at every attempt.
    let failed = false
    while (!this.#stop.signal.aborted) {
      const changed = journal.changed(clock, IDLE_MS, this.#stop.signal)
      try {
        await this.#move()
        if (failed) log.info({ journal: name }, 'the records of a journal are stored again')
        failed = false
      } catch (error) {
        if (!failed) log.warn({ journal: name, error: (error as Error).message }, 'records of a journal could not be stored yet')
        failed = true
        await clock.sleep(IDLE_MS, this.#stop.signal).catch(() => {})
      }
      await changed
      // What is written in one burst becomes one transaction.
      await clock.sleep(BURST_MS, this.#stop.signal).catch(() => {})
    }
  }

  #move(): Promise<void> {
    this.#inMove ??= this.#moveAll().finally(() => {
      this.#inMove = null
    })
    return this.#inMove
  }

  async #moveAll(): Promise<void> {
    for (;;) {
      const records = await this.#deps.journal.read(this.#position, BATCH)
      if (records.length === 0) return
      await this.#store(records)
      await this.#deps.journal.consumed(this.#position as JournalPosition)
      this.#moved.ring()
      if (records.length < BATCH) return
    }
  }

  /** A record that the database refuses for what stands in it is left out, so that it does not hold up those behind it. */
  async #store(records: readonly JournalRecord<T>[]): Promise<void> {
    const { database, store, name, log } = this.#deps
    const end = (records.at(-1) as JournalRecord<T>).end
    const values = records.map((record) => record.value)
    try {
      await database.transaction(async (tx) => {
        await store(tx, values, end)
        await writeJournalPosition(tx, name, end)
      })
    } catch (error) {
      if (!isOfTheData(error)) throw error
      if (records.length > 1) {
        const half = records.length >> 1
        await this.#store(records.slice(0, half))
        await this.#store(records.slice(half))
        return
      }
      await database.transaction(async (tx) => void (await writeJournalPosition(tx, name, end)))
      this.refused++
      log.warn({ journal: name, error: (error as Error).message }, 'a record of a journal was refused by the database and left out')
    }
    this.#position = end
  }
}

/** SQLSTATE classes 22 (data exception) and 23 (constraint): the same record will never do. */
const isOfTheData = (error: unknown): boolean => error instanceof DatabaseError && /^2[23]/.test(error.sqlState)
