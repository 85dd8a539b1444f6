import { closeSync, openSync, readSync } from 'node:fs'
import type { Clock } from '../../lib/clock.ts'
import { LIMITS } from '../../core/limits.ts'

const LOOK_MS = 250
/** About 150 queues that are full. A program that asks for addresses reads the answers at once. */
export const ROUTE_QUEUES_BYTES: number = LIMITS.routeQueues.value
/** Reading on would take longer than the answer is worth: nobody has so many for anything good. */
const READ = Buffer.alloc(512 * 1024)

/** A sandbox that is looked at. */
export interface Looked {
  /** A process of it, by its number on the host. */
  readonly pid: number
  /** What stands still takes no more. */
  running(): boolean
  /** It holds too much, and is to end. */
  overdrawn(): void
}

/**
 * Answers of the kernel that wait unread in sockets of routes (netlink) are memory that it counts for nobody, in no
 * version of control groups: each of the thousand files of each of a hundred processes may hold 200 KiB. So the node
 * looks, four times a second, at sandboxes that run.
 */
export class RouteQueues implements Disposable {
  readonly #clock: Clock
  readonly #looked = new Set<Looked>()
  #timer: Disposable | null = null

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Until this is disposed it is looked at. */
  look(sandbox: Looked): Disposable {
    this.#looked.add(sandbox)
    this.#arm()
    return { [Symbol.dispose]: () => void this.#looked.delete(sandbox) }
  }

  [Symbol.dispose](): void {
    this.#looked.clear()
    this.#timer?.[Symbol.dispose]()
    this.#timer = null
  }

  #arm(): void {
    if (this.#timer !== null || this.#looked.size === 0) return
    this.#timer = this.#clock.timer(LOOK_MS, () => {
      this.#timer = null
      for (const sandbox of this.#looked) if (sandbox.running() && queuedBytes(sandbox.pid) > ROUTE_QUEUES_BYTES) sandbox.overdrawn()
      this.#arm()
    })
  }
}

/** What waits in such sockets of the network that a process is in. */
export function queuedBytes(pid: number): number {
  let file: number
  try {
    file = openSync(`/proc/${pid}/net/netlink`, 'r')
  } catch {
    return 0
  }
  try {
    let length = 0
    for (;;) {
      const read = readSync(file, READ, length, READ.length - length, null)
      length += read
      if (read === 0) break
      if (length === READ.length) return Number.POSITIVE_INFINITY
    }
    let sum = 0
    // sk, Eth, Pid, Groups, Rmem, …
    for (const line of READ.toString('latin1', 0, length).split('\n').slice(1)) sum += Number(line.trim().split(/\s+/)[4] ?? 0)
    return sum
  } catch {
    return 0
  } finally {
    closeSync(file)
  }
}
