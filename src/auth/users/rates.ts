import { LIMITS } from '../../core/limits.ts'
import type { Clock } from '../../lib/clock.ts'

/** How often one address may ask, or one account be asked for: a bucket that fills evenly. */
export class AddressRate {
  readonly #clock: Clock
  readonly #perMs: number
  readonly #burst: number
  readonly #left = new Map<string, { tokens: number; at: number }>()

  constructor(clock: Clock, { count, overMs }: { readonly count: number; readonly overMs: number }) {
    this.#clock = clock
    this.#perMs = count / overMs
    this.#burst = Math.max(Math.min(count, 30), count / 10)
  }

  /** It asked well: that does not count. */
  giveBack(address: string): void {
    const known = this.#left.get(address)
    if (known) known.tokens = Math.min(this.#burst, known.tokens + 1)
  }

  /** @returns false when it asked too often */
  take(address: string): boolean {
    const now = this.#clock.monotonic()
    const before = this.#left.get(address)
    const tokens = before ? Math.min(this.#burst, before.tokens + (now - before.at) * this.#perMs) : this.#burst
    this.#left.delete(address)
    this.#left.set(address, { tokens: tokens < 1 ? tokens : tokens - 1, at: now })
    if (this.#left.size > LIMITS.authRateAddresses.value) this.#left.delete(this.#left.keys().next().value as string)
    return tokens >= 1
  }
}
