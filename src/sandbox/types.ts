import type { Leaving } from '../lib/leaving.ts'
import type { FileHandle } from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import type { EgressPolicy } from '../core/egress.ts'
import { messageIn, placeIn } from './exits.ts'

/** What a sandbox is booted with; `provided` runs what the function brings, by whatever name it asks for it. */
export type RuntimeName = 'nodejs22.x' | 'nodejs24.x' | 'nodejs26.x' | 'python3.x' | 'provided'
export type DriverName = 'crun' | 'runc' | 'gvisor' | 'bwrap' | 'process'

/** What a sandbox is made of. It has never heard of a function: `key` says which sandboxes are interchangeable. */
export interface SandboxSpec {
  /** One version of one function of one project; a sandbox serves one key for its whole life. */
  readonly key: string
  readonly runtime: RuntimeName
  /** What keeps it apart; null: what the node takes. */
  readonly driver: DriverName | null
  /** Host directory with the unpacked code, read-only, on the same file system as the sandboxes' folder. */
  readonly codeDir: string
  /** Host directory with the merged layers, seen as `/opt`, read-only; on the file system of `codeDir`. Null: there are none. */
  readonly optDir: string | null
  /** `index.handler`, as Lambda writes it. */
  readonly handler: string
  /** Another cloud's, whose adapter in the runtime loads the code; absent for handlers of Lambda's and of the web's form. */
  readonly framework?: string | null
  /** The whole environment of the user's code, secrets included; goes in at specialisation. */
  readonly environment: Readonly<Record<string, string>>
  readonly context: VersionContext
  readonly memoryMb: number
  /** Size of /tmp. */
  readonly tmpMb: number
  /** What network it has beside the platform. */
  readonly egress: EgressPolicy
  /** Told what that network carried, each byte once, soon after and at the latest at the sandbox's end. */
  readonly countEgress: (bytes: { readonly bytesIn: number; readonly bytesOut: number }) => void
  /** Loopback ports that lead to the platform from inside as they do from outside (the node's own port on plain HTTP). */
  readonly relayPorts: readonly number[]
  /** Milliseconds a call may take; the host holds it. */
  readonly timeoutMs: number
  /** Calls at once in one sandbox. */
  readonly concurrency: number
  /** `never`: each sandbox serves one call. */
  readonly reuse: 'function' | 'never'
  /**
   * Called for each connection that the guest opens to the platform (fd 4); carries raw HTTP/1.1 bytes of a client.
   * `depth`: asked for each request, as a connection outlives the call that opened it: the highest `context.depth` of the calls that run then.
   */
  readonly openRelay: (connection: Duplex, relay: RelayIdentity, depth: () => number) => void
  /** What the relay is told about whose connection it is; no byte from inside can change it. */
  readonly identity: RelayIdentity
}

export interface RelayIdentity {
  readonly project: string
  readonly functionName: string
  readonly version: string
  readonly role: 'service_role' | 'authenticated' | 'none'
}

/** Why a call found no sandbox ready. */
export type ColdReason = 'first-call' | 'scale-out' | 'new-version' | 'idle-drop' | 'node-restart' | 'reuse-never' | 'sandbox-lost'

/**
 * Why a sandbox that served a version ended: unused for long, in the way of another that needed its memory, idle while the machine was short of memory, of a version
 * or environment that is over or looked into by a debugger, after its only call (`reuse: never`), with a call that ran out of time, or died.
 */
export type Ending = 'idle-drop' | 'memory' | 'pressure' | 'retired' | 'used' | 'timeout' | 'lost'

/** What the user's module exports: a Lambda handler or a web-standard `fetch(request)`. */
export type HandlerKind = 'lambda' | 'fetch'

/** What a version's calls have in common; the runtime gets it once, when it is specialised. */
export interface VersionContext {
  readonly functionName: string
  readonly functionVersion: string
  readonly functionArn: string
  readonly memoryMb: number
  readonly logGroup: string
  readonly logStream: string
}

export interface CallContext {
  readonly invocationId: string
  readonly traceId: string
  /** JSON text of the Lambda client context, or null. */
  readonly clientContext: string | null
  /** How many functions stand before this call, itself not counted. */
  readonly depth: number
  /** The ARN of the function as the caller named it, with the qualifier if it gave one. */
  readonly invokedArn: string
  /** How many times it has run and failed before; absent where it has not. */
  readonly failures?: number
  /** How the last of them ended, in the words of the function itself. */
  readonly lastError?: { readonly message: string | null; readonly stack: string | null }
}

export type Call =
  | {
      readonly kind: 'event'
      readonly context: CallContext
      /** A function makes it when it is sent, and gives the same whenever it is asked: a cold call's sandbox wakes up beside that. */
      readonly payload: Uint8Array | (() => Uint8Array)
      /** Who calls reads the answer as it is made, if the handler makes one so; else it is collected and is a result like any other. */
      readonly takesStream?: boolean
    }
  | {
      readonly kind: 'http'
      readonly context: CallContext
      readonly method: string
      readonly url: string
      readonly headers: readonly (readonly [string, string])[]
      readonly body: AsyncIterable<Uint8Array> | null
    }

/** Read once, as it comes. */
export interface ResultBody extends AsyncIterable<Uint8Array> {
  /** What user code has sent of it so far, read or not: all of it when the call is over. */
  readonly receivedBytes: number
  /** All of it, taken out, where it is there already and nobody has begun to read; else null. */
  takeWhole(): Uint8Array | null
}

/** How user code ended a call. The error payload is Lambda's JSON, byte for byte as a client sees it. */
export type CallResult =
  | { readonly kind: 'event'; readonly payload: Uint8Array }
  | { readonly kind: 'http'; readonly status: number; readonly headers: readonly (readonly [string, string])[]; readonly body: ResultBody }
  /** Made on the way, for who takes streams. Where it fails on the way the body throws, and the call's end says why. */
  | { readonly kind: 'stream'; readonly contentType: string; readonly body: ResultBody }
  | { readonly kind: 'error'; readonly errorType: string; readonly payload: Uint8Array }

export interface LogSink {
  /** Bytes that user code wrote, whole lines not guaranteed. `lost`: bytes dropped past the guest's credit. */
  write(stream: 'stdout' | 'stderr', bytes: Uint8Array): void
  lost(bytes: number): void
  /** A line of the host's own, where the log has a place for such. */
  platform?(line: string): void
}

/** How a call ended, its body and `waitUntil` included; `maxMemoryMb` as the kernel measured it, null where it does not. */
export interface CallEnd {
  readonly maxMemoryMb: number | null
  /** Milliseconds of its time that are those of others, which ran beside it in its sandbox: they share the time in equal parts. */
  readonly othersMs: number
  /** `message` is for the log, and empty where the function has told it there; `payload` is Lambda's JSON. */
  readonly error: { readonly type: string; readonly message: string; readonly payload: Uint8Array } | null
}

/** The right to use a sandbox for one call; disposing gives it back (or ends the sandbox when it is not clean). */
export interface SandboxLease extends Disposable {
  readonly sandboxId: string
  readonly handlerKind: HandlerKind
  /** Null when a ready sandbox was found. */
  readonly cold: ColdReason | null
  /**
   * Milliseconds of getting a sandbox (for a warm one: of thawing it) and of loading the code into it; a load that took
   * too long and was given up belongs to the getting.
   */
  readonly waitMs: number
  readonly initMs: number
  /** Milliseconds that loading has taken of the call's own time: the first load took too long and was begun anew as part of the call. */
  readonly spentMs: number
  /**
   * Runs one call. Resolves with exactly one outcome, also for timeout (`Sandbox.Timedout`), exit (`Runtime.ExitError`),
   * hostile frames (`Runtime.ProtocolError`) and load errors. An `http` or `stream` result resolves at its head; `finished` follows its last byte.
   */
  run(call: Call, log: LogSink, signal: Leaving): Promise<CallResult>
  /** Null until the call is over; most are when their outcome comes. */
  readonly ended: CallEnd | null
  /** Resolves when the call is over. */
  readonly finished: Promise<CallEnd>
}

/**
 * A signal that was meant for the node ended what starts a sandbox. A program is in the node's process group from its
 * birth to its first instruction, however it is spawned: a Ctrl-C of then meets it too, and nothing is wrong with it.
 */
export class StartInterrupted extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'StartInterrupted'
  }
}

/** The user's module could not be loaded: Lambda's error JSON, and what it printed meanwhile went to the log. */
export class LoadError extends Error {
  readonly errorType: string
  readonly payload: Uint8Array
  /** Why the code was loaded for this call; null for a load that no call asked for. */
  readonly cold: ColdReason | null
  /** The host's own words, where the code did not say what ended it: whoever knows the id of the call puts that before them. */
  readonly told: string | null
  /** Milliseconds that it took of the call's own time; null where loading came before that. */
  readonly spentMs: number | null
  /** Milliseconds that the call had waited before this load began. */
  readonly waitMs: number
  constructor(errorType: string, payload: Uint8Array, more: { cold?: ColdReason; told?: string | null; spentMs?: number | null; waitMs?: number } = {}) {
    super(errorType)
    this.name = 'LoadError'
    this.errorType = errorType
    this.payload = payload
    this.cold = more.cold ?? null
    this.told = more.told ?? null
    this.spentMs = more.spentMs ?? null
    this.waitMs = more.waitMs ?? 0
  }

  /** What the error's JSON says, for people. */
  get errorMessage(): string {
    return messageIn(this.payload)
  }

  /** The same, with the line of one's own code on a line of its own. */
  get errorWithPlace(): string {
    const place = placeIn(this.payload)
    return place === '' ? this.errorMessage : `${this.errorMessage}\n${place}`
  }

  /** The same, of a call that asked for the load. */
  for(cold: ColdReason, waitMs: number, spentMs: number | null = null): LoadError {
    return new LoadError(this.errorType, this.payload, { cold, told: this.told, waitMs, spentMs })
  }
}

/** What does not work now, and what to do. */
export interface Problem {
  readonly what: string
  readonly why: string
  readonly todo: string
}

export interface SandboxStatus {
  readonly driver: DriverName | 'none'
  /** The limits that the kernel holds under this driver on this host: `memory`, `pids`, `tmp`, `cpu`, `seccomp`, `userns`… */
  readonly limits: readonly string[]
  readonly missing: readonly { what: string; why: string; todo: string }[]
  /** Booted sandboxes that wait for a function: all of them, and those of each runtime with how many should. */
  readonly generic: number
  readonly waiting: readonly { readonly runtime: RuntimeName; readonly booted: number; readonly wanted: number }[]
  readonly memory: {
    readonly usedMb: number
    readonly budgetMb: number
    /** Of the machine; null before the first look at it. */
    readonly machine: { readonly totalMb: number; readonly availableMb: number; readonly stalledPercent: number | null; readonly isShort: boolean } | null
  }
  /** How many ended since the node started, by why. */
  readonly ended: Readonly<Record<Ending, number>>
  readonly sandboxes: readonly ShownSandbox[]
}

/** One that serves a version. */
export interface ShownSandbox {
  readonly id: string
  readonly key: string
  readonly project: string
  readonly functionName: string
  readonly version: string
  readonly runtime: RuntimeName
  readonly driver: DriverName
  readonly state: string
  /** Calls that run in it now, and all that ever did. */
  readonly busy: number
  readonly calls: number
  /** Null while calls run in it. */
  readonly idleMs: number | null
  /** Kept loaded, however long no call comes. */
  readonly provisioned: boolean
  /** What it counts with against the budget, what it uses now as the kernel says (null where that holds none), and its limit. */
  readonly memoryMb: number
  readonly usedMb: number | null
  readonly limitMb: number
}

/** How projects share this node. */
export interface Shares {
  /** How many have functions. */
  readonly projects: () => number
  /** How much one has beside others; 1 where nobody has said anything. */
  readonly weightOf: (project: string) => number
}

/** How it stands with the sandboxes that are kept loaded of one version. */
export interface ProvisionedState {
  readonly requested: number
  /** Loaded and kept, busy or not. */
  readonly available: number
  readonly status: 'IN_PROGRESS' | 'READY' | 'FAILED'
  /** Of a failure. */
  readonly reason: string | null
  /** What the code said when it did not load. */
  readonly detail?: string
}

/** How the load at a deploy went. */
export interface Built {
  readonly ok: boolean
  readonly handlerKind: HandlerKind | null
  readonly error: string | null
  readonly ms: number
}

/** The way to the debugger of a sandbox: messages of the Chrome DevTools Protocol, which nobody here reads. */
export interface Inspected extends Disposable {
  readonly sandboxId: string
  /** Bytes that were sent and that it has not taken yet. */
  readonly buffered: number
  send(frame: string): void
  /** While false it is not heard, so that nothing piles up here. */
  listen(on: boolean): void
  onFrame(take: (frame: string) => void): void
  /** Called once, when the sandbox or its debugger is gone; also when that was before. */
  onClose(take: () => void): void
}

/** The pool: what `invoke` sees of this room. */
export interface Sandboxes extends AsyncDisposable {
  /**
   * Ends at once with the signal's reason when that fires; what was on its way is given back.
   * @param first  the call that it is for, which nothing may follow but `run` of this very object: where code is loaded for it, it is sent right behind
   * @throws LoadError; MayflyError sandbox_unavailable when none can be had, too_many_invocations, shutting_down
   */
  acquire(spec: SandboxSpec, log: LogSink, signal: Leaving, first?: Call | null): Promise<SandboxLease>
  /** What the handler of a version was when it was built; null where nobody knows. Its environment was not there: it may be another. */
  kindOf(key: string): HandlerKind | null
  /** At deploy: loads the code once in a build sandbox, without environment, and keeps its compile cache. Never throws for user errors: a module that does not load simply has no cache. */
  build(spec: SandboxSpec): Promise<Built>
  /**
   * Instead of building: takes the compile cache of another version of the same function with the same code, handler and runtime.
   * @returns whether that one had a cache
   */
  adopt(spec: SandboxSpec, from: string): Promise<boolean>
  /**
   * Loads a sandbox that the next call finds ready. Where there is no room for one, or it takes too long, that is left to the call.
   * @throws LoadError when the code does not load; MayflyError sandbox_unavailable, shutting_down
   */
  start(spec: SandboxSpec): Promise<void>
  /** Whether the code of this very version has loaded here before; of what is older than this life of the node, that is believed. */
  hasLoaded(spec: SandboxSpec): boolean
  /** A call of this spec is to be expected: copies of its code are made ready. */
  prepare(spec: SandboxSpec): Promise<void>
  /** Keeps so many of this version loaded, however long no call comes. The same again changes nothing. */
  provision(spec: SandboxSpec, count: number): void
  /** Lets them go as others do. */
  unprovision(key: string): void
  /** The keys of which some are kept loaded, or to be. */
  provisionedKeys(): readonly string[]
  /** Null when none are to be kept of it. */
  provisioned(key: string): ProvisionedState | null
  /** Ends the sandboxes of a key when their calls are over. */
  retire(key: string): void
  /**
   * Opens the debugger of one sandbox of it and keeps that one from ending until that is disposed of: it stays where it is, is
   * the first to get calls, and their time does not run. Then it ends with its last call.
   * @throws MayflyError not_inspectable, inspected_already, sandbox_unavailable, shutting_down; LoadError
   */
  inspect(spec: SandboxSpec, signal: AbortSignal): Promise<Inspected>
  /** Ends the sandboxes of a project when their calls are over. Its next call brings another. */
  rest(project: string): void
  /** What a version's sandboxes are told is another now: those of this spec end when their calls are over, and the next call brings its own. */
  restart(spec: SandboxSpec): void
  status(): SandboxStatus
  /** What does not work now; none where all does. */
  problems(): readonly Problem[]
}

// ── the seam between the pool and what isolates ────────────────────────────────────────────────────────────────

export interface StartOptions {
  readonly id: string
  readonly runtime: RuntimeName
  /** Null: the driver itself. */
  readonly driver: DriverName | null
  /**
   * Host directory that the sandbox sees, read-only, as `/fn`. What lies in its folders `code` and `opt` is seen
   * as `/var/task` and `/opt` too: the folders stand there from the start, their content arrives by renames.
   */
  readonly slotDir: string
  /** Only in a build sandbox: the size of a file system of its own, read-write, for the compile cache. */
  readonly cache: { readonly bytes: number; readonly files: number } | null
  readonly tmpMb: number
  readonly pids: number
  /** What Node runs instead of the runtime's bootstrap; for suites. */
  readonly argv?: readonly string[]
  /** Lowest CPU weight: a refill must not disturb calls. */
  readonly background: boolean
  /** What of its weight one for a call has while it starts; absent: all. */
  readonly share?: number
  /** All of it is made, but its program starts when `begin` says so. Only where the driver `holds`. */
  readonly held?: boolean
}

/** Where the guest sees what it is given. */
export interface GuestPaths {
  readonly code: string
  /** The merged layers. */
  readonly opt: string
  /** The compile cache that was kept, if there is one. */
  readonly keptCache: string
  /** In a build sandbox, where a compile cache is to be written. */
  readonly cache: string | null
  /** Folder of the language's own `bin` and `lib`, and of the runtime; null where the host's own are in use. */
  readonly lang: string | null
  readonly runtime: string | null
}

/** How programs of the host come to what runs in a sandbox. */
export interface Entrance {
  /** The process that runs the function, by its number on the host. Good for no longer than this turn of the event loop. */
  readonly guest: number
  /** The arguments of `nsenter` that lead into the sandbox's network. */
  readonly network: readonly string[]
}

/** One isolated process with the runtime's bootstrap in it. Made and ended by a driver; states are the pool's. */
export interface SandboxProcess {
  readonly id: string
  /** fd 3 of the guest: frames of control and calls. */
  readonly control: Duplex
  /** fd 4 of the guest: frames of the relay. */
  readonly relay: Duplex
  readonly paths: GuestPaths
  /**
   * In a build sandbox that has a cache folder, that folder: it can be read when the sandbox is dead, and only by this.
   * Whoever started the sandbox closes it.
   */
  readonly cache: FileHandle | null
  /** Has a network and files of its own. */
  readonly isolated: boolean
  /** What was written to descriptors 1 and 2 outside the protocol (a crash of Node, a program that user code started), last 8 KiB. */
  stderrTail(): string
  /** Tells that from now on as it comes, to the last who asked. */
  hear(take: (bytes: Uint8Array) => void): void
  /** Resolves when what was written until now has been told, or after a moment where it does not end. */
  heardOut(): Promise<void>
  /** Of one that is held: starts its program, weighed as for a call that waits. */
  begin?(share?: number): void
  /** Sets the limits of the version it becomes: memory (no swap), CPU weight in proportion, or a share of that. That of processes holds from the start. */
  limit(limits: { memoryMb: number; share?: number }): void
  /** Sets the same ahead of a call that may want other ones, of a sandbox without user code: `limit` has nothing to do then. */
  expectLimit?(memoryMb: number): void
  /** Absent where no kernel weighs it: what of that CPU weight it has, behind `limit`; nothing in one that has ended. */
  weigh?(share: number): void
  /** Opens its network as the version it becomes may use it; shut until then, and where the driver has none. @throws Error */
  grant(policy: EgressPolicy, counted: SandboxSpec['countEgress']): Promise<void>
  /** Where its driver can: gives /tmp another size, before any user code has run. */
  resizeTmp(mb: number): Promise<void>
  freeze(): Promise<void>
  thaw(): Promise<void>
  /** SIGKILL to everything in it, then gives back cgroups, mounts, directories. Idempotent; resolves when all is given back. */
  kill(): Promise<void>
  /** Resolves once, when its first process is gone. `outOfProcesses`: it was refused one more, and does not live on where that is so. */
  readonly exited: Promise<{ code: number | null; signal: string | null; outOfMemory: boolean; outOfProcesses?: boolean }>
  memory(): { currentMb: number; peakMb: number } | null
  /** What the processors have done for it; absent or null where nobody counts that. */
  readonly cpuMs?: () => number | null
  /** Absent where its driver lets nobody in. Null when nothing of it lives any more. */
  readonly entrance?: () => Promise<Entrance | null>
}

export interface Driver extends AsyncDisposable {
  readonly name: DriverName
  readonly limits: readonly string[]
  readonly missing: readonly { what: string; why: string; todo: string }[]
  /** Whether what waits booted can be given any size of /tmp; else one of another size is started for it. */
  readonly resizesTmp: boolean
  /** Whether it can start one that is `held`. */
  readonly holds?: boolean
  /** Whether what the runtime takes is installed. */
  runs(runtime: RuntimeName): boolean
  /** @throws StartInterrupted when the same start may be tried again */
  start(options: StartOptions): Promise<SandboxProcess>
  /** Ends and removes what a former life of this data directory left: processes, cgroups, mounts, state. */
  sweep(): Promise<void>
}
