import { availableParallelism } from 'node:os'
import path from 'node:path'
import type { Log } from '../../core/log.ts'
import type { Clock } from '../../lib/clock.ts'
import { Launcher, type LauncherOptions } from '../../lib/launcher.ts'
import type { Guests } from '../guests.ts'

/** What a driver is opened with. */
export interface DriverOptions {
  /** Short, emptied by a reboot: root's `/run`, an ordinary user's own or `/tmp`. */
  readonly runBase: string
  /** The folder of sandboxes in the data directory; its identity names ours among other nodes' sandboxes. */
  readonly name: string
  readonly guests: Guests
  /** Which part of the user ids are ours, where several processes of a node have sandboxes; absent: all of them. */
  readonly part?: { readonly at: number; readonly of: number }
  /** The folder `runtimes` of this program. */
  readonly runtimesPath: string
  /** Who resolves names for sandboxes that have a network; empty: whom this machine asks. */
  readonly dns: readonly string[]
  /** How many programs are started before a process is that starts them; absent: a few. */
  readonly launcher?: Pick<LauncherOptions, 'byItself'>
  readonly clock: Clock
  readonly log: Log
}

/** What starts the programs of a driver. @param folder  its run-time folder */
export const launcherIn = (folder: string, { launcher }: Pick<DriverOptions, 'launcher'>): Launcher =>
  new Launcher({ folder: path.join(folder, 'l'), ...launcher })

/** Of a sandbox that is nobody's yet. */
export const POOL_MEMORY_MB = 512
/** Of one that starts while no call waits for it. */
const WAITING_WEIGHT = 2
/** Of one that starts while a call waits for it: like a small function that runs. */
const STARTING_WEIGHT = 70
/** Of one that starts. */
export const startingWeight = ({ background = false, share = 1 }: { readonly background?: boolean; readonly share?: number }): number =>
  background ? WAITING_WEIGHT : Math.max(WAITING_WEIGHT, STARTING_WEIGHT * share)
/** Of what has memory for one processor; ten times one's usual, as the kernel takes no fractions of a small function's share. */
const WEIGHT = 1_000
const MB = 1_769
export const weightOf = (memoryMb: number, share = 1): number => (memoryMb / MB) * WEIGHT * share
/**
 * Of the group in which all sandboxes of a process lie: with the weight of one program they would starve beside a few busy ones of the
 * host. Each process of a node has its part, or with more of them sandboxes would weigh more beside the node itself.
 */
export const groupWeight = ({ part }: Pick<DriverOptions, 'part'>): number => Math.max(1, Math.round((100 * availableParallelism()) / (part?.of ?? 1)))
