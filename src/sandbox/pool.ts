import { existsSync, promises as fs } from 'node:fs'
import path from 'node:path'
import type { Duplex } from 'node:stream'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import { MiB } from '../lib/bytes.ts'
import type { Clock } from '../lib/clock.ts'
import { orAborted } from '../lib/or-aborted.ts'
import { within } from '../lib/within.ts'
import { Channel } from './channel.ts'
import { copyCache } from './compile-cache.ts'
import type { SandboxConfig } from './config.ts'
import { PROVISIONED, Provisioned } from './provisioned.ts'
import { Depths } from './depths.ts'
import { exitOf, howItEnded } from './exits.ts'
import { FreezeTimer } from './freezing.ts'
import { pathVariables } from './guest-paths.ts'
import { HeldLog } from './held-log.ts'
import { Specialised } from './specialised.ts'
import { StartQueue } from './start-queue.ts'
import { linkTree, openSlot, type Staging } from './staging.ts'
import { budgetMb, takesCalls } from './state.ts'
import {
  type ColdReason,
  type Driver,
  type HandlerKind,
  LoadError,
  type LogSink,
  type ProvisionedState,
  type RuntimeName,
  type Sandboxes,
  type SandboxLease,
  type SandboxProcess,
  type SandboxSpec,
  type SandboxStatus,
  type StartOptions,
} from './types.ts'
import { Waiting } from './waiting.ts'

const HELLO_MS = 20_000
const WARM_ROUNDS = 30
/** As on Lambda: loading may take so long; then it is begun anew within the time of the call. */
const LOAD_MS = LIMITS.loadTime.value
export const POOL_TMP_MB = 512
const POOL_PIDS = 128
const SWEEP_MS = 1_000
const REFILL_AFTER_MS = 25
/** While another still waits, the calls that took the last one have the processors to themselves for so long. */
const REFILL_LATER_MS = 500
/** A call of a version whose calls take less waits so long for one of its sandboxes before it asks for another. */
const MAX_PATIENCE_MS = 10
const MAX_PAUSE_MS = 30_000
const CACHE_SIZE = { bytes: LIMITS.compileCache.value, files: LIMITS.compileCacheFiles.value }

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
  /** Whether a version was there before this life of the node. */
  readonly knownBefore: (key: string) => boolean
}

/** A booted sandbox that nobody has claimed: it can still become anything. */
interface Generic {
  readonly process: SandboxProcess
  readonly channel: Channel
  readonly slotDir: string
  readonly runtime: RuntimeName
  readonly tmpMb: number
  /** Its code path has run already, so that a first call finds it hot. */
  warm: boolean
  /** Set when it becomes a version's: where its connections to the platform go. */
  owner: { openRelay: (connection: Duplex) => void } | null
}

interface Past {
  key: string
  ended: 'idle-drop' | 'sandbox-lost' | 'new-version' | null
}

/** Keeps booted sandboxes waiting, makes them a version's when a call comes, and keeps those for the next call. */
export class SandboxPool implements Sandboxes {
  readonly #deps: PoolDeps
  readonly #generic: Waiting<Generic>
  readonly #byKey = new Map<string, Specialised[]>()
  readonly #past = new Map<string, Past>()
  /** Versions whose sandboxes end with the calls that still come for them. */
  readonly #retired = new Set<string>()
  /** Specs that say what holds no more: what is still being made of them ends after its first call. */
  readonly #outdated = new WeakSet<SandboxSpec>()
  /** How many sandboxes are on their way for calls, by version. */
  readonly #coming = new Map<string, number>()
  /** Those that are warmed or given code now. */
  readonly #loading = new Set<Generic>()
  readonly #starts: StartQueue<Generic, Specialised>
  /** All that a close must wait for. */
  readonly #ending = new Set<Promise<void>>()
  readonly #closing = new AbortController()
  readonly #freezer: FreezeTimer<Specialised>
  readonly #sweeper: NodeJS.Timeout
  /** Successors that are wanted, by version; null while one is being made. */
  readonly #spares = new Map<string, SandboxSpec | null>()
  readonly #printed = new WeakMap<Specialised, HeldLog>()
  readonly #provisioned: Provisioned<Specialised>
  #refillAt: { readonly due: number; readonly timer: Disposable } | null = null
  #refilling = 0
  #pauseMs = 0
  #reservedMb = 0
  #next = 0

  constructor(deps: PoolDeps) {
    this.#deps = deps
    this.#generic = new Waiting(deps.config.poolSize)
    this.#starts = new StartQueue({
      starts: deps.config.starts,
      clock: deps.clock,
      start: (kind) => this.#start(bootOf(kind), false),
      surplus: (generic) => this.#giveBack(generic),
    })
    this.#provisioned = new Provisioned({
      load: async (spec, limitMs, made) => {
        this.#makeRoom(spec.memoryMb)
        await this.#loadAhead(spec, limitMs, made)
      },
      budgetMb: () => this.#budgetMb,
      atOnce: deps.config.refills,
      clock: deps.clock,
      log: deps.log,
    })
    this.#freezer = new FreezeTimer(deps.config.freezeMs, deps.clock)
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS)
    this.#sweeper.unref()
    this.#refill()
  }

  async acquire(spec: SandboxSpec, log: LogSink, signal: AbortSignal): Promise<SandboxLease> {
    signal.throwIfAborted()
    const { clock, driver } = this.#deps
    if (!driver.runs(spec.runtime)) throw new MayflyError('sandbox_unavailable', `the runtime ${spec.runtime} is not installed on this node any more`)
    const asked = clock.monotonic()
    for (;;) {
      this.#closing.signal.throwIfAborted()
      const ready = this.#findReady(spec)
      if (!ready) return await this.#acquireCold(spec, log, signal, asked)
      if (await ready.begin()) return this.#leaseReady(ready, log, clock.monotonic() - asked)
    }
  }

  async #acquireCold(spec: SandboxSpec, log: LogSink, signal: AbortSignal, asked: number): Promise<SandboxLease> {
    const { clock } = this.#deps
    const patienceMs = this.#patienceMs(spec)
    if (patienceMs > 0) {
      const freed = await this.#starts.freed(spec.key, patienceMs, signal)
      if (freed) return this.#leaseReady(freed, log, clock.monotonic() - asked)
      this.#closing.signal.throwIfAborted()
    }
    const cold = this.#whyCold(spec)
    this.#makeRoom(spec.memoryMb)
    using _ = this.#comes(spec)
    const waiting = spec.tmpMb === POOL_TMP_MB ? this.#generic.take(spec.runtime) : undefined
    const { booted, ready } = waiting ? { booted: waiting, ready: null } : await this.#starts.wait({ key: spec.key, kind: kindOf(spec) }, signal)
    this.#expect(spec)
    this.#refillSoon(spec.runtime)
    const taken = clock.monotonic()
    if (ready) {
      if (signal.aborted) ready.finish()
      signal.throwIfAborted()
      return this.#leaseReady(ready, log, taken - asked)
    }
    if (signal.aborted) this.#giveBack(booted)
    signal.throwIfAborted()
    let made: Specialised
    let repeatedFrom: number | null = null
    try {
      made = await this.#loadFor(booted, spec, log, signal, LOAD_MS)
    } catch (error) {
      if (!(error instanceof LoadError)) throw error
      log.platform?.(initReport(error, clock.monotonic() - taken))
      if (!isLate(error)) throw error.for(cold, taken - asked)
      // As on Lambda: what loads too slowly is begun anew, as part of the call.
      const again = await this.#starts.wait({ key: spec.key, kind: kindOf(spec) }, signal)
      if (again.ready) return this.#leaseReady(again.ready, log, clock.monotonic() - asked)
      repeatedFrom = clock.monotonic()
      made = await this.#loadFor(again.booted, spec, log, signal, spec.timeoutMs).catch((second: unknown) => {
        const from = repeatedFrom as number
        throw second instanceof LoadError ? second.for(cold, from - asked, clock.monotonic() - from) : second
      })
    }
    if (this.#isOver(spec)) made.drain()
    else this.#offer(made)
    this.#wantSpare(spec)
    const now = clock.monotonic()
    return made.lease(
      repeatedFrom === null
        ? { cold, waitMs: taken - asked, initMs: now - taken }
        : { cold, waitMs: repeatedFrom - asked, initMs: 0, spentMs: now - repeatedFrom },
    )
  }

  /** Makes it the version's, for one call; what does not load is ended. @throws LoadError; the signal's reason at once */
  async #loadFor(booted: Generic, spec: SandboxSpec, log: LogSink, signal: AbortSignal, limitMs: number): Promise<Specialised> {
    try {
      return await orAborted(this.#specialise(booted, spec, log, true, limitMs), signal)
    } catch (error) {
      this.#track(this.#end(booted))
      this.#closing.signal.throwIfAborted()
      throw error
    }
  }

  /**
   * How long a call may wait for one of its version to become free before another is loaded. Where calls are short
   * and the processors are taken, one more sandbox costs all of them more than it gives any.
   */
  #patienceMs(spec: SandboxSpec): number {
    const all = this.#byKey.get(spec.key)
    if (spec.reuse === 'never' || all === undefined || all.length < this.#deps.config.starts) return 0
    const callMs = Math.min(...all.map((sandbox) => sandbox.callMs ?? MAX_PATIENCE_MS))
    return callMs < MAX_PATIENCE_MS ? MAX_PATIENCE_MS : 0
  }

  /** The right to one that was loaded before this call. */
  #leaseReady(sandbox: Specialised, log: LogSink, waitMs: number): SandboxLease {
    const { spec } = sandbox
    // What it printed when it was loaded ahead belongs to the first call.
    this.#printed.get(sandbox)?.tell(log)
    if (this.#provisioned.holds(sandbox) || spec.reuse !== 'never') return sandbox.lease({ cold: null, waitMs, initMs: 0 })
    this.#wantSpare(spec)
    return sandbox.lease({ cold: 'reuse-never', waitMs, initMs: 0 })
  }

  build(spec: SandboxSpec): Promise<{ ok: boolean; handlerKind: HandlerKind | null; error: string | null; ms: number }> {
    const work = this.#build(spec)
    this.#track(work.then(() => {}))
    return work
  }

  async #build(spec: SandboxSpec): Promise<{ ok: boolean; handlerKind: HandlerKind | null; error: string | null; ms: number }> {
    const { clock, staging } = this.#deps
    const from = clock.monotonic()
    if (!hasCompileCache(spec.runtime)) {
      this.#retired.delete(spec.key)
      await this.prepare(spec).catch(() => {})
      return { ok: true, handlerKind: 'lambda', error: null, ms: clock.monotonic() - from }
    }
    const cache = path.join(this.#deps.caches, spec.key)
    const beside = `${cache}.new`
    let generic: Generic | null = null
    let written: fs.FileHandle | null = null
    this.#retired.delete(spec.key)
    try {
      generic = await this.#start({ runtime: spec.runtime, tmpMb: POOL_TMP_MB }, true, CACHE_SIZE)
      this.#loading.add(generic)
      written = generic.process.cache
      await staging.give({ ...this.#sourceOf(spec, null), key: `${spec.key}/build` }, generic.slotDir)
      // What is written to the cache is memory too, and not the function's.
      generic.process.limit({ memoryMb: spec.memoryMb + Math.ceil(CACHE_SIZE.bytes / MiB) })
      const { paths } = generic.process
      const load = generic.channel.specialise(
        {
          handler: spec.handler,
          environment: pathVariables(spec.runtime, paths),
          context: spec.context,
          memoryMb: spec.memoryMb,
          codePath: paths.code,
          cachePath: paths.cache,
          concurrency: 1,
          relayPorts: [],
          build: true,
        },
        { write: () => {}, lost: () => {} },
      )
      load.catch(() => {})
      if (!(await within(clock, LOAD_MS, load))) return { ok: false, handlerKind: null, error: 'loading took too long', ms: clock.monotonic() - from }
      const handlerKind = await load
      await this.#end(generic)
      if (written) await this.#keepCache(written, beside, cache)
      void staging.forget(`${spec.key}/build`)
      await staging.prepare(this.#sourceOf(spec, this.#hasCache(spec) ? cache : null)).catch(() => {})
      return { ok: true, handlerKind, error: null, ms: clock.monotonic() - from }
    } catch (error) {
      if (!(error instanceof LoadError)) this.#deps.log.warn({ error: (error as Error).message }, 'a compile cache could not be made')
      return { ok: false, handlerKind: null, error: error instanceof Error ? error.message : String(error), ms: clock.monotonic() - from }
    } finally {
      if (generic) await this.#end(generic)
      await written?.close()
      await fs.rm(beside, { recursive: true, force: true })
    }
  }

  async adopt(spec: SandboxSpec, from: string): Promise<boolean> {
    const cache = path.join(this.#deps.caches, spec.key)
    const beside = `${cache}.new`
    this.#retired.delete(spec.key)
    try {
      if (!existsSync(path.join(this.#deps.caches, from))) return false
      await fs.rm(beside, { recursive: true, force: true })
      // Its files are the node's own and never change: other names for them do.
      await linkTree(path.join(this.#deps.caches, from), beside)
      await fs.rename(beside, cache)
    } catch {
      // The other version went meanwhile.
      await fs.rm(beside, { recursive: true, force: true })
      return false
    }
    await this.prepare(spec).catch(() => {})
    return true
  }

  async start(spec: SandboxSpec): Promise<void> {
    this.#closing.signal.throwIfAborted()
    // It pushes nobody out.
    if (this.#findReady(spec) || !this.#fits(spec.memoryMb)) return
    using _ = this.#comes(spec)
    const waiting = spec.tmpMb === POOL_TMP_MB ? this.#generic.take(spec.runtime) : undefined
    const generic = waiting ?? (await this.#start(spec, true))
    this.#expect(spec)
    this.#refillSoon(spec.runtime)
    await this.#become(generic, spec, LOAD_MS).catch((error: unknown) => {
      // A call gives it more time.
      if (!(error instanceof LoadError && isLate(error))) throw error
    })
  }

  hasLoaded(spec: SandboxSpec): boolean {
    const past = this.#past.get(pastOf(spec))
    return past ? past.key === spec.key : this.#deps.knownBefore(spec.key)
  }

  /** One of its runtime should wait. @returns whether that is news */
  #expect({ key, runtime }: SandboxSpec): boolean {
    return this.#deps.driver.runs(runtime) && this.#generic.expect(key, runtime)
  }

  async prepare(spec: SandboxSpec): Promise<void> {
    if (this.#expect(spec)) this.#refill()
    await this.#deps.staging.prepare(this.#sourceOf(spec, this.#hasCache(spec) ? path.join(this.#deps.caches, spec.key) : null))
  }

  /** Takes the cache that a dead build sandbox wrote. A version whose cache is refused goes without: it loads slower. */
  async #keepCache(written: fs.FileHandle, beside: string, cache: string): Promise<void> {
    try {
      await fs.rm(beside, { recursive: true, force: true })
      await fs.mkdir(path.dirname(beside), { recursive: true, mode: 0o755 })
      await copyCache(written, beside)
      await fs.rm(cache, { recursive: true, force: true })
      await fs.rename(beside, cache)
    } catch (error) {
      this.#deps.log.warn({ error: (error as Error).message, cache }, 'a compile cache was not kept')
    }
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
    for (const sandbox of [...(this.#byKey.get(key) ?? [])]) sandbox.drain()
    this.#retired.add(key)
    if (this.#retired.size > LIMITS.rememberedVersions.value) this.#retired.delete(this.#retired.keys().next().value as string)
    for (const generic of this.#generic.retire(key)) this.#track(this.#end(generic))
    void this.#deps.staging.forget(key)
    void fs.rm(path.join(this.#deps.caches, key), { recursive: true, force: true })
    this.#cached.delete(key)
  }

  restart(spec: SandboxSpec): void {
    this.#outdated.add(spec)
    for (const sandbox of [...(this.#byKey.get(spec.key) ?? [])]) if (sandbox.spec === spec) sandbox.drain()
    const past = this.#past.get(pastOf(spec))
    if (past?.key === spec.key) past.ended = 'new-version'
  }

  #isOver(spec: SandboxSpec): boolean {
    return this.#retired.has(spec.key) || this.#outdated.has(spec)
  }

  status(): SandboxStatus {
    const { driver } = this.#deps
    const sandboxes = [...this.#byKey.values()].flat().map((sandbox) => ({
      id: sandbox.id,
      key: sandbox.spec.key,
      state: sandbox.state.state,
      busy: 'calls' in sandbox.state ? sandbox.state.calls : 0,
      memoryMb: budgetMb(sandbox.state, sandbox.spec.memoryMb),
    }))
    return { driver: driver.name, limits: driver.limits, missing: driver.missing, generic: this.#generic.length, sandboxes }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const reason = new MayflyError('shutting_down', 'the node is stopping')
    this.#closing.abort(reason)
    this.#starts.close(reason)
    clearInterval(this.#sweeper)
    this.#refillAt?.timer[Symbol.dispose]()
    this.#freezer[Symbol.dispose]()
    this.#provisioned[Symbol.dispose]()
    for (const generic of [...this.#generic.clear(), ...this.#loading]) this.#track(this.#end(generic))
    for (const sandbox of [...this.#byKey.values()].flat()) this.#track(sandbox.end())
    while (this.#ending.size > 0) await Promise.all([...this.#ending])
    await this.#deps.driver[Symbol.asyncDispose]()
    await fs.rm(this.#slots, { recursive: true, force: true })
  }

  get #slots(): string {
    return path.join(this.#deps.folder, 'slots')
  }

  /** The one used last: its caches are warmest, and the others may grow old. */
  #findReady(spec: SandboxSpec): Specialised | null {
    const all = this.#byKey.get(spec.key) ?? []
    const most = atOnce(spec)
    const keeps = this.#provisioned.wants(spec.key)
    let found = -1
    for (let i = all.length - 1; i >= 0; i--) {
      const sandbox = all[i] as Specialised
      if (!takesCalls(sandbox.state, most)) continue
      if (found === -1) found = i
      if (!keeps) break
      // What is provisioned stays in any case; the others may grow old.
      if (!this.#provisioned.holds(sandbox)) continue
      found = i
      break
    }
    const sandbox = all[found]
    if (!sandbox) return null
    all.splice(found, 1)
    all.push(sandbox)
    return sandbox
  }

  #whyCold(spec: SandboxSpec): ColdReason {
    const past = this.#past.get(pastOf(spec))
    if (spec.reuse === 'never') return 'reuse-never'
    if ((this.#byKey.get(spec.key) ?? []).length > 0 || this.#coming.has(spec.key)) return 'scale-out'
    if (!past) return this.#deps.knownBefore(spec.key) ? 'node-restart' : 'first-call'
    if (past.key !== spec.key) return 'new-version'
    return past.ended ?? 'scale-out'
  }

  /** The code has loaded: until then the version was never there. */
  #remember(name: string, key: string): void {
    this.#past.delete(name)
    this.#past.set(name, { key, ended: null })
    if (this.#past.size > LIMITS.rememberedVersions.value) this.#past.delete(this.#past.keys().next().value as string)
  }

  /** A sandbox for this is on its way: it counts, so that several at once do not slip through together. */
  #comes(spec: SandboxSpec): Disposable {
    const { key, memoryMb } = spec
    this.#reservedMb += memoryMb
    this.#coming.set(key, (this.#coming.get(key) ?? 0) + 1)
    return {
      [Symbol.dispose]: () => {
        this.#reservedMb -= memoryMb
        const left = (this.#coming.get(key) ?? 1) - 1
        if (left === 0) this.#coming.delete(key)
        else this.#coming.set(key, left)
      },
    }
  }

  /** What it still can take goes to the calls that wait for its version. */
  #offer(sandbox: Specialised): void {
    while (this.#starts.length > 0 && takesCalls(sandbox.state, atOnce(sandbox.spec))) {
      if (!this.#starts.giveReady(sandbox, sandbox.spec.key)) return
      void sandbox.begin() // it is not frozen: the right is taken at once
    }
  }

  /** A call is over. On the path of every warm one. */
  #onFree(sandbox: Specialised): void {
    this.#offer(sandbox)
    if (sandbox.idleSinceMs !== null) this.#freezer.watch(sandbox)
  }

  /** A booted one that nobody made anything of: for the next who waits, else for the pool. */
  #giveBack(generic: Generic): void {
    if (this.#closing.signal.aborted || (!this.#starts.giveBooted(generic, kindOf(generic)) && !this.#keep(generic))) this.#track(this.#end(generic))
  }

  /** @returns whether the pool has a place for it */
  #keep(generic: Generic): boolean {
    if (generic.tmpMb !== POOL_TMP_MB || !this.#generic.hasPlace(generic.runtime)) return false
    if (!generic.warm) {
      this.#track(
        this.#warm(generic).then(
          () => this.#giveBack(generic),
          () => this.#end(generic),
        ),
      )
      return true
    }
    this.#generic.add(generic)
    return true
  }

  /** Frozen sandboxes go, oldest first, until another fits. @throws MayflyError too_many_invocations */
  #makeRoom(wantedMb: number): void {
    while (!this.#fits(wantedMb)) {
      const idle = [...this.#byKey.values()]
        .flat()
        .filter((sandbox) => (sandbox.state.state === 'frozen' || sandbox.state.state === 'ready') && !this.#provisioned.holds(sandbox))
        .toSorted((a, b) => ('sinceMs' in a.state && 'sinceMs' in b.state ? a.state.sinceMs - b.state.sinceMs : 0))[0]
      if (!idle)
        throw new MayflyError(
          'too_many_invocations',
          `the sandboxes of this node use ${this.#usedMb} of ${this.#budgetMb} MB of memory; another of ${wantedMb} MB does not fit now`,
        )
      this.#drop(idle, 'idle-drop')
    }
  }

  get #budgetMb(): number {
    return this.#deps.config.memoryMb || Math.floor(this.#deps.machineMb * 0.75)
  }

  get #usedMb(): number {
    return [...this.#byKey.values()].flat().reduce((sum, sandbox) => sum + this.#budgetOf(sandbox), this.#reservedMb)
  }

  /** What is provisioned keeps the room of its limit, for it must stay when it runs. */
  #budgetOf(sandbox: Specialised): number {
    return this.#provisioned.holds(sandbox) && sandbox.state.state === 'frozen' ? sandbox.spec.memoryMb : budgetMb(sandbox.state, sandbox.spec.memoryMb)
  }

  #fits(wantedMb: number): boolean {
    return this.#usedMb + wantedMb <= this.#budgetMb
  }

  #drop(sandbox: Specialised, why: 'idle-drop' | 'sandbox-lost'): void {
    const past = this.#past.get(pastOf(sandbox.spec))
    if (past && past.key === sandbox.spec.key) past.ended = why
    this.#track(sandbox.end())
  }

  #track(ending: Promise<void>): void {
    const done = ending
      .catch((error: Error) => this.#deps.log.error({ error: error.message }, 'a sandbox could not be given back'))
      .then(() => void this.#ending.delete(done))
    this.#ending.add(done)
  }

  /** @param forCall  the right to one call is taken before anybody else can see it */
  async #specialise(
    generic: Generic,
    spec: SandboxSpec,
    log: LogSink,
    forCall: boolean,
    limitMs: number,
    more: Readonly<Record<string, string>> = {},
  ): Promise<Specialised> {
    const { clock, staging } = this.#deps
    const depths = new Depths()
    generic.owner = { openRelay: (connection) => spec.openRelay(connection, spec.identity, () => depths.now()) }
    const hasCache = this.#hasCache(spec)
    const source = this.#sourceOf(spec, hasCache ? path.join(this.#deps.caches, spec.key) : null)
    this.#loading.add(generic)
    try {
      const { paths } = generic.process
      generic.channel.announce({
        handler: spec.handler,
        environment: { ...pathVariables(spec.runtime, paths), ...spec.environment, ...more },
        context: spec.context,
        memoryMb: spec.memoryMb,
        codePath: paths.code,
        cachePath: hasCache ? paths.keptCache : null,
        concurrency: spec.concurrency,
        relayPorts: spec.relayPorts,
        build: false,
      })
      generic.process.limit({ memoryMb: spec.memoryMb })
      await staging.give(source, generic.slotDir)
      const loading = generic.channel.load(log)
      loading.catch(() => {})
      if (!(await within(clock, limitMs, loading))) throw loadError('Sandbox.Timedout', `Task timed out after ${(limitMs / 1000).toFixed(2)} seconds`)
      const handlerKind = await loading.catch(async (error: unknown) => {
        if (error instanceof LoadError)
          throw /^(Runtime\.InvalidEntrypoint$|Extension\.)/.test(error.errorType) ? loadError(error.errorType, messageOf(error)) : error
        const exit = await Promise.race([generic.process.exited, clock.sleep(1000).then(() => null)])
        throw loadError('Runtime.ExitError', howItEnded(generic.channel.exit ?? exitOf(exit?.code ?? null), exit?.outOfMemory ?? false))
      })
      const made = new Specialised({
        spec,
        handlerKind,
        process: generic.process,
        channel: generic.channel,
        clock,
        depths,
        onFree: (free) => this.#onFree(free),
        onGone: (sandbox, killed) => this.#onGone(sandbox, killed, generic.slotDir),
      })
      if (forCall) void made.begin()
      const all = this.#byKey.get(spec.key) ?? []
      all.push(made)
      this.#byKey.set(spec.key, all)
      this.#remember(pastOf(spec), spec.key)
      if (!this.#retired.has(spec.key)) void staging.prepare(source).catch(() => {})
      return made
    } finally {
      this.#loading.delete(generic)
    }
  }

  #onGone(sandbox: Specialised, killed: Promise<void>, slotDir: string): void {
    const all = this.#byKey.get(sandbox.spec.key)
    this.#provisioned.gone(sandbox)
    const at = all?.indexOf(sandbox) ?? -1
    if (at !== -1) all?.splice(at, 1)
    if (all?.length === 0) this.#byKey.delete(sandbox.spec.key)
    const past = this.#past.get(pastOf(sandbox.spec))
    if (past && past.key === sandbox.spec.key && past.ended === null) past.ended = 'sandbox-lost'
    this.#track(killed.then(() => fs.rm(slotDir, { recursive: true, force: true })))
  }

  #sourceOf(spec: SandboxSpec, cacheDir: string | null) {
    return { key: spec.key, codeDir: spec.codeDir, optDir: spec.optDir, cacheDir }
  }

  readonly #cached = new Map<string, boolean>()
  #hasCache(spec: SandboxSpec): boolean {
    const known = this.#cached.get(spec.key)
    if (known) return known
    const there = this.#deps.driver.name !== 'process' && existsSync(path.join(this.#deps.caches, spec.key))
    if (there) this.#cached.set(spec.key, true)
    return there
  }

  /** Starts a sandbox and brings it to where it can become anything. */
  #start(boot: Boot, background: boolean, cache: StartOptions['cache'] = null): Promise<Generic> {
    const work = this.#boot(boot, background, cache)
    this.#track(
      work.then(
        () => {},
        () => {},
      ),
    )
    return work
  }

  async #boot({ runtime, tmpMb }: Boot, background: boolean, cache: StartOptions['cache']): Promise<Generic> {
    const closing = this.#closing.signal
    const id = `s-${++this.#next}`
    const slotDir = path.join(this.#slots, id)
    await openSlot(slotDir)
    let process: SandboxProcess | null = null
    try {
      process = await this.#deps.driver.start({ id, runtime, slotDir, cache, tmpMb, pids: POOL_PIDS, background })
      const generic: Generic = {
        process,
        channel: new Channel(process, (connection) => (generic.owner ? generic.owner.openRelay(connection) : void connection.destroy())),
        slotDir,
        runtime,
        tmpMb,
        warm: false,
        owner: null,
      }
      await generic.channel.hello(AbortSignal.any([AbortSignal.timeout(HELLO_MS), closing]))
      if (background && cache === null) await this.#warm(generic)
      closing.throwIfAborted()
      // One that dies while it waits in the pool is replaced.
      void generic.channel.failure.then(() => {
        if (!this.#generic.remove(generic)) return
        this.#track(this.#end(generic))
        this.#refill()
      })
      return generic
    } catch (error) {
      await process?.cache?.close()
      await process?.kill()
      await fs.rm(slotDir, { recursive: true, force: true })
      closing.throwIfAborted()
      const why = process?.stderrTail().trim().slice(-300) || (error as Error).message
      this.#deps.log.error({ error: why }, 'a sandbox did not start')
      throw new MayflyError('sandbox_unavailable', 'a sandbox could not be started; the log of the node says why', { cause: error })
    }
  }

  async #warm(generic: Generic): Promise<void> {
    this.#loading.add(generic)
    try {
      const warming = generic.channel.warm(WARM_ROUNDS)
      if (!(await within(this.#deps.clock, HELLO_MS, warming))) throw new Error('it did not warm')
      await warming
      generic.warm = true
    } finally {
      this.#loading.delete(generic)
    }
  }

  async #end(generic: Generic): Promise<void> {
    this.#loading.delete(generic)
    await generic.process.kill()
    generic.channel.close()
    await fs.rm(generic.slotDir, { recursive: true, force: true })
  }

  /** Where each sandbox serves one call, the next is loaded behind this one; if there is memory to spare. */
  #wantSpare(spec: SandboxSpec): void {
    const { key, reuse } = spec
    if (reuse !== 'never' || this.#spares.has(key) || this.#spares.size >= LIMITS.concurrentInvocations.value) return
    if (this.#retired.has(key) || this.#findReady(spec)) return
    this.#spares.set(key, spec)
    this.#refill()
  }

  /** Starting another costs more than this call's own loading, and would stand in its way. */
  #refillSoon(runtime: RuntimeName): void {
    const { clock } = this.#deps
    const afterMs = this.#generic.count(runtime) > 0 ? REFILL_LATER_MS : REFILL_AFTER_MS
    const due = clock.monotonic() + afterMs
    if (this.#refillAt && this.#refillAt.due <= due) return
    this.#refillAt?.timer[Symbol.dispose]()
    const timer = clock.timer(afterMs, () => {
      this.#refillAt = null
      this.#refill()
    })
    this.#refillAt = { due, timer }
  }

  /** Brings the pool back to its size, then makes successors; off the path of calls, after failures with growing pauses. */
  #refill(): void {
    const { config } = this.#deps
    while (!this.#closing.signal.aborted && this.#refilling < config.refills) {
      const fills = this.#generic.next()
      const spare = fills ? null : ([...this.#spares.values()].find((spec) => spec !== null) ?? null)
      if (!fills && !spare) return
      const filling = fills ? this.#generic.filling(fills) : null
      if (spare) this.#spares.set(spare.key, null)
      this.#refilling++
      const done = () => {
        this.#refilling--
        filling?.[Symbol.dispose]()
        if (spare) this.#spares.delete(spare.key)
        this.#refill()
      }
      const failed = () => {
        this.#pauseMs = Math.min(MAX_PAUSE_MS, Math.max(500, this.#pauseMs * 2))
      }
      this.#track((spare ? this.#makeSpare(spare) : this.#fill(fills as RuntimeName)).catch(failed).then(done))
    }
  }

  async #startBehind(boot: Boot): Promise<Generic> {
    if (this.#pauseMs > 0) await this.#deps.clock.sleep(this.#pauseMs, this.#closing.signal)
    const generic = await this.#start(boot, true)
    this.#pauseMs = 0
    return generic
  }

  async #fill(runtime: RuntimeName): Promise<void> {
    this.#giveBack(await this.#startBehind({ runtime, tmpMb: POOL_TMP_MB }))
  }

  /** What goes wrong with the code here is told to the next call, which loads it again. */
  async #makeSpare(spec: SandboxSpec): Promise<void> {
    // It pushes nobody out.
    if (this.#isOver(spec) || !this.#fits(spec.memoryMb)) return
    using _ = this.#comes(spec)
    const generic = await this.#startBehind(spec)
    await this.#become(generic, spec, Math.max(LOAD_MS, spec.timeoutMs)).catch((error: Error) => {
      // No reason for the pool to pause: it started.
      if (!(error instanceof LoadError || this.#closing.signal.aborted)) this.#deps.log.warn({ error: error.message }, 'a sandbox could not be made ready')
    })
  }

  /** One that no call asked for, wherever the memory for it comes from. `told` hears of it before any call can get it. */
  async #loadAhead(spec: SandboxSpec, limitMs: number, told: (made: Specialised) => void): Promise<void> {
    using _ = this.#comes(spec)
    const generic = await this.#start(spec, true)
    if (!this.#isOver(spec)) return await this.#become(generic, spec, limitMs, told)
    this.#giveBack(generic)
    throw new Error('its version is over')
  }

  async #become(generic: Generic, spec: SandboxSpec, limitMs: number, told: ((made: Specialised) => void) | null = null): Promise<void> {
    const printed = new HeldLog()
    try {
      const made = await this.#specialise(generic, spec, printed, false, limitMs, told === null ? {} : PROVISIONED)
      this.#printed.set(made, printed)
      if (this.#isOver(spec)) made.drain()
      if (made.state.state === 'gone') return
      told?.(made)
      this.#onFree(made)
    } catch (error) {
      this.#track(this.#end(generic))
      throw error
    }
  }

  /** Drops what has been idle for long. */
  #sweep(): void {
    const now = this.#deps.clock.monotonic()
    const { idleMs } = this.#deps.config
    for (const sandbox of [...this.#byKey.values()].flat()) {
      const { state } = sandbox
      if (this.#provisioned.holds(sandbox)) continue
      if ((state.state === 'frozen' || state.state === 'ready') && now - state.sinceMs > idleMs) this.#drop(sandbox, 'idle-drop')
    }
  }
}

/** Other runtimes keep none: there is nothing to load before a call. */
const hasCompileCache = (runtime: RuntimeName) => runtime.startsWith('nodejs')

/** What is remembered under one name: $LATEST of a function, whose builds follow each other, or one published version. */
const pastOf = ({ identity, context }: SandboxSpec) => `${identity.project}/${identity.functionName}:${context.functionVersion}`

/** What a sandbox is booted with: only those that are alike can take each other's place. */
type Boot = Pick<SandboxSpec, 'runtime' | 'tmpMb'>
const kindOf = ({ runtime, tmpMb }: Boot): string => `${runtime} ${tmpMb}`
function bootOf(kind: string): Boot {
  const [runtime, tmpMb] = kind.split(' ')
  return { runtime: runtime as RuntimeName, tmpMb: Number(tmpMb) }
}

/** How many calls one takes that is already busy: where each serves one call, none. */
const atOnce = (spec: SandboxSpec): number => (spec.reuse === 'never' ? 0 : spec.concurrency)

function loadError(errorType: string, told: string): LoadError {
  return new LoadError(errorType, Buffer.from(JSON.stringify({ errorType, errorMessage: `Error: ${told}` })), { told })
}

/** What the supervisor says of a runtime that cannot be started, which it does before it knows of any call. */
const messageOf = (error: LoadError) => error.errorMessage.replace(/^Error: /, '')

/** The host ended the load; what the code itself calls so is no such end. */
const isLate = (error: LoadError) => error.errorType === 'Sandbox.Timedout' && error.told !== null

const initReport = (error: LoadError, tookMs: number) =>
  `INIT_REPORT Init Duration: ${tookMs.toFixed(2)} ms\tPhase: init\tStatus: ${isLate(error) ? 'timeout' : `error\tError Type: ${error.errorType}`}`
