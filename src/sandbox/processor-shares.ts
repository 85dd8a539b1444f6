import type { Clock } from '../lib/clock.ts'
import type { SandboxState } from './state.ts'
import type { SandboxProcess, SandboxSpec, Shares } from './types.ts'

/** So soon behind the beginning of a burst its sandboxes weigh less. */
const SOON_MS = 50

/** A sandbox as far as this file must know it. */
export interface Weighed {
  readonly spec: { readonly identity: Pick<SandboxSpec['identity'], 'project'> }
  readonly state: Pick<SandboxState, 'state'>
  readonly process: Pick<SandboxProcess, 'weigh'>
}

export interface ProcessorSharesDeps<Sandbox extends Weighed> {
  readonly processors: number
  readonly shares: Shares
  /** Those that serve a version. */
  readonly all: () => readonly Sandbox[]
  readonly clock: Pick<Clock, 'timer'>
}

/**
 * What of its weight each sandbox has beside those of other projects. The kernel knows sandboxes alone: with a weight for
 * each, a project would have as much of full processors as it runs sandboxes. So beyond as many as there are processors,
 * times its weight, those of one project that work weigh no more together.
 */
export class ProcessorShares<Sandbox extends Weighed> implements Disposable {
  readonly #deps: ProcessorSharesDeps<Sandbox>
  readonly #loading = new Map<string, number>()
  readonly #given = new WeakMap<Sandbox, number>()
  #soon: Disposable | null = null

  constructor(deps: ProcessorSharesDeps<Sandbox>) {
    this.#deps = deps
  }

  /** One more of this project loads until this is disposed of. */
  loads(project: string): Disposable & { readonly share: number } {
    add(this.#loading, project, 1)
    this.called()
    const running = this.#running().get(project) ?? 1
    return { share: this.#shareOf(project, running), [Symbol.dispose]: () => add(this.#loading, project, -1) }
  }

  /** A call has come to one of them. On the path of every call. */
  called(): void {
    if (this.#soon !== null || this.#deps.shares.projects() <= 1) return
    this.#soon = this.#deps.clock.timer(SOON_MS, () => {
      this.#soon = null
      this.#weigh(true)
    })
  }

  /** Weighs all by what works now; those that stand idle too, for the calls to come. */
  level(): void {
    this.#weigh(false)
  }

  [Symbol.dispose](): void {
    this.#soon?.[Symbol.dispose]()
    this.#soon = null
  }

  /** @param lower  none has more than before: a burst whose calls come and go would have all weighed anew each time */
  #weigh(lower: boolean): void {
    const running = this.#running()
    for (const sandbox of this.#deps.all()) {
      const { project } = sandbox.spec.identity
      const share = this.#shareOf(project, running.get(project) ?? 0)
      const given = this.#given.get(sandbox)
      if (given === share || (lower && given !== undefined && given < share)) continue
      this.#given.set(sandbox, share)
      sandbox.process.weigh?.(share)
    }
  }

  #running(): Map<string, number> {
    const running = new Map(this.#loading)
    for (const { spec, state } of this.#deps.all()) if (state.state === 'busy' || state.state === 'draining') add(running, spec.identity.project, 1)
    return running
  }

  /** In steps of two, or each call that comes or ends would have all others weighed anew. */
  #shareOf(project: string, running: number): number {
    const { processors, shares } = this.#deps
    if (shares.projects() <= 1) return 1
    const step = 2 ** Math.ceil(Math.log2(Math.max(1, running)))
    return Math.min(1, (processors * shares.weightOf(project)) / step)
  }
}

function add(counts: Map<string, number>, name: string, by: number): void {
  const left = (counts.get(name) ?? 0) + by
  if (left === 0) counts.delete(name)
  else counts.set(name, left)
}
