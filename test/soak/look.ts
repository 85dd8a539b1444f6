import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import path from 'node:path'

/** What a node holds of the machine at one moment at which it does nothing. */
export interface Look {
  readonly sandboxes: number
  readonly processesOfSandboxes: number
  readonly processesOfDatabases: number
  readonly namespacesOfNetwork: number
  readonly cgroups: number
  readonly mounts: number
  readonly descriptors: number
  readonly rssMb: number
  readonly pssMb: number
  readonly filesOfSandboxes: number
  readonly diskMb: number
}

const TREES = '/sys/fs/cgroup'

/** The group of a node's sandboxes carries the end of its instance's id. */
const groupOf = (data: string): string => {
  const { instanceId } = JSON.parse(readFileSync(path.join(data, 'instance.json'), 'utf8')) as { instanceId: string }
  return `mayfly-${instanceId.replaceAll('-', '').slice(-12)}`
}

const bundlesOf = (data: string) => `/run/mayfly-sandboxes-${groupOf(data).slice('mayfly-'.length)}`
/** Mounts of its own; what else is mounted on the machine is others'. */
const mounts = (pid: number | 'self', data: string): string[] =>
  read(`/proc/${pid}/mountinfo`)
    .split('\n')
    .filter((line) => line.includes(data) || line.includes(bundlesOf(data)))

function groups(data: string): string[] {
  const group = groupOf(data)
  return [TREES, ...foldersIn(TREES)].map((tree) => path.join(tree, group)).filter((at) => existsSync(at))
}
const foldersIn = (at: string): string[] =>
  existsSync(at) ? readdirSync(at, { withFileTypes: true }).flatMap((one) => (one.isDirectory() ? [path.join(at, one.name)] : [])) : []
const groupsOfSandboxes = (data: string): string[] => groups(data).flatMap((at) => foldersIn(at).filter((one) => path.basename(one).startsWith('s-')))

/** The processes in each of its sandboxes, by the sandbox's id. */
export function sandboxes(data: string): Map<string, number[]> {
  const found = new Map<string, number[]>()
  for (const at of groupsOfSandboxes(data)) {
    const pids = read(path.join(at, 'cgroup.procs')).trim().split('\n').filter(Boolean).map(Number)
    const id = path.basename(at)
    found.set(id, [...new Set([...(found.get(id) ?? []), ...pids])])
  }
  return found
}

function descendants(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`).trim().split(' ').filter(Boolean).map(Number)
  return children.flatMap((child) => [child, ...descendants(child)])
}

/** @param pid  of the node's own process */
export function look(pid: number, data: string): Look {
  const inSandboxes = sandboxes(data)
  const guests = [...inSandboxes.values()].flat()
  const children = descendants(pid).filter((child) => !guests.includes(child))
  const databases = children.filter((child) => read(`/proc/${child}/comm`).startsWith('postgres'))
  return {
    sandboxes: inSandboxes.size,
    processesOfSandboxes: guests.length,
    processesOfDatabases: databases.length,
    namespacesOfNetwork: new Set(guests.map((guest) => linkOf(`/proc/${guest}/ns/net`))).size,
    cgroups: groupsOfSandboxes(data).length,
    mounts: mounts(pid, data).length,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    rssMb: kbIn(`/proc/${pid}/status`, 'VmRSS') / 1024,
    pssMb: [pid, ...databases, ...guests].reduce((sum, one) => sum + kbIn(`/proc/${one}/smaps_rollup`, 'Pss'), 0) / 1024,
    filesOfSandboxes: count(path.join(data, 'sandboxes')).files + count(path.join(data, 'cache')).files,
    diskMb: count(data).bytes / 2 ** 20,
  }
}

/** What is still there of a node that has stopped. */
export function remains(data: string): string[] {
  const left: string[] = []
  for (const [id, pids] of sandboxes(data)) left.push(`sandbox ${id} (${pids.length} processes)`)
  left.push(...groups(data).map((at) => `control group ${at}`))
  if (existsSync(bundlesOf(data))) left.push(bundlesOf(data))
  left.push(...mounts('self', data))
  const slots = path.join(data, 'sandboxes', 'slots')
  if (existsSync(slots)) left.push(slots)
  return left
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
