import type { Clock } from '../lib/clock.ts'
import type { SandboxState } from './state.ts'
import type { SandboxProcess, SandboxSpec, Shares } from './types.ts'
import type { WorkingElsewhere } from './working-elsewhere.ts'

/** So soon behind the beginning of a burst its sandboxes weigh less. */
const SOON_MS = 50
/** A project whose last call is not longer ago has calls. */
const LATELY_MS = 1_000

/** A sandbox as far as this file must know it. */
export interface Weighed {
  readonly spec: { readonly identity: Pick<SandboxSpec['identity'], 'project'> }
  readonly state: Pick<SandboxState, 'state'>
  /** Since when it has nothing to do; null while it has. */
  readonly idleSinceMs: number | null
  readonly process: Pick<SandboxProcess, 'weigh'>
}

export interface ProcessorSharesDeps<Sandbox extends Weighed> {
  readonly processors: number
  readonly shares: Shares
  /** Those that serve a version. */
  readonly all: () => readonly Sandbox[]
  readonly clock: Pick<Clock, 'timer' | 'monotonic'>
  /** What works in other processes of the node. */
  readonly elsewhere?: WorkingElsewhere
}

/**
 * What of its weight each sandbox has beside those of other projects. The kernel knows sandboxes alone: with a weight for
 * each, a project would have as much of full processors as it runs sandboxes. So beyond as many as there are processors,
 * times its weight, those of one project that start, load or work weigh no more together, in all processes of the node.
 */
export class ProcessorShares<Sandbox extends Weighed> implements Disposable {
  readonly #deps: ProcessorSharesDeps<Sandbox>
  readonly #begun = new Map<string, number>()
  readonly #given = new WeakMap<Sandbox, number>()
  #soon: Disposable | null = null

  constructor(deps: ProcessorSharesDeps<Sandbox>) {
    this.#deps = deps
    deps.elsewhere?.onChange(() => this.called())
  }

  /** One more of this project is started or loads until this is disposed of. */
  begins(project: string): Disposable & { readonly share: number } {
    add(this.#begun, project, 1)
    this.called()
    return { share: this.#shareOf(project, this.#running()), [Symbol.dispose]: () => add(this.#begun, project, -1) }
  }

  /** Whether others have calls now, or had just before. */
  isBesideOthers(project: string): boolean {
    const { shares, all, clock, elsewhere } = this.#deps
    if (shares.projects() <= 1) return false
    const since = clock.monotonic() - LATELY_MS
    const hasCalls = ({ spec, idleSinceMs }: Sandbox) => spec.identity.project !== project && (idleSinceMs ?? Number.POSITIVE_INFINITY) >= since
    return [...this.#begun.keys(), ...(elsewhere?.projects() ?? [])].some((one) => one !== project) || all().some(hasCalls)
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
    this.#deps.elsewhere?.tell(running)
    for (const sandbox of this.#deps.all()) {
      const { project } = sandbox.spec.identity
      const share = this.#shareOf(project, running)
      const given = this.#given.get(sandbox)
      if (given === share || (lower && given !== undefined && given < share)) continue
      this.#given.set(sandbox, share)
      sandbox.process.weigh?.(share)
    }
  }

  #running(): Map<string, number> {
    const running = new Map(this.#begun)
    for (const { spec, state } of this.#deps.all()) if (state.state === 'busy' || state.state === 'draining') add(running, spec.identity.project, 1)
    return running
  }

  /** In steps of two, or each call that comes or ends would have all others weighed anew. */
  #shareOf(project: string, running: ReadonlyMap<string, number>): number {
    const { processors, shares, elsewhere } = this.#deps
    if (shares.projects() <= 1) return 1
    const step = 2 ** Math.ceil(Math.log2(Math.max(1, (running.get(project) ?? 0) + (elsewhere?.of(project) ?? 0))))
    return Math.min(1, (processors * shares.weightOf(project)) / step)
  }
}

function add(counts: Map<string, number>, name: string, by: number): void {
  const left = (counts.get(name) ?? 0) + by
  if (left === 0) counts.delete(name)
  else counts.set(name, left)
}
