import { MayflyError } from './errors.ts'

/** One piece of work that writes to what a project has on disk. Given back when it ends, whichever way. */
export interface Stay extends Disposable {
  /** Fires when the project is deleted: what waits for somebody else ends. */
  readonly signal: AbortSignal
}

interface Place {
  readonly leaving: AbortController
  count: number
  readonly empty: PromiseWithResolvers<void>
}

/**
 * Who writes to what a project has on disk. A deletion ends them, waits until the last has ended and lets nobody in any
 * more; then what it removes is not made again behind it.
 */
export class Stays {
  readonly #places = new Map<string, Place>()
  /** Ids are never used again; what holds a project since before its deletion may still come with one. */
  readonly #ended = new Set<string>()

  /** @throws MayflyError project_not_found when the project is being deleted, or was */
  enter(projectId: string): Stay {
    if (this.#ended.has(projectId)) throw gone()
    let place = this.#places.get(projectId)
    if (!place) {
      place = { leaving: new AbortController(), count: 0, empty: Promise.withResolvers() }
      this.#places.set(projectId, place)
    }
    const mine = place
    mine.count++
    return {
      signal: mine.leaving.signal,
      [Symbol.dispose]: () => {
        if (--mine.count > 0) return
        this.#places.delete(projectId)
        mine.empty.resolve()
      },
    }
  }

  /** Resolves when nobody is in the project; nobody comes in from the call on. */
  async end(projectId: string): Promise<void> {
    this.#ended.add(projectId)
    const place = this.#places.get(projectId)
    place?.leaving.abort(gone())
    await place?.empty.promise
  }
}

const gone = () => new MayflyError('project_not_found', 'the project was deleted')
