import type { Clock } from './clock.ts'

/** Wakes those who wait. Whoever stops waiting is forgotten: a bell that never rings keeps nothing. */
export class Bell {
  readonly #waiting = new Set<() => void>()
  /** How often it has rung. */
  rings = 0

  ring(): void {
    this.rings++
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }

  /**
   * Resolves at the next ring, after `ms`, or when the signal fires.
   * @param since  what `rings` said when the wait began: at once where it has rung since
   */
  async wait(clock: Pick<Clock, 'timer'>, ms: number, signal: AbortSignal, since: number = this.rings): Promise<void> {
    if (this.rings !== since || signal.aborted) return
    // A promise and a timer: signals made for each wait cost several times as much, mostly in what is swept up behind them.
    const { promise, resolve } = Promise.withResolvers<void>()
    using _ = clock.timer(ms, () => resolve())
    const wake = () => resolve()
    this.#waiting.add(wake)
    signal.addEventListener('abort', wake)
    try {
      await promise
    } finally {
      this.#waiting.delete(wake)
      signal.removeEventListener('abort', wake)
    }
  }
}
