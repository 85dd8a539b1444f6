import type { Log } from '../core/log.ts'
import { LIMITS } from '../core/limits.ts'
import type { Clock } from '../lib/clock.ts'
import { LoadError, type ProvisionedState, type SandboxSpec } from './types.ts'

/** What could not be made is tried again after this; each time twice as long. */
const FIRST_PAUSE_MS = 1_000
const MAX_PAUSE_MS = 60_000
/** One that is lost is replaced after this, so that code which ends at once does not keep the node busy. */
const REPLACE_MS = 250

export interface ProvisionedDeps<Sandbox> {
  /** Makes one that no call asked for. `made` is told before any call can get it. @throws LoadError; what keeps it from being started */
  readonly load: (spec: SandboxSpec, limitMs: number, made: (sandbox: Sandbox) => void) => Promise<void>
  /** The memory of all sandboxes together. */
  readonly budgetMb: () => number
  /** How many are made at once. */
  readonly atOnce: number
  readonly clock: Clock
  readonly log: Log
}

/** What their environment says beside that of others. */
export const PROVISIONED = { AWS_LAMBDA_INITIALIZATION_TYPE: 'provisioned-concurrency' } as const

interface Wanted<Sandbox> {
  spec: SandboxSpec
  count: number
  readonly kept: Set<Sandbox>
  loading: number
  /** All were there once: what is lost since then is replaced, and that is no news. */
  wasReady: boolean
  failed: string | null
  pauseMs: number
  pause: Disposable | null
}

/**
 * Sandboxes that are kept loaded for the calls of some versions, whatever becomes of others. The pool makes them, gives
 * them calls and tells here of those that are gone; this says how many there should be and which of them must stay.
 */
export class Provisioned<Sandbox extends object> implements Disposable {
  readonly #deps: ProvisionedDeps<Sandbox>
  readonly #byKey = new Map<string, Wanted<Sandbox>>()
  readonly #keptBy = new Map<Sandbox, Wanted<Sandbox>>()
  #loading = 0
  #closed = false

  constructor(deps: ProvisionedDeps<Sandbox>) {
    this.#deps = deps
  }

  /** Whether it must stay. */
  holds(sandbox: Sandbox): boolean {
    return this.#keptBy.has(sandbox)
  }

  /** So many of this version; the same again changes nothing. */
  set(spec: SandboxSpec, count: number): void {
    const now = this.#byKey.get(spec.key)
    if (now?.count === count && now.spec === spec) return
    const wanted = now ?? { spec, count, kept: new Set(), loading: 0, wasReady: false, failed: null, pauseMs: FIRST_PAUSE_MS, pause: null }
    // The same version with another environment: who says so ends those that have the old one.
    wanted.spec = spec
    wanted.count = count
    wanted.pause?.[Symbol.dispose]()
    wanted.pause = null
    wanted.pauseMs = FIRST_PAUSE_MS
    wanted.wasReady = false
    wanted.failed = null
    this.#byKey.set(spec.key, wanted)
    for (const sandbox of [...wanted.kept].slice(count)) this.#release(wanted, sandbox)
    this.#fill()
  }

  /** What there is of it serves on as any other does. */
  drop(key: string): void {
    const wanted = this.#byKey.get(key)
    if (!wanted) return
    this.#byKey.delete(key)
    wanted.pause?.[Symbol.dispose]()
    for (const sandbox of [...wanted.kept]) this.#release(wanted, sandbox)
    this.#fill() // there may be room now for what did not fit
  }

  /** Whether any are to be kept of it. */
  wants(key: string): boolean {
    return this.#byKey.has(key)
  }

  keys(): string[] {
    return [...this.#byKey.keys()]
  }

  /** Null when nothing is wanted of it. */
  state(key: string): ProvisionedState | null {
    const wanted = this.#byKey.get(key)
    if (!wanted) return null
    const room = this.#roomFor(wanted)
    const status = wanted.kept.size >= wanted.count || wanted.wasReady ? 'READY' : room !== null || wanted.failed !== null ? 'FAILED' : 'IN_PROGRESS'
    return { requested: wanted.count, available: wanted.kept.size, status, reason: status === 'FAILED' ? (room ?? wanted.failed) : null }
  }

  /** One has ended, for whatever reason. */
  gone(sandbox: Sandbox): void {
    const wanted = this.#keptBy.get(sandbox)
    if (!wanted) return
    this.#release(wanted, sandbox)
    this.#after(wanted, REPLACE_MS)
  }

  [Symbol.dispose](): void {
    this.#closed = true
    for (const { pause } of this.#byKey.values()) pause?.[Symbol.dispose]()
  }

  #release(wanted: Wanted<Sandbox>, sandbox: Sandbox): void {
    wanted.kept.delete(sandbox)
    this.#keptBy.delete(sandbox)
  }

  /** Those that were wanted first have the memory. @returns why there is none for it; null when there is */
  #roomFor(asked: Wanted<Sandbox>): string | null {
    const mostMb = Math.floor((this.#deps.budgetMb() * LIMITS.provisionedMemory.value) / 100)
    let takenMb = 0
    for (const wanted of this.#byKey.values()) {
      const wantsMb = wanted.count * wanted.spec.memoryMb
      const fits = takenMb + wantsMb <= mostMb
      if (wanted === asked) {
        if (fits) return null
        return `${wanted.count} sandboxes of ${wanted.spec.memoryMb} MB do not fit: of the ${mostMb} MB that provisioned sandboxes of this node may have, ${takenMb} MB are taken.`
      }
      if (fits) takenMb += wantsMb
    }
    return null
  }

  /** Makes what is missing, a few at once. */
  #fill(): void {
    for (const wanted of this.#byKey.values()) {
      if (wanted.pause !== null || this.#roomFor(wanted) !== null) continue
      while (!this.#closed && this.#loading < this.#deps.atOnce && wanted.kept.size + wanted.loading < wanted.count) void this.#make(wanted)
    }
  }

  async #make(wanted: Wanted<Sandbox>): Promise<void> {
    const { key, timeoutMs } = wanted.spec
    wanted.loading++
    this.#loading++
    try {
      await this.#deps.load(wanted.spec, Math.max(LIMITS.provisionedLoadTime.value, timeoutMs), (sandbox) => {
        if (this.#byKey.get(key) !== wanted || wanted.kept.size >= wanted.count) return
        wanted.kept.add(sandbox)
        this.#keptBy.set(sandbox, wanted)
      })
      wanted.failed = null
      wanted.pauseMs = FIRST_PAUSE_MS
      if (wanted.kept.size >= wanted.count) wanted.wasReady = true
    } catch (error) {
      if (error instanceof LoadError) {
        wanted.failed = 'FUNCTION_ERROR_INIT_FAILURE'
        wanted.wasReady = false
      } else if (!this.#closed) this.#deps.log.warn({ error: (error as Error).message }, 'a provisioned sandbox could not be made; it is tried again')
      this.#after(wanted, wanted.pauseMs)
      wanted.pauseMs = Math.min(MAX_PAUSE_MS, wanted.pauseMs * 2)
    } finally {
      wanted.loading--
      this.#loading--
    }
    this.#fill()
  }

  /** Looks again at one after a while. */
  #after(wanted: Wanted<Sandbox>, ms: number): void {
    if (this.#closed || wanted.pause !== null || this.#byKey.get(wanted.spec.key) !== wanted) return
    wanted.pause = this.#deps.clock.timer(ms, () => {
      wanted.pause = null
      this.#fill()
    })
  }
}
