import { promises as fs } from 'node:fs'
import path from 'node:path'
import type { Duplex } from 'node:stream'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Clock } from '../lib/clock.ts'
import { within } from '../lib/within.ts'
import { BootHealth } from './boot-health.ts'
import { Channel, type Warming } from './channel.ts'
import type { Endings } from './endings.ts'
import { Hulls } from './hulls.ts'
import { clearSlot, openSlot } from './staging.ts'
import { SandboxLife } from './state.ts'
import { type Driver, type DriverName, type RuntimeName, type SandboxProcess, type SandboxSpec, StartInterrupted, type StartOptions } from './types.ts'

/** A guest that says nothing for so long after its start is given up. */
export const HELLO_MS = 20_000
const WARM_ROUNDS = 30
/** Of one sandbox, where a signal to the node comes between: Ctrl-C is pressed twice at most. */
const STARTS = 3
/** Those that wait for anybody have so much in /tmp. */
export const POOL_TMP_MB = 512

/** What a sandbox is booted with: only those that are alike can take each other's place. */
export type Boot = Pick<SandboxSpec, 'runtime' | 'tmpMb' | 'driver'>
/** What a sandbox of a version is made of. Only those of the node's own driver wait for anybody. */
export function bootFor(spec: Boot, { name, resizesTmp }: Pick<Driver, 'name' | 'resizesTmp'>): Boot {
  const driver = spec.driver === name ? null : spec.driver
  return { runtime: spec.runtime, driver, tmpMb: driver === null && resizesTmp ? POOL_TMP_MB : spec.tmpMb }
}
/** Whether one that waits will do. */
export const isOfPool = ({ tmpMb, driver }: Boot): boolean => tmpMb === POOL_TMP_MB && driver === null
export const kindOf = ({ runtime, tmpMb, driver }: Boot): string => `${runtime} ${tmpMb} ${driver ?? ''}`
export function bootOf(kind: string): Boot {
  const [runtime, tmpMb, driver] = kind.split(' ')
  return { runtime: runtime as RuntimeName, tmpMb: Number(tmpMb), driver: driver === '' ? null : (driver as DriverName) }
}

/** What one is started for: to wait, warmed; behind all calls, to be warmed if there is time; or for a call that waits now. */
export type Purpose = 'pool' | 'behind' | 'now'

/** Of one that may wait long for anybody, and of one that one call will use soon. */
export const WARMING: Readonly<Record<'pool' | 'one-call', Omit<Warming, 'relayPorts'>>> = {
  pool: { rounds: WARM_ROUNDS, fetches: true, collects: true },
  'one-call': { rounds: WARM_ROUNDS, fetches: true, collects: false },
}

/** A booted sandbox that nobody has claimed: it can still become anything. */
export interface Generic extends Boot {
  readonly process: SandboxProcess
  readonly channel: Channel
  readonly slotDir: string
  readonly life: SandboxLife
  /** Nothing of its start lies where its code will be. */
  slotIsClear: boolean
  /** Its runtime takes a call behind the load of its code. */
  takesAhead: boolean
  /** Set when it becomes a version's: where its connections to the platform go. */
  owner: { openRelay: (connection: Duplex) => void } | null
}

/** A sandbox, whether or not its program has begun. */
interface Hull {
  readonly process: SandboxProcess
  readonly slotDir: string
}

/** How one is booted beside its kind. */
interface How {
  readonly cache: StartOptions['cache']
  readonly share: number
}

export interface BootingDeps {
  readonly driver: Driver
  /** The folder of slots, on the file system of the code. */
  readonly slots: string
  readonly clock: Clock
  readonly log: Log
  readonly closing: AbortSignal
  readonly endings: Endings
  /** A slot is removed next. `isWhole`: its sandbox is gone and could change nothing of its code. */
  readonly leave: (slotDir: string, isWhole: boolean) => void
}

/** Brings sandboxes to where they can become anything, and ends those of which nothing became. */
export class Booting {
  readonly health: BootHealth
  readonly #deps: BootingDeps
  /** Those that are warmed or given code now: nobody else knows them. */
  readonly #inWork = new Set<Generic>()
  readonly #hulls: Hulls<Hull>
  /** For so many calls one is booted now. */
  #bootingNow = 0
  #next = 0
  /** The version that was last expected or called: the next one is like it, most likely. */
  #expected: Pick<SandboxSpec, 'relayPorts' | 'memoryMb'> | null = null

  constructor(deps: BootingDeps) {
    this.#deps = deps
    this.health = new BootHealth(deps.clock, deps.log)
    this.#hulls = new Hulls({
      clock: deps.clock,
      closing: deps.closing,
      endings: deps.endings,
      isBusy: () => this.#bootingNow > 0,
      make: (kind) => this.#make(bootOf(kind), { cache: null, share: 1, background: true, held: true }),
      end: (hull) => this.#sink(hull),
      over: ({ process }) => process.exited,
      failed: (error) => deps.log.debug({ error: error.message }, 'no sandbox could be made ahead of its program'),
    })
  }

  /**
   * @param how  `cache` of a build sandbox, which is not warmed; `share` of one for a call
   * @throws MayflyError sandbox_unavailable; what the pool was closed with
   */
  async start(boot: Boot, purpose: Purpose, { cache = null, share = 1 }: Partial<How> = {}): Promise<Generic> {
    // A close has waited for what it knew of, and no longer.
    this.#deps.closing.throwIfAborted()
    if (purpose === 'now') this.health.check(boot)
    const work = purpose === 'now' && cache === null ? this.#bootNow(boot, share) : this.#boot(boot, purpose, { cache, share })
    this.#deps.endings.track(
      work.then(
        () => {},
        () => {},
      ),
    )
    return await work
  }

  /** Runs its code path. @throws when it does not come to an end */
  async warm(generic: Generic, how: Omit<Warming, 'relayPorts'> = WARMING.pool): Promise<void> {
    generic.life.tell('warming', null)
    using _ = this.working(generic)
    const warming = generic.channel.warm({ ...how, relayPorts: this.#expected?.relayPorts ?? [] })
    if (!(await within(this.#deps.clock, HELLO_MS, warming))) throw new Error('it did not warm')
    await warming
    await clearSlot(generic.slotDir)
    generic.slotIsClear = true
    // Its files are open from then on: the first call is asked for it when it ends, before its answer goes out.
    generic.process.memory()
    this.#expectLimit(generic)
    generic.life.tell('warmed', null)
  }

  /** A call finds it done, most likely: four writes to files of the kernel, cold ones after a pause. */
  #expectLimit({ process }: Generic): void {
    if (this.#expected === null) return
    try {
      process.expectLimit?.(this.#expected.memoryMb)
    } catch {
      // Whose it becomes is told.
    }
  }

  /** Versions like this one are to be expected. */
  expect(spec: Pick<SandboxSpec, 'relayPorts' | 'memoryMb'>): void {
    this.#expected = { relayPorts: spec.relayPorts, memoryMb: spec.memoryMb }
  }

  /** Until this is disposed a close ends it. */
  working(generic: Generic): Disposable {
    this.#inWork.add(generic)
    return { [Symbol.dispose]: () => void this.#inWork.delete(generic) }
  }

  /** Resolves when nothing is left of it. Idempotent. @throws what keeps the driver from giving it back; all else of it is gone then too */
  async end(generic: Generic): Promise<void> {
    this.#inWork.delete(generic)
    generic.life.tell('ended', null)
    let isGone = false
    try {
      await generic.process.kill()
      isGone = true
    } finally {
      this.#deps.leave(generic.slotDir, isGone && generic.process.isolated)
      generic.channel.close()
      await fs.rm(generic.slotDir, { recursive: true, force: true })
    }
  }

  /** The same, for whom it is enough that a close waits for it. */
  drop(generic: Generic): void {
    this.#deps.endings.track(this.end(generic))
  }

  /** Removes what one leaves that a version's sandbox was made of, when that is killed. */
  clearSlot({ slotDir, process }: Generic, killed: Promise<void>): void {
    const left = killed.then(
      () => this.#deps.leave(slotDir, process.isolated),
      () => this.#deps.leave(slotDir, false),
    )
    this.#deps.endings.track(left.finally(() => fs.rm(slotDir, { recursive: true, force: true })))
  }

  /** Ends all that something was to be made of. */
  close(): void {
    this.#hulls.close()
    for (const generic of [...this.#inWork]) this.drop(generic)
  }

  async #boot(boot: Boot, purpose: Purpose, { cache, share }: How): Promise<Generic> {
    const { clock, log, closing } = this.#deps
    const began = clock.monotonic()
    let hull: Hull | null = null
    try {
      hull = await this.#make(boot, { cache, share, background: purpose !== 'now', held: false })
      const generic = await this.#greet(boot, hull)
      if (purpose === 'pool' && cache === null) await this.warm(generic)
      closing.throwIfAborted()
      this.health.worked(boot)
      return generic
    } catch (error) {
      await hull?.process.cache?.close()
      if (hull) await this.#sink(hull).catch((left: Error) => log.error({ error: left.message }, 'a sandbox could not be given back'))
      closing.throwIfAborted()
      const why = hull?.process.stderrTail().trim().slice(-300) || (error as Error).message
      // A driver that is not here says so to whoever calls.
      const told = error instanceof MayflyError && error.code === 'sandbox_unavailable' ? error.message : null
      this.health.failed(boot, why, began, told)
      throw new MayflyError('sandbox_unavailable', told ?? 'a sandbox could not be started; the log of the node says why', { cause: error })
    }
  }

  /** For a call: of a sandbox that stands without its program, where there is one. */
  async #bootNow(boot: Boot, share: number): Promise<Generic> {
    this.#bootingNow++
    try {
      const hull = this.#deps.driver.holds ? this.#hulls.take(kindOf(boot)) : null
      if (hull === null) return await this.#boot(boot, 'now', { cache: null, share })
      try {
        hull.process.begin?.(share)
        return await this.#greet(boot, hull)
      } catch (error) {
        // Behind the call, which has waited for it already.
        this.#deps.endings.track(this.#sink(hull))
        this.#deps.closing.throwIfAborted()
        this.#deps.log.debug({ sandbox: hull.process.id, error: (error as Error).message }, 'a sandbox was lost before it began')
        return await this.#boot(boot, 'now', { cache: null, share })
      }
    } finally {
      this.#bootingNow--
    }
  }

  async #make({ runtime, tmpMb, driver }: Boot, how: Pick<StartOptions, 'cache' | 'share' | 'background' | 'held'>): Promise<Hull> {
    const id = `s-${++this.#next}`
    const slotDir = path.join(this.#deps.slots, id)
    for (let left = STARTS; ; left--) {
      try {
        await openSlot(slotDir)
        return { slotDir, process: await this.#deps.driver.start({ id, runtime, driver, slotDir, tmpMb, pids: LIMITS.sandboxProcesses.value, ...how }) }
      } catch (error) {
        await fs.rm(slotDir, { recursive: true, force: true })
        // A node that was told to end still answers the calls that it has.
        if (!(error instanceof StartInterrupted) || left <= 1 || this.#deps.closing.aborted) throw error
      }
    }
  }

  /** Its program has begun, and says so. */
  async #greet({ runtime, tmpMb, driver }: Boot, { process, slotDir }: Hull): Promise<Generic> {
    const { clock, closing } = this.#deps
    const generic: Generic = {
      process,
      channel: new Channel(process, (connection) => (generic.owner ? generic.owner.openRelay(connection) : void connection.destroy())),
      slotDir,
      runtime,
      tmpMb,
      driver,
      life: new SandboxLife(),
      slotIsClear: false,
      takesAhead: false,
      owner: null,
    }
    const late = new AbortController()
    using _ = clock.timer(HELLO_MS, () => late.abort(new Error(`it said nothing for ${HELLO_MS} ms`)))
    const { features } = await generic.channel.hello(AbortSignal.any([late.signal, closing]))
    generic.takesAhead = Array.isArray(features) && features.includes('ahead')
    generic.life.tell('greeted', null)
    return generic
  }

  async #sink({ process, slotDir }: Hull): Promise<void> {
    try {
      await process.kill()
    } finally {
      await fs.rm(slotDir, { recursive: true, force: true })
    }
  }
}
