import { type Database, DatabaseError, type Tx } from '../backends/database/database.ts'
import { Bell } from '../lib/bell.ts'
import type { Clock } from '../lib/clock.ts'
import { isBefore, type Journal, type JournalPosition, type JournalRecord } from './journal.ts'
import type { Log } from './log.ts'
import { moveJournalPosition, readJournalPosition } from './store.ts'

const BATCH = 2_000
const RETRY_MS = 1_000
/** Only this process writes the journal, and it rings when it has: what is all stored is not looked at in between. */
const QUIET_MS = 60_000
const BURST_MS = 200

const NOTHING_WRITTEN: JournalPosition = { segment: 1, offset: 0 }

/** What is known of the records of a batch. */
export interface Batch {
  /** Up to where the journal will have been read with them. */
  readonly end: JournalPosition
  /** Their position was lost: they may have been stored before, in batches of other sizes. */
  readonly isAgain: boolean
}

export interface JournalConsumerDeps<T> {
  /** Names the position in the database: unique per process and kind. */
  readonly name: string
  readonly journal: Journal<T>
  readonly database: Database
  readonly clock: Clock
  readonly log: Log
  /** Makes rows of records, in the transaction that also moves the position on. */
  readonly store: (tx: Tx, values: readonly T[], batch: Batch) => Promise<void>
  /** How far the rows themselves say that the journal was read, where its position was lost. */
  readonly reached?: () => Promise<JournalPosition | null>
}

/** Moves a journal's records into the database, each exactly once. */
export class JournalConsumer<T> implements AsyncDisposable {
  readonly #deps: JournalConsumerDeps<T>
  readonly #stop = new AbortController()
  #position: JournalPosition | null = null
  /** The position that the database has, as far as is known. */
  #stored: JournalPosition | null = null
  /** A transaction ended nobody knows how: it may be committed, or be about to. */
  #isUnsure = false
  /** Up to where records may have been stored by a life whose position was lost. */
  #lostUpTo: JournalPosition | null = null
  #running: Promise<void> | null = null
  #inMove: Promise<void> | null = null
  /** Records that the database refused for what stands in them. */
  refused = 0
  readonly #moved = new Bell()

  constructor(deps: JournalConsumerDeps<T>) {
    this.#deps = deps
  }

  async start(): Promise<void> {
    const { database, journal, name, reached } = this.#deps
    this.#stored = await readJournalPosition(database.sql, name)
    this.#position = this.#stored ?? (await reached?.()) ?? null
    if (this.#stored === null) this.#lostUpTo = journal.end
    if (this.#position) journal.resumeAfter(this.#position)
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
      const { writes } = journal
      try {
        await this.#move()
        if (failed) log.info({ journal: name }, 'the records of a journal are stored again')
        failed = false
      } catch (error) {
        if (!failed) log.warn({ journal: name, error: (error as Error).message }, 'records of a journal could not be stored yet')
        failed = true
      }
      if (failed) await clock.sleep(RETRY_MS, this.#stop.signal).catch(() => {})
      // The move may have been another's, which had read before the last was written.
      else await journal.changed(clock, this.#isBehind() ? RETRY_MS : QUIET_MS, this.#stop.signal, writes)
      // What is written in one burst becomes one transaction.
      await clock.sleep(BURST_MS, this.#stop.signal).catch(() => {})
    }
  }

  #isBehind(): boolean {
    const { end } = this.#deps.journal
    return isBefore(this.#position ?? NOTHING_WRITTEN, end)
  }

  #move(): Promise<void> {
    this.#inMove ??= this.#moveAll().finally(() => {
      this.#inMove = null
    })
    return this.#inMove
  }

  async #moveAll(): Promise<void> {
    for (;;) {
      if (this.#isUnsure) await this.#findPosition()
      const records = await this.#deps.journal.read(this.#position, BATCH)
      if (records.length === 0) return
      await this.#store(records)
      // The position was elsewhere: that is where to go on.
      if (this.#isUnsure) continue
      await this.#deps.journal.consumed(this.#position as JournalPosition)
      this.#moved.ring()
      if (records.length < BATCH) return
    }
  }

  /** Where the database has none any more, or one that this journal has not come to, what was read is known here. */
  async #findPosition(): Promise<void> {
    const { database, journal, name } = this.#deps
    this.#stored = await readJournalPosition(database.sql, name)
    if (this.#stored !== null && !isBefore(journal.end, this.#stored)) this.#position = this.#stored
    this.#isUnsure = false
  }

  /**
   * A record that the database refuses for what stands in it is left out, so that it does not hold up those behind it. The
   * position is moved first, and from where it is known to be alone: a transaction whose end nobody heard of, and that
   * is committed after all, is waited for there, and its records are not stored a second time.
   */
  async #store(records: readonly JournalRecord<T>[]): Promise<void> {
    const { store, name, log } = this.#deps
    const [first, last] = [records[0] as JournalRecord<T>, records.at(-1) as JournalRecord<T>]
    const batch = { end: last.end, isAgain: this.#lostUpTo !== null && !isBefore(this.#lostUpTo, first.end) }
    const values = records.map((record) => record.value)
    try {
      await this.#commit(batch.end, (tx) => store(tx, values, batch))
    } catch (error) {
      if (!isOfTheData(error)) throw error
      if (records.length > 1) {
        const half = records.length >> 1
        await this.#store(records.slice(0, half))
        if (!this.#isUnsure) await this.#store(records.slice(half))
        return
      }
      await this.#commit(batch.end, async () => {})
      if (this.#isUnsure) return
      this.refused++
      log.warn({ journal: name, error: (error as Error).message }, 'a record of a journal was refused by the database and left out')
    }
  }

  async #commit(end: JournalPosition, store: (tx: Tx) => Promise<void>): Promise<void> {
    const { database, name } = this.#deps
    try {
      await database.transaction(async (tx) => {
        if (await moveJournalPosition(tx, name, this.#stored, end)) await store(tx)
        else this.#isUnsure = true
      })
    } catch (error) {
      if (!isOfTheData(error)) this.#isUnsure = true
      throw error
    }
    if (this.#isUnsure) return
    this.#stored = end
    this.#position = end
  }
}

/** SQLSTATE classes 22 (data exception) and 23 (constraint): the same record will never do. */
const isOfTheData = (error: unknown): boolean => error instanceof DatabaseError && /^2[23]/.test(error.sqlState)
