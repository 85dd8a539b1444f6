import { LIMITS } from '../core/limits.ts'
import type { Clock } from '../lib/clock.ts'

/** What is longer ago than a few of these counts for nothing. */
const MEMORY_MS = 10_000
const FORGOTTEN = 0.01
/** What has just begun is judged as if it had lasted for so long. */
const LEAST_AGE_MS = 3_000

/** How often something happens, by name: what was lately counts most. */
export class Demand {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #byName = new Map<string, { count: number; atMs: number; sinceMs: number }>()

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  note(name: string): void {
    const now = this.#clock.monotonic()
    const count = this.count(name) + 1
    const sinceMs = this.#byName.get(name)?.sinceMs ?? now
    this.#byName.delete(name)
    this.#byName.set(name, { count, atMs: now, sinceMs })
    if (this.#byName.size > LIMITS.rememberedVersions.value) this.#byName.delete(this.#byName.keys().next().value as string)
  }

  /** How often it happened lately: what is kept in memory of it fades with time. */
  count(name: string): number {
    const count = this.#count(name)
    if (count < FORGOTTEN) this.#byName.delete(name)
    return count
  }

  perSecond(name: string): number {
    const ageMs = Math.max(LEAST_AGE_MS, this.#clock.monotonic() - (this.#byName.get(name)?.sinceMs ?? 0))
    // What is younger than the memory fills only a part of it.
    return (this.count(name) * 1000) / (MEMORY_MS * (1 - Math.exp(-ageMs / MEMORY_MS)))
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
