import { closeSync, existsSync, promises as fs, mkdirSync, openSync, readSync, writeFileSync, writeSync } from 'node:fs'
import path from 'node:path'
import { MiB } from './bytes.ts'
import type { Clock } from './clock.ts'

const ROOT = '/sys/fs/cgroup'
/** What may wait in the sockets of a group, where that is no part of its memory. Past it the kernel makes them smaller. */
const SOCKETS_BYTES = 16 * MiB
/** Where a number of the kernel is read into. */
const NUMBER = Buffer.alloc(32)
const STATISTICS = Buffer.alloc(1_024)

/** Which control groups this host has. v2 may stand beside v1 (`unified`), and then brings the freezer and `cgroup.kill`. */
export interface Hierarchies {
  /** The v2 tree, when there is one. */
  readonly unified: string | null
  readonly memory: { path: string; version: 1 | 2 } | null
  readonly pids: { path: string; version: 1 | 2 } | null
  readonly cpu: { path: string; version: 1 | 2 } | null
  readonly freezerV1: string | null
  readonly devicesV1: string | null
  /** Every tree in which a group of ours may lie. */
  readonly all: readonly string[]
}

export async function detectHierarchies(): Promise<Hierarchies> {
  const mounts = (await fs.readFile('/proc/self/mountinfo', 'utf8').catch(() => '')).split('\n').map((line) => line.split(' '))
  const all: string[] = []
  let unified: string | null = null
  const v1 = new Map<string, string>()
  for (const fields of mounts) {
    const at = fields[4]
    const dash = fields.indexOf('-')
    const type = fields[dash + 1]
    if (!at?.startsWith(ROOT)) continue
    if (type === 'cgroup2') unified = at
    else if (type === 'cgroup') for (const controller of (fields[dash + 3] ?? '').split(',')) v1.set(controller, at)
    else continue
    all.push(at)
  }
  const inUnified = unified ? (await fs.readFile(path.join(unified, 'cgroup.controllers'), 'utf8').catch(() => '')).trim().split(' ') : []
  const find = (name: string): { path: string; version: 1 | 2 } | null => {
    const first = v1.get(name)
    if (first) return { path: first, version: 1 }
    return unified && inUnified.includes(name) ? { path: unified, version: 2 } : null
  }
  return {
    unified,
    memory: find('memory'),
    pids: find('pids'),
    cpu: find('cpu'),
    freezerV1: v1.get('freezer') ?? null,
    devicesV1: v1.get('devices') ?? null,
    all: [...new Set(all)],
  }
}

/** A weight as the first version writes it. */
export const sharesOf = (cpuWeight: number): number => Math.max(2, Math.round((cpuWeight * 1024) / 100))

/** Gives a group, and all below it together, their share of the processors beside the host's other groups; 100 is one's usual. */
export async function weighGroup({ cpu }: Pick<Hierarchies, 'cpu'>, name: string, cpuWeight: number): Promise<void> {
  if (!cpu) return
  // Of the second version it has no weight before the one above hands that down, as service managers do when they are asked to.
  if (cpu.version === 2) tryWrite(path.join(cpu.path, 'cgroup.subtree_control'), '+cpu')
  await fs.mkdir(path.join(cpu.path, name), { recursive: true })
  if (cpu.version === 2) tryWrite(path.join(cpu.path, name, 'cpu.weight'), String(Math.min(10_000, cpuWeight)))
  else tryWrite(path.join(cpu.path, name, 'cpu.shares'), String(sharesOf(cpuWeight)))
}

/** What a sandbox has below `/dev`: null, zero, full, random, urandom, tty. */
const DEVICES = ['1:3', '1:5', '1:7', '1:8', '1:9', '5:0']

/** Those trees in which something is bounded, stopped or ended. */
export const boundingTrees = (hierarchies: Hierarchies): Hierarchies => {
  const { unified, memory, pids, cpu, freezerV1, devicesV1 } = hierarchies
  const used = [memory?.path, pids?.path, cpu?.path, unified ?? freezerV1, devicesV1].filter((tree) => typeof tree === 'string')
  return { ...hierarchies, all: [...new Set(used)] }
}

/** One control group, in every tree of the host. */
export class Cgroup {
  readonly #hierarchies: Hierarchies
  readonly #name: string
  #memoryFiles: number[] | null = null
  #cpuFile: number | null = null
  /** The most that was seen, for kernels that do not keep it themselves. */
  #seenMb = 0
  /** What was last set; null where another program has set it. */
  #limitMb: number | null
  /** What this object has written, which need not be written again. */
  #written: { memoryMb: number | null; cpuWeight: number | null } = { memoryMb: null, cpuWeight: null }
  /** Of the second version's freezer: null until it is used, false where there is none. */
  #freezer: number | false | null = null

  /**
   * @param name  relative to the root of each tree, such as `mayfly-abc/s-1`
   * @param limitMb  what its memory is limited to by who makes it, where that is not `make`
   */
  constructor(hierarchies: Hierarchies, name: string, limitMb: number | null = null) {
    this.#hierarchies = hierarchies
    this.#name = name
    this.#limitMb = limitMb
  }

  /**
   * Makes a group in the memory tree alone, for who bounds nothing else.
   * @returns the file that takes the pid of who enters. @throws Error when this host does not let us
   */
  static makeMemory(hierarchies: Hierarchies, name: string): string {
    const { memory } = hierarchies
    if (!memory) throw new Error('this host has no cgroup controller for memory')
    let at = memory.path
    for (const part of name.split('/')) {
      // Of the second version, a group has what the one above it hands down.
      if (memory.version === 2) writeFileSync(path.join(at, 'cgroup.subtree_control'), '+memory')
      at = path.join(at, part)
      mkdirSync(at, { recursive: true })
    }
    return path.join(at, 'cgroup.procs')
  }

  /**
   * Makes the group wherever this host can bound something, with bounds from the start.
   * @returns the files that take the pid of who enters. @throws Error when this host does not let us
   */
  make(limits: { memoryMb: number; cpuWeight: number; pids: number; devices?: boolean }): string[] {
    const { unified, memory, pids, cpu, freezerV1, devicesV1 } = this.#hierarchies
    const trees = new Map<string, string[]>()
    for (const [controller, tree] of [
      ['memory', memory],
      ['pids', pids],
      ['cpu', cpu],
    ] as const) {
      if (tree) trees.set(tree.path, [...(trees.get(tree.path) ?? []), ...(tree.version === 2 ? [controller] : [])])
    }
    const freezer = unified ?? freezerV1
    if (freezer && !trees.has(freezer)) trees.set(freezer, [])
    if (limits.devices && devicesV1) trees.set(devicesV1, [])
    const parts = this.#name.split('/')
    for (const [tree, handedDown] of trees) {
      for (const at of parts.map((_, i) => path.join(tree, ...parts.slice(0, i)))) {
        mkdirSync(at, { recursive: true })
        // Of the second version, a group has what the one above it hands down.
        if (handedDown.length > 0) writeFileSync(path.join(at, 'cgroup.subtree_control'), handedDown.map((one) => `+${one}`).join(' '))
      }
      mkdirSync(path.join(tree, this.#name), { recursive: true })
    }
    this.limit(limits)
    this.boundSockets()
    if (pids) writeFileSync(path.join(pids.path, this.#name, 'pids.max'), String(limits.pids))
    if (limits.devices && devicesV1) shutDevices(path.join(devicesV1, this.#name))
    return [...trees.keys()].map((tree) => path.join(tree, this.#name, 'cgroup.procs'))
  }

  /** Written at once: a trip through the thread pool costs ten times the write, and this stands on the cold path. */
  limit(limits: { memoryMb: number; cpuWeight: number }): void {
    if (this.#hierarchies.memory) this.limitMemory(limits.memoryMb)
    this.weigh(limits.cpuWeight)
  }

  /** The first version counts what waits in sockets of TCP and UDP apart, and without a limit not at all. */
  boundSockets(): void {
    const { memory } = this.#hierarchies
    if (memory?.version === 1) tryWrite(path.join(memory.path, this.#name, 'memory.kmem.tcp.limit_in_bytes'), String(SOCKETS_BYTES))
  }

  /** Its share of the processors beside its neighbours; 100 is one's usual. */
  weigh(cpuWeight: number): void {
    const { cpu } = this.#hierarchies
    if (!cpu || this.#written.cpuWeight === cpuWeight) return
    this.#written.cpuWeight = null
    if (cpu.version === 2) writeFileSync(path.join(cpu.path, this.#name, 'cpu.weight'), String(Math.min(10_000, Math.max(1, Math.round(cpuWeight)))))
    else writeFileSync(path.join(cpu.path, this.#name, 'cpu.shares'), String(sharesOf(cpuWeight)))
    this.#written.cpuWeight = cpuWeight
  }

  /** Memory and swap together. @throws Error when the host has no controller for it */
  limitMemory(memoryMb: number): void {
    const { memory } = this.#hierarchies
    if (!memory) throw new Error('this host has no cgroup controller for memory')
    if (this.#written.memoryMb === memoryMb) return
    this.#written.memoryMb = null
    const bytes = String(memoryMb * MiB)
    const at = path.join(memory.path, this.#name)
    const formerMb = this.#limitMb
    this.#limitMb = memoryMb
    if (memory.version === 2) {
      writeFileSync(path.join(at, 'memory.max'), bytes)
      tryWrite(path.join(at, 'memory.swap.max'), '0')
      this.#written.memoryMb = memoryMb
      return
    }
    // Memory with swap may never be below memory: raising begins with the former, lowering with the latter.
    const withSwap = path.join(at, 'memory.memsw.limit_in_bytes')
    const hasSwap = countsSwap(memory.path)
    const first = hasSwap && (formerMb === null || formerMb <= memoryMb) && tryWrite(withSwap, bytes)
    writeFileSync(path.join(at, 'memory.limit_in_bytes'), bytes)
    if (hasSwap && !first) writeFileSync(withSwap, bytes)
    this.#written.memoryMb = memoryMb
  }

  /**
   * Stops everything in it where it stands, or lets it go on; nothing on a host that cannot. By the second version this is
   * done when it returns: a thaw stands before a call, and is one write to a file that is kept open.
   * @throws Error when it does not obey
   */
  async freeze(frozen: boolean, clock: Clock): Promise<void> {
    const { unified, freezerV1 } = this.#hierarchies
    this.#freezer ??= unified !== null && openOrFalse(path.join(unified, this.#name, 'cgroup.freeze'))
    if (this.#freezer !== false) {
      writeSync(this.#freezer, frozen ? '1' : '0', 0)
      return
    }
    if (!freezerV1) return
    const file = path.join(freezerV1, this.#name, 'freezer.state')
    for (let round = 0; round < 50; round++) {
      await fs.writeFile(file, frozen ? 'FROZEN' : 'THAWED')
      // FREEZING can persist: read again, write again.
      if ((await fs.readFile(file, 'utf8')).trim() === (frozen ? 'FROZEN' : 'THAWED')) return
      await clock.sleep(2)
    }
    throw new Error(`the control group ${this.#name} does not ${frozen ? 'freeze' : 'thaw'}`)
  }

  /** Read after every call: the files are kept open and read where they stand, which takes microseconds. */
  memory(): { currentMb: number; peakMb: number } | null {
    const { memory } = this.#hierarchies
    if (!memory) return null
    const names = memory.version === 2 ? ['memory.current', 'memory.peak'] : ['memory.usage_in_bytes', 'memory.max_usage_in_bytes']
    try {
      this.#memoryFiles ??= openAll(names.map((name) => path.join(memory.path, this.#name, name)))
      const [current = 0, peak] = this.#memoryFiles.map((file) =>
        Math.ceil(Number(NUMBER.toString('latin1', 0, readSync(file, NUMBER, 0, NUMBER.length, 0))) / MiB),
      )
      this.#seenMb = Math.max(this.#seenMb, current)
      return { currentMb: current, peakMb: peak ?? this.#seenMb }
    } catch {
      return null
    }
  }

  /** What the processors have done for it. The second version counts that also where it has no controller for them. */
  cpuMs(): number | null {
    const { unified, cpu } = this.#hierarchies
    try {
      this.#cpuFile ??=
        unified === null ? openSync(path.join(cpu?.path ?? '', this.#name, 'cpuacct.usage'), 'r') : openSync(path.join(unified, this.#name, 'cpu.stat'), 'r')
      const text = STATISTICS.toString('latin1', 0, readSync(this.#cpuFile, STATISTICS, 0, STATISTICS.length, 0))
      return unified === null ? Number(text) / 1_000_000 : Number(/^usage_usec (\d+)/m.exec(text)?.[1]) / 1_000
    } catch {
      return null
    }
  }

  /** The processes that are in it now. */
  async processes(): Promise<number[]> {
    for (const tree of this.#hierarchies.all) {
      const text = await fs.readFile(path.join(tree, this.#name, 'cgroup.procs'), 'utf8').catch(() => '')
      if (text !== '') return text.trim().split('\n').map(Number)
    }
    return []
  }

  /** Whether a process is in it: its number may have become another's. */
  async has(pid: number): Promise<boolean> {
    return (await this.processes()).includes(pid)
  }

  /** In which trees nothing of it runs, or the kernel tells another bound than was set. */
  async lacks(limits: { readonly memoryMb: number; readonly pids: number }): Promise<string[]> {
    const { memory, pids } = this.#hierarchies
    const bounds = [
      ['memory', memory, memory?.version === 2 ? 'memory.max' : 'memory.limit_in_bytes', limits.memoryMb * MiB],
      ['pids', pids, 'pids.max', limits.pids],
    ] as const
    const lacking: string[] = []
    for (const [what, tree, file, bound] of bounds) {
      if (!tree) continue
      const at = path.join(tree.path, this.#name)
      const [told, inside] = await Promise.all([file, 'cgroup.procs'].map((name) => fs.readFile(path.join(at, name), 'latin1').catch(() => '')))
      if (inside === '' || Number(told) !== bound) lacking.push(`a bound of ${what}`)
    }
    return lacking
  }

  /** Did the kernel end something in it for want of memory? */
  async outOfMemory(): Promise<boolean> {
    const { memory } = this.#hierarchies
    if (!memory) return false
    const file = path.join(memory.path, this.#name, memory.version === 2 ? 'memory.events' : 'memory.oom_control')
    const text = await fs.readFile(file, 'utf8').catch(() => '')
    return Number(/^oom_kill (\d+)/m.exec(text)?.[1] ?? 0) > 0
  }

  /** Did the kernel refuse it a process or thread? */
  async outOfProcesses(): Promise<boolean> {
    const { pids } = this.#hierarchies
    if (!pids) return false
    const text = await fs.readFile(path.join(pids.path, this.#name, 'pids.events'), 'utf8').catch(() => '')
    return Number(/^max (\d+)/m.exec(text)?.[1] ?? 0) > 0
  }

  /** Kills all that is in it and removes it. @throws Error when it is still there after `limitMs` */
  async destroy(clock: Clock, limitMs = 10_000): Promise<void> {
    for (const file of this.#memoryFiles?.splice(0) ?? []) closeSync(file)
    if (this.#cpuFile !== null) closeSync(this.#cpuFile)
    this.#cpuFile = null
    if (this.#freezer) closeSync(this.#freezer)
    this.#freezer = false
    const deadline = clock.monotonic() + limitMs
    for (let pause = 1; ; pause = Math.min(pause * 2, 50)) {
      await this.#killAll(clock)
      let left = 0
      for (const tree of this.#hierarchies.all) {
        const at = path.join(tree, this.#name)
        await fs.rmdir(at).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOENT') left++
        })
      }
      if (left === 0) return
      if (clock.monotonic() > deadline) throw new Error(`the control group ${this.#name} does not become empty`)
      await clock.sleep(pause)
    }
  }

  async #killAll(clock: Clock): Promise<void> {
    const { unified, freezerV1, all } = this.#hierarchies
    // What is frozen by the first version's freezer does not even die.
    if (freezerV1 && existsSync(path.join(freezerV1, this.#name)))
      await fs.writeFile(path.join(freezerV1, this.#name, 'freezer.state'), 'THAWED').catch(ignoreMissing)
    if (unified) {
      const done = await fs.writeFile(path.join(unified, this.#name, 'cgroup.kill'), '1').then(
        () => true,
        () => false,
      )
      if (done) return
    }
    for (const tree of all) {
      const pids = (await fs.readFile(path.join(tree, this.#name, 'cgroup.procs'), 'utf8').catch(() => '')).trim().split('\n')
      for (const pid of pids) {
        if (pid === '' || pid === '0') continue
        try {
          process.kill(Number(pid), 'SIGKILL')
        } catch {
          // gone meanwhile
        }
      }
    }
    await clock.sleep(0)
  }
}

/** All but those that hold nothing. */
function shutDevices(group: string): void {
  writeFileSync(path.join(group, 'devices.deny'), 'a')
  for (const device of DEVICES) writeFileSync(path.join(group, 'devices.allow'), `c ${device} rwm`)
}

/** By the tree: the kernel was started so or not. */
const swapCounted = new Map<string, boolean>()
function countsSwap(tree: string): boolean {
  const known = swapCounted.get(tree) ?? existsSync(path.join(tree, 'memory.memsw.limit_in_bytes'))
  swapCounted.set(tree, known)
  return known
}

const ignoreMissing = () => {}

/** The first must be there; of the second version the peak is told by kernels from 5.19 on. */
function openAll([first = '', ...rest]: readonly string[]): number[] {
  return [openSync(first, 'r'), ...rest.filter((file) => existsSync(file)).map((file) => openSync(file, 'r'))]
}

function openOrFalse(file: string): number | false {
  try {
    return openSync(file, 'r+')
  } catch {
    return false
  }
}

function tryWrite(file: string, text: string): boolean {
  try {
    writeFileSync(file, text)
    return true
  } catch {
    return false
  }
}
