import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { RunningMayfly } from '../acceptance/harness.ts'
import { sandboxes } from '../soak/look.ts'
import type { CuttingProxy } from './proxy.ts'
import type { Random } from './random.ts'
import type { Disk } from './world.ts'

/** What is done to a run, and to whom. */
export interface Victim {
  readonly data: string
  readonly node: () => RunningMayfly
  /** Starts the node again. Who sends waits meanwhile. */
  readonly again: (end: () => Promise<void>) => Promise<void>
  /** The file in which a point is named at which the node ends itself. */
  readonly point: string
  /** The file in which stands by how much the node's clock is wrong, in ms. */
  readonly skew: string
  readonly disk: Disk | null
  /** Of a database that is no part of the node, else null. */
  readonly external: { readonly proxy: CuttingProxy; readonly kill: () => Promise<void> } | null
}

export interface Fault {
  readonly name: string
  /** Done in the short run too: nothing of it takes long. */
  readonly short?: true
  /** It takes so long, or costs so much, that no run has it twice. */
  readonly once?: true
  /** Why it cannot be done here; null where it can. */
  readonly missing: (victim: Victim) => string | null
  /** Resolves when all is healed. @returns what was done, for people */
  readonly strike: (victim: Victim, random: Random) => Promise<string>
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
const always = () => null

/** Steps of an event at which the node is ended. */
const POINTS = [
  ...['afterObjectCommit', 'afterRelay', 'afterOutboxDelete', 'beforeFiringCommit', 'afterFiring', 'beforePublishCommit', 'afterPublishCommit'],
  ...['beforeEnqueueCommit', 'afterEnqueueCommit', 'beforeLease', 'afterLease', 'duringRun', 'afterRunBeforeRecord', 'afterRunBeforeSettle'],
  ...['beforeAckCommit', 'afterAckCommit', 'beforeRetryCommit', 'afterRetryCommit', 'afterSendCommit', 'afterReceiveCommit', 'afterDeleteCommit'],
]
/** Longer than the lease of an entry. */
const LEASE_MS = 65_000

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name)
  } catch {
    // It ended by itself.
  }
}

/** A process and all below it. */
export function family(pid: number): number[] {
  const children = (() => {
    try {
      return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)
    } catch {
      return []
    }
  })()
  return [pid, ...children.flatMap(family)]
}

/** The first process of each server that the node has: of the control database, and of each project that is awake. */
function servers(data: string): number[] {
  const projects = path.join(data, 'pg', 'projects')
  const folders = [path.join(data, 'pg', 'control'), ...(existsSync(projects) ? readdirSync(projects).map((name) => path.join(projects, name)) : [])]
  return folders.flatMap((folder) => {
    try {
      const pid = Number(readFileSync(path.join(folder, 'postmaster.pid'), 'utf8').split('\n')[0])
      return isAlive(pid) ? [pid] : []
    } catch {
      return []
    }
  })
}

async function freeze(pids: readonly number[], ms: number): Promise<void> {
  for (const pid of pids) signal(pid, 'SIGSTOP')
  try {
    await pause(ms)
  } finally {
    for (const pid of pids) signal(pid, 'SIGCONT')
  }
}

const ownServers = ({ external }: Victim) => (external === null ? null : 'the database is no part of the node')
const cutSoon = async ({ external }: Victim, random: Random): Promise<string> => {
  const proxy = external?.proxy as CuttingProxy
  const how = random.any(['before', 'after'] as const)
  const times = random.whole(3, 12)
  await proxy.cutCommits(how, times, 10_000)
  return `${times} connections cut ${how === 'before' ? 'before their commit arrives' : 'behind their commit, before its answer'}`
}

export const FAULTS: readonly Fault[] = [
  {
    name: 'kill the node',
    short: true,
    missing: always,
    strike: async ({ node, again }) => {
      await again(() => node().kill())
      return 'kill -9'
    },
  },
  {
    name: 'end the node at a step',
    missing: always,
    strike: async ({ node, again, point }, random) => {
      const name = random.any(POINTS)
      const pid = node().pid()
      writeFileSync(point, name)
      for (let waited = 0; isAlive(pid) && waited < 15_000; waited += 50) await pause(50)
      rmSync(point, { force: true })
      if (isAlive(pid)) return `nothing came by ${name}`
      await again(async () => void (await node().ended()))
      return name
    },
  },
  {
    name: 'kill PostgreSQL',
    short: true,
    missing: always,
    strike: async ({ data, external }, random) => {
      if (external !== null) {
        await external.kill()
        return 'the server of others'
      }
      const all = servers(data)
      signal(random.any(all), 'SIGKILL')
      return `one of ${all.length} servers`
    },
  },
  {
    name: 'kill a backend of PostgreSQL',
    missing: ownServers,
    strike: async ({ data }, random) => {
      const [, ...below] = family(random.any(servers(data)))
      signal(random.any(below), 'SIGKILL')
      return `one of ${below.length} processes`
    },
  },
  {
    name: 'kill sandboxes',
    short: true,
    missing: ({ data }) => (sandboxes(data).size === 0 ? 'no control group of a sandbox is found' : null),
    strike: async ({ data }, random) => {
      const all = [...sandboxes(data).values()].filter((pids) => pids.length > 0)
      const struck = random.shuffled(all).slice(0, Math.ceil(all.length / 2))
      for (const pid of struck.flat()) signal(pid, 'SIGKILL')
      return `${struck.length} of ${all.length}`
    },
  },
  {
    name: 'freeze the node beyond its leases',
    once: true,
    missing: always,
    strike: async ({ node }) => {
      await freeze([node().pid()], LEASE_MS)
      return `SIGSTOP for ${LEASE_MS / 1000} s`
    },
  },
  {
    name: 'freeze PostgreSQL',
    missing: ownServers,
    strike: async ({ data }, random) => {
      const ms = random.whole(2_000, 8_000)
      await freeze(family(random.any(servers(data))), ms)
      return `SIGSTOP for ${(ms / 1000).toFixed(1)} s`
    },
  },
  {
    name: 'freeze sandboxes',
    missing: ({ data }) => (sandboxes(data).size === 0 ? 'no control group of a sandbox is found' : null),
    strike: async ({ data }, random) => {
      const ms = random.whole(2_000, 8_000)
      await freeze([...sandboxes(data).values()].flat(), ms)
      return `SIGSTOP for ${(ms / 1000).toFixed(1)} s`
    },
  },
  {
    name: 'set the clock of the node wrong',
    missing: always,
    strike: async ({ skew }, random) => {
      const ms = random.any([-1, 1]) * random.whole(60_000, 86_400_000)
      writeFileSync(skew, String(ms))
      await pause(random.whole(3_000, 6_000))
      writeFileSync(skew, '0')
      return `by ${(ms / 3_600_000).toFixed(1)} h, and back`
    },
  },
  {
    name: 'fill the disk',
    missing: ({ disk }) => (disk === null ? 'the data directory has no file system of its own' : null),
    strike: async ({ disk: its, node, again }, random) => {
      const disk = its as Disk
      const filler = path.join(disk.at, 'filler')
      const { bavail, bsize } = statfsSync(disk.at)
      try {
        execFileSync('fallocate', ['--length', String(bavail * bsize - 64 * 1024), filler], { stdio: 'ignore' })
        await pause(random.whole(3_000, 8_000))
      } finally {
        rmSync(filler, { force: true })
        // Else it is there again after a power cut, and nobody removes it.
        disk.sync()
      }
      const pid = node().pid()
      await pause(1_000)
      if (!isAlive(pid)) await again(async () => void (await node().ended()))
      return `to the last 64 KiB of ${Math.round((bavail * bsize) / 1_048_576)} MiB`
    },
  },
  {
    name: 'cut the power',
    once: true,
    missing: ({ disk, external }) =>
      disk === null ? 'the data directory has no file system of its own' : external === null ? null : 'the database lies elsewhere',
    strike: async ({ disk, node, again, data }) => {
      const all = [
        ...new Set([...family(node().child.pid as number), ...family(node().pid()), ...servers(data).flatMap(family), ...[...sandboxes(data).values()].flat()]),
      ]
      for (const pid of all) signal(pid, 'SIGSTOP')
      await again(async () => {
        await (disk as Disk).cutPower(async () => {
          for (const pid of all) signal(pid, 'SIGKILL')
          await node().ended()
          for (const pid of all) for (let waited = 0; isAlive(pid) && waited < 5_000; waited += 50) await pause(50)
        })
      })
      return 'the image as it was synced'
    },
  },
  {
    name: 'cut connections in their commit',
    missing: ({ external }) => (external === null ? 'embedded PostgreSQL is reached by a socket in the file system' : null),
    strike: cutSoon,
  },
  {
    name: 'cut all connections to PostgreSQL',
    missing: ({ external }) => (external === null ? 'embedded PostgreSQL is reached by a socket in the file system' : null),
    strike: async ({ external }, random) => {
      const ms = random.whole(500, 5_000)
      await external?.proxy.cutAll(ms)
      return `for ${(ms / 1000).toFixed(1)} s`
    },
  },
]
