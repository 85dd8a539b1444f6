import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { MayflyError } from '../core/errors.ts'
import { silentLog } from '../core/log.ts'
import type { MeterRecord } from '../core/meter.ts'
import type { ProjectRef } from '../core/project.ts'
import type { FunctionDefinition, Version } from '../functions/index.ts'
import { untilAborted } from '../lib/or-aborted.ts'
import { SimulatedClock } from '../lib/simulated-clock.ts'
import { openSandboxes } from '../sandbox/open.ts'
import { HELLO_MS } from '../sandbox/booting.ts'
import { SimulatedDriver } from '../sandbox/simulated/driver.ts'
import type { HeardCall, SimulatedGuest } from '../sandbox/simulated/guest.ts'
import { Steps } from '../sandbox/simulated/steps.ts'
import type { HandlerKind, Sandboxes } from '../sandbox/index.ts'
import { Admission } from './admission.ts'
import { type Content, Invoker } from './service.ts'
import { Specs } from './specs.ts'

const PROJECT = 'demo' as ProjectRef
const BUDGET_MB = 640
const MACHINE_MB = 1_024
/** So often the pool looks at the machine. */
const SWEEP_MS = 1_000
const STARTS = 2
const SLOTS = { node: 10, perProject: 10, perFunction: 6 }
const RESERVED = 2

/** Of each kind of function there is one. */
const KINDS = {
  one: {},
  many: { concurrency: 3, handler: 'fetch' },
  once: { reuse: 'never' },
  extended: { concurrency: 2, handler: 'extended', tmpMb: 64, runtime: 'python3.11' },
  held: { memoryMb: 256 },
} as const satisfies Record<string, Partial<FunctionDefinition>>
export type FunctionKind = keyof typeof KINDS
export const FUNCTION_KINDS = Object.keys(KINDS) as FunctionKind[]

const DEFINITION: FunctionDefinition = {
  name: '',
  runtime: 'nodejs24.x',
  handler: 'index.handler',
  description: '',
  memoryMb: 128,
  timeoutSeconds: 3,
  tmpMb: 512,
  concurrency: 1,
  reuse: 'function',
  egress: 'none',
  role: 'none',
  verifyJwt: false,
  secrets: ['*'],
  reservedConcurrency: null,
  provisioned: 0,
  async: { maxAttempts: null, maxAgeSeconds: null },
  layers: [],
  awsRole: null,
  driver: null,
  framework: null,
  tags: {},
}

interface Life {
  readonly kind: FunctionKind
  /** Null while the function is not there. */
  version: Version | null
  /** Counts what was deployed, and of the newest how many are kept loaded. */
  builds: number
  provisioned: number
}

interface Made {
  readonly id: string
  readonly kind: FunctionKind
  readonly leaves: AbortController
  /** What was answered as current when it was made. */
  readonly build: number
  readonly secret: number
  heard: number
  /** When its time is over, as its sandbox was told. */
  dueMs: number
  outcomes: string[]
  isOver: boolean
}

/** A pool and an invoker as the node has them, with a machine, a time and callers that wait for the test. */
export class World {
  readonly clock: SimulatedClock
  readonly steps: Steps
  readonly driver: SimulatedDriver
  /** What may never happen, and did. */
  readonly faults: string[] = []
  /** Outcomes, states and ends that came to pass. */
  readonly seen = new Set<string>()
  readonly #folder: string
  readonly #lives: Readonly<Record<FunctionKind, Life>>
  readonly #calls = new Map<string, Made>()
  readonly #started = new Set<string>()
  readonly #ended = new Map<string, MeterRecord>()
  readonly #admission: Admission
  readonly #specs: Specs
  readonly #invoker: Invoker
  readonly #pool: Sandboxes
  #secrets: Readonly<Record<string, string>> = { SECRET: '0' }
  #closed: Promise<void> | null = null
  #isClosed = false
  #isStopping = false
  /** Connections to the platform that are open. */
  #relayed = 0
  /** What is available of it. */
  machineMb = MACHINE_MB
  readonly #retired = new Set<string>()

  private constructor(parts: { folder: string; clock: SimulatedClock; steps: Steps; driver: SimulatedDriver; pool: Sandboxes }) {
    const { folder, clock, steps, driver, pool } = parts
    this.#folder = folder
    this.clock = clock
    this.steps = steps
    this.driver = driver
    this.#pool = pool
    this.#lives = Object.fromEntries(FUNCTION_KINDS.map((kind) => [kind, { kind, version: null, builds: 0, provisioned: 0 }])) as Record<FunctionKind, Life>
    this.#admission = new Admission(SLOTS, clock, {
      of: (functionId) => (functionId === 'held' ? RESERVED : null),
      total: RESERVED,
      projects: 1,
      weightOf: () => 1,
      mostWeight: 1,
      mostOf: () => null,
    })
    this.#specs = new Specs({
      issueHandle: () => ({ key: 'k', accessKeyId: 'a', secretAccessKey: 's', revoke: () => {} }),
      countEgress: () => {},
      openRelay: (connection) => {
        this.#relayed++
        connection.on('error', () => {})
        connection.on('close', () => void this.#relayed--)
        connection.resume()
      },
      publicUrl: () => 'http://node',
      relayPorts: () => [],
      defaultProject: PROJECT,
      region: 'us-east-1',
      secretsOf: () => this.#secrets,
      outdated: (spec) => {
        pool.restart(spec)
        for (const life of Object.values(this.#lives)) if (life.version?.id === spec.key && life.provisioned > 0) this.#provide(life)
      },
    })
    this.#invoker = new Invoker({
      functions: { resolve: async (_project, name) => this.#resolve(name as FunctionKind) },
      sandboxes: pool,
      admission: this.#admission,
      meter: {
        started: (start) => {
          const { invocationId } = start
          if (this.#started.has(invocationId)) this.faults.push(`${invocationId} began twice`)
          this.#started.add(invocationId)
          return start
        },
        carried: () => {},
        ended: (record) => {
          if (this.#ended.has(record.invocationId)) this.faults.push(`${record.invocationId} was metered twice`)
          this.#ended.set(record.invocationId, record)
          const { outcome, billedMs, durationMs, initMs } = record
          const mostMs = outcome === 'cut' ? 0 : Math.max(1, Math.ceil(durationMs + initMs))
          if (billedMs > mostMs || (outcome !== 'cut' && billedMs < 1)) this.faults.push(`${outcome} after ${durationMs} + ${initMs} ms, billed ${billedMs}`)
        },
        settled: () =>
          new Promise((resolve, reject) => void this.steps.add('journal', { well: resolve, fails: () => reject(new Error('the journal is not writable')) })),
      },
      logs: { write: () => {}, quiet: () => {} },
      specs: this.#specs,
      clock,
      log: silentLog,
      meterWritable: () => true,
    })
    for (const kind of FUNCTION_KINDS) this.#lives[kind].version = this.#build(this.#lives[kind])
  }

  static async open(): Promise<World> {
    const folder = mkdtempSync(path.join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'life-'))
    mkdirSync(path.join(folder, 'code'))
    writeFileSync(path.join(folder, 'code', 'index.js'), '')
    const [clock, steps] = [new SimulatedClock(), new Steps()]
    const driver: SimulatedDriver = new SimulatedDriver(
      steps,
      (call, guest) => world.#heard(call, guest),
      (guest) => world.#killed(guest),
    )
    const config = {
      sandbox: 'process',
      poolSize: 1,
      poolMost: 2,
      readyMost: 2,
      refills: 1,
      starts: STARTS,
      freezeMs: 50,
      idleMs: 5_000,
      memoryMb: BUDGET_MB,
    } as const
    const machineMemory = async () => ({ totalMb: MACHINE_MB, availableMb: world.machineMb, stalledPercent: 0 })
    const pool = await openSandboxes({
      config,
      driver,
      data: folder,
      clock,
      log: silentLog,
      knownBefore: () => false,
      shares: { projects: () => 1, weightOf: () => 1 },
      machineMemory,
    })
    const world: World = new World({ folder, clock, steps, driver, pool })
    return world
  }

  // ── what may happen ──────────────────────────────────────────────────────────────────────────────────────────

  call(kind: FunctionKind): void {
    const life = this.#lives[kind]
    const made: Made = {
      id: `call-${this.#calls.size + 1}`,
      kind,
      leaves: new AbortController(),
      build: life.builds,
      secret: Number(this.#secrets['SECRET']),
      heard: 0,
      dueMs: 0,
      outcomes: [],
      isOver: false,
    }
    this.#calls.set(made.id, made)
    void this.#follow(made)
  }

  /** One of the callers that still wait leaves. */
  leave(which: number): void {
    const waiting = [...this.#calls.values()].filter((made) => !made.isOver)
    waiting[which % Math.max(1, waiting.length)]?.leaves.abort(new Error('the client has left'))
  }

  /** A new version: built, tried if it is asked for, then the one that is called; the former one is over when this was answered. */
  async deploy(kind: FunctionKind, tried: boolean): Promise<void> {
    const life = this.#lives[kind]
    const next = this.#build(life)
    const spec = this.#specs.of(next)
    if (tried) {
      const loads = await Promise.all([this.#pool.build(spec), this.#pool.start(spec)]).then(
        () => true,
        () => false,
      )
      if (!loads || this.#closed) return this.#retire(next)
    }
    const former = life.version
    life.version = next
    life.builds = buildOf(next)
    if (former) this.#retire(former)
    if (life.provisioned > 0) this.#provide(life)
  }

  remove(kind: FunctionKind): void {
    const life = this.#lives[kind]
    const { version } = life
    life.version = null
    life.provisioned = 0
    if (version) this.#retire(version)
  }

  changeSecret(): void {
    this.#secrets = { SECRET: String(Number(this.#secrets['SECRET']) + 1) }
    this.#specs.secretsChanged(PROJECT)
  }

  provision(kind: FunctionKind, count: number): void {
    const life = this.#lives[kind]
    if (!life.version) return
    life.provisioned = count
    if (count > 0) this.#provide(life)
    else this.#pool.unprovision(life.version.id)
  }

  /** Other programs of the machine take all of its memory, or give it back. */
  press(isShort: boolean): void {
    this.machineMb = isShort ? 0 : MACHINE_MB
    // Until it is looked at.
    if (isShort) this.clock.advance(SWEEP_MS)
  }

  /** The node stops: calls that run end with it. */
  stop(): void {
    this.#isStopping = true
    this.#closed ??= Promise.resolve(this.#pool[Symbol.asyncDispose]()).then(() => {
      this.#isClosed = true
    })
  }

  /** How a call ended, as its caller and as its meter saw it; null while it did not. */
  endOf(call: number): { readonly outcome: string | undefined; readonly record: MeterRecord } | null {
    const record = this.#ended.get(`call-${call}`)
    return record ? { outcome: this.#calls.get(`call-${call}`)?.outcomes[0], record } : null
  }

  /** What serves, as the pool tells it. */
  get serving(): readonly { readonly id: string; readonly state: string; readonly busy: number }[] {
    return this.#pool.status().sandboxes
  }

  // ── what is looked at ────────────────────────────────────────────────────────────────────────────────────────

  /** Until nothing goes on by itself. */
  async settle(): Promise<void> {
    for (let idle = 0; idle < 3; idle++) {
      await turn()
      if (process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq'))) idle = -1
    }
  }

  /** At any moment at which nothing goes on by itself. */
  check(): void {
    const { memory, sandboxes } = this.#pool.status()
    const open = this.#started.size - this.#ended.size
    if (memory.usedMb > memory.budgetMb) this.faults.push(`${memory.usedMb} MB are used; ${memory.budgetMb} are there`)
    if (this.#admission.running !== open) this.faults.push(`${this.#admission.running} slots are taken, ${open} executions run`)
    for (const kind of FUNCTION_KINDS) {
      const own = [...this.#started].filter((id) => this.#calls.get(id)?.kind === kind && !this.#ended.has(id)).length
      const most = kind === 'held' ? RESERVED : SLOTS.perFunction
      if (own > most) this.faults.push(`${own} executions of ${kind} run at once; ${most} may`)
    }
    if (open > SLOTS.node) this.faults.push(`${open} executions run at once`)
    if (this.driver.counts.mostStarts > STARTS) this.faults.push(`${this.driver.counts.mostStarts} were started at once`)
    const busy = sandboxes.reduce((sum, sandbox) => sum + sandbox.busy, 0)
    if (busy > open) this.faults.push(`${busy} calls have a sandbox, ${open} executions run`)
    for (const key of this.#pool.provisionedKeys()) {
      const { available, requested } = this.#pool.provisioned(key) ?? { available: 0, requested: 0 }
      if (this.#retired.has(key)) this.faults.push(`${key} is kept, which is retired`)
      if (available > requested) this.faults.push(`${available} of ${key} are kept, ${requested} are wanted`)
    }
    for (const { id, key, busy, state } of sandboxes) {
      const { concurrency } = KIND_DEFINITIONS[key.split('.')[0] as FunctionKind]
      this.seen.add(`state: ${state}`)
      if (this.#retired.has(key) && busy === 0) this.faults.push(`${id} stands ${state} of ${key}, which is retired`)
      if (busy > concurrency) this.faults.push(`${id} has ${busy} calls`)
      // One that ran out of time may still run where others do.
      const inside = this.driver.alive.get(id)?.running.size ?? 0
      if (inside > busy && state !== 'draining') this.faults.push(`${inside} calls run in ${id}, which is ${state} with ${busy}`)
      if (!this.driver.alive.has(id)) this.faults.push(`${id} is ${state}, and not there`)
    }
    for (const guest of this.driver.alive.values()) {
      for (const { id, invocationId, kind } of guest.isDead ? [] : guest.running.values()) {
        const made = this.#calls.get(invocationId)
        // Lambda's calls run on.
        if (kind === 'http' && made?.leaves.signal.aborted && made.outcomes.length === 0 && !guest.cancelled.has(id))
          this.faults.push(`${guest.id} was not told that the caller of ${invocationId} has left`)
      }
    }
    // What comes too late, or for who has left, takes the credit of who reads.
    for (const guest of this.driver.alive.values()) {
      for (const id of guest.isDead ? [] : guest.streaming) {
        const made = this.#calls.get(guest.running.get(id)?.invocationId ?? '')
        if (made?.isOver && !guest.cancelled.has(id)) this.faults.push(`${guest.id} was not told that nobody reads the body of ${made.id}`)
      }
    }
    this.faults.push(...this.driver.faults.splice(0))
  }

  /**
   * Lets all that is under way come to its end, as well as it can, then stops the node and looks at what is left.
   * @param drains  whether the calls may end before the node does
   */
  async finish(drains: boolean): Promise<void> {
    if (drains) {
      await this.#wellUntil(() => [...this.#calls.values()].every((made) => made.isOver), 'the calls do not end')
      await this.#wellUntil(() => this.#isProvided(), 'what is provisioned does not come')
      this.check()
      if (this.#admission.running > 0) this.faults.push(`${this.#admission.running} slots are never given back`)
      if (this.#admission.freeOf('held') !== RESERVED) this.faults.push(`${this.#admission.freeOf('held')} of ${RESERVED} reserved slots are free at the end`)
      if (this.#closed === null) await this.#stillServes()
    }
    this.stop()
    await this.#wellUntil(() => this.#isClosed, 'the pool does not close')
    await this.#wellUntil(() => [...this.#calls.values()].every((made) => made.isOver), 'calls outlive the node')
    await this.#invoker.settled()
    this.#invoker[Symbol.dispose]()
    this.check()
    for (const { id, outcomes, heard } of this.#calls.values()) {
      for (const outcome of outcomes) this.seen.add(outcome)
      if (outcomes.length !== 1) this.faults.push(`${id} has the outcomes ${outcomes.join(', ') || 'none'}`)
      if (heard > 1) this.faults.push(`${id} was heard ${heard} times`)
      if (this.#started.has(id) !== this.#ended.has(id)) this.faults.push(`${id} began and was not metered`)
      if (heard > 0 && !this.#ended.has(id)) this.faults.push(`${id} ran and was not metered`)
    }
    for (const { outcome } of this.#ended.values()) this.seen.add(`metered: ${outcome}`)
    for (const [why, count] of Object.entries(this.#pool.status().ended)) if (count > 0) this.seen.add(`ended: ${why}`)
    const { memory, sandboxes, generic } = this.#pool.status()
    const left = {
      alive: this.driver.alive.size,
      slots: this.#admission.running,
      usedMb: memory.usedMb,
      sandboxes: sandboxes.length,
      generic,
      relayed: this.#relayed,
    }
    for (const [what, count] of Object.entries(left)) if (count !== 0) this.faults.push(`${what}: ${count} left`)
    for (const where of this.clock.waiting) this.faults.push(`a timer is left, set ${where}`)
    if (this.driver.counts.starts !== this.driver.counts.kills) this.faults.push(`${this.driver.counts.starts} starts, ${this.driver.counts.kills} kills`)
    if (existsSync(path.join(this.#folder, 'sandboxes', 'slots'))) this.faults.push('folders of sandboxes are left')
    for (const socket of this.driver.open) this.faults.push(`the ${socket} is left open`)
    if (!this.driver.isDisposed) this.faults.push('the driver is left open')
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #follow(made: Made): Promise<void> {
    const { signal } = made.leaves
    const context = { project: PROJECT, functionName: made.kind, traceId: null, clientContext: null, depth: 0, bytesIn: () => 0 }
    try {
      const outcome = await this.#invoker.invoke(
        {
          ...context,
          id: made.id,
          // As by name; the others are refused at once, as by the Lambda API.
          ...(this.#calls.size % 2 === 0 ? { patienceMs: 1_000 } : {}),
          content: (kind) => this.#content(made.id, kind),
        },
        signal,
      )
      made.outcomes.push(outcome.result.kind)
      if (outcome.result.kind === 'http') await read(outcome.result.body, signal)
      await outcome.over
    } catch (error) {
      made.outcomes.push(error instanceof MayflyError ? error.code : (error as Error).message)
    } finally {
      made.isOver = true
    }
  }

  /** A request's body is read once it is known what the handler takes; by then the call may have its sandbox. */
  #content(id: string, kind: HandlerKind): Promise<Content> {
    return new Promise((resolve, reject) => {
      this.steps.add(`content of ${id}`, {
        well: () =>
          resolve(
            kind === 'fetch' ? { kind: 'http', method: 'GET', url: 'http://f/', headers: [], body: null } : { kind: 'event', payload: Buffer.from('{}') },
          ),
        breaks: () => reject(new Error('the body broke off')),
      })
    })
  }

  #heard({ invocationId, remainingMs }: HeardCall, guest: SimulatedGuest): void {
    const made = this.#calls.get(invocationId)
    const environment = guest.announced?.environment ?? {}
    if (!made) return void this.faults.push(`${guest.id} was given ${invocationId}, which nobody made`)
    made.heard++
    made.dueMs = this.clock.monotonic() + remainingMs
    if (environment['KIND'] !== made.kind) this.faults.push(`${made.id} of ${made.kind} came to ${environment['KIND']}`)
    if (Number(environment['BUILD']) < made.build) this.faults.push(`${made.id} came to build ${environment['BUILD']}, after ${made.build} was answered`)
    if (Number(environment['SECRET']) < made.secret)
      this.faults.push(`${made.id} came to a sandbox with the secret ${environment['SECRET']}, after ${made.secret}`)
    if (made.kind === 'once' && guest.calls > 1) this.faults.push(`${guest.id} is used again`)
  }

  /** Nobody ends a sandbox under a call that has time left and a caller, but who stops the node. */
  #killed(guest: SimulatedGuest): void {
    if (this.#isStopping || guest.isHostile) return
    for (const { invocationId } of guest.running.values()) {
      const made = this.#calls.get(invocationId)
      if (!made || made.isOver || made.leaves.signal.aborted) continue
      const leftMs = made.dueMs - this.clock.monotonic()
      if (leftMs > 0) this.faults.push(`${guest.id} is ended under ${made.id}, which has ${leftMs} ms left`)
    }
  }

  #resolve(kind: FunctionKind): Version {
    const { version } = this.#lives[kind]
    if (!version) throw new MayflyError('function_not_found', `there is no function ${kind}`)
    return version
  }

  #provide({ version, provisioned }: Life): void {
    if (version) this.#pool.provision(this.#specs.of(version), provisioned)
  }

  /** Whatever was, a call that goes well from here on does. */
  async #stillServes(): Promise<void> {
    for (const life of Object.values(this.#lives)) this.provision(life.kind, 0)
    this.press(false)
    // A start that says nothing is given up by then.
    this.clock.advance(HELLO_MS)
    await this.#wellUntil(() => this.steps.length === 0, 'it does not come to rest')
    const called = new Set([...this.#calls.values()].map(({ kind }) => kind))
    for (const { kind, version } of Object.values(this.#lives)) {
      if (!version || !called.has(kind)) continue
      this.call(kind)
      const made = [...this.#calls.values()].at(-1) as Made
      await this.#wellUntil(() => made.isOver, `a call of ${kind} does not end`)
      if (!['event', 'http'].includes(made.outcomes[0] as string)) this.faults.push(`at the end a call of ${kind} has the outcome ${made.outcomes[0]}`)
    }
    // While it still runs: its end would take what it had forgotten.
    const left = () => readdirSync(path.join(this.#folder, 'sandboxes', 'slots')).filter((id) => !this.driver.alive.has(id))
    await this.#wellUntil(() => left().length === 0, `folders of ended sandboxes are left`)
  }

  /** Or it is known why not. */
  #isProvided(): boolean {
    return Object.values(this.#lives).every(({ version, provisioned }) => {
      const state = version && provisioned > 0 ? this.#pool.provisioned(version.id) : null
      return this.#closed !== null || state === null || state.available === state.requested || state.status === 'FAILED'
    })
  }

  #retire(version: Version): void {
    this.#retired.add(version.id)
    this.#pool.retire(version.id)
    this.#specs.retire(version.id)
  }

  #build(life: Life): Version {
    const { kind } = life
    const build = (this.#built.get(kind) ?? 0) + 1
    this.#built.set(kind, build)
    if (build === 1) life.builds = 1
    const definition = KIND_DEFINITIONS[kind]
    return {
      id: `${kind}.${build}`,
      project: PROJECT,
      functionId: kind,
      functionName: kind,
      version: '$LATEST',
      definition,
      codeDir: path.join(this.#folder, 'code'),
      optDir: null,
      environment: { KIND: kind, BUILD: String(build) },
      state: 'active',
      stateReason: null,
    }
  }
  readonly #built = new Map<FunctionKind, number>()

  /** Everything goes well, and time passes where it is all that is waited for. */
  async #wellUntil(isSo: () => boolean, otherwise: string): Promise<void> {
    for (let round = 0; round < 2_000; round++) {
      await this.settle()
      if (isSo()) return
      if (this.steps.length > 0) this.steps.take(0, 'well')
      else if (this.clock.nextAt !== null) this.clock.advance(this.clock.nextAt - this.clock.monotonic())
    }
    this.faults.push(`${otherwise}: ${this.steps.all.join(', ') || 'nothing is to come'}`)
  }
}

const KIND_DEFINITIONS = Object.fromEntries(FUNCTION_KINDS.map((kind) => [kind, { ...DEFINITION, ...KINDS[kind], name: kind }])) as Record<
  FunctionKind,
  FunctionDefinition
>

const buildOf = ({ id }: Version) => Number(id.split('.')[1])

/** As who gets an answer does: until its end, or until it leaves. */
async function read(body: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
  try {
    for await (const _ of untilAborted(body, signal));
  } catch {
    // It broke off, or nobody reads it.
  }
}
