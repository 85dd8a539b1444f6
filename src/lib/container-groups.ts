import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Hierarchies } from './cgroup.ts'
import { emptyInto } from './emptied-group.ts'

/** Where the other processes of a container go. */
export const OTHERS = 'mayfly-others'
const BOUNDING: readonly string[] = ['memory', 'pids', 'cpu']

/**
 * What root of a container of the second version sees as the root of the tree is a group like any other: while processes are
 * in it, it hands no controller down, and no group for a sandbox can be made. So all that run in the container move one down, as
 * those do that run containers in one. Nothing is done on the machine itself, whose root may hold processes, nor below a service
 * manager, which has handed controllers down and put this process into a group of its own.
 * @param proc  `/proc`, but in tests
 * @returns whether this process has been moved
 */
export function makeRoomInContainer({ unified, all }: Pick<Hierarchies, 'unified' | 'all'>, proc = '/proc'): boolean {
  if (unified === null || all.length > 1 || process.getuid?.() !== 0) return false
  const at = (file: string) => path.join(unified, file)
  try {
    // The root of the machine has no such file.
    if (!existsSync(at('cgroup.events')) || !/^0::\/$/m.test(readFileSync(path.join(proc, 'self', 'cgroup'), 'utf8'))) return false
    const words = (file: string) => readFileSync(at(file), 'utf8').trim().split(/\s+/)
    const handed = words('cgroup.subtree_control')
    const lacking = words('cgroup.controllers').filter((name) => name !== '' && !handed.includes(name))
    if (!lacking.some((name) => BOUNDING.includes(name))) return false
    emptyInto(unified, OTHERS)
    // All of them: gVisor takes no group without some that bound nothing here.
    for (const name of lacking) writeFileSync(at('cgroup.subtree_control'), `+${name}`)
    return true
  } catch {
    // It is not ours to change: what the kernel then does not hold is told as missing.
    return false
  }
}
