import { execFile } from 'node:child_process'
import { promises as fs } from 'node:fs'
import { promisify } from 'node:util'

/** How much of a core dump a sandbox may have, in bytes, and what this host lacks for that to be one. */
export interface CoreLimit {
  readonly bytes: 0 | 1
  readonly missing: readonly { readonly what: string; readonly why: string; readonly todo: string }[]
}

/**
 * One byte: at 1 the kernel starts no program of the host that takes core dumps, at 0 it does. What was started by one that
 * may have none, as below `sudo` or where an administrator has so set it, cannot give more to a sandbox, unless it may raise
 * its own limit.
 */
export async function coreLimit(): Promise<CoreLimit> {
  const file = '/proc/self/limits'
  let bytes = coreBytes(await fs.readFile(file, 'latin1'))
  if (bytes === 0) {
    await promisify(execFile)('prlimit', [`--pid=${process.pid}`, '--core=1:1']).catch(() => {})
    bytes = coreBytes(await fs.readFile(file, 'latin1'))
  }
  return { bytes, missing: lackOf(bytes, await fs.readFile('/proc/sys/kernel/core_pattern', 'latin1')) }
}

/** By what the kernel says of the limits of a process. */
export const coreBytes = (limits: string): 0 | 1 => (/^Max core file size\s+\S+\s+0\s/m.test(limits) ? 0 : 1)

/** A dump that goes to no program is none at 0 bytes. */
export const lackOf = (bytes: 0 | 1, pattern: string): CoreLimit['missing'] =>
  bytes === 1 || !pattern.startsWith('|')
    ? []
    : [
        {
          what: 'core-dumps',
          why: 'this node was started with a limit of no core dump, at which the kernel hands one to the program of the host that takes them',
          todo: 'Start the node where `ulimit -H -c` is not 0; below sudo that is a line `Defaults rlimit_core=user` in /etc/sudoers.',
        },
      ]
