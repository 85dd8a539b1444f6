import { constants, promises as fs } from 'node:fs'
import { totalmem } from 'node:os'
import path from 'node:path'
import type { Duplex } from 'node:stream'
import { ownFolder } from '../../core/owned-folders.ts'
import { boundingTrees, Cgroup, detectHierarchies, type Hierarchies, weighGroup } from '../../lib/cgroup.ts'
import { MiB } from '../../lib/bytes.ts'
import type { Clock } from '../../lib/clock.ts'
import type { HowEnded, Launched } from '../../lib/launched.ts'
import type { Launcher } from '../../lib/launcher.ts'
import { within } from '../../lib/within.ts'
import type { Network } from '../egress/network.ts'
import { hasNetworks, Networks, type NetworksOptions, type NoNetworks } from '../egress/networks.ts'
import { GATEWAY } from '../egress/rules.ts'
import type { Driver, Entrance, RuntimeName, SandboxProcess, StartOptions } from '../types.ts'
import { type DriverOptions, groupWeight, launcherIn, POOL_MEMORY_MB, startingWeight } from './driver-options.ts'
import { entering } from './entering.ts'
import { guestOfInit } from './entrance.ts'
import { INSIDE, makeSkeleton } from './inside.ts'
import { sandboxFolder } from './left-behind.ts'
import { MountView } from './mount-view.ts'
import { notStarted, wordsOf } from './not-started.ts'
import { mostProcesses, ociConfig, UID_RANGES } from './oci-config.ts'
import { type OciRuntime, PATH } from './oci-runtimes.ts'
import { OciSandbox } from './oci-sandbox.ts'
import { type OwnLimits, ownLimits } from './own-limits.ts'
import { RouteQueues } from './route-queues.ts'
import { compilePython, putRuntimes } from './runtime-files.ts'
import { meminfoOf } from './shown.ts'
import { StderrTail } from './stderr-tail.ts'
import { lackingInside, TRIAL_PIDS, tryOut } from './trial.ts'

const START_LIMIT_MS = 30_000
/** gVisor has a network stack of its own, which is given none. */
const NO_NETWORKS: NoNetworks = {
  why: 'sandboxes of gVisor have no network but their own project',
  todo: 'Use `--sandbox crun` or `--sandbox runc` for functions that reach other hosts.',
}

/** Sandboxes by a program of the OCI runtime interface, which takes root. */
export class OciDriver implements Driver {
  readonly name: OciRuntime['name']
  readonly resizesTmp: boolean
  readonly holds: boolean
  readonly limits: readonly string[]
  readonly missing: readonly { what: string; why: string; todo: string }[]
  readonly #runtime: OciRuntime
  readonly #options: DriverOptions
  readonly #hierarchies: Hierarchies
  readonly #folder: string
  readonly #networks: Networks | NoNetworks
  /** Null where the program itself puts sandboxes into their groups. */
  readonly #view: MountView | null
  readonly #ranges = new Set<number>()
  readonly #running = new Set<SandboxProcess>()
  readonly #queues: RouteQueues
  readonly #launcher: Launcher
  readonly #limits: OwnLimits['each']
  #nextRange = 0
  #compiled: Promise<void> | null = null

  private constructor(
    runtime: OciRuntime,
    options: DriverOptions,
    hierarchies: Hierarchies,
    folder: string,
    networks: Networks | NoNetworks,
    view: MountView | null,
    launcher: Launcher,
    own: OwnLimits,
  ) {
    this.name = runtime.name
    this.resizesTmp = runtime.sharesKernel
    this.holds = runtime.sharesKernel
    this.#runtime = runtime
    this.#options = options
    this.#hierarchies = hierarchies
    this.#folder = folder
    this.#networks = networks
    this.#view = view
    this.#queues = new RouteQueues(options.clock)
    this.#launcher = launcher
    this.#limits = own.each
    const held = [...runtime.limits]
    const missing = [...runtime.missing, ...own.missing]
    for (const [what, tree] of [
      ['memory', hierarchies.memory],
      ['pids', hierarchies.pids],
      ['cpu-weight', hierarchies.cpu],
    ] as const) {
      if (tree) held.push(what)
      else missing.push({ what, why: `this host has no cgroup controller for ${what}`, todo: 'Enable it in the kernel command line or in the cgroup v2 root.' })
    }
    if (hasNetworks(networks)) {
      held.push('egress')
      missing.push(...networks.doubts)
    } else missing.push({ what: 'egress', ...networks })
    this.limits = held
    this.missing = missing
  }

  static async open(runtime: OciRuntime, options: DriverOptions): Promise<OciDriver> {
    await using opened = new AsyncDisposableStack()
    const folder = sandboxFolder(options.runBase, options.name)
    const launcher = opened.use(launcherIn(folder, options))
    const start: NetworksOptions['start'] = (launch) => launcher.launch(launch)
    const [hierarchies, networks, own] = await Promise.all([
      detectHierarchies(),
      runtime.sharesKernel ? Networks.open({ ...options, start }) : NO_NETWORKS,
      ownLimits(),
    ])
    if (hasNetworks(networks)) opened.use(networks)
    // Behind the networks: they make the place of namespaces one whose mounts are seen in it.
    const view = runtime.oneVersionOfGroups ? await firstGroupsAlone(hierarchies, options) : null
    opened.use(view)
    const driver = new OciDriver(runtime, options, hierarchies, folder, networks, view, launcher, own)
    await ownFolder(folder, 0o711)
    await fs.chmod(folder, 0o711)
    await makeSkeleton(path.join(folder, 'root'), hasNetworks(networks) ? GATEWAY : null)
    await putRuntimes(options.runtimesPath, path.join(folder, 'root', INSIDE.runtime))
    await weighGroup(driver.#hierarchies, driver.#groupParent, groupWeight(options))
    opened.move()
    return driver
  }

  runs(runtime: RuntimeName): boolean {
    return this.#options.guests.of(runtime) !== null
  }

  async start(options: StartOptions): Promise<SandboxProcess> {
    const range = this.#takeRange()
    const bundle = path.join(this.#folder, 'b', options.id)
    const group = `${this.#groupParent}/${options.id}`
    const cgroup = this.#cgroupOf(options.id)
    let network: Network | null = null
    const giveBack = async () => {
      await cgroup.destroy(this.#options.clock)
      await network?.release()
      await fs.rm(path.join(this.#folder, 'state', this.#containerOf(options.id)), { recursive: true, force: true })
      await fs.rm(bundle, { recursive: true, force: true })
      this.#ranges.delete(range)
      for (const sandbox of this.#running) if (sandbox.id === options.id) this.#running.delete(sandbox)
    }
    try {
      if (options.runtime === 'python3.x') await this.#compiledPython()
      // What only writes a compile cache has no network, however it tries.
      if (options.cache === null && hasNetworks(this.#networks)) network = await this.#networks.take()
      await fs.mkdir(bundle, { recursive: true, mode: 0o711 })
      const config = ociConfig(this.#runtime, options, {
        guests: this.#options.guests,
        root: path.join(this.#folder, 'root'),
        bundle,
        range,
        network,
        hierarchies: this.#hierarchies,
        group: this.#view ? null : group,
        limits: this.#limits,
      })
      await fs.writeFile(path.join(bundle, 'config.json'), JSON.stringify(config))
      // That of the host until it is known whose it becomes: the runtime sizes itself by it.
      const meminfo = path.join(bundle, 'meminfo')
      await fs.writeFile(meminfo, meminfoOf(Math.floor(totalmem() / MiB)), { mode: 0o444 })
      const command = this.#runtime.command({
        state: path.join(this.#folder, 'state'),
        bundle,
        id: this.#containerOf(options.id),
        pidFile: path.join(bundle, 'pid'),
        inGroups: this.#view !== null,
      })
      const child = await this.#launcher.launch({
        command: this.#view ? this.#inGroups(cgroup, options, this.#view, command) : command,
        env: { PATH },
        descriptors: ['nothing', 'nothing', 'stream', 'stream', 'stream'],
        // The node itself goes first: it serves those that run already. Inside its own group this weighs nothing.
        nice: options.background && !options.held ? 15 : 5,
      })
      const [, , stderr, control, relay] = child.streams
      const tail = new StderrTail(stderr ?? null)
      const { code, signal } = await exitOf(child, this.#options.clock)
      if (code !== 0) throw notStarted(`${this.#runtime.program} could not start a sandbox (${code ?? signal}): ${wordsOf(tail.text())}`, signal)
      if (this.#view === null) cgroup.boundSockets()
      const init = this.#runtime.sharesKernel ? Number(await fs.readFile(path.join(bundle, 'pid'), 'latin1')) : null
      const cache = options.cache === null || init === null ? null : await openCache(cgroup, init)
      const made = new OciSandbox(
        options.id,
        { control: control as Duplex, relay: relay as Duplex, cache, meminfo, network },
        cgroup,
        init,
        tail,
        giveBack,
        this.#options.clock,
      )
      this.#running.add(made)
      if (init !== null) {
        made.entrance = () => entranceOf(cgroup, init, network)
        made.watchedBy(this.#queues, init, options.held ?? false)
      }
      return made
    } catch (error) {
      await giveBack().catch((failure: Error) =>
        this.#options.log.warn({ sandbox: options.id, error: failure.message }, 'a sandbox that did not start left something behind'),
      )
      throw error
    }
  }

  /** @throws Error with what this host has against it, or with what a sandbox of it would lack */
  async tryOut(): Promise<void> {
    await tryOut(this, this.#folder, this.#options.clock, async (told, id) => {
      if (!this.#runtime.sharesKernel) return []
      const { memory, pids } = this.#hierarchies
      const bounds = { memoryMb: POOL_MEMORY_MB, pids: mostProcesses(this.#runtime, { pids: TRIAL_PIDS }) }
      return [...lackingInside(told), ...(memory || pids ? await this.#cgroupOf(id).lacks(bounds) : [])]
    })
  }

  async sweep(): Promise<void> {
    for (const tree of this.#hierarchies.all) {
      for (const id of await fs.readdir(path.join(tree, this.#groupParent)).catch(() => [])) {
        if (id.startsWith('s-')) await new Cgroup(this.#hierarchies, `${this.#groupParent}/${id}`).destroy(this.#options.clock)
      }
    }
    for (const inner of ['state', 'b']) await fs.rm(path.join(this.#folder, inner), { recursive: true, force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#running].map((sandbox) => sandbox.kill()))
    this.#launcher[Symbol.dispose]()
    this.#queues[Symbol.dispose]()
    await this.#view?.[Symbol.asyncDispose]()
    if (hasNetworks(this.#networks)) await this.#networks[Symbol.asyncDispose]()
    for (const tree of this.#hierarchies.all) await fs.rmdir(path.join(tree, this.#groupParent)).catch(() => {})
    // A program that was ended may write once more.
    await fs.rm(this.#folder, { recursive: true, force: true, maxRetries: 5 })
  }

  /** gVisor asks for names that no other has on the whole machine. */
  #containerOf(id: string): string {
    return `${this.#groupParent}-${id}`
  }

  #cgroupOf(id: string): Cgroup {
    const name = `${this.#groupParent}/${id}`
    return this.#view ? new Cgroup(boundingTrees(this.#hierarchies), name) : new Cgroup(this.#hierarchies, name, POOL_MEMORY_MB)
  }

  /** The command that begins in groups which are made for it, and does not see those of the second version. */
  #inGroups(cgroup: Cgroup, options: StartOptions, view: MountView, command: readonly string[]): string[] {
    const groups = cgroup.make({ memoryMb: POOL_MEMORY_MB, pids: mostProcesses(this.#runtime, options), cpuWeight: startingWeight(options), devices: true })
    return entering(groups, ['nsenter', `--mount=${view.file}`, ...command])
  }

  get #groupParent(): string {
    return `mayfly-${this.#options.name}`
  }

  #takeRange(): number {
    const { at, of } = this.#options.part ?? { at: 0, of: 1 }
    const ours = Math.floor(UID_RANGES / of)
    for (let tried = 0; tried < ours; tried++) {
      const range = at * ours + this.#nextRange
      this.#nextRange = (this.#nextRange + 1) % ours
      if (!this.#ranges.has(range)) {
        this.#ranges.add(range)
        return range
      }
    }
    throw new Error('every range of user ids is in use')
  }

  /** Once, for the first that takes it. */
  #compiledPython(): Promise<void> {
    this.#compiled ??= compilePython(path.join(this.#folder, 'root', INSIDE.runtime))
    return this.#compiled
  }
}

/** Null where this host has groups of one version only. */
async function firstGroupsAlone({ unified, all }: Hierarchies, { clock }: DriverOptions): Promise<MountView | null> {
  return unified !== null && all.length > 1 ? await MountView.without([unified], clock) : null
}

/**
 * The cache folder of a sandbox in which no user code has run yet. It is a mount that only the sandbox has, and
 * ends with it; the handle keeps its files for as long as it is open.
 */
async function openCache(cgroup: Cgroup, init: number): Promise<fs.FileHandle> {
  const handle = await fs.open(`/proc/${init}/root/cache`, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  // The number may have become another process's; as long as the sandbox has it, it was not.
  if (await cgroup.has(init)) return handle
  await handle.close()
  throw new Error('a build sandbox ended before it began')
}

async function entranceOf(cgroup: Cgroup, init: number, network: Network | null): Promise<Entrance | null> {
  const guest = (await cgroup.has(init)) ? guestOfInit(init) : null
  return guest === null ? null : { guest, network: network?.entrance ?? [`--net=/proc/${init}/ns/net`] }
}

async function exitOf(child: Launched, clock: Clock): Promise<HowEnded> {
  if (await within(clock, START_LIMIT_MS, child.exited)) return await child.exited
  child.kill('SIGKILL')
  return { code: null, signal: 'SIGKILL' }
}
