import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import path from 'node:path'

/** What a node holds of the machine at one moment at which it does nothing. */
export interface Look {
  /** Those with a program in them, as are the three counts that follow. */
  readonly sandboxes: number
  readonly processesOfSandboxes: number
  readonly processesOfDatabases: number
  readonly namespacesOfNetwork: number
  readonly cgroups: number
  readonly mounts: number
  /** Sandboxes that stand ready without a program, for calls that find none booted. */
  readonly hulls: number
  /** The node's own: all but those of databases and in sandboxes. So are descriptors, and memory as RSS. */
  readonly processes: number
  /** Of every kind, that those live in. */
  readonly namespaces: number
  /** Networks for sandboxes; some stand ready. */
  readonly networks: number
  /** What is open in the rules of those. */
  readonly rules: number
  /** Sockets and folders that the node has made below `/run`. */
  readonly filesOfRun: number
  readonly descriptors: number
  readonly rssMb: number
  readonly pssMb: number
  readonly filesOfSandboxes: number
  readonly databasesMb: number
  readonly journalsMb: number
  /** All other files of the data directory. */
  readonly filesMb: number
}

const MS_A_TICK = 10
const TREES = '/sys/fs/cgroup'

/** The group of a node's sandboxes carries the end of its instance's id. */
const groupOf = (data: string): string => {
  const { instanceId } = JSON.parse(readFileSync(path.join(data, 'instance.json'), 'utf8')) as { instanceId: string }
  return `mayfly-${instanceId.replaceAll('-', '').slice(-12)}`
}

const RUN = '/run'
/** Of the main process and of each worker. */
const isOf = (data: string, prefix: string, name: string) => {
  const own = `${prefix}${groupOf(data).slice('mayfly-'.length)}`
  return name === own || (name.startsWith(own) && /^-w\d+$/.test(name.slice(own.length)))
}
const bundlesOf = (data: string): string[] =>
  readdirSync(RUN)
    .filter((name) => isOf(data, 'mayfly-sandboxes-', name))
    .map((name) => path.join(RUN, name))
/** Mounts of its own; what else is mounted on the machine is others'. */
const mounts = (pid: number | 'self', data: string): string[] =>
  read(`/proc/${pid}/mountinfo`)
    .split('\n')
    .filter((line) => line.includes(data) || bundlesOf(data).some((bundles) => line.includes(bundles)))

function groups(data: string): string[] {
  return [TREES, ...foldersIn(TREES)].flatMap((tree) => foldersIn(tree).filter((at) => isOf(data, 'mayfly-', path.basename(at))))
}
const foldersIn = (at: string): string[] =>
  existsSync(at) ? readdirSync(at, { withFileTypes: true }).flatMap((one) => (one.isDirectory() ? [path.join(at, one.name)] : [])) : []
const groupsOfSandboxes = (data: string): string[] => groups(data).flatMap((at) => foldersIn(at).filter((one) => path.basename(one).startsWith('s-')))

/** Each process of a node numbers its own. */
const idOf = (group: string) => path.join(path.basename(path.dirname(group)), path.basename(group))

/** The processes in each of its sandboxes, by the sandbox's id. */
export function sandboxes(data: string): Map<string, number[]> {
  const found = new Map<string, number[]>()
  for (const at of groupsOfSandboxes(data)) {
    const pids = read(path.join(at, 'cgroup.procs')).trim().split('\n').filter(Boolean).map(Number)
    const id = idOf(at)
    found.set(id, [...new Set([...(found.get(id) ?? []), ...pids])])
  }
  return found
}

/** Whether nothing but the shell that will start a program is there. */
export const isHull = (pids: readonly number[]): boolean => pids.length === 1 && read(`/proc/${pids[0]}/comm`).trim() === 'sh'

function descendants(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`).trim().split(' ').filter(Boolean).map(Number)
  return children.flatMap((child) => [child, ...descendants(child)])
}

const NAMESPACES = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts']
/** By which what each of its processes makes for networks is named. */
const tagsOf = (data: string): string[] =>
  bundlesOf(data).map((folder) => createHash('sha256').update(path.basename(folder).slice('mayfly-sandboxes-'.length)).digest('hex').slice(0, 12))
const networks = (data: string): string[] => {
  const tags = tagsOf(data)
  return namesIn('/run/netns').filter((name) => tags.some((tag) => name.startsWith(`mayfly-${tag}-`)))
}
function rules(data: string): number {
  const elementsIn = (tag: string, set: string) => {
    const { stdout, status } = spawnSync('ip', ['netns', 'exec', `mayfly-${tag}`, 'nft', '-j', 'list', 'set', 'ip', 'mayfly', set], { encoding: 'utf8' })
    if (status !== 0) return 0
    return (JSON.parse(stdout) as { nftables: { set?: { elem?: unknown[] } }[] }).nftables.reduce((sum, one) => sum + (one.set?.elem?.length ?? 0), 0)
  }
  return tagsOf(data).reduce((sum, tag) => sum + elementsIn(tag, 'listed') + elementsIn(tag, 'anyport'), 0)
}

/** Of its sandboxes and workers; what all sandboxes see of the machine stands since the start, and what each has for as long as it does. */
const filesOfRun = (data: string): string[] => {
  const standing = new Set(sandboxes(data).keys())
  const isOfOne = (at: string) => {
    const [, process = '', name = ''] = /\/mayfly-sandboxes-([^/]+)\/.*(s-\d+)$/.exec(at) ?? []
    return standing.has(`mayfly-${process}/${name}`)
  }
  const below = (at: string): string[] =>
    isOfOne(at) ? [] : [at, ...foldersIn(at).flatMap(below), ...namesIn(at).flatMap((name) => (isOfOne(path.join(at, name)) ? [] : [path.join(at, name)]))]
  const workers = path.join(RUN, `mayfly-workers-${groupOf(data).slice('mayfly-'.length)}`)
  const bundles = bundlesOf(data).flatMap((at) => foldersIn(at).filter((one) => path.basename(one) !== 'root'))
  return [
    ...new Set(
      [workers, ...bundles, ...tagsOf(data).map((tag) => path.join(RUN, `mayfly-net-${tag}`))].flatMap((at) =>
        at.includes('mayfly-net-') ? namesIn(at) : below(at),
      ),
    ),
  ]
}

/** What each descriptor of these processes is, and how many there are of it. */
export function descriptorsOf(pids: readonly number[]): Map<string, number> {
  const kinds = new Map<string, number>()
  const sockets = new Map(
    SOCKETS.flatMap(({ file, kind, at }) =>
      read(file)
        .split('\n')
        .map((line) => [line.trim().split(/\s+/)[at] ?? '', kind] as const),
    ),
  )
  for (const pid of pids)
    for (const fd of namesIn(`/proc/${pid}/fd`)) {
      const target = linkOf(`/proc/${pid}/fd/${fd}`)
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1]
      const kind =
        inode === undefined ? target.replace(/:\[\d+\]$|[0-9a-f]{12}(-w\d+)?|(?<=\/s-|\/v)\d+/g, '') : `socket of ${sockets.get(inode) ?? 'another kind'}`
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
    }
  return kinds
}
/** The kernel's tables, and which column holds a socket's number. */
const SOCKETS = [
  { file: '/proc/net/unix', kind: 'unix', at: 6 },
  ...['tcp', 'tcp6', 'udp', 'udp6'].map((kind) => ({ file: `/proc/net/${kind}`, kind, at: 9 })),
  { file: '/proc/net/netlink', kind: 'netlink', at: 9 },
]

/** A node's own processes, the first of them first, and those of its databases. */
export function processesOf(pid: number, data: string): { readonly own: readonly number[]; readonly databases: readonly number[] } {
  const inAny = [...sandboxes(data).values()].flat()
  const children = descendants(pid).filter((child) => !inAny.includes(child))
  const databases = children.filter((child) => read(`/proc/${child}/comm`).startsWith('postgres'))
  return { own: [pid, ...children.filter((child) => !databases.includes(child))], databases }
}

/** @param pid  of the node's own process */
export function look(pid: number, data: string): Look {
  const all = sandboxes(data)
  const inSandboxes = new Map([...all].filter(([, pids]) => !isHull(pids)))
  const guests = [...inSandboxes.values()].flat()
  const { own, databases } = processesOf(pid, data)
  return {
    sandboxes: inSandboxes.size,
    processesOfSandboxes: guests.length,
    processesOfDatabases: databases.length,
    namespacesOfNetwork: new Set(guests.map((guest) => linkOf(`/proc/${guest}/ns/net`))).size,
    cgroups: groupsOfSandboxes(data).filter((at) => inSandboxes.has(idOf(at))).length,
    mounts: mounts(pid, data).length,
    hulls: all.size - inSandboxes.size,
    processes: own.length,
    namespaces: new Set([...own, ...guests].flatMap((one) => NAMESPACES.map((name) => linkOf(`/proc/${one}/ns/${name}`)))).size,
    networks: networks(data).length,
    rules: rules(data),
    filesOfRun: filesOfRun(data).length,
    descriptors: [...descriptorsOf(own).values()].reduce((sum, count) => sum + count, 0),
    rssMb: own.reduce((sum, one) => sum + kbIn(`/proc/${one}/status`, 'VmRSS'), 0) / 1024,
    pssMb: [...own, ...databases, ...guests].reduce((sum, one) => sum + kbIn(`/proc/${one}/smaps_rollup`, 'Pss'), 0) / 1024,
    filesOfSandboxes: count(path.join(data, 'sandboxes')).files + count(path.join(data, 'cache')).files,
    ...disk(data),
  }
}

function disk(data: string): Pick<Look, 'databasesMb' | 'journalsMb' | 'filesMb'> {
  const mb = (at: string) => count(at).bytes / 2 ** 20
  const [databasesMb, journalsMb] = [mb(path.join(data, 'pg')), mb(path.join(data, 'journal'))]
  return { databasesMb, journalsMb, filesMb: mb(data) - databasesMb - journalsMb }
}

/** What a life of a node has taken of processors: its processes, those of them that ended, and its sandboxes. */
export function processorMs(pid: number, data: string): { readonly ofNode: number; readonly ofSandboxes: number } {
  const own = [pid, ...descendants(pid)].reduce((sum, one) => {
    const stat = read(`/proc/${one}/stat`)
    const [user = 0, system = 0, ofChildren = 0, ofChildrenInSystem = 0] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 15)
      .map(Number)
    return sum + (user + system + ofChildren + ofChildrenInSystem) * MS_A_TICK
  }, 0)
  // In nanoseconds by the first control groups, in microseconds by the second; where both are, both count the same.
  const counted = (file: string, of: (text: string) => number) => groups(data).reduce((sum, at) => sum + of(read(path.join(at, file))), 0)
  const ofSandboxes =
    counted('cpuacct.usage', (text) => Number(text) / 1e6) || counted('cpu.stat', (text) => Number(/^usage_usec (\d+)/.exec(text)?.[1] ?? 0) / 1e3)
  return { ofNode: own, ofSandboxes }
}

/** What is still there of a node that has stopped. */
export function remains(data: string): string[] {
  const left: string[] = []
  for (const [id, pids] of sandboxes(data)) left.push(`sandbox ${id} (${pids.length} processes)`)
  left.push(...groups(data).map((at) => `control group ${at}`))
  left.push(...bundlesOf(data))
  left.push(...mounts('self', data))
  const slots = path.join(data, 'sandboxes', 'slots')
  if (existsSync(slots)) left.push(slots)
  return left
}

const namesIn = (at: string): string[] => {
  try {
    return readdirSync(at)
  } catch {
    return []
  }
}
function count(at: string): { files: number; bytes: number } {
  let [files, bytes] = [0, 0]
  let entries: string[] = []
  try {
    entries = readdirSync(at)
  } catch {
    // It went while it was counted.
  }
  for (const name of entries) {
    const file = path.join(at, name)
    const stat = lstatSync(file, { throwIfNoEntry: false })
    if (stat?.isDirectory()) {
      const below = count(file)
      files += below.files
      bytes += below.bytes
    } else if (stat) {
      files++
      bytes += stat.blocks * 512
    }
  }
  return { files, bytes }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
function linkOf(file: string): string {
  try {
    return readlinkSync(file)
  } catch {
    return ''
  }
}
const kbIn = (file: string, name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(read(file))?.[1] ?? 0)
