import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** How often one looks for processes that are still to move; the last finds none, unless some are not ours to move. */
const LOOKS = 20

/**
 * Moves all processes of a control group of the second version into one below it: it hands no controller down while it holds
 * any itself.
 * @throws Error where that group cannot be made
 */
export function emptyInto(group: string, name: string): void {
  mkdirSync(path.join(group, name), { recursive: true })
  // One that starts another meanwhile has it left behind: a second look finds that.
  for (let look = 0; look < LOOKS; look++) {
    const pids = readFileSync(path.join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean)
    if (pids.length === 0) return
    for (const pid of pids) moveTo(path.join(group, name), pid)
  }
}

function moveTo(group: string, pid: string): void {
  try {
    writeFileSync(path.join(group, 'cgroup.procs'), pid)
  } catch {
    // It ended, or is none of ours: what cannot move is seen when controllers are handed down.
  }
}
