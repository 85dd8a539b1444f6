import type { Database, Sql, Tx } from '../backends/database/database.ts'
import { Departed } from '../core/departed.ts'
import type { Journal } from '../core/journal.ts'
import { JournalConsumer } from '../core/journal-consumer.ts'
import type { Log } from '../core/log.ts'
import type { LogEntry, LogRecord, LogSubject, LogWriter, QuietCall } from '../core/meter.ts'
import type { Clock } from '../lib/clock.ts'
import { uuidTime } from '../lib/ids.ts'
import { QuietCalls, together } from './quiet.ts'
import { LogRate } from './rate.ts'
import {
  addVolume,
  type ChunksAfter,
  deleteOldLines,
  deleteProjectLines,
  type GoneChunk,
  insertLines,
  insertQuiet,
  quietRowOf,
  rowOf,
  type LinesOf,
  selectChunksAfter,
  selectLastSeqs,
  selectLines,
  selectVolume,
  selectVolumesOver,
  lineOf,
  type StoredChunk,
  type StoredLine,
  trimProject,
  type Volume,
} from './store.ts'

const SWEEP_MS = 3_600_000
/** How often is looked at what other processes made too much of. */
const LOOK_MS = 1_000
/** A project that has too much is cut back a little further, so that it is not cut at every line. */
const CUT_BACK = 0.95

export interface LogsDeps {
  readonly journal: Journal<LogEntry>
  readonly database: Database
  readonly clock: Clock
  readonly log: Log
  readonly retentionDays: number
  /** How much of one project's log is kept. */
  readonly projectBytes: number
  /** Which process of the node this is; absent in the main one. */
  readonly process?: string
  /** In the transaction in which they go: lines for want of room or by their age, which somebody may not have looked at yet. */
  readonly going?: (tx: Tx, gone: readonly GoneChunk[]) => Promise<void>
  /** Asked before anything is read: has the other processes store what they have written. */
  readonly others?: () => Promise<void>
}

/** The log of functions: written to the process's journal, moved to the control database from there. */
export class Logs implements LogWriter, AsyncDisposable {
  readonly #deps: LogsDeps
  readonly #consumer: JournalConsumer<LogEntry>
  readonly #quiet: QuietCalls
  readonly #rate = new LogRate()
  readonly #departed = new Departed()
  readonly #over = new Set<string>()
  #trimming: Promise<void> | null = null
  #lookedAt = Number.NEGATIVE_INFINITY
  #sweeper: NodeJS.Timeout | null = null

  constructor(deps: LogsDeps) {
    this.#deps = deps
    this.#quiet = new QuietCalls((record) => void deps.journal.append(record))
    this.#consumer = new JournalConsumer({
      ...deps,
      name: `${deps.process ?? 'main'}/logs`,
      store: async (tx, all) => {
        const isKept = (project: string, invocationId: string) => !this.#departed.owns(project, uuidTime(invocationId))
        const rows = all.flatMap((entry) => ('lines' in entry && isKept(entry.project, entry.invocationId) ? [rowOf(entry)] : []))
        const quiet = together(
          all.flatMap((entry) => ('calls' in entry ? [{ ...entry, calls: entry.calls.filter(([id]) => isKept(entry.project, id)) }] : [])),
        ).map(quietRowOf)
        if (rows.length + quiet.length === 0) return
        const volumes = await addVolume(tx, [...rows, ...quiet])
        if (rows.length > 0) await insertLines(tx, rows)
        if (quiet.length > 0) await insertQuiet(tx, quiet)
        // The main process cuts back what the others write as well: it knows who waits for lines.
        if (deps.process !== undefined) return
        for (const { project, bytes } of volumes) if (Number(bytes) > deps.projectBytes) this.#over.add(project)
        // Not here: it waits for the end of this transaction.
        if (this.#over.size > 0) void this.#trim()
      },
    })
  }

  async start(): Promise<void> {
    await this.#consumer.start()
    if (this.#deps.process !== undefined) return
    this.#sweeper = setInterval(() => void this.sweep(), SWEEP_MS)
    this.#sweeper.unref()
    void this.sweep()
  }

  /** Removes the lines that are too old, and the oldest of projects that have too many. */
  async sweep(): Promise<void> {
    const { log, retentionDays } = this.#deps
    try {
      while (await this.#letGo((tx) => deleteOldLines(tx, retentionDays))) {}
      await this.#cutBack()
    } catch (error) {
      log.warn({ error: (error as Error).message }, 'old lines could not be removed')
    }
  }

  /** One at a time; resolves when no project that was known to have too much has it any more. */
  #trim(): Promise<void> {
    this.#trimming ??= this.#trimAll().finally(() => {
      this.#trimming = null
    })
    return this.#trimming
  }

  async #trimAll(): Promise<void> {
    const { log, projectBytes } = this.#deps
    for (const project of this.#over) {
      this.#over.delete(project)
      try {
        while (await this.#letGo((tx) => trimProject(tx, project, Math.floor(projectBytes * CUT_BACK)))) {}
      } catch (error) {
        log.warn({ project, error: (error as Error).message }, 'the log of a project could not be cut back')
      }
    }
  }

  /** @returns whether anything went */
  async #letGo(take: (tx: Tx) => Promise<readonly GoneChunk[]>): Promise<boolean> {
    return await this.#deps.database.transaction(async (tx) => {
      const gone = await take(tx)
      if (gone.length > 0) await this.#deps.going?.(tx, gone)
      return gone.length > 0
    })
  }

  /** What is kept of a project's log, and how much was given up for want of room. */
  async volume(project: string): Promise<Volume> {
    return await selectVolume(this.#deps.database.sql, project)
  }

  /** Stores what was written before this call. */
  async catchUp(): Promise<void> {
    this.#quiet.flush()
    await Promise.all([this.#consumer.catchUp(), this.#deps.others?.()])
  }

  /** A project goes: of what still runs in it no line is kept from here on. */
  async depart(project: string): Promise<void> {
    this.#departed.note(project, this.#deps.clock.now())
    this.#quiet.flush()
    await this.#consumer.catchUp()
    this.#rate.forget(project)
  }

  /** Removes all lines of a project that goes: another of its name must not read them. */
  async dropProject(project: string): Promise<void> {
    await this.depart(project)
    while ((await this.#deps.database.transaction((tx) => deleteProjectLines(tx, project))) > 0) {}
  }

  write(record: LogRecord): void {
    this.#deps.journal.append(this.#rate.admit(record, this.#deps.clock.monotonic()))
  }

  quiet(of: LogSubject, call: QuietCall): void {
    this.#quiet.add(of, call)
  }

  /** Resolves when what was written before is in the journal's file. */
  settled(): Promise<void> {
    this.#quiet.flush()
    return this.#deps.journal.settled()
  }

  /** The last lines of a function, or those after one, oldest first; what was written before this call is among them. */
  async read(of: LinesOf): Promise<StoredLine[]> {
    await this.catchUp()
    return (await selectLines(this.#deps.database.sql, of)).map(lineOf)
  }

  /** The last chunk that is stored of each of these projects, by which who follows one begins. */
  async lastSeqs(sql: Sql | Tx, projects: readonly string[]): Promise<ReadonlyMap<string, string>> {
    return new Map((await selectLastSeqs(sql, projects)).map(({ project, seq }) => [project, seq]))
  }

  /** What is stored behind a chunk, the oldest first: nothing comes to lie before what was seen. */
  chunksAfter(sql: Sql | Tx, after: ChunksAfter): Promise<StoredChunk[]> {
    return selectChunksAfter(sql, after)
  }

  /** Records that were lost: not written, or refused by the database. */
  get dropped(): number {
    return this.#deps.journal.dropped + this.#consumer.refused
  }

  /** Lines that were dropped because their project wrote too fast. */
  get droppedByRate(): number {
    return this.#rate.dropped
  }

  /** Resolves when new lines may be there, or after `ms`. */
  changed(ms: number, signal: AbortSignal): Promise<void> {
    return this.#consumer.moved(ms, signal)
  }

  /** Another process has stored lines. */
  heard(): void {
    this.#consumer.ring()
    const { clock, log } = this.#deps
    if (clock.monotonic() - this.#lookedAt < LOOK_MS) return
    this.#lookedAt = clock.monotonic()
    void this.#cutBack().catch((error: Error) => log.warn({ error: error.message }, 'the volumes of logs could not be looked at'))
  }

  async #cutBack(): Promise<void> {
    const { database, projectBytes } = this.#deps
    for (const { project } of await selectVolumesOver(database.sql, projectBytes)) this.#over.add(project)
    await this.#trim()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#sweeper) clearInterval(this.#sweeper)
    this.#quiet.flush()
    await this.#consumer[Symbol.asyncDispose]()
    await this.#trimming
  }
}
