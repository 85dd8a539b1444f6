import { existsSync, promises as fs } from 'node:fs'
import path from 'node:path'
import type { Databases } from './backends/database/database.ts'
import { EmbeddedDatabases } from './backends/database/embedded.ts'
import { ExternalDatabases } from './backends/database/external.ts'
import type { Config } from './config.ts'
import type { Ballast } from './core/ballast.ts'
import type { Egress } from './core/egress.ts'
import type { Sealer } from './core/seal.ts'
import type { Host } from './host.ts'
import { uuidTime } from './lib/ids.ts'
import { MOST_WORKERS } from './gateway/index.ts'
import {
  type Driver,
  type DriverName,
  detectDriver,
  openFound,
  type Guests,
  isDriver,
  type MemorySource,
  type FoundDriver,
  type NoDriver,
  openSandboxes,
  readMachineMemory,
  type Sandboxes,
  removeLeftBehind,
  sandboxFolder,
  SeveralDrivers,
  type Shares,
  type WorkingElsewhere,
} from './sandbox/index.ts'

/** The PostgreSQL that the settings name: servers of our own, or one from elsewhere. */
export async function openDatabases(config: Config, host: Host, data: string, sealer: Sealer, ballast: Ballast): Promise<Databases> {
  const migrations = path.join(host.root, 'migrations')
  const { databaseUrl: url } = config.node
  if (url !== null) {
    const log = (fields: Readonly<Record<string, unknown>>, message: string) => host.log.warn({ ...fields, from: 'postgresql' }, message)
    return await ExternalDatabases.open({ url, secret: sealer.derive('database logins'), migrations, clock: host.clock, log })
  }
  return await EmbeddedDatabases.open({
    folder: path.join(data, 'pg'),
    runtimeBase: host.runBase,
    migrations,
    memoryMb: config.node.databaseMemoryMb,
    freeSpace: async () => {
      const dropped = await ballast.drop()
      if (dropped) host.log.warn({ bytes: ballast.bytes }, 'the ballast file was removed, so that PostgreSQL can start on a full disk')
      return dropped
    },
    clock: host.clock,
    log: (fields, message) => host.log.debug({ ...fields, from: 'postgresql' }, message),
  })
}

/** Whose sandboxes they are: the main process is the first of its node's, the workers follow. */
export interface SandboxPlace {
  /** The data directory. */
  readonly data: string
  readonly instanceId: string
  readonly process: number
  readonly processes: number
  /** What the main process found; absent there. */
  readonly found?: FoundDriver
}

/** What a node of several processes has its sandboxes know of the others. */
export interface AmongProcesses {
  readonly memory: MemorySource
  readonly elsewhere: WorkingElsewhere
}

/** By this the host's own tables know the sandboxes of a process. */
const placeName = ({ instanceId, process }: SandboxPlace) => `${instanceId.replaceAll('-', '').slice(-12)}${process === 0 ? '' : `-w${process}`}`
/** What a function may ask for. */
const ISOLATING: readonly DriverName[] = ['crun', 'runc', 'gvisor', 'bwrap']

/** The driver that this machine allows, with its pool; without one, what says why. */
export async function openSandboxRoom(config: Config, host: Host, place: SandboxPlace, guests: Guests, shares: Shares, among: AmongProcesses | null) {
  const startedAt = host.clock.now()
  const setting = config.sandbox.sandbox
  const name = placeName(place)
  const how = {
    runBase: host.runBase,
    guests,
    part: { at: place.process, of: place.processes },
    runtimesPath: path.join(host.root, 'runtimes'),
    dns: config.egress.dns,
    clock: host.clock,
    log: host.log,
  }
  const own: Driver | NoDriver = await openFound(setting, place.found, (driver, isTried) => detectDriver(driver, { ...how, name }, isTried))
  // What keeps functions apart is the operator's choice: only where that is left open are functions asked.
  const others: readonly DriverName[] = setting === 'auto' && isDriver(own) ? ISOLATING.filter((one) => one !== own.name) : []
  const nameOf = (driver: DriverName) => `${name}-${driver}`
  const found = isDriver(own)
    ? new SeveralDrivers({
        own,
        others,
        open: (driver) => detectDriver(driver, { ...how, name: nameOf(driver) }),
        leftBehind: (driver) => existsSync(sandboxFolder(host.runBase, nameOf(driver))),
      })
    : own
  const sandboxes: Sandboxes = await openSandboxes({
    config: { ...config.sandbox, poolSize: partOfPool(config.sandbox.poolSize, place.processes) },
    ...among,
    driver: found,
    data: place.data,
    ...(place.process === 0 ? {} : { worker: place.process }),
    clock: host.clock,
    log: host.log,
    knownBefore: (versionId) => uuidTime(versionId) < startedAt,
    shares,
    machineMemory: readMachineMemory,
  })
  // Behind the start, by one of the node's processes.
  if (place.process === 0)
    void removeLeftBehind(host.runBase, host.clock).catch((error: Error) => host.log.debug({ error: error.message }, 'what other nodes left'))
  // The main process has said it.
  if (place.process > 0) host.log.debug({ driver: isDriver(found) ? found.name : 'none' }, 'the sandboxes of a worker')
  else if (!isDriver(found)) host.log.warn({}, `Functions cannot run: ${found.why}. ${found.todo}`)
  else for (const gap of found.missing) host.log.warn({ driver: found.name, what: gap.what }, `${gap.why}. ${gap.todo}`)
  return {
    sandboxes,
    found: (isDriver(own) ? own.name : own) as FoundDriver,
    python: guests.python(),
    refusal: guests.refusal,
    driverRefusal: async ({ driver, reuse }: { readonly driver: DriverName | null; readonly reuse: string }): Promise<string | null> => {
      const why = driver !== null && found instanceof SeveralDrivers ? await found.refusal(driver) : null
      if (why !== null) return `sandbox: ${why}`
      if (reuse !== 'fork' || !isDriver(found) || (driver ?? found.name) !== 'gvisor') return null
      return 'reuse: `fork` takes a kernel that keeps the processes of calls apart, which gVisor’s does not: `never` gives each call a sandbox of its own, and `"sandbox": "crun"` or `"bwrap"` has forks'
    },
    isolated: isDriver(found) && found.name !== 'process',
    egressWarning: (egress: Egress, driver: DriverName | null = null): string | null => {
      if (!isDriver(found)) return null
      const gap = found.missingOf(driver).find(({ what }) => what === 'egress')
      if (gap && found.name === 'process') return egress === 'internet' ? null : `egress: ${gap.why}.`
      if (!gap || egress === 'none') return null
      return `egress: functions have no network ${driver === null ? 'on this node' : `by the driver \`${driver}\``}: ${gap.why}. Calls to other hosts will fail; the platform itself can be reached. ${gap.todo}`
    },
    describe: () =>
      isDriver(found)
        ? { driver: found.name as string, limits: found.limits, missing: found.missing, problems: sandboxes.problems() }
        : { driver: 'none', limits: [] as readonly string[], missing: [{ what: 'functions', why: found.why, todo: found.todo }], problems: [] },
  }
}

/** What waits booted is dealt out to the processes of a node, of what there is one to each at least. */
const partOfPool = (poolSize: number, processes: number): number => (poolSize === 0 ? 0 : Math.max(1, Math.round(poolSize / processes)))

/** Ends what workers left behind that are no part of this life of the node: there may have been more of them. */
export async function sweepFormerWorkers(config: Config, host: Host, place: Omit<SandboxPlace, 'process'>, guests: Guests): Promise<void> {
  for (let process = place.processes; process <= MOST_WORKERS; process++) {
    const own = placeName({ ...place, process })
    for (const driver of [null, ...ISOLATING]) {
      const name = driver === null ? own : `${own}-${driver}`
      if (!existsSync(sandboxFolder(host.runBase, name))) continue
      const found = await detectDriver(driver ?? config.sandbox.sandbox, {
        runBase: host.runBase,
        name,
        guests,
        runtimesPath: path.join(host.root, 'runtimes'),
        dns: config.egress.dns,
        clock: host.clock,
        log: host.log,
      })
      if (isDriver(found)) await found[Symbol.asyncDispose]()
    }
    await fs.rm(path.join(place.data, 'sandboxes', `worker-${process}`), { recursive: true, force: true })
  }
}
