import { promises as fs } from 'node:fs'
import { totalmem } from 'node:os'
import path from 'node:path'
import type { Log } from '../core/log.ts'
import { MiB } from '../lib/bytes.ts'
import type { Clock } from '../lib/clock.ts'
import type { SandboxConfig } from './config.ts'
import { isDriver, type NoDriver, noDriver } from './drivers/detect.ts'
import type { MemorySource } from './memory-leases.ts'
import { memoryForSandboxes, SandboxPool } from './pool.ts'
import type { MachineMemory } from './pressure.ts'
import { Staging } from './staging.ts'
import { noneEnded } from './state.ts'
import type { Driver, Sandboxes, Shares } from './types.ts'
import type { WorkingElsewhere } from './working-elsewhere.ts'

export interface OpenOptions {
  readonly config: SandboxConfig
  readonly driver: Driver | NoDriver
  /** The data directory. */
  readonly data: string
  readonly clock: Clock
  readonly log: Log
  readonly knownBefore: (key: string) => boolean
  /** Which of the node's workers this is, absent in the main process: its sandboxes are its own, the compile caches are not. */
  readonly worker?: number
  readonly shares: Shares
  /** Where the memory for sandboxes comes from, in a node of several processes. */
  readonly memory?: MemorySource
  /** What works in other processes of the node, where it has several. */
  readonly elsewhere?: WorkingElsewhere
  readonly machineMemory: () => Promise<MachineMemory>
}

/** What all sandboxes of this machine may take together. */
export const sandboxMemoryMb = (config: Pick<SandboxConfig, 'memoryMb'>): number => memoryForSandboxes(config, Math.floor(totalmem() / MiB))

/** Clears what a former life left and opens the pool; without a driver, something that says why at every call. */
export async function openSandboxes(options: OpenOptions): Promise<Sandboxes> {
  const { driver } = options
  if (!isDriver(driver)) return without(driver)
  await driver.sweep()
  const isMain = options.worker === undefined
  const folder = isMain ? path.join(options.data, 'sandboxes') : path.join(options.data, 'sandboxes', `worker-${options.worker}`)
  await fs.rm(path.join(folder, 'slots'), { recursive: true, force: true })
  const caches = path.join(options.data, 'cache')
  // Sandboxes see what lies below by mounts of their own; no other user of the machine does.
  for (const own of [folder, caches]) {
    await fs.mkdir(own, { recursive: true })
    await fs.chmod(own, 0o700)
  }
  for (const name of isMain ? await fs.readdir(caches).catch(() => []) : [])
    if (name.endsWith('.new')) await fs.rm(path.join(caches, name), { recursive: true, force: true })
  const staging = await Staging.open(path.join(folder, 'staging'))
  return new SandboxPool({ ...options, driver, folder, caches, staging, machineMb: Math.floor(totalmem() / MiB) })
}

function without(reason: NoDriver): Sandboxes {
  return {
    acquire: () => Promise.reject(noDriver(reason)),
    build: async () => ({ ok: false, handlerKind: null, error: reason.why, ms: 0 }),
    adopt: async () => false,
    start: async () => {},
    kindOf: () => null,
    hasLoaded: () => false,
    prepare: async () => {},
    provision: () => {},
    unprovision: () => {},
    provisionedKeys: () => [],
    provisioned: () => null,
    retire: () => {},
    rest: () => {},
    inspect: () => Promise.reject(noDriver(reason)),
    restart: () => {},
    status: () => ({
      driver: 'none',
      limits: [],
      missing: [{ what: 'functions', why: reason.why, todo: reason.todo }],
      generic: 0,
      waiting: [],
      memory: { usedMb: 0, budgetMb: 0, machine: null },
      ended: noneEnded(),
      sandboxes: [],
    }),
    problems: () => [],
    [Symbol.asyncDispose]: async () => {},
  }
}
