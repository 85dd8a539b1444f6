import type { Blobs } from '../backends/blobs/blobs.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Project } from '../core/project.ts'
import type { Clock } from '../lib/clock.ts'
import type { Garbage } from './garbage.ts'
import type { Sessions } from './sessions.ts'
import { selectUnnamed } from './store.ts'

export interface SweeperDeps {
  readonly sessions: Sessions
  readonly blobs: Blobs
  readonly garbage: Garbage
  readonly projects: () => readonly Project[]
  /** It is not woken for this. */
  readonly rests: (project: Project) => boolean
  readonly clock: Clock
  readonly log: Log
}

const PAUSE_MS = 3_600_000
const BATCH = 1_000

/** Removes bytes that no row names: of uploads that a kill broke off between the bytes and the row. */
export class Sweeper implements AsyncDisposable {
  readonly #deps: SweeperDeps
  readonly #closing = new AbortController()
  #timer: Disposable | null = null
  #running: Promise<void> = Promise.resolve()

  constructor(deps: SweeperDeps) {
    this.#deps = deps
  }

  /** Sweeps now, and every hour from then on. */
  start(): void {
    if (this.#closing.signal.aborted) return
    this.#running = this.sweep()
      .catch((error: Error) => this.#deps.log.warn({ error: error.message }, 'bytes that no object has could not be looked for'))
      .then(() => {
        if (!this.#closing.signal.aborted) this.#timer = this.#deps.clock.timer(PAUSE_MS, () => this.start())
      })
  }

  /** One project after the other. */
  async sweep(): Promise<void> {
    const { blobs, projects, rests, log } = this.#deps
    const places = new Set(await blobs.places())
    for (const project of projects()) {
      if (this.#closing.signal.aborted) return
      if (project.state !== 'active' || !places.has(project.id) || rests(project)) continue
      try {
        const removed = await this.#sweepProject(project)
        if (removed > 0) log.info({ project: project.ref, removed }, 'bytes that no object has were removed')
      } catch (error) {
        log.warn({ project: project.ref, error: (error as Error).message }, 'bytes that no object has could not be looked for')
      }
    }
  }

  async #sweepProject(project: Project): Promise<number> {
    const { sessions, blobs, garbage } = this.#deps
    const { sql } = await sessions.own(project.ref)
    await garbage.collect(project)
    let removed = 0
    let old: string[] = []
    const settle = async () => {
      const unnamed = (await selectUnnamed(sql, old)).map((row) => row.blob)
      old = []
      await blobs.delete(project.id, unnamed)
      removed += unnamed.length
    }
    for await (const { name, whole, ageMs } of blobs.list(project.id)) {
      if (this.#closing.signal.aborted) break
      if (ageMs < LIMITS.unnamedBlob.value) continue
      if (whole) old.push(name)
      else {
        await blobs.delete(project.id, [name])
        removed++
      }
      if (old.length === BATCH) await settle()
    }
    if (old.length > 0) await settle()
    return removed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    this.#timer?.[Symbol.dispose]()
    await this.#running
  }
}
