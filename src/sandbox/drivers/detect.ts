import { promises as fs } from 'node:fs'
import { release } from 'node:os'
import { MayflyError } from '../../core/errors.ts'
import { Cgroup, detectHierarchies, type Hierarchies } from '../../lib/cgroup.ts'
import { delegatedGroups } from '../../lib/delegated-groups.ts'
import type { Driver, DriverName } from '../types.ts'
import { BwrapDriver, bwrapVersion } from './bwrap.ts'
import type { DriverOptions } from './driver-options.ts'
import { sandboxFolder } from './left-behind.ts'
import { ProcessDriver } from './process.ts'
import { OciDriver } from './oci.ts'
import { OCI_RUNTIMES, type OciRuntime, ociVersion } from './oci-runtimes.ts'
import { ownLimits } from './own-limits.ts'

/** What keeps functions from running here, and what to type. */
export interface NoDriver {
  readonly why: string
  readonly todo: string
  /** What to do where no other driver could be taken either; `todo` when absent. */
  readonly todoOfNone?: string
}

const WITHOUT = 'or, for code of your own only, start it without isolation: `npm start -- --sandbox process`.'

/**
 * Chooses the driver once, at start.
 * @param isTried  another process of the node was let make a sandbox by it: this one need not try
 */
export function detectDriver(setting: 'auto' | DriverName, options: DriverOptions, isTried = false): Promise<Driver | NoDriver> {
  return chooseDriver(setting, async (name) => {
    if (name === 'process') return new ProcessDriver(options)
    return name === 'bwrap' ? await openBwrap(options, isTried) : await openOci(OCI_RUNTIMES[name], options, isTried)
  })
}

/** `auto` takes isolation or nothing: for root crun, which starts soonest, or runc; else bubblewrap. What is named is taken, or nothing. */
export async function chooseDriver(setting: 'auto' | DriverName, open: (name: DriverName) => Promise<Driver | NoDriver>): Promise<Driver | NoDriver> {
  if (setting !== 'auto') return await open(setting)
  const crun = await open('crun')
  if (isDriver(crun)) return crun
  const runc = await open('runc')
  if (isDriver(runc)) return runc
  const bwrap = await open('bwrap')
  if (isDriver(bwrap)) return bwrap
  return { why: `${runc.why}, and ${bwrap.why}`, todo: `${runc.todoOfNone ?? runc.todo} ${bwrap.todo}`.replace(/\.?$/, `, ${WITHOUT}`) }
}

/** What one process of a node found of the machine, for the others. */
export type FoundDriver = DriverName | NoDriver

/**
 * The driver of a process: that which the main one found, without another trial; where it cannot be opened here, or nobody
 * has looked yet, what this process finds.
 * @param found  absent in the main process
 */
export async function openFound(
  setting: 'auto' | DriverName,
  found: FoundDriver | undefined,
  detect: (driver: 'auto' | DriverName, isTried: boolean) => Promise<Driver | NoDriver>,
): Promise<Driver | NoDriver> {
  if (found !== undefined && typeof found !== 'string') return found
  const known = found === undefined ? null : await detect(found, true)
  return known !== null && isDriver(known) ? known : await detect(setting, false)
}

async function openOci(runtime: OciRuntime, options: DriverOptions, isTried: boolean): Promise<Driver | NoDriver> {
  const { name, program } = runtime
  if (process.getuid?.() !== 0) return { why: `${program} takes root`, todo: 'Start the node as root (`sudo npm start`).' }
  if (!isTried && (await ociVersion(runtime)) === null) return { why: `${program} is not installed`, todo: `Type \`apt-get install ${program}\`.` }
  let driver: OciDriver | null = null
  try {
    driver = await OciDriver.open(runtime, options)
    if (isTried) return driver
    // What a former life left stands in the way of the trial.
    await driver.sweep()
    await driver.tryOut()
    return driver
  } catch (error) {
    options.log.warn({ driver: name, error: (error as Error).message }, `${program} is there, and makes no sandbox`)
    await driver?.[Symbol.asyncDispose]()
    await fs.rm(sandboxFolder(options.runBase, options.name), { recursive: true, force: true })
    return {
      why: `${program} makes no sandbox here: ${(error as Error).message}`,
      todo: 'Leave `--sandbox` away, for the driver that this host has.',
      todoOfNone: 'Root must be allowed to make namespaces, mounts and control groups (of a container: `docker run --privileged`).',
    }
  }
}

/** Control groups in which one can be made: in a container they are often there to be read alone. */
async function usable(groups: Hierarchies | null, { name, clock }: DriverOptions): Promise<Hierarchies | null> {
  if (groups === null || groups.all.length === 0) return null
  const trial = new Cgroup(groups, `mayfly-${name}/s-0`)
  try {
    trial.make({ memoryMb: 64, pids: 1, cpuWeight: 1 })
    return groups
  } catch {
    return null
  } finally {
    await trial.destroy(clock).catch(() => {})
  }
}

/** A sandbox is tried: whether an ordinary user may make namespaces here no file tells for sure. */
async function openBwrap(options: DriverOptions, isTried: boolean): Promise<Driver | NoDriver> {
  if (!isTried && (await bwrapVersion()) === null)
    return { why: 'bubblewrap is not installed', todo: 'Install bubblewrap (on Debian and Ubuntu: `sudo apt-get install bubblewrap`).' }
  const [major = 0, minor = 0] = release().split('.').map(Number)
  const groups = await usable(process.getuid?.() === 0 ? await detectHierarchies() : await delegatedGroups(), options)
  let driver: BwrapDriver | null = null
  try {
    driver = await BwrapDriver.open(options, { groups, countsProcesses: major > 5 || (major === 5 && minor >= 14), own: await ownLimits() })
    if (!isTried) await driver.tryOut()
    return driver
  } catch (error) {
    await driver?.[Symbol.asyncDispose]()
    return {
      why: `bubblewrap makes no sandbox here: ${(error as Error).message}`,
      todo: 'Let users make namespaces (`sysctl kernel.unprivileged_userns_clone=1`; on Ubuntu `sysctl kernel.apparmor_restrict_unprivileged_userns=0`).',
    }
  }
}

export const isDriver = (found: Driver | NoDriver): found is Driver => 'start' in found

export const noDriver = (reason: NoDriver): MayflyError => new MayflyError('sandbox_unavailable', `Functions cannot run: ${reason.why}. ${reason.todo}`)
