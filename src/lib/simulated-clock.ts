import type { Clock } from './clock.ts'

interface Due {
  readonly at: number
  readonly order: number
  readonly fire: () => void
  /** Of where it was set. */
  readonly trace: Error
}

/** A clock that stands still until a test lets time pass; it knows who still waits for it. */
export class SimulatedClock implements Clock {
  readonly #due = new Set<Due>()
  #ms = 0
  #order = 0

  /** Called without its object where only the time is wanted. */
  readonly now = (): number => 1_700_000_000_000 + this.#ms

  monotonic(): number {
    return this.#ms
  }
  timer(ms: number, fire: () => void): Disposable {
    const due: Due = { at: this.#ms + Math.max(0, ms), order: this.#order++, fire, trace: new Error() }
    this.#due.add(due)
    return { [Symbol.dispose]: () => void this.#due.delete(due) }
  }
  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = this.timer(ms, resolve)
    const onAbort = () => {
      timer[Symbol.dispose]()
      reject(signal?.reason)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      await promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** The timers that are set, by where that was done. */
  get waiting(): string[] {
    return [...this.#due].map(({ trace }) => String(trace.stack?.split('\n').find((line) => /^ +at /.test(line) && !line.includes('simulated-clock'))).trim())
  }

  /** When the next timer is due; null when none is set. */
  get nextAt(): number | null {
    return this.#next()?.at ?? null
  }

  /** Lets time pass, and fires what is due meanwhile in its order, those that are set on the way included. */
  advance(ms: number): void {
    const until = this.#ms + ms
    for (let next = this.#next(); next && next.at <= until; next = this.#next()) {
      this.#ms = Math.max(this.#ms, next.at)
      this.#due.delete(next)
      next.fire()
    }
    this.#ms = until
  }

  #next(): Due | null {
    let first: Due | null = null
    for (const due of this.#due) if (first === null || due.at < first.at || (due.at === first.at && due.order < first.order)) first = due
    return first
  }
}
