import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, chmodSync, writeFileSync, promises as fs } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { silentLog } from '../core/log.ts'
import { type Clock, systemClock } from '../lib/clock.ts'
import type { SandboxConfig } from './config.ts'
import { detectDriver, isDriver } from './drivers/detect.ts'
import type { DriverOptions } from './drivers/driver-options.ts'
import { findGuests } from './guests.ts'
import { openSandboxes } from './open.ts'
import type { MachineMemory } from './pressure.ts'
import type { Call, CallResult, Driver, DriverName, LogSink, Sandboxes, SandboxSpec, Shares } from './types.ts'

export const silent: LogSink = { write: () => {}, lost: () => {} }
const ALONE: Shares = { projects: () => 1, weightOf: () => 1 }
const plenty = async (): Promise<MachineMemory> => ({ totalMb: 16_384, availableMb: 12_288, stalledPercent: 0 })
export const never = new AbortController().signal

const optionsOf = async (name: string): Promise<DriverOptions> => ({
  runBase: process.getuid?.() === 0 ? '/run' : '/tmp',
  name,
  guests: await findGuests(path.resolve(import.meta.dirname, '../..')),
  runtimesPath: path.resolve(import.meta.dirname, '../../runtimes'),
  dns: [],
  clock: systemClock,
  log: silentLog,
})

/** Why no sandbox of that driver can be made here; null when it can. */
export async function refusalOf(name: DriverName): Promise<string | null> {
  const found = await detectDriver(name, await optionsOf(`pooltry${process.pid}`))
  if (!isDriver(found)) return found.why
  await found[Symbol.asyncDispose]()
  return null
}

/** Pools of one driver on a folder of their own, for suites: some code by name, specs of it, calls. */
export class PoolFixture {
  readonly data: string
  readonly #name: DriverName
  #pool: Sandboxes | null = null
  #made = 0

  constructor(name: DriverName, code: Readonly<Record<string, string>>) {
    this.#name = name
    this.data = mkdtempSync(path.join(tmpdir(), 'pool-'))
    chmodSync(this.data, 0o711)
    for (const [folder, text] of Object.entries(code)) this.addCode(folder, text)
  }

  get pool(): Sandboxes {
    assert.ok(this.#pool)
    return this.#pool
  }

  addCode(folder: string, text: string): void {
    mkdirSync(path.join(this.data, 'code', folder), { recursive: true })
    writeFileSync(path.join(this.data, 'code', folder, 'index.js'), text, { mode: 0o444 })
  }

  /** The pool that calls go to when none is named. */
  async openFirst(): Promise<void> {
    this.#pool = await this.open({})
  }

  /** The folder of the pool that was opened last. */
  get folder(): string {
    return path.join(this.data, String(this.#made))
  }

  /** How that pool's sandboxes are named on the host: in /run, and as control groups. */
  get driverName(): string {
    return `pooltest${process.pid}${this.#made - 1}`
  }

  /** @param world  what to put between the pool and the machine: a clock, or a driver around the real one */
  async open(
    changes: Partial<SandboxConfig>,
    world: { clock?: Clock; around?: (driver: Driver) => Partial<Driver>; shares?: Shares; machineMemory?: () => Promise<MachineMemory> } = {},
  ): Promise<Sandboxes> {
    this.#made++
    const real = await detectDriver(this.#name, await optionsOf(this.driverName))
    assert.ok(isDriver(real), 'why' in real ? real.why : '')
    const driver: Driver = {
      name: real.name,
      limits: real.limits,
      missing: real.missing,
      resizesTmp: real.resizesTmp,
      holds: real.holds ?? false,
      runs: (runtime) => real.runs(runtime),
      start: (options) => real.start(options),
      sweep: () => real.sweep(),
      [Symbol.asyncDispose]: () => real[Symbol.asyncDispose](),
      ...world.around?.(real),
    }
    const config: SandboxConfig = {
      sandbox: 'auto',
      poolSize: 2,
      poolMost: 2,
      readyMost: 1,
      refills: 2,
      starts: 4,
      freezeMs: 50,
      idleMs: 600_000,
      memoryMb: 8_192,
      ...changes,
    }
    await fs.mkdir(this.folder)
    return await openSandboxes({
      config,
      driver,
      data: this.folder,
      clock: world.clock ?? systemClock,
      log: silentLog,
      knownBefore: () => false,
      shares: world.shares ?? ALONE,
      machineMemory: world.machineMemory ?? plenty,
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool?.[Symbol.asyncDispose]()
    await fs.rm(this.data, { recursive: true, force: true })
  }

  specOf(code: string, changes: Partial<SandboxSpec> = {}): SandboxSpec {
    return {
      key: `${code}-1`,
      runtime: 'nodejs24.x',
      codeDir: path.join(this.data, 'code', code),
      optDir: null,
      handler: 'index.handler',
      context: { functionName: code, functionVersion: '1', functionArn: 'a', memoryMb: 128, logGroup: 'g', logStream: 's' },
      environment: {},
      memoryMb: 128,
      tmpMb: 512,
      driver: null,
      egress: { mode: 'none' },
      countEgress: () => {},
      relayPorts: [],
      timeoutMs: 10_000,
      concurrency: 1,
      reuse: 'function',
      openRelay: (connection) => void connection.destroy(),
      identity: { project: 'demo', functionName: code, version: '1', role: 'none' },
      ...changes,
    }
  }

  async call(spec: SandboxSpec, event: unknown = {}, log: LogSink = silent, from: Sandboxes = this.pool) {
    // As the node does, where it knows the call before it has a sandbox.
    const asked = eventOf(event)
    await using lease = await from.acquire(spec, log, never, asked)
    const result = await lease.run(asked, log, never)
    const end = await lease.finished
    return { cold: lease.cold, id: lease.sandboxId, waitMs: lease.waitMs, initMs: lease.initMs, value: answerOf(result), end }
  }

  stateOf(id: string, from: Sandboxes = this.pool): string | undefined {
    return from.status().sandboxes.find((sandbox) => sandbox.id === id)?.state
  }
}

export const eventOf = (event: unknown): Call => ({
  kind: 'event',
  payload: Buffer.from(JSON.stringify(event)),
  context: {
    invocationId: 'id-1',
    traceId: 't',
    clientContext: null,
    depth: 0,
    invokedArn: 'a',
  },
})

const answerOf = (result: CallResult) => (result.kind === 'http' || result.kind === 'stream' ? null : JSON.parse(Buffer.from(result.payload).toString()))

export async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 300 && !what(); i++) await systemClock.sleep(20)
  assert.ok(what(), what.toString())
}
