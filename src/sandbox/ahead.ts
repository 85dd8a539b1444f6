import type { Log } from '../core/log.ts'
import type { Booting, Generic } from './booting.ts'
import { LOAD_MS } from './loading.ts'
import type { MemoryBudget } from './memory-budget.ts'
import { PROVISIONED } from './provisioned.ts'
import type { Spares } from './spares.ts'
import type { Specialised } from './specialised.ts'
import type { Specialising } from './specialising.ts'
import type { Clock } from '../lib/clock.ts'
import { LoadError, type SandboxSpec } from './types.ts'

export interface AheadDeps {
  readonly booting: Booting
  readonly specialising: Specialising
  readonly budget: MemoryBudget<Specialised>
  readonly spares: Spares<Specialised>
  readonly giveBack: (generic: Generic) => void
  /** Whether what is made of it ends after its first call. */
  readonly isOver: (spec: SandboxSpec) => boolean
  /** One can take calls. */
  readonly onFree: (sandbox: Specialised) => void
  /** The machine has too little memory for what no call has asked for. */
  readonly isShort: () => boolean
  readonly clock: Clock
  readonly log: Log
  readonly closing: AbortSignal
}

/** Loads sandboxes that no call has asked for. */
export class Ahead {
  readonly #deps: AheadDeps

  constructor(deps: AheadDeps) {
    this.#deps = deps
  }

  /** What goes wrong with the code here is told to the next call, which loads it again. */
  async spare(spec: SandboxSpec, start: () => Promise<Generic>): Promise<void> {
    const { budget, spares, isOver, isShort, clock, log, closing } = this.#deps
    // It pushes nobody out.
    if (isOver(spec) || isShort() || !spares.isWanted(spec) || !budget.fits(spec)) return
    using _ = budget.comes(spec)
    const generic = await start()
    const from = clock.monotonic()
    const told = (made: Specialised) => spares.made(made, spec, clock.monotonic() - from)
    await this.load(generic, spec, Math.max(LOAD_MS, spec.timeoutMs), {}, told).catch((error: Error) => {
      // No reason for the pool to pause: it started.
      if (!(error instanceof LoadError || closing.aborted)) log.warn({ error: error.message }, 'a sandbox could not be made ready')
    })
  }

  /** Others give their memory for it, as for a call. `told` hears of it before any call can get it. */
  async provisioned(spec: SandboxSpec, limitMs: number, told: (made: Specialised) => void): Promise<void> {
    const { booting, budget, isOver, giveBack } = this.#deps
    budget.makeRoom(spec)
    using _ = budget.comes(spec)
    const generic = await booting.start(spec, 'pool')
    if (!isOver(spec)) return await this.load(generic, spec, limitMs, PROVISIONED, told)
    giveBack(generic)
    throw new Error('its version is over')
  }

  /** @param environment  beside the variables of the spec. @throws LoadError */
  async load(
    generic: Generic,
    spec: SandboxSpec,
    limitMs: number,
    environment: Readonly<Record<string, string>> = {},
    told: ((made: Specialised) => void) | null = null,
  ): Promise<void> {
    const { specialising, isOver, onFree } = this.#deps
    const made = await specialising.ahead(generic, spec, { limitMs, environment })
    if (isOver(spec)) made.drain('retired')
    if (made.state.state === 'gone') return
    told?.(made)
    onFree(made)
  }
}
