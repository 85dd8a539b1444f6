import { execFile } from 'node:child_process'
import { promises as fs } from 'node:fs'
import { promisify } from 'node:util'

type Resource = 'CORE' | 'NOFILE' | 'SIGPENDING' | 'MEMLOCK' | 'MSGQUEUE'

/** What each process of a sandbox may have, by how `/proc` names it. */
const WANTED: Readonly<Record<Resource, { readonly most: number; readonly row: string }>> = {
  // At 1 the kernel starts no program of the host that takes core dumps; at 0 it does.
  CORE: { most: 1, row: 'Max core file size' },
  NOFILE: { most: 1024, row: 'Max open files' },
  // Pending signals of all sandboxes count together for the user who starts them.
  SIGPENDING: { most: 256, row: 'Max pending signals' },
  MEMLOCK: { most: 65_536, row: 'Max locked memory' },
  MSGQUEUE: { most: 0, row: 'Max msgqueue size' },
}

/** What a sandbox gets of each, and what this host lacks for that to be all that is wanted. */
export interface OwnLimits {
  readonly each: Readonly<Record<Resource, number>>
  readonly missing: readonly { readonly what: string; readonly why: string; readonly todo: string }[]
}

/**
 * Nobody gives a sandbox more than it may have itself: below `sudo`, where an administrator has so set it and in containers
 * this process may have less than a sandbox is to get. Who may raise its own limits does so.
 */
export async function ownLimits(): Promise<OwnLimits> {
  const read = () => fs.readFile('/proc/self/limits', 'latin1')
  let each = eachWithin(await read())
  const short = Object.entries(WANTED).filter(([name, { most }]) => each[name as Resource] < most)
  if (short.length > 0) {
    const raised = short.map(([name, { most }]) => `--${name.toLowerCase()}=:${most}`)
    await promisify(execFile)('prlimit', [`--pid=${process.pid}`, ...raised]).catch(() => {})
    each = eachWithin(await read())
  }
  return { each, missing: lackOf(each, await fs.readFile('/proc/sys/kernel/core_pattern', 'latin1')) }
}

/** @param limits  what the kernel says of the limits of a process; the hard ones count */
export function eachWithin(limits: string): OwnLimits['each'] {
  const within = ({ most, row }: (typeof WANTED)[Resource]): number => {
    const hard = new RegExp(`^${row}\\s+\\S+\\s+(\\d+)\\s`, 'm').exec(limits)?.[1]
    return hard === undefined ? most : Math.min(most, Number(hard))
  }
  const { CORE, NOFILE, SIGPENDING, MEMLOCK, MSGQUEUE } = WANTED
  return { CORE: within(CORE), NOFILE: within(NOFILE), SIGPENDING: within(SIGPENDING), MEMLOCK: within(MEMLOCK), MSGQUEUE: within(MSGQUEUE) }
}

/** @param corePattern  what the host does with core dumps: one that goes to no program is none at 0 bytes */
export function lackOf({ CORE, NOFILE }: OwnLimits['each'], corePattern: string): OwnLimits['missing'] {
  const missing: OwnLimits['missing'][number][] = []
  if (CORE === 0 && corePattern.startsWith('|'))
    missing.push({
      what: 'core-dumps',
      why: 'this node was started with a limit of no core dump, at which the kernel hands one to the program of the host that takes them',
      todo: 'Start the node where `ulimit -H -c` is not 0; below sudo that is a line `Defaults rlimit_core=user` in /etc/sudoers.',
    })
  if (NOFILE < WANTED.NOFILE.most)
    missing.push({
      what: 'all-open-files',
      why: `this node may have no more than ${NOFILE} open files, so that a process of a function has those for ${WANTED.NOFILE.most}`,
      todo: `Start the node where \`ulimit -H -n\` is ${WANTED.NOFILE.most} at least; the node itself is well served by 65536.`,
    })
  return missing
}
