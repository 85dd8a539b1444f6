import type { Clock } from './clock.ts'

/** Wakes those who wait. Whoever stops waiting is forgotten: a bell that never rings keeps nothing. */
export class Bell {
  readonly #waiting = new Set<() => void>()

  ring(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }

  /** Resolves at the next ring, after `ms`, or when the signal fires. */
  async wait(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
    const done = new AbortController()
    const wake = () => done.abort()
    this.#waiting.add(wake)
    signal.addEventListener('abort', wake)
    if (signal.aborted) wake()
    try {
      await clock.sleep(ms, done.signal).catch(() => {})
    } finally {
      this.#waiting.delete(wake)
      signal.removeEventListener('abort', wake)
    }
  }
}
