import { Bell } from '../../lib/bell.ts'
import type { Clock } from '../../lib/clock.ts'

/** A moment in the life of what is queued. */
export interface Moment {
  readonly at: string
  readonly invocation: string
  readonly function: string
  readonly what: 'queued' | 'started' | 'succeeded' | 'failed' | 'dead'
  readonly attempt?: number
  readonly errorType?: string | null
  readonly errorMessage?: string | null
  /** Of `failed`: when it is tried again. */
  readonly nextAt?: string
  /** Of `dead`: why it was given up. */
  readonly reason?: string
  /** Where an outcome is told instead of a function that is called. */
  readonly url?: string
}

/** Past it the oldest are left out for who reads too slowly, and counted. */
const MOST_KEPT = 1_000
const LOOK_MS = 5_000

/** Tells who listens what happens in the queue, as it happens. What is told here is stored elsewhere: who comes later asks there. */
export class LifeFeed {
  readonly #followers = new Map<string, Set<Follower>>()

  /** Whether anybody would hear of it. */
  isHeard(project: string): boolean {
    return this.#followers.has(project)
  }

  tell(project: string, moment: Moment): void {
    for (const follower of this.#followers.get(project) ?? []) follower.take(moment)
  }

  /** A line of JSON for each moment until the signal fires; an empty one now and then. */
  async *follow(project: string, functionName: string | null, clock: Clock, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const follower = new Follower(functionName)
    const all = this.#followers.get(project) ?? new Set()
    this.#followers.set(project, all.add(follower))
    try {
      yield Buffer.from('\n')
      while (!signal.aborted) {
        const told = follower.bell.wait(clock, LOOK_MS, signal)
        const { moments, missed } = follower.read()
        if (missed > 0) yield Buffer.from(`${JSON.stringify({ missed })}\n`)
        for (const moment of moments) yield Buffer.from(`${JSON.stringify(moment)}\n`)
        if (moments.length > 0) continue
        await told
        yield Buffer.from('\n')
      }
    } finally {
      all.delete(follower)
      if (all.size === 0) this.#followers.delete(project)
    }
  }
}

class Follower {
  readonly bell = new Bell()
  readonly #functionName: string | null
  #moments: Moment[] = []
  #missed = 0

  constructor(functionName: string | null) {
    this.#functionName = functionName
  }

  take(moment: Moment): void {
    if (this.#functionName !== null && moment.function !== this.#functionName) return
    if (this.#moments.length === MOST_KEPT) {
      this.#moments.shift()
      this.#missed++
    }
    this.#moments.push(moment)
    this.bell.ring()
  }

  read(): { moments: readonly Moment[]; missed: number } {
    const read = { moments: this.#moments, missed: this.#missed }
    this.#moments = []
    this.#missed = 0
    return read
  }
}
