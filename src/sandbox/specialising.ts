import type { Clock } from '../lib/clock.ts'
import type { Leaving } from '../lib/leaving.ts'
import { orAborted } from '../lib/or-aborted.ts'
import type { Booting, Generic } from './booting.ts'
import type { CompileCaches } from './compile-caches.ts'
import { Depths } from './depths.ts'
import { HeldLog } from './held-log.ts'
import { loadCode } from './loading.ts'
import type { ProcessorShares } from './processor-shares.ts'
import { Specialised } from './specialised.ts'
import type { Source, Staging } from './staging.ts'
import type { Call, Ending, LogSink, SandboxSpec } from './types.ts'

export interface SpecialisingDeps {
  readonly booting: Booting
  readonly caches: CompileCaches
  readonly staging: Staging
  readonly clock: Clock
  readonly closing: AbortSignal
  readonly processors: Pick<ProcessorShares<Specialised>, 'begins'>
  /** One has become a version's, of this source. */
  readonly onMade: (sandbox: Specialised, source: Source) => void
  /** One can take another call now. */
  readonly onFree: (sandbox: Specialised) => void
  /** One has ended; `why` is null when the node stops. */
  readonly onGone: (sandbox: Specialised, why: Ending | null) => void
}

interface Way {
  readonly limitMs: number
  readonly log: LogSink
  /** Beside the variables of the spec. */
  readonly environment: Readonly<Record<string, string>>
  /** What it prints is held here for its first call; null when a call has asked for it, and hears it at once. */
  readonly printed: HeldLog | null
  /** The call that it is made for, where that is known. */
  readonly first: Call | null
  /** How many functions stand behind that call. */
  readonly depth: number
}

/** Makes booted sandboxes a version's; those that do not become one are ended. */
export class Specialising {
  readonly #deps: SpecialisingDeps

  constructor(deps: SpecialisingDeps) {
    this.#deps = deps
  }

  /**
   * For a call, which has the right to it before anybody else can see it.
   * @throws LoadError; the signal's reason at once; what the pool was closed with
   */
  async forCall(generic: Generic, spec: SandboxSpec, way: Pick<Way, 'limitMs' | 'log' | 'first' | 'depth'>, signal: Leaving): Promise<Specialised> {
    try {
      return await orAborted(this.#specialise(generic, spec, { ...way, environment: {}, printed: null }), signal)
    } catch (error) {
      this.#deps.booting.drop(generic)
      this.#deps.closing.throwIfAborted()
      throw error
    }
  }

  /** Before any call. @throws LoadError */
  async ahead(generic: Generic, spec: SandboxSpec, { limitMs, environment }: Pick<Way, 'limitMs' | 'environment'>): Promise<Specialised> {
    const printed = new HeldLog()
    try {
      return await this.#specialise(generic, spec, { limitMs, log: printed, first: null, depth: 0, environment, printed })
    } catch (error) {
      this.#deps.booting.drop(generic)
      throw error
    }
  }

  async #specialise(generic: Generic, spec: SandboxSpec, way: Way): Promise<Specialised> {
    const { booting, caches, staging, clock, closing, processors, onMade, onFree, onGone } = this.#deps
    closing.throwIfAborted()
    const depths = new Depths(way.depth)
    generic.owner = { openRelay: (connection) => spec.openRelay(connection, spec.identity, () => depths.now()) }
    generic.life.tell('given', null)
    using _ = booting.working(generic)
    const source = caches.sourceOf(spec)
    using loading = processors.begins(spec.identity.project)
    const handlerKind = await loadCode(generic, { ...way, spec, source, share: loading.share }, clock, staging)
    if (generic.life.isGone) throw new Error('it was ended while it loaded')
    // From here to the end nothing is waited for: it may be lost at any moment, and a close must find it somewhere.
    const made = new Specialised({
      spec,
      handlerKind,
      process: generic.process,
      channel: generic.channel,
      life: generic.life,
      clock,
      depths,
      printed: way.printed,
      onFree,
      onGone: (sandbox, killed, why) => {
        onGone(sandbox, why)
        booting.clearSlot(generic, killed)
      },
    })
    if (way.printed === null) void made.begin()
    onMade(made, source)
    return made
  }
}
