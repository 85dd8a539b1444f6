import { promises as fs } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Clock } from '../lib/clock.ts'
import { type Leaving, signalOf } from '../lib/leaving.ts'
import { orAborted } from '../lib/or-aborted.ts'
import { Ahead } from './ahead.ts'
import { Booting } from './booting.ts'
import { buildCache, hasCompileCache } from './build-sandbox.ts'
import { ColdReasons } from './cold-reasons.ts'
import { CompileCaches } from './compile-caches.ts'
import type { SandboxConfig } from './config.ts'
import { Endings } from './endings.ts'
import { FreezeTimer } from './freezing.ts'
import { Inspecting } from './inspecting.ts'
import { Joining } from './joining.ts'
import { initReport, isLate, LOAD_MS } from './loading.ts'
import { MemoryBudget } from './memory-budget.ts'
import type { MemorySource } from './memory-leases.ts'
import { type MachineMemory, Pressure, shareToDrop } from './pressure.ts'
import { ProcessorShares } from './processor-shares.ts'
import { Provisioned } from './provisioned.ts'
import { atOnce, Serving } from './serving.ts'
import { shownOf } from './shown.ts'
import { Spares } from './spares.ts'
import type { Specialised } from './specialised.ts'
import { Specialising } from './specialising.ts'
import type { Source, Staging } from './staging.ts'
import { noneEnded, takesCalls } from './state.ts'
import { GENERIC_MB, Supply } from './supply.ts'
import type { WorkingElsewhere } from './working-elsewhere.ts'
import {
  type Built,
  type Call,
  type Driver,
  type Ending,
  type HandlerKind,
  type Inspected,
  LoadError,
  type LogSink,
  type Problem,
  type ProvisionedState,
  type Sandboxes,
  type SandboxLease,
  type SandboxSpec,
  type SandboxStatus,
  type Shares,
} from './types.ts'

const SWEEP_MS = 1_000
/** A call of a version whose calls take less waits so long for one of its sandboxes before it asks for another. */
const MAX_PATIENCE_MS = 10
/** So often one that is made for another call may come to nothing before a call has its own made. */
const MAX_JOINS = 3

export interface PoolDeps {
  readonly config: SandboxConfig
  readonly driver: Driver
  /** The folder of slots, on the file system of the code. */
  readonly folder: string
  /** The folder of compile caches. */
  readonly caches: string
  readonly staging: Staging
  readonly clock: Clock
  readonly log: Log
  readonly machineMb: number
  /** Where the memory for sandboxes comes from, in a node of several processes. */
  readonly memory?: MemorySource
  /** What works in other processes of the node, where it has several. */
  readonly elsewhere?: WorkingElsewhere
  /** Whether a version was there before this life of the node. */
  readonly knownBefore: (key: string) => boolean
  readonly shares: Shares
  /** How it stands with the memory of the machine. */
  readonly machineMemory: () => Promise<MachineMemory>
}

export const memoryForSandboxes = (config: Pick<SandboxConfig, 'memoryMb'>, machineMb: number): number => config.memoryMb || Math.floor(machineMb * 0.75)

/** What belongs to none, as a deploy's own work, is done once: nothing is made ready for it. */
const isOfProject = ({ identity }: SandboxSpec) => identity.project !== ''

/** Keeps booted sandboxes waiting, makes them a version's when a call comes, and keeps those for the next call. */
export class SandboxPool implements Sandboxes {
  readonly #deps: PoolDeps
  readonly #closing = new AbortController()
  readonly #endings: Endings
  readonly #booting: Booting
  readonly #supply: Supply
  readonly #provisioned: Provisioned<Specialised>
  readonly #serving: Serving<Specialised>
  readonly #budget: MemoryBudget<Specialised>
  readonly #processors: ProcessorShares<Specialised>
  readonly #coldReasons: ColdReasons
  readonly #caches: CompileCaches
  readonly #specialising: Specialising
  readonly #freezer: FreezeTimer<Specialised>
  readonly #pressure: Pressure
  readonly #spares: Spares<Specialised>
  readonly #ahead: Ahead
  readonly #joining = new Joining<Specialised>()
  readonly #inspecting: Inspecting
  #sweeper: Disposable
  /** Versions whose sandboxes end with the calls that still come for them. */
  readonly #retired = new Set<string>()
  /** Specs that say what holds no more: what is still being made of them ends after its first call. */
  readonly #outdated = new WeakSet<SandboxSpec>()
  readonly #ended = noneEnded()
  #over: Promise<void> | null = null

  constructor(deps: PoolDeps) {
    this.#deps = deps
    const { config, driver, clock, log } = deps
    const closing = this.#closing.signal
    this.#endings = new Endings(log)
    const leave = (slotDir: string, isWhole: boolean) => deps.staging.takeBack(slotDir, isWhole)
    this.#booting = new Booting({ driver, slots: this.#slots, clock, log, closing, endings: this.#endings, leave })
    this.#processors = new ProcessorShares({
      processors: availableParallelism(),
      shares: deps.shares,
      all: () => this.#serving.all(),
      clock,
      ...(deps.elsewhere === undefined ? {} : { elsewhere: deps.elsewhere }),
    })
    this.#supply = new Supply({
      config,
      driver,
      booting: this.#booting,
      clock,
      closing,
      endings: this.#endings,
      hasMemory: () => !this.#pressure.isShort && this.#budget.hasRoomFor(GENERIC_MB),
      makeSpare: (spec, start) => this.#ahead.spare(spec, start),
      processors: this.#processors,
    })
    this.#provisioned = new Provisioned({
      load: (spec, limitMs, made) => this.#ahead.provisioned(spec, limitMs, made),
      budgetMb: () => this.#budget.totalMb,
      projects: () => deps.shares.projects(),
      atOnce: config.refills,
      clock,
      log,
    })
    this.#inspecting = new Inspecting({
      ready: (spec) => this.#serving.findReady(spec),
      start: (spec) => this.start(spec),
      clock,
      closing,
    })
    this.#serving = new Serving({
      wants: (key) => this.#provisioned.wants(key) || this.#inspecting.of(key) !== null,
      holds: (sandbox) => sandbox.isInspected || this.#provisioned.holds(sandbox),
      first: (key) => this.#inspecting.of(key),
    })
    this.#budget = new MemoryBudget({
      totalMb: memoryForSandboxes(config, deps.machineMb),
      ...(deps.memory === undefined ? {} : { source: deps.memory }),
      serving: this.#serving,
      shares: deps.shares,
      clock,
      waiting: { mb: () => this.#supply.extraMb, drop: () => this.#supply.dropExtra() },
      drop: (sandbox) => this.#drop(sandbox, 'memory'),
    })
    this.#pressure = new Pressure(deps.machineMemory, log)
    this.#spares = new Spares({
      most: config.readyMost,
      clock,
      startMs: () => this.#supply.refill.startMs,
      idle: (key) => this.#serving.idleOf(key),
      coming: (key) => this.#supply.refill.coming(key),
      make: (spec, count) => this.#supply.refill.spare(spec, count),
      drop: (sandbox) => this.#drop(sandbox, 'idle-drop'),
    })
    this.#coldReasons = new ColdReasons(deps.knownBefore)
    this.#caches = new CompileCaches(deps.caches, driver.name !== 'process', log)
    this.#specialising = new Specialising({
      booting: this.#booting,
      caches: this.#caches,
      staging: deps.staging,
      processors: this.#processors,
      clock,
      closing,
      onMade: (sandbox, source) => this.#onMade(sandbox, source),
      onFree: (sandbox) => this.#onFree(sandbox),
      onGone: (sandbox, why) => this.#onGone(sandbox, why),
    })
    this.#ahead = new Ahead({
      booting: this.#booting,
      specialising: this.#specialising,
      budget: this.#budget,
      spares: this.#spares,
      giveBack: (generic) => this.#supply.giveBack(generic),
      isOver: (spec) => this.#isOver(spec),
      onFree: (sandbox) => this.#onFree(sandbox),
      isShort: () => this.#pressure.isShort,
      clock,
      log,
      closing,
    })
    this.#freezer = new FreezeTimer(config.freezeMs, clock)
    this.#sweeper = clock.timer(SWEEP_MS, () => this.#sweep())
    this.#supply.refill.now()
  }

  async acquire(spec: SandboxSpec, log: LogSink, signal: Leaving, first: Call | null = null): Promise<SandboxLease> {
    signal.throwIfAborted()
    const { clock } = this.#deps
    const asked = clock.monotonic()
    for (let grown = 0, joins = 0; ; ) {
      this.#closing.signal.throwIfAborted()
      const ready = this.#serving.findReady(spec)
      if (!ready) {
        const coming = joins++ < MAX_JOINS ? this.#joining.join(spec) : null
        if (!coming) return await this.#acquireCold(spec, log, signal, asked, first)
        const joined = await orAborted(coming, signal).catch((error: unknown) => {
          throw error instanceof LoadError ? error.for('first-call', clock.monotonic() - asked) : error
        })
        // Others may have come before, or it was lost: then it is looked for another way.
        if (!joined || !takesCalls(joined.state, atOnce(spec))) continue
        if (await joined.begin()) return this.#leaseReady(joined, log, clock.monotonic() - asked)
        continue
      }
      if (this.#budget.lacksToRun(ready) && (await this.#budget.grow(spec, grown++))) continue
      this.#budget.makeRoomToRun(ready)
      const begun = ready.begin()
      if (begun === true || (await begun)) return this.#leaseReady(ready, log, clock.monotonic() - asked)
    }
  }

  async #acquireCold(spec: SandboxSpec, log: LogSink, signal: Leaving, asked: number, first: Call | null): Promise<SandboxLease> {
    const { clock, driver } = this.#deps
    if (!driver.runs(spec.runtime)) throw new MayflyError('sandbox_unavailable', `the runtime ${spec.runtime} is not installed on this node any more`)
    const patienceMs = this.#patienceMs(spec)
    if (patienceMs > 0) {
      const freed = await this.#supply.freed(spec, patienceMs, signalOf(signal))
      if (freed) return this.#leaseReady(freed, log, clock.monotonic() - asked)
      this.#closing.signal.throwIfAborted()
    }
    const cold = this.#coldReasons.why(spec, this.#serving.has(spec.key) || this.#budget.isComing(spec.key))
    for (let grown = 0; this.#budget.lacks(spec) && (await this.#budget.grow(spec, grown)); ) grown++
    this.#budget.makeRoom(spec)
    using _ = this.#budget.comes(spec)
    using coming = this.#joining.comes(spec, atOnce(spec) - 1)
    const { booted, ready } = await this.#supply.take(spec, signal)
    const taken = clock.monotonic()
    if (ready) {
      if (signal.aborted) ready.finish()
      signal.throwIfAborted()
      return this.#leaseReady(ready, log, taken - asked)
    }
    if (signal.aborted) this.#supply.giveBack(booted)
    signal.throwIfAborted()
    using _loading = this.#supply.loading()
    const depth = first?.context.depth ?? 0
    let made: Specialised
    let repeatedFrom: number | null = null
    try {
      made = await this.#specialising.forCall(booted, spec, { log, limitMs: LOAD_MS, first, depth }, signal)
    } catch (error) {
      if (!(error instanceof LoadError)) throw error
      log.platform?.(initReport(error, clock.monotonic() - taken))
      if (!isLate(error)) {
        coming.failed(error)
        throw error.for(cold, taken - asked)
      }
      // As on Lambda: what loads too slowly is begun anew, as part of the call.
      const again = await this.#supply.start(spec, signalOf(signal))
      if (again.ready) return this.#leaseReady(again.ready, log, clock.monotonic() - asked)
      repeatedFrom = clock.monotonic()
      made = await this.#specialising.forCall(again.booted, spec, { log, limitMs: spec.timeoutMs, first: null, depth }, signal).catch((second: unknown) => {
        const from = repeatedFrom as number
        if (second instanceof LoadError) coming.failed(second)
        throw second instanceof LoadError ? second.for(cold, from - asked, clock.monotonic() - from) : second
      })
    }
    if (this.#isOver(spec)) made.drain('retired')
    else {
      coming.made(made)
      this.#supply.offer(made)
    }
    if (isOfProject(spec) && (spec.reuse === 'never' || cold === 'scale-out')) this.#spares.served(spec)
    const now = clock.monotonic()
    return made.lease(
      repeatedFrom === null
        ? { cold, waitMs: taken - asked, initMs: now - taken }
        : { cold, waitMs: repeatedFrom - asked, initMs: 0, spentMs: now - repeatedFrom },
    )
  }

  /**
   * How long a call may wait for one of its version to become free before another is loaded. Where calls are short
   * and the processors are taken, one more sandbox costs all of them more than it gives any.
   */
  #patienceMs(spec: SandboxSpec): number {
    const all = this.#serving.of(spec.key)
    if (spec.reuse === 'never' || all.length === 0 || all.length < this.#deps.config.starts) return 0
    const callMs = Math.min(...all.map((sandbox) => sandbox.callMs ?? MAX_PATIENCE_MS))
    return callMs < MAX_PATIENCE_MS ? MAX_PATIENCE_MS : 0
  }

  /** The right to one that was loaded before this call. */
  #leaseReady(sandbox: Specialised, log: LogSink, waitMs: number): SandboxLease {
    const { spec } = sandbox
    this.#processors.called()
    // What it printed when it was loaded ahead belongs to the first call.
    sandbox.printed?.tell(log)
    if (this.#provisioned.holds(sandbox) || spec.reuse !== 'never') return sandbox.lease({ cold: null, waitMs, initMs: 0 })
    this.#spares.served(spec)
    return sandbox.lease({ cold: 'reuse-never', waitMs, initMs: 0 })
  }

  build(spec: SandboxSpec): Promise<Built> {
    this.#retired.delete(spec.key)
    const { staging, clock, log } = this.#deps
    const work = hasCompileCache(spec.runtime)
      ? buildCache({ booting: this.#booting, caches: this.#caches, staging, clock, log }, spec)
      : this.#buildNothing(spec)
    const kept = work.then((built) => {
      // It may be over meanwhile.
      if (this.#retired.has(spec.key)) void this.#caches.forget(spec.key)
      return built
    })
    this.#endings.track(kept.then(() => {}))
    return kept
  }

  async #buildNothing(spec: SandboxSpec): Promise<Built> {
    const { clock } = this.#deps
    const from = clock.monotonic()
    await this.prepare(spec).catch(() => {})
    return { ok: true, handlerKind: 'lambda', error: null, ms: clock.monotonic() - from }
  }

  async adopt(spec: SandboxSpec, from: string): Promise<boolean> {
    this.#retired.delete(spec.key)
    if (!(await this.#caches.adopt(spec.key, from))) return false
    await this.prepare(spec).catch(() => {})
    return true
  }

  async start(spec: SandboxSpec): Promise<void> {
    this.#closing.signal.throwIfAborted()
    // It pushes nobody out.
    if (this.#serving.findReady(spec) || !this.#budget.fits(spec)) return
    using _ = this.#budget.comes(spec)
    const generic = await this.#supply.takeBehind(spec)
    await this.#ahead.load(generic, spec, LOAD_MS).catch((error: unknown) => {
      // A call gives it more time.
      if (!(error instanceof LoadError && isLate(error))) throw error
    })
  }

  kindOf(key: string): HandlerKind | null {
    return this.#caches.kindOf(key)
  }

  hasLoaded(spec: SandboxSpec): boolean {
    return this.#coldReasons.hasLoaded(spec)
  }

  async prepare(spec: SandboxSpec): Promise<void> {
    this.#supply.expect(spec)
    await this.#caches.readKind(spec.key)
    await this.#deps.staging.prepare(this.#caches.sourceOf(spec))
  }

  provision(spec: SandboxSpec, count: number): void {
    this.#retired.delete(spec.key)
    this.#provisioned.set(spec, count)
  }

  unprovision(key: string): void {
    this.#provisioned.drop(key)
  }

  provisionedKeys(): readonly string[] {
    return this.#provisioned.keys()
  }

  provisioned(key: string): ProvisionedState | null {
    return this.#provisioned.state(key)
  }

  retire(key: string): void {
    this.#provisioned.drop(key)
    for (const sandbox of this.#serving.of(key)) sandbox.drain('retired')
    this.#retired.add(key)
    if (this.#retired.size > LIMITS.rememberedVersions.value) this.#retired.delete(this.#retired.keys().next().value as string)
    this.#supply.retire(key)
    void this.#deps.staging.forget(key)
    void this.#caches.forget(key)
  }

  inspect(spec: SandboxSpec, signal: AbortSignal): Promise<Inspected> {
    return this.#inspecting.open(spec, signal)
  }

  rest(project: string): void {
    for (const sandbox of this.#serving.all()) {
      if (sandbox.spec.identity.project !== project || this.#provisioned.holds(sandbox)) continue
      sandbox.drain('idle-drop')
      this.#coldReasons.ended(sandbox.spec, 'idle-drop', sandbox.calls > 0)
    }
  }

  restart(spec: SandboxSpec): void {
    this.#outdated.add(spec)
    const all = this.#serving.of(spec.key).filter((sandbox) => sandbox.spec === spec)
    for (const sandbox of all) sandbox.drain('retired')
    this.#coldReasons.ended(
      spec,
      'new-version',
      all.some(({ calls }) => calls > 0),
    )
  }

  #isOver(spec: SandboxSpec): boolean {
    return this.#retired.has(spec.key) || this.#outdated.has(spec)
  }

  status(): SandboxStatus {
    const { driver, clock } = this.#deps
    const seen = this.#pressure.seen
    return {
      driver: driver.name,
      limits: driver.limits,
      missing: driver.missing,
      generic: this.#supply.length,
      waiting: this.#supply.shown(),
      memory: { usedMb: this.#budget.usedMb, budgetMb: this.#budget.totalMb, machine: seen && { ...seen, isShort: this.#pressure.isShort } },
      ended: { ...this.#ended },
      sandboxes: this.#serving.all().map((sandbox) => ({
        ...shownOf(sandbox, clock.monotonic(), this.#provisioned.holds(sandbox), this.#serving.memoryOf(sandbox)),
        driver: sandbox.spec.driver ?? driver.name,
      })),
    }
  }

  problems(): readonly Problem[] {
    return [...this.#booting.health.problems(), ...this.#pressure.problems()]
  }

  /** Idempotent: who comes second waits for the same end. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#over ??= this.#end()
    return this.#over
  }

  async #end(): Promise<void> {
    const reason = new MayflyError('shutting_down', 'the node is stopping')
    this.#closing.abort(reason)
    this.#supply.close(reason)
    this.#sweeper[Symbol.dispose]()
    this.#freezer[Symbol.dispose]()
    this.#provisioned[Symbol.dispose]()
    this.#processors[Symbol.dispose]()
    this.#booting.close()
    for (const sandbox of this.#serving.all()) this.#endings.track(sandbox.end(null))
    await this.#endings.over()
    await this.#deps.driver[Symbol.asyncDispose]()
    await fs.rm(this.#slots, { recursive: true, force: true })
  }

  get #slots(): string {
    return path.join(this.#deps.folder, 'slots')
  }

  /** A call is over. On the path of every warm one. */
  #onFree(sandbox: Specialised): void {
    this.#supply.offer(sandbox)
    if (sandbox.idleSinceMs !== null) this.#freezer.watch(sandbox)
  }

  /** Ends one that stands idle. */
  #drop(sandbox: Specialised, why: 'idle-drop' | 'memory' | 'pressure'): void {
    this.#coldReasons.ended(sandbox.spec, 'idle-drop', sandbox.calls > 0)
    this.#endings.track(sandbox.end(why))
  }

  #onMade(sandbox: Specialised, source: Source): void {
    const { spec } = sandbox
    this.#serving.add(sandbox)
    this.#coldReasons.loaded(spec)
    // A copy of the code was used up.
    if (!this.#retired.has(spec.key) && isOfProject(spec)) void this.#deps.staging.prepare(source).catch(() => {})
  }

  #onGone(sandbox: Specialised, why: Ending | null): void {
    if (why !== null) this.#ended[why]++
    this.#provisioned.gone(sandbox)
    this.#serving.remove(sandbox)
    this.#coldReasons.gone(sandbox.spec, sandbox.calls > 0)
  }

  /** Ends what has been idle for long or is short of memory, and brings to its size what waits, now and again. */
  #sweep(): void {
    const { clock, config } = this.#deps
    this.#sweeper = clock.timer(SWEEP_MS, () => this.#sweep())
    this.#budget.sample()
    this.#processors.level()
    const now = clock.monotonic()
    for (const { sandbox, sinceMs } of this.#serving.idle()) if (now - sinceMs > config.idleMs) this.#drop(sandbox, 'idle-drop')
    this.#spares.sweep(this.#serving.idle())
    this.#supply.sweep()
    this.#endings.track(this.#relieve())
  }

  /** Where the machine is short of memory, a part of what stands idle goes, the oldest first. */
  async #relieve(): Promise<void> {
    if (!(await this.#pressure.look()) || this.#closing.signal.aborted) return
    this.#supply.dropExtra()
    const idle = this.#serving.idle().toSorted((one, other) => one.sinceMs - other.sinceMs)
    for (const { sandbox } of idle.slice(0, shareToDrop(idle.length))) this.#drop(sandbox, 'pressure')
  }
}
