import type { Clock } from '../lib/clock.ts'
import { LIMITS } from '../core/limits.ts'
import type { Bootable } from './boot-health.ts'
import { type Boot, POOL_TMP_MB } from './booting.ts'
import { Took } from './demand.ts'
import type { Endings } from './endings.ts'
import type { RuntimeName, SandboxSpec } from './types.ts'
import type { Waiting } from './waiting.ts'

const REFILL_AFTER_MS = 25
/** While another still waits, the calls that took the last one have the processors to themselves for so long. */
const REFILL_LATER_MS = 500
/** What a start takes, until one was measured. */
const GUESS_MS = 100

export interface RefillDeps<Booted extends Boot> {
  readonly waiting: Waiting<Booted>
  /** How many are made at once. */
  readonly refills: number
  readonly clock: Clock
  readonly closing: AbortSignal
  readonly endings: Endings
  /** How long none of this runtime should be started, as its starts fail. */
  readonly pauseMs: (one: Bootable) => number
  /** Whether code is loaded for a call now. */
  readonly isLoading: () => boolean
  readonly start: (boot: Boot, forOneCall: boolean) => Promise<Booted>
  /** Takes one that was started for the pool. */
  readonly started: (booted: Booted) => void
  /** Makes one of this version of what `start` gives, if it is still wanted. Fails only where a start fails. */
  readonly makeSpare: (spec: SandboxSpec, start: () => Promise<Booted>) => Promise<void>
}

interface Spares {
  readonly spec: SandboxSpec
  wanted: number
  making: number
}

/** Brings the pool back to its size, then makes what versions want ahead of their calls; off the path of calls. */
export class Refill<Booted extends Boot> implements Disposable {
  readonly #deps: RefillDeps<Booted>
  /** What is wanted of versions; the one whose turn is the longest ago comes first. */
  readonly #spares = new Map<string, Spares>()
  readonly #took = new Took(GUESS_MS)
  #later: { readonly due: number; readonly timer: Disposable } | null = null
  #making = 0

  constructor(deps: RefillDeps<Booted>) {
    this.#deps = deps
  }

  /** How long it takes until one that was taken is there again. */
  get ms(): number {
    return REFILL_LATER_MS + this.#took.ms
  }

  /** How long it takes until one of a version is started that was asked for. */
  get startMs(): number {
    return REFILL_AFTER_MS + this.#took.ms
  }

  /** Starting another costs more than this call's own loading, and would stand in its way. */
  soon(runtime: RuntimeName): void {
    this.#in(this.#deps.waiting.count(runtime) > 0 ? REFILL_LATER_MS : REFILL_AFTER_MS)
  }

  /** Now and again, for what has changed by itself: a refill that leaves the processors to a call for a moment still does. */
  look(): void {
    if (!this.#later || this.#later.due - this.#deps.clock.monotonic() > REFILL_LATER_MS) this.now()
  }

  /** How many of this version are on their way, or to be made. */
  coming(key: string): number {
    const spares = this.#spares.get(key)
    return spares ? spares.wanted + spares.making : 0
  }

  /** So many more of this version. */
  spare(spec: SandboxSpec, count: number): void {
    const known = this.#spares.get(spec.key)
    if (!known && this.#spares.size >= LIMITS.concurrentInvocations.value) return
    this.#spares.delete(spec.key)
    this.#spares.set(spec.key, { spec, wanted: (known?.wanted ?? 0) + count, making: known?.making ?? 0 })
    // Whose place it takes is given to a call in this moment: to start another costs more than that whole call.
    this.#in(REFILL_AFTER_MS)
  }

  now(): void {
    const { waiting, refills, closing, endings, pauseMs } = this.#deps
    const isPaused = (one: Bootable) => pauseMs(one) > 0
    while (!closing.aborted && this.#making < refills) {
      const fills = waiting.next((runtime) => isPaused({ runtime, driver: null }))
      const spare = fills ? null : ([...this.#spares.values()].find(({ spec, wanted }) => wanted > 0 && !isPaused(spec)) ?? null)
      if (!fills && !spare) {
        this.#afterPause()
        return
      }
      const filling = fills ? waiting.filling(fills) : null
      if (spare) this.#turn(spare.spec.key, { wanted: -1, making: 1 })
      this.#making++
      const done = () => {
        this.#making--
        filling?.[Symbol.dispose]()
        if (spare) this.#turn(spare.spec.key, { wanted: 0, making: -1 })
        this.now()
      }
      const { spec } = spare ?? {}
      const work = spec ? this.#deps.makeSpare(spec, () => this.#start(spec, spec.reuse === 'never')) : this.#fill(fills as RuntimeName)
      // Whoever starts it remembers that it failed.
      endings.track(work.catch(() => {}).then(done))
    }
  }

  [Symbol.dispose](): void {
    this.#later?.timer[Symbol.dispose]()
    this.#later = null
  }

  #turn(key: string, by: { readonly wanted: number; readonly making: number }): void {
    const spares = this.#spares.get(key)
    if (!spares) return
    spares.wanted += by.wanted
    spares.making += by.making
    this.#spares.delete(key)
    if (spares.wanted + spares.making > 0) this.#spares.set(key, spares)
  }

  /** Where only runtimes are left that do not start now, another look comes when the first of their pauses is over. */
  #afterPause(): void {
    const { waiting, pauseMs } = this.#deps
    const spares = [...this.#spares.values()].filter(({ wanted }) => wanted > 0).map(({ spec }) => spec)
    const pauses = [...waiting.runtimes().map((runtime) => ({ runtime, driver: null })), ...spares].map(pauseMs).filter((ms) => ms > 0)
    if (pauses.length > 0) this.#in(Math.ceil(Math.min(...pauses)))
  }

  /** @param waited  how long it has waited for loads already; one may take long, and the pool is not to stand empty for it */
  #in(ms: number, waited = 0): void {
    const { clock, closing } = this.#deps
    if (closing.aborted) return
    const due = clock.monotonic() + ms
    if (this.#later && this.#later.due <= due) return
    this.#later?.timer[Symbol.dispose]()
    const timer = clock.timer(ms, () => {
      this.#later = null
      if (this.#deps.isLoading() && waited < REFILL_LATER_MS) this.#in(REFILL_AFTER_MS, waited + REFILL_AFTER_MS)
      else this.now()
    })
    this.#later = { due, timer }
  }

  async #fill(runtime: RuntimeName): Promise<void> {
    this.#deps.started(await this.#start({ runtime, tmpMb: POOL_TMP_MB, driver: null }, false))
  }

  async #start(boot: Boot, forOneCall: boolean): Promise<Booted> {
    const { clock, start } = this.#deps
    const from = clock.monotonic()
    const booted = await start(boot, forOneCall)
    this.#took.note(clock.monotonic() - from)
    return booted
  }
}
