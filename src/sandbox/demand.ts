import { LIMITS } from '../core/limits.ts'
import type { Clock } from '../lib/clock.ts'

/** What is longer ago than a few of these counts for nothing. */
const MEMORY_MS = 10_000
const FORGOTTEN = 0.01

/** How often something happens, by name: what was lately counts most. */
export class Demand {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #byName = new Map<string, { count: number; atMs: number }>()

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  note(name: string): void {
    const count = this.#count(name) + 1
    this.#byName.delete(name)
    this.#byName.set(name, { count, atMs: this.#clock.monotonic() })
    if (this.#byName.size > LIMITS.rememberedVersions.value) this.#byName.delete(this.#byName.keys().next().value as string)
  }

  /** How often it happened lately: what is kept in memory of it fades with time. */
  count(name: string): number {
    const count = this.#count(name)
    if (count < FORGOTTEN) this.#byName.delete(name)
    return count
  }

  perSecond(name: string): number {
    return (this.count(name) * 1000) / MEMORY_MS
  }

  #count(name: string): number {
    const known = this.#byName.get(name)
    return known ? known.count * Math.exp((known.atMs - this.#clock.monotonic()) / MEMORY_MS) : 0
  }
}

/** How many should be ready where so many are asked for in a second and the next takes so long: what is asked for meanwhile, and a little for chance. */
export function stockFor(perSecond: number, refillMs: number): number {
  const meanwhile = (perSecond * refillMs) / 1000
  return meanwhile + 2 * Math.sqrt(meanwhile)
}

/** How long something takes, the last times counting most. */
export class Took {
  #ms: number

  constructor(guessMs: number) {
    this.#ms = guessMs
  }

  get ms(): number {
    return this.#ms
  }

  note(ms: number): void {
    this.#ms += (ms - this.#ms) / 8
  }
}
