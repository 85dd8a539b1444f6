import type { Crash } from './core/crash.ts'
import type { Log } from './core/log.ts'
import type { Clock } from './lib/clock.ts'

/** What a node is given of the world, once, by whoever starts it. */
export interface Host {
  readonly clock: Clock
  readonly log: Log
  readonly newId: () => string
  /** This program's own folder. */
  readonly root: string
  readonly version: string
  /** Where short run-time names may stand: `/run` for root. */
  readonly runBase: string
  readonly stateFolder: string
  readonly cores: number
  /** What starts this program as a worker of this node. */
  readonly workerCommand: (worker: number) => readonly string[]
  /** Whom the run file belongs to when the node was started by sudo. */
  /** Where a test ends the node; for everyone else nothing. */
  readonly crash: Crash
  readonly owner: { uid: number; gid: number } | null
}
