import { type ChildProcess, spawn } from 'node:child_process'
import { constants, existsSync, promises as fs, writeFileSync } from 'node:fs'
import { availableParallelism, setPriority, totalmem } from 'node:os'
import path from 'node:path'
import type { Duplex } from 'node:stream'
import { MiB } from '../../lib/bytes.ts'
import type { EgressPolicy } from '../../core/egress.ts'
import { Cgroup, detectHierarchies, type Hierarchies, sharesOf, weighGroup } from '../../lib/cgroup.ts'
import type { Clock } from '../../lib/clock.ts'
import { within } from '../../lib/within.ts'
import type { Network } from '../egress/network.ts'
import { hasNetworks, Networks, type NoNetworks } from '../egress/networks.ts'
import { GATEWAY } from '../egress/rules.ts'
import { guestOf } from '../guests.ts'
import type { Driver, Entrance, GuestPaths, RuntimeName, SandboxProcess, SandboxSpec, StartOptions } from '../types.ts'
import { type DriverOptions, POOL_MEMORY_MB, STARTING_WEIGHT } from './driver-options.ts'
import { guestOfInit, initAmong } from './entrance.ts'
import { BEGIN, environmentFor, firstProcess, INSIDE, MASKED, makeSkeleton, PLACE, PUBLIC_FOLDERS, UID } from './inside.ts'
import { type OciRuntime, PATH } from './oci-runtimes.ts'
import { type Looked, RouteQueues } from './route-queues.ts'
import { compilePython, putRuntimes } from './runtime-files.ts'
import { seccomp } from './seccomp.ts'
import { boundsHook, meminfoOf } from './shown.ts'
import { StderrTail } from './stderr-tail.ts'
import { resizeTmp, tmpOptions } from './tmp-size.ts'
import { tryOut } from './trial.ts'

/** Where user ids of sandboxes begin on the host; each sandbox has 65,536 of its own. */
const UID_BASE = 0x2000_0000
const UID_RANGE = 65_536
const UID_RANGES = 8_192
const START_LIMIT_MS = 30_000
/** gVisor has a network stack of its own, which is given none. */
const NO_NETWORKS: NoNetworks = {
  why: 'sandboxes of gVisor have no network but their own project',
  todo: 'Use `--sandbox runc` for functions that reach other hosts.',
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
  readonly #ranges = new Set<number>()
  readonly #running = new Set<SandboxProcess>()
  readonly #queues: RouteQueues
  #nextRange = 0
  #compiled: Promise<void> | null = null

  private constructor(runtime: OciRuntime, options: DriverOptions, hierarchies: Hierarchies, folder: string, networks: Networks | NoNetworks) {
    this.name = runtime.name
    this.resizesTmp = runtime.sharesKernel
    this.holds = runtime.sharesKernel
    this.#runtime = runtime
    this.#options = options
    this.#hierarchies = hierarchies
    this.#folder = folder
    this.#networks = networks
    this.#queues = new RouteQueues(options.clock)
    const held = [...runtime.limits]
    const missing = [...runtime.missing]
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
    const folder = path.join(options.runBase, `mayfly-sandboxes-${options.name}`)
    const [hierarchies, networks] = await Promise.all([detectHierarchies(), runtime.sharesKernel ? Networks.open(options) : NO_NETWORKS])
    const driver = new OciDriver(runtime, options, hierarchies, folder, networks)
    await fs.mkdir(folder, { recursive: true, mode: 0o711 })
    await fs.chmod(folder, 0o711)
    await makeSkeleton(path.join(folder, 'root'), hasNetworks(networks) ? GATEWAY : null)
    await putRuntimes(options.runtimesPath, path.join(folder, 'root', INSIDE.runtime))
    // All sandboxes lie in one group: with the weight of one program they would starve beside a few busy ones of the host.
    await weighGroup(driver.#hierarchies, driver.#groupParent, 100 * availableParallelism())
    return driver
  }

  runs(runtime: RuntimeName): boolean {
    return this.#options.guests.of(runtime) !== null
  }

  async start(options: StartOptions): Promise<SandboxProcess> {
    const range = this.#takeRange()
    const bundle = path.join(this.#folder, 'b', options.id)
    const group = `${this.#groupParent}/${options.id}`
    const cgroup = new Cgroup(this.#hierarchies, group, POOL_MEMORY_MB)
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
      await fs.writeFile(path.join(bundle, 'config.json'), JSON.stringify(this.#config(options, bundle, range, group, network)))
      // That of the host until it is known whose it becomes: the runtime sizes itself by it.
      const meminfo = path.join(bundle, 'meminfo')
      await fs.writeFile(meminfo, meminfoOf(Math.floor(totalmem() / MiB)), { mode: 0o444 })
      const [program, ...args] = this.#runtime.command({ state: path.join(this.#folder, 'state'), bundle, id: this.#containerOf(options.id) })
      const child = spawn(program as string, args, {
        stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
        cwd: '/',
        // A Ctrl-C is for the node, which ends what is half made itself.
        detached: true,
        env: { PATH },
      })
      // The node itself goes first: it serves those that run already. Inside its own group this weighs nothing.
      if (child.pid !== undefined) setPriority(child.pid, options.background && !options.held ? 15 : 5)
      const [, , , control, relay] = child.stdio as unknown as Duplex[]
      // When the runtime ends, Node lets all that its `stdio` names flow into nothing, and with it the sandbox's hello.
      ;(child.stdio as unknown as Duplex[]).length = 3
      const tail = new StderrTail(child.stderr)
      const code = await exitOf(child, this.#options.clock)
      if (code !== 0) throw new Error(`${this.#runtime.program} could not start a sandbox (${code ?? 'no answer'}): ${tail.text().trim().slice(-500)}`)
      cgroup.boundSockets()
      const cache = options.cache === null || !this.#runtime.sharesKernel ? null : await openCache(cgroup)
      const made = new OciSandbox(
        options.id,
        { control: control as Duplex, relay: relay as Duplex, cache, meminfo, network },
        cgroup,
        tail,
        giveBack,
        this.#options.clock,
      )
      this.#running.add(made)
      const pid = this.#runtime.sharesKernel ? (await cgroup.processes())[0] : undefined
      if (this.#runtime.sharesKernel) made.entrance = () => entranceOf(cgroup, network)
      if (pid !== undefined) made.watchedBy(this.#queues, pid, options.held ?? false)
      return made
    } catch (error) {
      await giveBack().catch((failure: Error) =>
        this.#options.log.warn({ sandbox: options.id, error: failure.message }, 'a sandbox that did not start left something behind'),
      )
      throw error
    }
  }

  /** @throws Error with what this host has against it */
  async tryOut(): Promise<void> {
    await tryOut(this, this.#folder, this.#options.clock)
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
    this.#queues[Symbol.dispose]()
    if (hasNetworks(this.#networks)) await this.#networks[Symbol.asyncDispose]()
    for (const tree of this.#hierarchies.all) await fs.rmdir(path.join(tree, this.#groupParent)).catch(() => {})
    // A program that was ended may write once more.
    await fs.rm(this.#folder, { recursive: true, force: true, maxRetries: 5 })
  }

  /** gVisor asks for names that no other has on the whole machine. */
  #containerOf(id: string): string {
    return `${this.#groupParent}-${id}`
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

  #config(options: StartOptions, bundle: string, range: number, group: string, network: Network | null): unknown {
    const bind = (source: string, destination: string) => ({ destination, type: 'bind', source, options: ['bind', 'nosuid', 'nodev', 'ro'] })
    const map = [{ containerID: 0, hostID: UID_BASE + range * UID_RANGE, size: UID_RANGE }]
    const { memory, pids } = this.#hierarchies
    const bytes = POOL_MEMORY_MB * 1024 * 1024
    const guest = guestOf(this.#options.guests, options.runtime)
    const { sharesKernel, processes, inside, allowedToo } = this.#runtime
    return {
      ociVersion: '1.0.2',
      hostname: 'mayfly',
      root: { path: path.join(this.#folder, 'root'), readonly: true },
      process: {
        terminal: false,
        user: { uid: UID, gid: UID },
        cwd: '/',
        env: Object.entries(environmentFor(options.runtime)).map(([name, value]) => `${name}=${value}`),
        args: inside(firstProcess(options.argv ? [PLACE.node, ...options.argv] : guest.command(PLACE), options.held ?? false)),
        capabilities: { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] },
        noNewPrivileges: true,
        oomScoreAdj: 500,
        rlimits: [
          { type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 },
          // At 1 the kernel starts no program of the host that takes core dumps; at 0 it does.
          { type: 'RLIMIT_CORE', hard: 1, soft: 1 },
          // Pending signals of all sandboxes count together for the user who starts them.
          { type: 'RLIMIT_SIGPENDING', hard: 256, soft: 256 },
          { type: 'RLIMIT_MEMLOCK', hard: 65_536, soft: 65_536 },
          { type: 'RLIMIT_MSGQUEUE', hard: 0, soft: 0 },
        ],
      },
      mounts: [
        { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
        { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=64k'] },
        { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=16m', 'nr_inodes=1k'] },
        { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: [...tmpOptions(options.tmpMb), 'mode=1777'] },
        ...PUBLIC_FOLDERS.map((folder) => bind(folder, folder)),
        bind(guest.node, PLACE.node),
        ...(sharesKernel ? [bind(path.join(bundle, 'meminfo'), '/proc/meminfo')] : []),
        bind(options.slotDir, '/fn'),
        bind(path.join(options.slotDir, 'code'), INSIDE.code),
        bind(path.join(options.slotDir, 'opt'), INSIDE.opt),
        ...(options.cache === null
          ? []
          : [
              {
                destination: '/cache',
                type: 'tmpfs',
                source: 'tmpfs',
                // The folder itself counts too.
                options: ['nosuid', 'nodev', 'noexec', 'mode=1777', `size=${options.cache.bytes}`, `nr_inodes=${options.cache.files + 1}`],
              },
            ]),
      ],
      ...(sharesKernel ? { hooks: { createContainer: [boundsHook] } } : {}),
      linux: {
        namespaces: [
          ...['pid', 'mount', 'ipc', 'uts', ...(sharesKernel ? ['user', 'cgroup'] : [])].map((type) => ({ type })),
          // The host's own: nobody inside may change anything in it.
          { type: 'network', ...(network === null ? {} : { path: network.path }) },
        ],
        ...(sharesKernel ? { uidMappings: map, gidMappings: map } : {}),
        cgroupsPath: `/${group}`,
        resources: {
          devices: [{ allow: false, access: 'rwm' }],
          ...(memory
            ? {
                memory: { limit: bytes, ...(memory.version === 2 || existsSync(path.join(memory.path, 'memory.memsw.limit_in_bytes')) ? { swap: bytes } : {}) },
              }
            : {}),
          ...(pids ? { pids: { limit: options.pids * processes.each + processes.beside } } : {}),
          // What starts is weighed like a small function that runs: it must not starve those that do.
          cpu: { shares: options.background ? 2 : sharesOf(STARTING_WEIGHT) },
        },
        seccomp: { ...seccomp, syscalls: [...seccomp.syscalls, { names: allowedToo, action: 'SCMP_ACT_ALLOW' }] },
        rootfsPropagation: 'private',
        ...(sharesKernel
          ? {
              maskedPaths: MASKED,
              readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
            }
          : {}),
      },
    }
  }
}

class OciSandbox implements SandboxProcess {
  readonly id: string
  readonly control: Duplex
  readonly relay: Duplex
  readonly paths: GuestPaths
  readonly cache: fs.FileHandle | null
  readonly isolated = true
  readonly exited: Promise<{ code: number | null; signal: string | null; outOfMemory: boolean }>
  /** A sandbox with a kernel of its own has none. */
  entrance?: () => Promise<Entrance | null>
  /** What it reads as the memory of the machine. */
  readonly #meminfo: string
  readonly #cgroup: Cgroup
  readonly #network: Network | null
  readonly #tail: StderrTail
  readonly #giveBack: () => Promise<void>
  readonly #clock: Clock
  #killing: Promise<void> | null = null
  #running = true
  #overdrawn = false
  #watch: Disposable | null = null
  #begun = true

  constructor(
    id: string,
    ways: {
      readonly control: Duplex
      readonly relay: Duplex
      readonly cache: fs.FileHandle | null
      readonly meminfo: string
      readonly network: Network | null
    },
    cgroup: Cgroup,
    tail: StderrTail,
    giveBack: () => Promise<void>,
    clock: Clock,
  ) {
    this.id = id
    this.control = ways.control
    this.relay = ways.relay
    this.cache = ways.cache
    this.#meminfo = ways.meminfo
    this.paths = { ...INSIDE, cache: ways.cache === null ? null : '/cache' }
    this.#cgroup = cgroup
    this.#network = ways.network
    this.#tail = tail
    this.#giveBack = giveBack
    this.#clock = clock
    this.control.on('error', () => {})
    this.relay.on('error', () => {})
    // The first process is no child of ours: that it is gone is known by the end of its descriptor.
    this.exited = new Promise((resolve) => {
      this.control.once('close', () => {
        void cgroup.outOfMemory().then((found) => {
          const outOfMemory = found || this.#overdrawn
          resolve({ code: null, signal: outOfMemory ? 'SIGKILL' : null, outOfMemory })
        })
      })
    })
  }
  stderrTail(): string {
    return this.#tail.text()
  }
  limit(limits: { memoryMb: number }): void {
    this.#cgroup.limit({ ...limits, cpuWeight: Math.max(1, Math.round((limits.memoryMb * 100) / 1769)) })
    writeFileSync(this.#meminfo, meminfoOf(limits.memoryMb), { flag: 'r+' })
  }
  async resizeTmp(mb: number): Promise<void> {
    const pid = (await this.#cgroup.processes())[0]
    if (pid === undefined) throw new Error('the sandbox has ended')
    await resizeTmp(pid, mb)
  }
  async grant(policy: EgressPolicy, counted: SandboxSpec['countEgress']): Promise<void> {
    await this.#network?.grant(policy, counted)
  }
  async freeze(): Promise<void> {
    await this.#cgroup.freeze(true, this.#clock)
    this.#running = false
    void this.#network?.sleep()
  }
  async thaw(): Promise<void> {
    this.#network?.wake()
    this.#running = true
    await this.#cgroup.freeze(false, this.#clock)
  }
  begin(): void {
    this.#begun = true
    this.#cgroup.weigh(STARTING_WEIGHT)
    this.control.write(BEGIN)
  }
  /** @param pid  of a process of it */
  watchedBy(queues: RouteQueues, pid: number, held: boolean): void {
    this.#begun = !held
    const looked: Looked = {
      pid,
      running: () => this.#begun && this.#running && this.#killing === null,
      overdrawn: () => {
        this.#overdrawn = true
        void this.kill()
      },
    }
    this.#watch = queues.look(looked)
  }
  kill(): Promise<void> {
    this.#watch?.[Symbol.dispose]()
    this.#killing ??= this.#giveBack().finally(() => {
      this.control.destroy()
      this.relay.destroy()
    })
    return this.#killing
  }
  memory() {
    return this.#killing ? null : this.#cgroup.memory()
  }
}

/**
 * The cache folder of a sandbox in which no user code has run yet. It is a mount that only the sandbox has, and
 * ends with it; the handle keeps its files for as long as it is open.
 */
async function openCache(cgroup: Cgroup): Promise<fs.FileHandle> {
  const pid = (await cgroup.processes())[0]
  if (pid === undefined) throw new Error('a build sandbox ended before it began')
  const handle = await fs.open(`/proc/${pid}/root/cache`, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  // The number may have become another process's; as long as the sandbox has it, it was not.
  if ((await cgroup.processes()).includes(pid)) return handle
  await handle.close()
  throw new Error('a build sandbox ended before it began')
}

async function entranceOf(cgroup: Cgroup, network: Network | null): Promise<Entrance | null> {
  const init = initAmong(await cgroup.processes())
  const guest = init === null ? null : guestOfInit(init)
  return guest === null ? null : { guest, network: network?.entrance ?? [`--net=/proc/${init}/ns/net`] }
}

async function exitOf(child: ChildProcess, clock: Clock): Promise<number | null> {
  let code: number | null = null
  const done = new Promise<void>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (exit) => {
      code = exit
      resolve()
    })
  })
  let failure: Error | null = null
  done.catch((error: Error) => {
    failure = error
  })
  if (!(await within(clock, START_LIMIT_MS, done))) child.kill('SIGKILL')
  if (failure) throw failure
  return code
}
