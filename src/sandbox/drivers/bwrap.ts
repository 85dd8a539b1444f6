import { execFile } from 'node:child_process'
import { constants, existsSync, promises as fs } from 'node:fs'
import { totalmem } from 'node:os'
import path from 'node:path'
import type { Duplex } from 'node:stream'
import { ownFolder } from '../../core/owned-folders.ts'
import { MiB } from '../../lib/bytes.ts'
import { Cgroup, type Hierarchies, weighGroup } from '../../lib/cgroup.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Launched } from '../../lib/launched.ts'
import type { Launcher } from '../../lib/launcher.ts'
import { within } from '../../lib/within.ts'
import type { Network } from '../egress/network.ts'
import { hasNetworks, Networks, type NoNetworks } from '../egress/networks.ts'
import { GATEWAY } from '../egress/rules.ts'
import { guestOf } from '../guests.ts'
import type { Driver, RuntimeName, SandboxProcess, StartOptions } from '../types.ts'
import { bwrapArguments, INFO_FD } from './bwrap-arguments.ts'
import { type BwrapHost, bwrapHolds } from './bwrap-limits.ts'
import { BwrapSandbox } from './bwrap-sandbox.ts'
import { type DriverOptions, groupWeight, launcherIn, POOL_MEMORY_MB, startingWeight } from './driver-options.ts'
import { ENTER } from './entering.ts'
import { environmentFor, INSIDE, makeSkeleton, PLACE } from './inside.ts'
import { sandboxFolder } from './left-behind.ts'
import { MemoryWatch } from './memory-watch.ts'
import { MountView } from './mount-view.ts'
import { notStarted, wordsOf } from './not-started.ts'
import type { OwnLimits } from './own-limits.ts'
import { RouteQueues } from './route-queues.ts'
import { compilePython, putRuntimes } from './runtime-files.ts'
import { seccomp } from './seccomp.ts'
import { compileSeccomp } from './seccomp-program.ts'
import { meminfoOf } from './shown.ts'
import { StderrTail } from './stderr-tail.ts'
import { tmpOptions } from './tmp-size.ts'
import { tryOut } from './trial.ts'

/** The user ids under which root has bubblewrap launched: one for each sandbox, nobody else's; behind those of runc. */
const UID_BASE = 0x4000_0000
const UIDS = 65_536
/** O_CLOEXEC, as `/proc` shows it. */
const CLOSES_ON_EXEC = 0o2000000
const START_LIMIT_MS = 30_000
const END_MS = 1_000
const ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' }
/**
 * Run in a user namespace around that of the sandbox, in which the kernel counts all below it: so it bounds what is counted
 * by user else, for all sandboxes of an ordinary user together. Of namespaces there are those that bubblewrap makes, and no
 * more. Bubblewrap's own tmpfs has no bound of files: those are mounted here.
 */
const BOUND = [
  ...Object.entries({ inotify_instances: 8, inotify_watches: 8_192, mnt_namespaces: 2, ipc_namespaces: 1, pid_namespaces: 1, uts_namespaces: 1 }),
  ...Object.entries({ net_namespaces: 1, cgroup_namespaces: 1, user_namespaces: 2, time_namespaces: 0 }),
]
  .map(([name, value]) => `echo ${value} > /proc/sys/user/max_${name}`)
  .concat('mount --no-mtab --all --fstab "$1" || exit 1', 'shift', 'exec prlimit "$@"')
  .join('; ')
/** @param pids  null where this kernel does not count them by namespace */
const bounded = (fstab: string, pids: number | null, each: OwnLimits['each']): string[] => {
  const limits = Object.entries({ ...each, ...(pids !== null && { NPROC: pids }) }).map(([name, most]) => `--${name.toLowerCase()}=${most}`)
  return ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', BOUND, 'sh', fstab, ...limits, 'bwrap']
}

/**
 * Sandboxes by bubblewrap, for an ordinary user and for a root without runc. Never launched by root itself: a namespace
 * of one user id maps that to whoever makes it, and files of the kernel that are root's could be written from inside.
 */
export class BwrapDriver implements Driver {
  readonly name = 'bwrap'
  /** Its mount namespace belongs to a user namespace that nobody can enter any more. */
  readonly resizesTmp = false
  readonly holds = true
  readonly limits: readonly string[]
  readonly missing: readonly { what: string; why: string; todo: string }[]
  readonly #options: DriverOptions
  readonly #host: BwrapHost
  readonly #networks: Networks | NoNetworks
  readonly #folder: string
  readonly #asRoot = process.getuid?.() === 0
  readonly #uids = new Set<number>()
  readonly #queues: RouteQueues
  readonly #launcher: Launcher
  readonly #watch: MemoryWatch<BwrapSandbox> | null
  readonly #running = new Set<SandboxProcess>()
  readonly #shell: readonly string[]
  readonly #fstabs = new Set<string>()
  readonly #views = new Map<string, Promise<MountView>>()
  #nextUid = 0
  #compiled: Promise<void> | null = null

  private constructor(options: DriverOptions, host: BwrapHost, networks: Networks | NoNetworks, folder: string, shell: readonly string[], launcher: Launcher) {
    this.#networks = networks
    this.#shell = shell
    this.#options = options
    this.#host = host
    this.#watch = host.groups?.memory ? null : new MemoryWatch()
    this.#folder = folder
    this.#queues = new RouteQueues(options.clock)
    this.#launcher = launcher
    ;({ limits: this.limits, missing: this.missing } = bwrapHolds(host, this.#asRoot, networks))
  }

  /** @throws Error where the folder of this node cannot be made, or is another user's */
  static async open(options: DriverOptions, host: BwrapHost): Promise<BwrapDriver> {
    await using opened = new AsyncDisposableStack()
    const shell = await launchingShell()
    const folder = sandboxFolder(options.runBase, options.name)
    await fs.mkdir(folder, { recursive: true, mode: 0o711 })
    const { uid } = await fs.lstat(folder)
    // Below `/tmp` anybody may have made it.
    if (uid !== process.getuid?.()) throw new Error(`the folder ${folder} belongs to another user`)
    await fs.chmod(folder, 0o711)
    await ownFolder(folder, 0o711)
    const launcher = opened.use(launcherIn(folder, options))
    const networks = await Networks.open({ ...options, start: (launch) => launcher.launch(launch) })
    if (hasNetworks(networks)) opened.use(networks)
    await makeSkeleton(path.join(folder, 'root'), hasNetworks(networks) ? GATEWAY : null)
    await putRuntimes(options.runtimesPath, path.join(folder, 'root', INSIDE.runtime))
    await fs.mkdir(path.join(folder, 'meminfo'), { recursive: true, mode: 0o711 })
    await fs.rm(path.join(folder, 'mounts'), { recursive: true, force: true })
    for (const name of ['tmp', 'shm', 'cache']) await fs.mkdir(path.join(folder, 'mounts', name), { recursive: true, mode: 0o755 })
    await fs.writeFile(path.join(folder, 'seccomp'), compileSeccomp(seccomp, process.arch === 'arm64' ? 'arm64' : 'x64'))
    const driver = new BwrapDriver(options, host, networks, folder, shell, launcher)
    if (host.groups) await weighGroup(host.groups, driver.#groupParent, groupWeight(options))
    opened.move()
    return driver
  }

  runs(runtime: RuntimeName): boolean {
    return this.#options.guests.of(runtime) !== null
  }

  async start(options: StartOptions): Promise<SandboxProcess> {
    const { clock, log } = this.#options
    const uid = this.#asRoot ? this.#takeUid() : null
    const cgroup = this.#host.groups ? new Cgroup(this.#host.groups, `${this.#groupParent}/${options.id}`) : null
    const meminfo = path.join(this.#folder, 'meminfo', options.id)
    let network: Network | null = null
    const giveBack = async () => {
      await network?.release()
      await fs.rm(meminfo, { force: true })
      if (uid !== null) this.#uids.delete(uid)
    }
    let child: Launched | null = null
    try {
      if (options.runtime === 'python3.x') await this.#compiledPython()
      // What only writes a compile cache has no network, however it tries.
      if (options.cache === null && hasNetworks(this.#networks)) network = await this.#networks.take()
      // That of the host until it is known whose it becomes: the runtime sizes itself by it.
      await fs.writeFile(meminfo, meminfoOf(Math.floor(totalmem() / MiB)), { mode: 0o644 })
      const procs = cgroup?.make({ memoryMb: POOL_MEMORY_MB, pids: options.pids, cpuWeight: startingWeight(options) }) ?? []
      const command = await this.#commandOf(options, meminfo, uid, network)
      child = await this.#launcher.launch({
        command: [...this.#shell, String(procs.length), ...procs, ...command],
        env: ENVIRONMENT,
        // The filter is opened for each: one that is shared would have been read to its end.
        descriptors: ['nothing', 'nothing', 'stream', 'stream', 'stream', { file: path.join(this.#folder, 'seccomp') }, 'stream'],
        // The node itself goes first: it serves those that run already. Inside a group of its own this weighs nothing.
        nice: cgroup === null ? null : options.background && !options.held ? 15 : 5,
      })
      const tail = new StderrTail(child.streams[2] ?? null)
      const init = await firstProcess(child, clock)
      if (init === null) throw notStarted(`bubblewrap could not start a sandbox: ${wordsOf(tail.text()) || 'no answer'}`, await signalOf(child, clock))
      const cache = options.cache === null ? null : await openCache(init, clock)
      const made = new BwrapSandbox(options.id, {
        child,
        init,
        cache,
        cgroup,
        watch: this.#watch,
        queues: this.#queues,
        network,
        meminfo,
        tail,
        giveBack,
        clock,
        held: options.held ?? false,
      })
      this.#running.add(made)
      void made.exited.then(() => this.#running.delete(made))
      return made
    } catch (error) {
      child?.kill('SIGKILL')
      await cgroup
        ?.destroy(clock)
        .catch((failure: Error) => log.warn({ sandbox: options.id, error: failure.message }, 'a sandbox that did not start left something behind'))
      await giveBack()
      throw error
    }
  }

  /** @throws Error with what this host has against it */
  async tryOut(): Promise<void> {
    await tryOut(this, this.#folder, this.#options.clock)
  }

  /** Processes of a former life are gone: they die with the node that started them. */
  async sweep(): Promise<void> {
    const { groups } = this.#host
    for (const tree of groups?.all ?? [])
      for (const id of await fs.readdir(path.join(tree, this.#groupParent)).catch(() => []))
        if (id.startsWith('s-')) await new Cgroup(groups as Hierarchies, `${this.#groupParent}/${id}`).destroy(this.#options.clock)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#queues[Symbol.dispose]()
    await Promise.all([...this.#running].map((sandbox) => sandbox.kill()))
    this.#launcher[Symbol.dispose]()
    this.#watch?.[Symbol.dispose]()
    if (hasNetworks(this.#networks)) await this.#networks[Symbol.asyncDispose]()
    for (const view of this.#views.values()) await (await view.catch(() => null))?.[Symbol.asyncDispose]()
    for (const tree of this.#host.groups?.all ?? []) await fs.rmdir(path.join(tree, this.#groupParent)).catch(() => {})
    // A program that was ended may write once more.
    await fs.rm(this.#folder, { recursive: true, force: true, maxRetries: 5 })
  }

  get #groupParent(): string {
    return `mayfly-${this.#options.name}`
  }

  #takeUid(): number {
    const { at, of } = this.#options.part ?? { at: 0, of: 1 }
    const ours = Math.floor(UIDS / of)
    for (let tried = 0; tried < ours; tried++) {
      const uid = UID_BASE + at * ours + this.#nextUid
      this.#nextUid = (this.#nextUid + 1) % ours
      if (!this.#uids.has(uid)) {
        this.#uids.add(uid)
        return uid
      }
    }
    throw new Error('every user id for sandboxes is in use')
  }

  /** Once, for the first that takes it. */
  #compiledPython(): Promise<void> {
    this.#compiled ??= compilePython(path.join(this.#folder, 'root', INSIDE.runtime))
    return this.#compiled
  }

  /** What is launched, by the names that the launching user can open. @param uid  null where that is ourselves */
  async #commandOf(options: StartOptions, meminfo: string, uid: number | null, network: Network | null): Promise<string[]> {
    const guest = guestOf(this.#options.guests, options.runtime)
    const command = options.argv ? [PLACE.node, ...options.argv] : guest.command(PLACE)
    const around = bounded(await this.#fstabOf(options), this.#host.countsProcesses ? options.pids : null, this.#host.own.each)
    const shared = {
      root: path.join(this.#folder, 'root'),
      meminfo,
      hasNetwork: network !== null,
      writable: { tmp: this.#mountPoint('tmp'), shm: this.#mountPoint('shm'), cache: options.cache === null ? null : this.#mountPoint('cache') },
      environment: environmentFor(options.runtime),
      command,
      held: options.held ?? false,
    }
    const entered = network?.entrance ?? []
    if (uid === null)
      return [...(network ? ['nsenter', ...entered] : []), ...around, ...bwrapArguments({ ...shared, node: guest.node, slotDir: options.slotDir })]
    const view = await this.#viewOf([path.dirname(options.slotDir), guest.node])
    const seen = { node: view.seen(guest.node), slotDir: view.seen(options.slotDir) }
    return ['nsenter', ...entered, `--mount=${view.file}`, `--setgid=${uid}`, `--setuid=${uid}`, ...around, ...bwrapArguments({ ...shared, ...seen })]
  }

  /** The same for all sandboxes: each has its own mounted there, which no other sees. */
  #mountPoint(name: 'tmp' | 'shm' | 'cache'): string {
    return path.join(this.#folder, 'mounts', name)
  }

  /** A file that says what is mounted for a sandbox of such sizes. */
  async #fstabOf({ id, tmpMb, cache }: StartOptions): Promise<string> {
    const file = path.join(this.#folder, 'mounts', `${tmpMb}-${cache?.bytes ?? 0}-${cache?.files ?? 0}`)
    if (this.#fstabs.has(file)) return file
    const row = (name: 'tmp' | 'shm' | 'cache', options: readonly string[]) =>
      `tmpfs ${this.#mountPoint(name).replaceAll(' ', '\\040')} tmpfs ${[...options, 'mode=1777'].join(',')} 0 0\n`
    const rows = [row('tmp', tmpOptions(tmpMb)), row('shm', ['nosuid', 'nodev', 'noexec', 'size=16m', 'nr_inodes=1k'])]
    // The folder itself counts too.
    if (cache) rows.push(row('cache', ['nosuid', 'nodev', 'noexec', `size=${cache.bytes}`, `nr_inodes=${cache.files + 1}`]))
    // Whole from the moment that it has its name: others that start read it.
    await fs.writeFile(`${file}.${id}`, rows.join(''), { mode: 0o444 })
    await fs.rename(`${file}.${id}`, file)
    this.#fstabs.add(file)
    return file
  }

  #viewOf(sources: readonly string[]): Promise<MountView> {
    const key = sources.join('\0')
    let view = this.#views.get(key)
    if (!view) {
      view = MountView.open(path.join(this.#folder, 'views', String(this.#views.size)), sources, this.#options.clock)
      this.#views.set(key, view)
      view.catch(() => this.#views.delete(key))
    }
    return view
  }
}

/**
 * The shell that launches. What this process was itself started with, beyond the usual three descriptors, sandboxes would
 * inherit: those are closed first, which takes a shell that can name any.
 * @throws Error where there is none
 */
async function launchingShell(): Promise<string[]> {
  const strays: number[] = []
  for (const fd of await fs.readdir('/proc/self/fdinfo')) {
    const flags = /^flags:\s+(\d+)/m.exec(await fs.readFile(`/proc/self/fdinfo/${fd}`, 'latin1').catch(() => ''))?.[1]
    if (Number(fd) > INFO_FD && flags !== undefined && (Number.parseInt(flags, 8) & CLOSES_ON_EXEC) === 0) strays.push(Number(fd))
  }
  if (strays.length === 0) return ['sh', '-c', ENTER, 'sh']
  if (!existsSync('/bin/bash')) throw new Error(`descriptors ${strays.join(', ')} were open when the node was started, and without bash they cannot be closed`)
  return ['/bin/bash', '-c', `exec ${strays.map((fd) => `${fd}>&-`).join(' ')}; ${ENTER}`, 'bash']
}

/** What bubblewrap tells of the process that it made; null when it ended before. */
async function firstProcess(child: Launched, clock: Clock): Promise<number | null> {
  const info = child.streams[INFO_FD] as Duplex
  let text = ''
  const told = new Promise<void>((resolve) => {
    info.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    info.once('close', resolve)
    info.once('error', () => resolve())
    child.exited.then(
      () => resolve(),
      () => resolve(),
    )
  })
  await within(clock, START_LIMIT_MS, told)
  info.destroy()
  return Number(/"child-pid": (\d+)/.exec(text)?.[1]) || null
}

/** Its pipes may close before it is known how it ended. */
async function signalOf(child: Launched, clock: Clock): Promise<NodeJS.Signals | null> {
  await within(clock, END_MS, child.exited)
  return child.ended?.signal ?? null
}

/**
 * The cache folder of a sandbox in which no user code has run yet. It is a mount that only the sandbox has, and
 * ends with it; the handle keeps its files for as long as it is open.
 */
async function openCache(init: number, clock: Clock): Promise<fs.FileHandle> {
  const deadline = clock.monotonic() + START_LIMIT_MS
  // Until it becomes another program its root may still be the host's.
  while ((await fs.readFile(`/proc/${init}/cmdline`, 'latin1')).startsWith('bwrap\0')) {
    if (clock.monotonic() > deadline) throw new Error('a build sandbox does not begin')
    await clock.sleep(2)
  }
  return await fs.open(`/proc/${init}/root/cache`, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
}

/** The version that `bwrap --version` tells, or null when there is none. */
export function bwrapVersion(): Promise<string | null> {
  return new Promise((resolve) => {
    execFile('bwrap', ['--version'], { timeout: 10_000, env: ENVIRONMENT }, (error, out) =>
      resolve(error ? null : (/bubblewrap (\S+)/.exec(out)?.[1] ?? 'unknown')),
    )
  })
}
