import { LIMITS } from '../core/limits.ts'
import type { Clock } from '../lib/clock.ts'
import { Demand, stockFor, Took } from './demand.ts'
import type { SandboxSpec } from './types.ts'

/** What loading takes, until it was measured. */
const GUESS_MS = 50
/** A single call that found no sandbox ready is no reason to keep one. */
const OFTEN = 1.5
/** One that no call has used is kept for so long when it is wanted no more. */
const UNUSED_MS = 30_000

type Version = Pick<SandboxSpec, 'key' | 'reuse'>

export interface SparesDeps<Sandbox> {
  /** How many of one version at most. */
  readonly most: number
  readonly clock: Pick<Clock, 'monotonic'>
  /** How long the start of a sandbox takes. */
  readonly startMs: () => number
  /** How many of a version stand idle, and how many are on their way. */
  readonly idle: (key: string) => number
  readonly coming: (key: string) => number
  readonly make: (spec: SandboxSpec, count: number) => void
  readonly drop: (sandbox: Sandbox) => void
}

/**
 * How many sandboxes of a version are loaded ahead of its calls: where each serves one call, by how often calls come;
 * else by how often one finds all of them busy. A version that is called seldom has none.
 */
export class Spares<Sandbox extends object> {
  readonly #deps: SparesDeps<Sandbox>
  readonly #asked: Demand
  readonly #load = new Map<string, Took>()
  /** Those that were loaded ahead, and that no call has used. */
  readonly #unused = new WeakSet<Sandbox>()

  constructor(deps: SparesDeps<Sandbox>) {
    this.#deps = deps
    this.#asked = new Demand(deps.clock)
  }

  /** A call of a version whose sandboxes serve one call each has its own now; of another one, a call that found all of them busy. */
  served(spec: SandboxSpec): void {
    this.#asked.note(spec.key)
    const missing = this.wanted(spec) - this.#deps.idle(spec.key) - this.#deps.coming(spec.key)
    if (missing > 0) this.#deps.make(spec, missing)
  }

  wanted({ key, reuse }: Version): number {
    const { most, startMs } = this.#deps
    const count = this.#asked.count(key)
    const stock = Math.floor(stockFor(this.#asked.perSecond(key), startMs() + (this.#load.get(key)?.ms ?? GUESS_MS)))
    if (reuse === 'never') return Math.max(1, Math.min(most, stock))
    return count < OFTEN ? 0 : Math.min(most, Math.max(1, stock))
  }

  /**
   * Whether one that was asked for some time ago is still to be made: where starts take long, most of those that wait
   * their turn were wanted by calls that come no more.
   */
  isWanted(spec: Version): boolean {
    const others = this.#deps.idle(spec.key) + Math.max(0, this.#deps.coming(spec.key) - 1)
    return others < this.wanted(spec)
  }

  made(sandbox: Sandbox, { key }: Version, loadMs: number): void {
    this.#unused.add(sandbox)
    const took = this.#load.get(key) ?? new Took(loadMs)
    took.note(loadMs)
    this.#load.set(key, took)
    if (this.#load.size > LIMITS.rememberedVersions.value) this.#load.delete(this.#load.keys().next().value as string)
  }

  /** Ends what was loaded ahead for calls that do not come any more. */
  sweep(idle: readonly { readonly sandbox: Sandbox & { readonly spec: Version; readonly calls: number }; readonly sinceMs: number }[]): void {
    const now = this.#deps.clock.monotonic()
    const left = new Map<string, number>()
    for (const { sandbox, sinceMs } of idle) {
      if (!this.#unused.has(sandbox) || sandbox.calls > 0 || now - sinceMs < UNUSED_MS) continue
      const { spec } = sandbox
      const standing = left.get(spec.key) ?? this.#deps.idle(spec.key)
      if (standing <= this.wanted(spec)) continue
      left.set(spec.key, standing - 1)
      this.#deps.drop(sandbox)
    }
  }
}
