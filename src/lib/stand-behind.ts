import { writeFileSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'

const LAST = 19

/**
 * Has a program that leads a session of its own give way to this process. A kernel that weighs sessions (autogroup) takes
 * what a process has of it for an order within its session alone, so there the session gives way too.
 */
export function standBehind(pid: number, nice: number): void {
  try {
    // Behind this process, wherever it stands itself: to go before it takes root.
    setPriority(pid, Math.min(LAST, getPriority() + nice))
    writeFileSync(`/proc/${pid}/autogroup`, String(nice))
  } catch {
    // It has ended, this process may not, or this kernel weighs no sessions.
  }
}
