import type { Clock } from '../lib/clock.ts'

/** So many a second, counted in whole seconds of its own. */
export class Rate {
  readonly #clock: Clock
  readonly #perSecond: number
  #since = Number.NEGATIVE_INFINITY
  #taken = 0

  constructor(clock: Clock, perSecond: number) {
    this.#clock = clock
    this.#perSecond = perSecond
  }

  /** All of `count` or none. @returns false when this second has had its share */
  take(count = 1): boolean {
    const now = this.#clock.monotonic()
    if (now - this.#since >= 1_000) {
      this.#since = now
      this.#taken = 0
    }
    if (this.#taken + count > this.#perSecond) return false
    this.#taken += count
    return true
  }
}
