import { promises as fs } from 'node:fs'
import path from 'node:path'
import type { Auth } from './auth/index.ts'
import type { BusValue } from './backends/bus/bus.ts'
import { WiredBus } from './backends/bus/wired.ts'
import type { Connection } from './backends/database/database.ts'
import type { Config } from './config.ts'
import { type CountersSnapshot, InvocationCounters } from './core/counters.ts'
import type { DataDirectory } from './core/data-directory.ts'
import { deadFolders, ownFolder } from './core/owned-folders.ts'
import type { ProjectRef } from './core/project.ts'
import { Crew, type ShownWorker } from './crew.ts'
import type { FunctionUrls, Version } from './functions/index.ts'
import { type CallAsked, HandOver, type Hands, type Processes } from './gateway/index.ts'
import { homeKey, homeKeyOf } from './home-key.ts'
import { Homes, socketOf } from './homes.ts'
import type { Host } from './host.ts'
import type { KeepsLoaded, SlotLender } from './invoke/index.ts'
import { KeptByWorkers } from './kept-loaded.ts'
import { type FoundDriver, MemoryLender, type Problem, type ProvisionedState, sandboxMemoryMb, type SandboxStatus } from './sandbox/index.ts'
import type { HttpRoutes } from './triggers/http.ts'

/** Of the folders in which nodes' processes listen for each other. */
const FOLDER_PREFIX = 'mayfly-workers-'

/** All that a worker is told when it starts; the key of the instance among it, so it goes to nobody else. */
export interface Boot {
  readonly worker: number
  readonly workers: number
  readonly config: Config
  readonly data: string
  readonly instanceId: string
  readonly key: string
  readonly control: Connection
  readonly folder: string
  readonly address: string
  readonly port: number
  readonly operatorHash: string
  /** What its sandboxes may take to begin with. */
  readonly memoryMb: number
  readonly driver: FoundDriver
  /** Of the machine, null where there is none. */
  readonly python: string | null
}

/** What a worker says of itself at every pulse. */
export interface Pulse {
  readonly counters: CountersSnapshot
  readonly kept: Readonly<Record<string, ProvisionedState>>
  /** What does not work there now. */
  readonly problems: readonly Problem[]
}

/** What a worker shows when it is asked. */
export interface WorkerStatus {
  readonly running: number
  readonly pool: SandboxStatus
  readonly journals: readonly { readonly name: string; readonly bytes: number; readonly dropped: number; readonly writable: boolean }[]
  readonly logLinesDropped: number
  readonly pulse: Pulse
}

export interface WorkforceDeps {
  readonly count: number
  readonly config: Config
  readonly host: Host
  readonly directory: DataDirectory
  readonly key: Uint8Array
  readonly control: () => Connection
  readonly lender: () => SlotLender
  readonly found: () => Pick<Boot, 'driver' | 'python'>
  /** Something of what is provisioned is to be looked at again. */
  readonly provisioningChanged: () => void
}

const DEPLOY_MS = 120_000
/** Logs and executions of a whole journal are stored in less. */
const STORE_MS = 60_000

/** The other processes of a node, as its main process has them. */
export class Workforce implements AsyncDisposable {
  readonly bus: WiredBus
  readonly homes: Homes
  readonly memory: MemoryLender
  readonly #deps: WorkforceDeps
  readonly #folder: string
  readonly #crew: Crew
  #kept: KeptByWorkers | null = null
  /** The last that each worker counted, and all that those counted which are gone. */
  readonly #counted = new Map<number, CountersSnapshot>()
  readonly #former = new InvocationCounters()
  /** What each said last that does not work there. */
  readonly #problems = new Map<number, Pulse['problems']>()
  #address = ''
  #port = 0
  #operatorHash: Uint8Array = new Uint8Array()

  private constructor(deps: WorkforceDeps, folder: string) {
    this.#deps = deps
    this.#folder = folder
    this.bus = WiredBus.hub()
    this.homes = new Homes(0, folder, this.bus)
    const { count, host } = deps
    this.memory = new MemoryLender(this.bus, sandboxMemoryMb(deps.config.sandbox), count + 1)
    this.bus.subscribe('workers.kept', (value) => {
      const { worker, kept } = value as unknown as { worker: number; kept: Pulse['kept'] }
      this.#kept?.heard(worker, kept)
    })
    this.#crew = new Crew({
      count,
      bus: this.bus,
      homes: this.homes,
      lender: deps.lender,
      boot: (worker) => this.#boot(worker) as unknown as BusValue,
      command: host.workerCommand,
      heard: (worker, said) => this.#heard(worker, said as unknown as Pulse),
      ended: (worker) => {
        const counted = this.#counted.get(worker)
        if (counted) this.#former.add(counted)
        this.#counted.delete(worker)
        this.#problems.delete(worker)
        this.#kept?.lost(worker)
        deps.provisioningChanged()
      },
      joined: (worker) => {
        this.memory.join(worker)
        deps.provisioningChanged()
      },
      clock: host.clock,
      log: host.log,
    })
  }

  /** Starts their processes, which wait for `start`. @throws Error when the folder of the sockets is not ours alone */
  static async open(deps: WorkforceDeps): Promise<Workforce> {
    const { host, directory } = deps
    const folder = path.join(host.runBase, `${FOLDER_PREFIX}${directory.instance.instanceId.replaceAll('-', '').slice(-12)}`)
    await fs.mkdir(folder, { recursive: true, mode: 0o700 })
    const { uid, mode } = await fs.lstat(folder)
    // Where others can make names too, somebody may have made this one.
    if (uid !== process.getuid?.() || (mode & 0o777) !== 0o700) throw new Error(`${folder} belongs to somebody else, or others may enter it: remove it`)
    for (const name of await fs.readdir(folder)) await fs.rm(path.join(folder, name), { force: true })
    await ownFolder(folder, 0o700)
    for (const left of await deadFolders(host.runBase, FOLDER_PREFIX)) await left.take(() => fs.rm(left.folder, { recursive: true, force: true }))
    return new Workforce(deps, folder)
  }

  /** Where the main process listens for the others. */
  get socket(): string {
    return socketOf(this.#folder, 0)
  }

  /** Resolves when all of them take calls. @throws StartError */
  async start(at: { readonly address: string; readonly port: number; readonly operatorHash: Uint8Array }): Promise<void> {
    this.#address = at.address
    this.#port = at.port
    this.#operatorHash = at.operatorHash
    await this.#crew.start()
  }

  /** What the door of the main process asks. */
  processes(
    room: { readonly auth: Auth; readonly urls: Pick<FunctionUrls, 'find'>; readonly httpRoutes: Pick<HttpRoutes, 'match'> },
    routes: ConstructorParameters<typeof HandOver>[0]['routes'],
    content: ConstructorParameters<typeof HandOver>[0]['content'],
  ): Processes {
    const { auth } = room
    return {
      handOver: new HandOver({ routes, content, rest: null, of: (asked) => peerOf(asked, room, this.homes) }),
      handleOf: (identity) => auth.handleOf(identity),
      adoptHandle: (identity, handle) => auth.adoptHandle(identity, handle),
      settled: () => this.settled(),
      homeOf: (project, functionName) => this.homes.peerFor(homeKey(project, functionName)),
    }
  }

  /** Resolves when no worker serves what was before a change that is committed. */
  async settled(): Promise<void> {
    await this.#crew.ask('sync', null)
  }

  /** Has them store what they have written. */
  async stored(): Promise<void> {
    await this.#crew.ask('store', null, STORE_MS)
  }

  /** A project goes: they end what is of it, and write nothing more of it. */
  async depart(project: ProjectRef): Promise<void> {
    await this.#crew.ask('depart', project, STORE_MS)
  }

  /** A project rests: they let its sandboxes go. */
  async rest(project: ProjectRef): Promise<void> {
    await this.#crew.ask('rest', project, STORE_MS)
  }

  /** Starts a sandbox of a version where it will be called. Null where that is here. */
  async startAt(version: Version, instead: Version | null): Promise<{ readonly fault: { readonly type: string; readonly message: string } | null } | null> {
    const home = this.homes.of(homeKey(version.project, version.functionName))
    if (home === null) return null
    const asked = { version, instead } as unknown as BusValue
    // When it ends meanwhile nothing was learnt of the version: its first call starts it.
    return (await this.#crew.askOne(home, 'start', asked, DEPLOY_MS).catch(() => ({ fault: null }))) as { fault: { type: string; message: string } | null }
  }

  keeps(here: KeepsLoaded): KeepsLoaded {
    this.#kept = new KeptByWorkers(this.homes, this.#crew, here)
    return this.#kept
  }

  describe(): readonly ShownWorker[] {
    return this.#crew.describe()
  }

  async status(): Promise<readonly (WorkerStatus & { readonly worker: number })[]> {
    const answers = await this.#crew.ask('status', null)
    return answers.map(({ worker, value }) => {
      const status = value as unknown as WorkerStatus
      this.#heard(worker, status.pulse)
      return { worker, ...status }
    })
  }

  /** What this process has counted and what the others have: asked for after `status`. */
  countersWith(own: InvocationCounters): InvocationCounters {
    const all = new InvocationCounters().add(own.snapshot()).add(this.#former.snapshot())
    for (const counted of this.#counted.values()) all.add(counted)
    return all
  }

  /** As of their last pulses: nobody is asked for it. */
  problems(): Pick<Pulse, 'problems'>[] {
    return [...this.#problems.values()].map((problems) => ({ problems }))
  }

  async drain(graceMs: number): Promise<void> {
    await this.#crew.drain(graceMs)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#crew[Symbol.asyncDispose]()
    this.homes[Symbol.dispose]()
    this.memory[Symbol.dispose]()
    await this.bus[Symbol.asyncDispose]()
    await fs.rm(this.#folder, { recursive: true, force: true })
  }

  #boot(worker: number): Boot {
    const { count, config, directory, key, control } = this.#deps
    return {
      worker,
      workers: count,
      config,
      data: directory.path,
      instanceId: directory.instance.instanceId,
      key: Buffer.from(key).toString('base64'),
      control: control(),
      folder: this.#folder,
      address: this.#address,
      port: this.#port,
      operatorHash: Buffer.from(this.#operatorHash).toString('base64'),
      memoryMb: this.memory.firstOf(worker),
      ...this.#deps.found(),
    }
  }

  #heard(worker: number, { counters, kept, problems }: Pulse): void {
    this.#counted.set(worker, counters)
    this.#problems.set(worker, problems)
    this.#kept?.heard(worker, kept)
  }
}

/** The process that is to serve a call. */
export function peerOf(asked: CallAsked, room: Parameters<typeof homeKeyOf>[1], homes: Homes): Hands | null | Promise<Hands | null> {
  const key = homeKeyOf(asked, room)
  const peer = (of: string | null) => (of === null ? null : homes.callsOf(of))
  return key instanceof Promise ? key.then(peer) : peer(key)
}
