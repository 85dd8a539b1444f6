import type { Database } from '../backends/database/database.ts'
import type { Clock } from '../lib/clock.ts'
import type { Log } from './log.ts'
import type { ProjectRef } from './project.ts'
import { selectProjectVersions } from './store.ts'

const BEAT_MS = 1_000
/** What is remembered of keys and definitions is believed for so long after the database was last heard. */
const BELIEVED_MS = 30_000

export interface ProjectVersionsDeps {
  readonly database: Database
  readonly clock: Clock
  readonly log: Log
  /** A project's definitions or keys were changed, or it came or went: what is remembered of it is to be forgotten. */
  readonly onChange: (ref: ProjectRef) => void
}

/**
 * The heartbeat of the caches. Every change of a project's definitions, keys or policies raises its version in the
 * same transaction; this compares the versions once a second, so that nothing else needs to ask the database whether
 * what it remembers still holds. Whoever changes something in this process forgets it at once by itself.
 */
export class ProjectVersions implements AsyncDisposable {
  readonly #deps: ProjectVersionsDeps
  readonly #stop = new AbortController()
  #known = new Map<ProjectRef, string>()
  #heardAt = Number.NEGATIVE_INFINITY
  #running: Promise<void> | null = null
  #silent = false

  constructor(deps: ProjectVersionsDeps) {
    this.#deps = deps
  }

  async start(): Promise<void> {
    await this.beat()
    this.#running = this.#run()
  }

  /** Whether what is remembered may still be used. */
  get believable(): boolean {
    return this.#deps.clock.monotonic() - this.#heardAt < BELIEVED_MS
  }

  /** Compares once. @throws DatabaseError */
  async beat(): Promise<void> {
    const { clock, database, onChange } = this.#deps
    const askedAt = clock.monotonic()
    const now = new Map((await selectProjectVersions(database.sql)).map((row) => [row.ref, row.version] as const))
    const before = this.#known
    this.#known = now
    if (this.#heardAt !== Number.NEGATIVE_INFINITY) {
      for (const [ref, version] of now) if (before.get(ref) !== version) onChange(ref)
      for (const ref of before.keys()) if (!now.has(ref)) onChange(ref)
    }
    this.#heardAt = askedAt
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#deps
    for (;;) {
      await clock.sleep(BEAT_MS, this.#stop.signal).catch(() => {})
      if (this.#stop.signal.aborted) return
      try {
        await this.beat()
        if (this.#silent) log.info({}, 'the control database is heard again')
        this.#silent = false
      } catch (error) {
        if (!this.#silent)
          log.warn({ error: (error as Error).message }, 'the control database is not heard; what is remembered of keys and functions is used for 30 s')
        this.#silent = true
      }
    }
  }
}
