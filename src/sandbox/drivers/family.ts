import { readdirSync, readFileSync } from 'node:fs'
import type { Clock } from '../../lib/clock.ts'

/** A process, then those below it. What the kernel gives no group of, is found so. */
export function familyOf(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(familyOf)]
}

/** What a process and those below it hold now, and the sum of what each held at most. Null when nothing is left of them. */
export function memoryOf(pid: number): { currentMb: number; peakMb: number } | null {
  const sum = { currentMb: 0, peakMb: 0 }
  try {
    for (const one of familyOf(pid)) {
      const status = readFileSync(`/proc/${one}/status`, 'utf8')
      const read = (name: string) => Math.ceil(Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) / 1024)
      sum.currentMb += read('VmRSS')
      sum.peakMb += read('VmHWM')
    }
    return sum
  } catch {
    return sum.peakMb > 0 ? sum : null
  }
}

const ROUNDS = 50

/**
 * Stops a process and those below it where they stand. A stopped one makes no other, so that what a round finds all
 * stopped, from the first down, stays so.
 * @throws Error when they do not obey
 */
export async function stopFamily(pid: number, clock: Clock): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    if (stopAll(pid)) return
    if (round > 2) await clock.sleep(1)
  }
  throw new Error(`the process ${pid} and its children do not stop`)
}

/** @returns whether all were stopped already */
function stopAll(pid: number): boolean {
  const stopped = isStopped(pid)
  if (!stopped) signal(pid, 'SIGSTOP')
  let all = stopped
  for (const child of childrenOf(pid)) all = stopAll(child) && all
  return all
}

/** Lets them go on, children first: who waits for a child never sees it stopped. */
export function continueFamily(pid: number): void {
  for (const one of familyOf(pid).reverse()) signal(one, 'SIGCONT')
}

function isStopped(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name before it may hold anything.
    return 'TtZX'.includes(stat.charAt(stat.lastIndexOf(')') + 2))
  } catch {
    return true
  }
}

/** Each thread has the children that it made itself. */
function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) => numbersIn(readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1')))
  } catch {
    return []
  }
}

const numbersIn = (text: string): number[] => (text === '' ? [] : text.trim().split(' ').map(Number))

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It is gone.
  }
}
