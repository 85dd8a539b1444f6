import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Clock } from '../lib/clock.ts'

const MINUTE_MS = 60_000

/** Counts the wrong codes that an address has sent within a minute. */
export class Attempts {
  readonly #clock: Clock
  readonly #byAddress = new Map<string, { since: number; count: number }>()
  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Before a code is looked at: until it proves right it counts as a wrong one. @throws MayflyError too_many_attempts */
  admit(address: string): void {
    const now = this.#clock.monotonic()
    const known = this.#byAddress.get(address)
    const current = known && now - known.since < MINUTE_MS ? known : { since: now, count: 0 }
    if (current.count >= LIMITS.wrongLoginCodes.value)
      throw new MayflyError('too_many_attempts', `this address has sent ${current.count} wrong codes within a minute`)
    current.count++
    this.#byAddress.delete(address)
    this.#byAddress.set(address, current)
    if (this.#byAddress.size > LIMITS.loginAddresses.value) this.#byAddress.delete(this.#byAddress.keys().next().value as string)
  }

  /** The code was right. */
  forgive(address: string): void {
    this.#byAddress.delete(address)
  }
}
