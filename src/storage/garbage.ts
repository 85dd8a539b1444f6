import type { Blobs } from '../backends/blobs/blobs.ts'
import type { Log } from '../core/log.ts'
import type { Caller, Sessions } from './sessions.ts'
import { deleteGarbage, selectGarbage } from './store.ts'

const BATCH = 500

export interface GarbageDeps {
  readonly sessions: Sessions
  readonly blobs: Blobs
  readonly log: Log
}

/** Deletes bytes after the commit that took them from their object. What a kill leaves is found by the sweeper. */
export class Garbage {
  readonly #deps: GarbageDeps
  readonly #running = new Map<string, Promise<void>>()
  readonly #asked = new Set<string>()
  /** Projects of which nothing is deleted now, by how often that was asked. */
  readonly #held = new Map<string, number>()

  constructor(deps: GarbageDeps) {
    this.#deps = deps
  }

  /** Returns at once; who asks while it runs is served by one more round. */
  soon(project: Caller['project']): void {
    if (this.#running.has(project.id)) {
      this.#asked.add(project.id)
      return
    }
    const work = this.collect(project)
      .catch((error: Error) => this.#deps.log.warn({ project: project.ref, error: error.message }, 'bytes of deleted objects could not be removed yet'))
      .finally(() => {
        this.#running.delete(project.id)
        if (this.#asked.delete(project.id)) this.soon(project)
      })
    this.#running.set(project.id, work)
  }

  /** Bytes of a project stay, whatever is deleted, until this is disposed of: somebody copies them. */
  hold(project: Caller['project']): Disposable {
    this.#held.set(project.id, (this.#held.get(project.id) ?? 0) + 1)
    return {
      [Symbol.dispose]: () => {
        const left = (this.#held.get(project.id) ?? 1) - 1
        if (left > 0) return void this.#held.set(project.id, left)
        this.#held.delete(project.id)
        this.soon(project)
      },
    }
  }

  async collect(project: Caller['project']): Promise<void> {
    const { sessions, blobs } = this.#deps
    const { sql } = await sessions.own(project.ref)
    while (!this.#held.has(project.id)) {
      const names = (await selectGarbage(sql, BATCH)).map((row) => row.blob)
      if (names.length === 0 || this.#held.has(project.id)) return
      await blobs.delete(project.id, names)
      await deleteGarbage(sql, names)
    }
  }

  /** When all that was asked for is done. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running.values())
  }
}
