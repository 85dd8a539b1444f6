import { promises as fs, readdirSync, readFileSync } from 'node:fs'
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

/**
 * What a process and those below it hold that is no file: it comes back to the host only with their end. Together what several
 * hold in common, as after a fork, counts for each of them; `mostMb` is what one of them holds.
 */
export function heldBy(pid: number): { readonly togetherMb: number; readonly mostMb: number } {
  const each = familyOf(pid).map((one) => kbIn(statusOf(one), HELD) / 1024)
  return { togetherMb: each.reduce((sum, mb) => sum + mb, 0), mostMb: Math.max(...each) }
}

/** The same together, where what several hold in common counts once. The kernel walks all their pages for it, and nobody waits meanwhile. */
export async function sharedOutMbOf(pid: number): Promise<number> {
  let kb = 0
  for (const one of familyOf(pid)) {
    const rollup = await fs.readFile(`/proc/${one}/smaps_rollup`, 'latin1').catch(() => '')
    // The kernel may not tell, or it is gone: then what it holds by itself says more than nothing.
    kb += rollup === '' ? kbIn(statusOf(one), HELD) : kbIn(rollup, SHARED_OUT)
  }
  return kb / 1024
}

const HELD = ['RssAnon', 'RssShmem', 'VmSwap']
const SHARED_OUT = ['Pss_Anon', 'Pss_Shmem', 'SwapPss']
const kbIn = (text: string, names: readonly string[]): number =>
  names.reduce((sum, name) => sum + Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0), 0)

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'latin1')
  } catch {
    return ''
  }
}

const STOP_MS = 5_000

/**
 * Stops a process and those below it where they stand. A stopped one makes no other, so that what a round finds all
 * stopped, from the first down, stays so.
 * @throws Error when they do not obey
 */
export async function stopFamily(pid: number, clock: Clock): Promise<void> {
  const deadline = clock.monotonic() + STOP_MS
  const told = new Set<number>()
  // A signal takes until the process runs next: most have it when the second look comes.
  for (let pauseMs = 0; !stopAll(pid, told); pauseMs = Math.min(pauseMs + 1, 20)) {
    if (clock.monotonic() > deadline) throw new Error(`the process ${pid} and its children do not stop`)
    if (pauseMs > 0) await clock.sleep(pauseMs)
  }
}

/** @returns whether all stood already */
function stopAll(pid: number, told: Set<number>): boolean {
  const state = stateOf(pid)
  // One that sleeps in the kernel stops before it returns from there: so the parent of a vfork, whose child was stopped first.
  const stands = 'TtZX'.includes(state) || (state === 'D' && told.has(pid))
  if (!stands) signal(pid, 'SIGSTOP')
  told.add(pid)
  let all = stands
  for (const child of childrenOf(pid)) all = stopAll(child, told) && all
  return all
}

/** Lets them go on, children first: who waits for a child never sees it stopped. */
export function continueFamily(pid: number): void {
  for (const one of familyOf(pid).reverse()) signal(one, 'SIGCONT')
}

/** The letter of the kernel; of one that is gone, that of the dead. */
function stateOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name before it may hold anything.
    return stat.charAt(stat.lastIndexOf(')') + 2)
  } catch {
    return 'X'
  }
}

/** Each thread has the children that it made itself. */
export function childrenOf(pid: number): number[] {
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
