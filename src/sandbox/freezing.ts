import type { Clock } from '../lib/clock.ts'

/** What stands idle since a moment, or not at all. */
export interface Idling {
  readonly idleSinceMs: number | null
  freeze(): Promise<void>
}

/**
 * Freezes each sandbox that has stood idle for so long, when it has. One timer serves them all, set for the earliest;
 * it looks again at those that were used meanwhile, so a call costs no more than to be named here once it is over.
 */
export class FreezeTimer<Sandbox extends Idling> {
  readonly #afterMs: number
  readonly #clock: Clock
  readonly #watched = new Set<Sandbox>()
  #timer: Disposable | null = null
  #isClosed = false

  constructor(afterMs: number, clock: Clock) {
    this.#afterMs = afterMs
    this.#clock = clock
  }

  /** It became idle just now. */
  watch(sandbox: Sandbox): void {
    if (this.#isClosed) return
    this.#watched.add(sandbox)
    this.#timer ??= this.#clock.timer(this.#afterMs, () => this.#look())
  }

  [Symbol.dispose](): void {
    this.#isClosed = true
    this.#watched.clear()
    this.#timer?.[Symbol.dispose]()
    this.#timer = null
  }

  #look(): void {
    this.#timer = null
    const now = this.#clock.monotonic()
    let next = Number.POSITIVE_INFINITY
    for (const sandbox of this.#watched) {
      const since = sandbox.idleSinceMs
      const leftMs = since === null ? null : since + this.#afterMs - now
      // A busy one is named again when its call is over.
      if (leftMs !== null && leftMs > 0) next = Math.min(next, leftMs)
      else {
        this.#watched.delete(sandbox)
        if (leftMs !== null) void sandbox.freeze()
      }
    }
    if (next !== Number.POSITIVE_INFINITY) this.#timer = this.#clock.timer(Math.ceil(next), () => this.#look())
  }
}
