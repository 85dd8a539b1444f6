import type { Clock } from '../lib/clock.ts'
import { LIMITS } from '../core/limits.ts'
import { type Boot, POOL_TMP_MB } from './booting.ts'
import type { Endings } from './endings.ts'
import type { RuntimeName, SandboxSpec } from './types.ts'
import type { Waiting } from './waiting.ts'

const REFILL_AFTER_MS = 25
/** While another still waits, the calls that took the last one have the processors to themselves for so long. */
const REFILL_LATER_MS = 500
const FIRST_PAUSE_MS = 500
const MAX_PAUSE_MS = 30_000

export interface RefillDeps<Booted extends Boot> {
  readonly waiting: Waiting<Booted>
  /** How many are made at once. */
  readonly refills: number
  readonly clock: Clock
  readonly closing: AbortSignal
  readonly endings: Endings
  readonly start: (boot: Boot) => Promise<Booted>
  /** Takes one that was started for the pool. */
  readonly started: (booted: Booted) => void
  /** Makes one of this version of what `start` gives, if it is still wanted. Fails only where a start fails. */
  readonly makeSpare: (spec: SandboxSpec, start: () => Promise<Booted>) => Promise<void>
}

/** Brings the pool back to its size, then makes successors; off the path of calls, after failures with growing pauses. */
export class Refill<Booted extends Boot> implements Disposable {
  readonly #deps: RefillDeps<Booted>
  /** Successors that are wanted, by version; null while one is being made. */
  readonly #spares = new Map<string, SandboxSpec | null>()
  #later: { readonly due: number; readonly timer: Disposable } | null = null
  #making = 0
  #pauseMs = 0

  constructor(deps: RefillDeps<Booted>) {
    this.#deps = deps
  }

  /** Starting another costs more than this call's own loading, and would stand in its way. */
  soon(runtime: RuntimeName): void {
    const { clock, waiting } = this.#deps
    const afterMs = waiting.count(runtime) > 0 ? REFILL_LATER_MS : REFILL_AFTER_MS
    const due = clock.monotonic() + afterMs
    if (this.#later && this.#later.due <= due) return
    this.#later?.timer[Symbol.dispose]()
    const timer = clock.timer(afterMs, () => {
      this.#later = null
      this.now()
    })
    this.#later = { due, timer }
  }

  /** Whether a successor may be asked for: none is on its way, and not too many are. */
  takesSpare(key: string): boolean {
    return !this.#spares.has(key) && this.#spares.size < LIMITS.concurrentInvocations.value
  }

  spare(spec: SandboxSpec): void {
    this.#spares.set(spec.key, spec)
    this.now()
  }

  now(): void {
    const { waiting, refills, closing, endings } = this.#deps
    while (!closing.aborted && this.#making < refills) {
      const fills = waiting.next()
      const spare = fills ? null : ([...this.#spares.values()].find((spec) => spec !== null) ?? null)
      if (!fills && !spare) return
      const filling = fills ? waiting.filling(fills) : null
      if (spare) this.#spares.set(spare.key, null)
      this.#making++
      const done = () => {
        this.#making--
        filling?.[Symbol.dispose]()
        if (spare) this.#spares.delete(spare.key)
        this.now()
      }
      const failed = () => {
        this.#pauseMs = Math.min(MAX_PAUSE_MS, Math.max(FIRST_PAUSE_MS, this.#pauseMs * 2))
      }
      const work = spare ? this.#deps.makeSpare(spare, () => this.#start(spare)) : this.#fill(fills as RuntimeName)
      endings.track(work.catch(failed).then(done))
    }
  }

  [Symbol.dispose](): void {
    this.#later?.timer[Symbol.dispose]()
  }

  async #fill(runtime: RuntimeName): Promise<void> {
    this.#deps.started(await this.#start({ runtime, tmpMb: POOL_TMP_MB }))
  }

  async #start(boot: Boot): Promise<Booted> {
    if (this.#pauseMs > 0) await this.#deps.clock.sleep(this.#pauseMs, this.#deps.closing)
    const booted = await this.#deps.start(boot)
    this.#pauseMs = 0
    return booted
  }
}
