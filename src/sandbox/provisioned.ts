import type { Log } from '../core/log.ts'
import { LIMITS } from '../core/limits.ts'
import type { Clock } from '../lib/clock.ts'
import { LoadError, type ProvisionedState, type SandboxSpec } from './types.ts'

/** What could not be made is tried again after this; each time twice as long. */
const FIRST_PAUSE_MS = 1_000
const MAX_PAUSE_MS = 60_000
/** One that is lost is replaced after this. */
const REPLACE_MS = 250
/** One that was there for less was lost early: each such loss lets the next replacement wait longer, for code may end itself whenever it is loaded. */
const STEADY_MS = 60_000
/** Code says why it does not load in its own words, which may fill a frame; so much of them is told. */
const DETAIL_LENGTH = 1_000

export interface ProvisionedDeps<Sandbox> {
  /** Makes one that no call asked for. `made` is told before any call can get it. @throws LoadError; what keeps it from being started */
  readonly load: (spec: SandboxSpec, limitMs: number, made: (sandbox: Sandbox) => void) => Promise<void>
  /** The memory of all sandboxes together. */
  readonly budgetMb: () => number
  /** How many projects have functions. */
  readonly projects: () => number
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
  /** With the time at which it was made. */
  readonly kept: Map<Sandbox, number>
  loading: number
  /** When one was last begun, in the order of all. */
  turn: number
  /** All were there once: what is lost since then is replaced, and that is no news. */
  wasReady: boolean
  failed: { readonly reason: string; readonly detail: string } | null
  pauseMs: number
  /** The pause after the next early loss. */
  lostMs: number
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
  #turn = 0
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
    const wanted = now ?? {
      spec,
      count,
      kept: new Map(),
      loading: 0,
      turn: 0,
      wasReady: false,
      failed: null,
      pauseMs: FIRST_PAUSE_MS,
      lostMs: REPLACE_MS,
      pause: null,
    }
    // The same version with another environment: who says so ends those that have the old one.
    wanted.spec = spec
    wanted.count = count
    wanted.pause?.[Symbol.dispose]()
    wanted.pause = null
    wanted.pauseMs = FIRST_PAUSE_MS
    wanted.wasReady = false
    wanted.failed = null
    this.#byKey.set(spec.key, wanted)
    for (const sandbox of [...wanted.kept.keys()].slice(count)) this.#release(wanted, sandbox)
    this.#fill()
  }

  /** What there is of it serves on as any other does. */
  drop(key: string): void {
    const wanted = this.#byKey.get(key)
    if (!wanted) return
    this.#byKey.delete(key)
    wanted.pause?.[Symbol.dispose]()
    for (const sandbox of [...wanted.kept.keys()]) this.#release(wanted, sandbox)
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
    const now = { requested: wanted.count, available: wanted.kept.size, status } as const
    if (status !== 'FAILED') return { ...now, reason: null }
    return room === null && wanted.failed !== null ? { ...now, ...wanted.failed } : { ...now, reason: room }
  }

  /** One has ended, for whatever reason. */
  gone(sandbox: Sandbox): void {
    const wanted = this.#keptBy.get(sandbox)
    if (!wanted) return
    const lastedMs = this.#deps.clock.monotonic() - (wanted.kept.get(sandbox) ?? 0)
    this.#release(wanted, sandbox)
    if (wanted.pause !== null) return // several that end together are one loss
    if (lastedMs >= STEADY_MS) wanted.lostMs = REPLACE_MS
    this.#after(wanted, wanted.lostMs)
    wanted.lostMs = Math.min(MAX_PAUSE_MS, wanted.lostMs * 2)
  }

  [Symbol.dispose](): void {
    this.#closed = true
    for (const { pause } of this.#byKey.values()) pause?.[Symbol.dispose]()
  }

  #release(wanted: Wanted<Sandbox>, sandbox: Sandbox): void {
    wanted.kept.delete(sandbox)
    this.#keptBy.delete(sandbox)
  }

  /** Each project has its equal share, and within it those that were wanted first. @returns why there is none for it; null when there is */
  #roomFor(asked: Wanted<Sandbox>): string | null {
    const ofProject = (wanted: Wanted<Sandbox>) => wanted.spec.identity.project
    const provisioning = new Set([...this.#byKey.values()].map(ofProject)).size
    const projects = Math.max(1, provisioning, this.#deps.projects())
    const mostMb = Math.floor((this.#deps.budgetMb() * LIMITS.provisionedMemory.value) / 100 / projects)
    let takenMb = 0
    for (const wanted of this.#byKey.values()) {
      if (ofProject(wanted) !== ofProject(asked)) continue
      const wantsMb = wanted.count * wanted.spec.memoryMb
      const fits = takenMb + wantsMb <= mostMb
      if (wanted === asked) {
        if (fits) return null
        return `${wanted.count} sandboxes of ${wanted.spec.memoryMb} MB do not fit: of the ${mostMb} MB that provisioned sandboxes of one project may have on this node, ${takenMb} MB are taken.`
      }
      if (fits) takenMb += wantsMb
    }
    return null
  }

  /** Makes what is missing, a few at once; the project comes first whose turn is the longest ago, for code may take minutes to load. */
  #fill(): void {
    while (!this.#closed && this.#loading < this.#deps.atOnce) {
      const turns = new Map<string, number>()
      for (const { spec, turn } of this.#byKey.values()) turns.set(spec.identity.project, Math.max(turn, turns.get(spec.identity.project) ?? 0))
      const missing = [...this.#byKey.values()].filter(
        (wanted) => wanted.pause === null && wanted.kept.size + wanted.loading < wanted.count && this.#roomFor(wanted) === null,
      )
      const turnOf = ({ spec }: Wanted<Sandbox>) => turns.get(spec.identity.project) ?? 0
      const next = missing.toSorted((a, b) => turnOf(a) - turnOf(b))[0]
      if (!next) return
      next.turn = ++this.#turn
      void this.#make(next)
    }
  }

  async #make(wanted: Wanted<Sandbox>): Promise<void> {
    const { key, timeoutMs } = wanted.spec
    wanted.loading++
    this.#loading++
    try {
      await this.#deps.load(wanted.spec, Math.max(LIMITS.provisionedLoadTime.value, timeoutMs), (sandbox) => {
        if (this.#byKey.get(key) !== wanted || wanted.kept.size >= wanted.count) return
        wanted.kept.set(sandbox, this.#deps.clock.monotonic())
        this.#keptBy.set(sandbox, wanted)
      })
      wanted.failed = null
      wanted.pauseMs = FIRST_PAUSE_MS
      if (wanted.kept.size >= wanted.count) wanted.wasReady = true
    } catch (error) {
      if (error instanceof LoadError) {
        wanted.failed = { reason: 'FUNCTION_ERROR_INIT_FAILURE', detail: (error.told ?? error.errorWithPlace).slice(0, DETAIL_LENGTH) }
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
