import { writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'

/**
 * Has a program that leads a session of its own give way to this process. A kernel that weighs sessions (autogroup) takes
 * what a process has of it for an order within its session alone, so there the session gives way too.
 */
export function standBehind(pid: number, nice: number): void {
  setPriority(pid, nice)
  try {
    writeFileSync(`/proc/${pid}/autogroup`, String(nice))
  } catch {
    // It has ended, or this kernel weighs no sessions.
  }
}
