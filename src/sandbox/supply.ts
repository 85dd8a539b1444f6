import type { Clock } from '../lib/clock.ts'
import { type Leaving, signalOf } from '../lib/leaving.ts'
import { type Boot, type Booting, bootFor, bootOf, type Generic, isOfPool, kindOf, WARMING } from './booting.ts'
import type { SandboxConfig } from './config.ts'
import { Demand, stockFor } from './demand.ts'
import type { Endings } from './endings.ts'
import type { ProcessorShares } from './processor-shares.ts'
import { Refill } from './refill.ts'
import { atOnce } from './serving.ts'
import type { Specialised } from './specialised.ts'
import { type Found, StartQueue } from './start-queue.ts'
import { takesCalls } from './state.ts'
import type { Driver, SandboxSpec } from './types.ts'
import { Waiting } from './waiting.ts'

/** What one that waits counts with. */
export const GENERIC_MB = 32

export interface SupplyDeps {
  readonly config: Pick<SandboxConfig, 'poolSize' | 'poolMost' | 'refills' | 'starts'>
  readonly driver: Pick<Driver, 'name' | 'runs' | 'resizesTmp'>
  readonly booting: Booting
  readonly clock: Clock
  readonly closing: AbortSignal
  readonly endings: Endings
  /** Whether there is memory for one more than wait in any case. */
  readonly hasMemory: () => boolean
  readonly makeSpare: (spec: SandboxSpec, start: () => Promise<Generic>) => Promise<void>
  readonly processors: Pick<ProcessorShares<Specialised>, 'begins' | 'isBesideOthers'>
}

/** Where sandboxes come from: those that wait booted, and where none does, what is started or becomes free first. */
export class Supply {
  readonly refill: Refill<Generic>
  readonly #deps: SupplyDeps
  readonly #waiting: Waiting<Generic>
  /** How often sandboxes of each runtime are taken. */
  readonly #asked: Demand
  readonly #starts: StartQueue<Generic, Specialised>
  /** For so many calls code is loaded now. */
  #loading = 0

  constructor(deps: SupplyDeps) {
    this.#deps = deps
    const { config, booting, clock, closing, endings, hasMemory, makeSpare } = deps
    this.#asked = new Demand(clock)
    this.#waiting = new Waiting({
      least: config.poolSize,
      most: config.poolMost,
      demand: (runtime) => stockFor(this.#asked.perSecond(runtime), this.refill.ms),
      hasMemory,
    })
    this.refill = new Refill({
      waiting: this.#waiting,
      refills: config.refills,
      clock,
      closing,
      endings,
      pauseMs: (one) => booting.health.pauseMs(one.driver === deps.driver.name ? { ...one, driver: null } : one),
      isLoading: () => this.#loading > 0,
      start: (boot, forOneCall) => this.#startBehind(bootFor(boot, deps.driver), forOneCall ? WARMING['one-call'] : WARMING.pool),
      started: (generic) => this.giveBack(generic),
      makeSpare,
    })
    this.#starts = new StartQueue({
      starts: config.starts,
      clock,
      // Half are left to others while those have calls: they come one by one, and wait for whole starts.
      most: (project) => (deps.processors.isBesideOthers(project) ? Math.ceil(config.starts / 2) : config.starts),
      start: async (kind, project) => {
        using begun = deps.processors.begins(project)
        return await booting.start(bootOf(kind), 'now', { share: begun.share })
      },
      surplus: (generic) => this.giveBack(generic),
    })
  }

  /** How many wait. */
  get length(): number {
    return this.#waiting.length
  }

  /** Each runtime of which some wait or should. */
  shown() {
    return this.#waiting.shown()
  }

  /** What those count with that wait beyond what waits in any case. */
  get extraMb(): number {
    return this.#waiting.extra * GENERIC_MB
  }

  /** Ends one of those. @returns whether there was one */
  dropExtra(): boolean {
    const extra = this.#waiting.takeExtra()
    if (extra) this.#deps.booting.drop(extra)
    return extra !== null
  }

  /** Brings the pool to the size that it should have by now, one of a runtime at a time where it is to become smaller. */
  sweep(): void {
    for (const generic of this.#waiting.surplus()) this.#deps.booting.drop(generic)
    this.refill.look()
  }

  /** For a call. @throws as `StartQueue.wait` */
  async take(spec: SandboxSpec, signal: Leaving): Promise<Found<Generic, Specialised>> {
    const waiting = this.#takeWaiting(spec)
    const found = waiting ? { booted: waiting, ready: null } : await this.start(spec, signalOf(signal))
    this.#taken(spec)
    return found
  }

  /** For a call, one that has not waited. @throws as `StartQueue.wait` */
  start(spec: SandboxSpec, signal: AbortSignal): Promise<Found<Generic, Specialised>> {
    return this.#starts.wait({ project: spec.identity.project, key: spec.key, kind: kindOf(bootFor(spec, this.#deps.driver)) }, signal)
  }

  /** Until this is disposed code is loaded for a call, and nothing is made behind it. */
  loading(): Disposable {
    this.#loading++
    return { [Symbol.dispose]: () => void this.#loading-- }
  }

  /** For a call, only one of its version that becomes free. @throws as `StartQueue.freed` */
  freed(spec: SandboxSpec, ms: number, signal: AbortSignal): Promise<Specialised | null> {
    return this.#starts.freed({ project: spec.identity.project, key: spec.key }, ms, signal)
  }

  /** For no call, so behind all calls; a deploy waits for it, so it is not warmed where none waits. @throws MayflyError sandbox_unavailable */
  async takeBehind(spec: SandboxSpec): Promise<Generic> {
    const generic = this.#takeWaiting(spec) ?? (await this.#deps.booting.start(bootFor(spec, this.#deps.driver), 'behind'))
    this.#taken(spec)
    return generic
  }

  /** What it still can take goes to the calls that wait for its version. On the path of every warm call. */
  offer(sandbox: Specialised): void {
    while (this.#starts.length > 0 && takesCalls(sandbox.state, atOnce(sandbox.spec))) {
      if (!this.#starts.giveReady(sandbox, sandbox.spec.key)) return
      void sandbox.begin() // it is not frozen: the right is taken at once
    }
  }

  /** A booted one that nobody made anything of: for the next who waits, else for the pool. */
  giveBack(generic: Generic): void {
    if (this.#deps.closing.aborted || (!this.#starts.giveBooted(generic, kindOf(generic)) && !this.#keep(generic))) this.#deps.booting.drop(generic)
  }

  /** A version may be called: one of its runtime should wait. */
  expect(spec: SandboxSpec): void {
    this.#deps.booting.expect(spec)
    if (this.#expects(spec)) this.refill.now()
  }

  /** A version is called no more. */
  retire(key: string): void {
    for (const generic of this.#waiting.retire(key)) this.#deps.booting.drop(generic)
  }

  /** Nobody waits any more, call or sandbox. */
  close(reason: unknown): void {
    this.#starts.close(reason)
    this.refill[Symbol.dispose]()
    for (const generic of this.#waiting.clear()) this.#deps.booting.drop(generic)
  }

  /** Where calls wait for starts, one has to cost as little as it can: to warm it takes longer than to start it. */
  async #startBehind(boot: Boot, how: (typeof WARMING)['pool']): Promise<Generic> {
    const { booting, closing } = this.#deps
    const generic = await booting.start(boot, 'behind')
    try {
      if (this.#starts.length === 0) await booting.warm(generic, how)
      closing.throwIfAborted()
      return generic
    } catch (error) {
      booting.drop(generic)
      throw error
    }
  }

  #takeWaiting(spec: SandboxSpec): Generic | undefined {
    return isOfPool(bootFor(spec, this.#deps.driver)) ? this.#waiting.take(spec.runtime) : undefined
  }

  #taken(spec: SandboxSpec): void {
    this.#deps.booting.expect(spec)
    this.#expects(spec)
    this.#asked.note(spec.runtime)
    this.refill.soon(spec.runtime)
  }

  /** @returns whether one should wait that was not wanted before */
  #expects({ key, runtime }: SandboxSpec): boolean {
    return this.#deps.driver.runs(runtime) && this.#waiting.expect(key, runtime)
  }

  /** @returns whether there is a place for it */
  #keep(generic: Generic): boolean {
    const { booting, endings } = this.#deps
    if (!isOfPool(generic) || !this.#waiting.hasPlace(generic.runtime)) return false
    const { now } = generic.life
    if (now.state === 'booted' && now.warm) {
      this.#waiting.add(generic)
      void generic.channel.failure.then(() => this.#replace(generic))
      return true
    }
    endings.track(
      booting.warm(generic).then(
        () => this.giveBack(generic),
        () => booting.end(generic),
      ),
    )
    return true
  }

  /** One has died; if it still waited, another takes its place. */
  #replace(generic: Generic): void {
    if (!this.#waiting.remove(generic)) return
    this.#deps.booting.drop(generic)
    this.refill.now()
  }
}
