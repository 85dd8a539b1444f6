import type { Clock } from '../lib/clock.ts'

/**
 * Splits the time in which a sandbox works over the calls that run in it at that moment, in equal parts: the shares of
 * all calls are the time in which at least one ran.
 */
export class BusyShares {
  readonly #clock: Pick<Clock, 'monotonic'>
  #running = 0
  /** What one that ran all the while would have. */
  #shareMs = 0
  #at = 0

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  /** One begins. @returns what tells its share at its end, once */
  begin(): () => number {
    this.#count(1)
    const from = this.#shareMs
    return () => {
      this.#count(-1)
      return this.#shareMs - from
    }
  }

  #count(by: 1 | -1): void {
    const now = this.#clock.monotonic()
    if (this.#running > 0) this.#shareMs += (now - this.#at) / this.#running
    this.#at = now
    this.#running += by
  }
}
