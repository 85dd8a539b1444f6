import { readFileSync } from 'node:fs'
import { childrenOf } from './family.ts'

/** The first child of a sandbox's first process: that one starts the guest, and takes in what loses its parent later. Null when it is gone. */
export function guestOfInit(init: number): number | null {
  const children = childrenOf(init).flatMap((pid) => {
    const at = startOf(pid)
    return at === null ? [] : [{ pid, at }]
  })
  return children.toSorted((one, other) => one.at - other.at)[0]?.pid ?? null
}

/** Of `/proc/PID/stat`, counted behind the name, which may hold anything. */
const START = 19

function startOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[START])
  } catch {
    return null
  }
}
