import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { LogWriter, Meter, MeterRecord, StartMark } from '../core/meter.ts'
import type { ProjectRef } from '../core/project.ts'
import type { Functions, Version } from '../functions/index.ts'
import type { Clock } from '../lib/clock.ts'
import { type Leaving, signalOf } from '../lib/leaving.ts'
import { systemRandom } from '../lib/ids.ts'
import { after } from '../lib/transitions.ts'
import { type Call, type CallEnd, type CallResult, type ColdReason, type HandlerKind, LoadError, type Sandboxes, type SandboxLease } from '../sandbox/index.ts'
import type { Slot } from './admission.ts'
import { InvocationLog, LiveLogs } from './log.ts'
import { type PlatformLines, platformLines } from './platform-lines.ts'
import type { Admits } from './slot-leases.ts'
import type { Specs } from './specs.ts'
import { INVOCATION_LIFE, type InvocationState } from './state.ts'
import type { LastError } from './store.ts'

export interface InvokerDeps {
  readonly functions: Functions
  readonly sandboxes: Sandboxes
  readonly admission: Admits
  readonly meter: Meter
  readonly logs: LogWriter
  readonly specs: Specs
  readonly clock: Clock
  readonly log: Log
  /** False when executions cannot be written down: then nothing runs. */
  readonly meterWritable: () => boolean
  /** The project is in use until what this gives is disposed of; absent where none ever rests. */
  readonly enter?: (project: ProjectRef) => Disposable | Promise<Disposable>
}

/** What comes in: known before a sandbox is asked for, but the content, which depends on what the handler is. */
export interface Invocation {
  readonly id: string
  /** 1 and rising for what is tried again; executions are metered once by id and attempt. */
  readonly attempt?: number
  /** How many attempts it has spent: each ran and ended with an error. */
  readonly failures?: number
  /** How the last of them ended. */
  readonly lastError?: LastError | null
  /** How long its event was in the queue when this attempt was taken from it; null or absent where nothing was queued. */
  readonly queueMs?: number | null
  readonly project: ProjectRef
  readonly functionName: string
  /** A number, an alias or `$LATEST`, as it was asked for; which version that is, is found when it runs. */
  readonly qualifier?: string | null
  readonly traceId: string | null
  readonly clientContext: string | null
  readonly depth: number
  readonly bytesIn: () => number
  /** Asked once the version is known, before anything is spent on the call; throws what refuses it. */
  readonly admit?: (version: Version) => void
  /** How long it may wait for its turn where its function, its project or the node is full; absent: it is refused at once. */
  readonly patienceMs?: number
  /** Makes the content for the kind of handler that was found; may read the request's body. */
  readonly content: (kind: HandlerKind, version: Version) => Content | Promise<Content>
  /** Told when the call was handed to its sandbox: user code begins. */
  readonly handed?: () => void
  /** Who asks tells nobody of the outcome before he has waited for its record, with that of others. */
  readonly recordedBehind?: true
}

export type Content =
  | { readonly kind: 'event'; readonly payload: Uint8Array | (() => Uint8Array); readonly takesStream?: boolean }
  | {
      readonly kind: 'http'
      readonly method: string
      readonly url: string
      readonly headers: readonly (readonly [string, string])[]
      readonly body: AsyncIterable<Uint8Array> | null
    }

export interface Timing {
  readonly cold: ColdReason | null
  readonly waitMs: number
  readonly initMs: number
  readonly durationMs: number
  /** Of the duration: what followed the answer's beginning. */
  readonly responseMs: number
}

/** `error` is also that of an answer which failed on its way, with Lambda's JSON. */
export interface Over extends Timing {
  /** The last bytes of its log, put together for whoever asks. */
  readonly logTail: () => Buffer
  readonly error: CallEnd['error']
  /** What was metered of it. */
  readonly record: MeterRecord
}

export interface Outcome {
  readonly version: Version
  readonly handlerKind: HandlerKind | null
  readonly result: CallResult
  readonly cold: ColdReason | null
  readonly traceId: string
  /** Resolves when the call is over, logged and metered; a body must have been read or given up. */
  readonly over: Promise<Over>
}

/** Runs one invocation from admission to its one outcome, one log and one meter record. */
export class Invoker implements Disposable {
  readonly #deps: InvokerDeps
  readonly #running = new Set<Promise<unknown>>()
  readonly #live = new LiveLogs()
  /** What the handler of a version turned out to be: then a body can be read before a sandbox is taken. */
  readonly #kinds = new Map<string, HandlerKind>()

  constructor(deps: InvokerDeps) {
    this.#deps = deps
  }

  get running(): number {
    return this.#deps.admission.running
  }

  /** Resolves when nothing runs any more. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled([...this.#running])
  }

  [Symbol.dispose](): void {
    this.#live[Symbol.dispose]()
  }

  /**
   * @param signal  fires when a client that the function may know of is gone, or when the node stops
   * @throws MayflyError function_not_found, function_not_ready, too_many_invocations, sandbox_unavailable, storage_full
   */
  async invoke(invocation: Invocation, signal: Leaving): Promise<Outcome> {
    const { functions, admission, meter, clock } = this.#deps
    const version = await functions.resolve(invocation.project, invocation.functionName, invocation.qualifier)
    invocation.admit?.(version)
    if (!this.#deps.meterWritable()) throw new MayflyError('storage_full', 'executions cannot be written down: the journal of meters is not writable')
    const knownKind = this.#kinds.get(version.id) ?? this.#deps.sandboxes.kindOf(version.id)
    const made = knownKind ? invocation.content(knownKind, version) : null
    const early = made instanceof Promise ? await made : made
    const caller = { project: version.project, functionId: version.functionId }
    const came = clock.monotonic()
    const { patienceMs } = invocation
    const entered = patienceMs === undefined ? admission.enter(caller) : admission.atOnce(caller)
    const slotAtOnce = entered instanceof Promise ? await entered : entered
    const slot = slotAtOnce ?? (await admission.wait(caller, patienceMs ?? 0, signalOf(signal)))
    let use: Disposable | null = null
    try {
      const visit = this.#deps.enter?.(version.project) ?? null
      use = visit instanceof Promise ? await visit : visit
    } catch (error) {
      slot[Symbol.dispose]()
      throw error
    }
    // A slot that was free is given in no time, however late this loop comes to it.
    const queuedMs = slotAtOnce ? null : clock.monotonic() - came
    const traceId = traceIdOf(invocation.traceId, clock.now())
    const startedAt = clock.now()
    const subject = { project: version.project, functionName: version.functionName, version: version.version, invocationId: invocation.id }
    const log = new InvocationLog(this.#deps.logs, invocation.depth === 0 ? subject : { ...subject, depth: invocation.depth }, clock.now)
    const logging = version.definition.kept?.logging ?? null
    const lines = platformLines(logging, { id: invocation.id, version: version.version, now: clock.now })
    const run = new Run(this.#deps, invocation, version, slot, log, lines, startedAt, () => this.#live.delete(log))
    run.queueMs = invocation.queueMs ?? queuedMs
    run.use = use
    let lease: SandboxLease | null = null
    const asked = clock.monotonic()
    try {
      this.#live.add(log)
      run.mark = meter.started({ ...subject, attempt: invocation.attempt ?? 1, memoryMb: version.definition.memoryMb, startedAt })
      log.begin(lines)
      const spec = this.#deps.specs.of(version)
      const { functionArn } = spec.context
      const context = {
        invocationId: invocation.id,
        traceId,
        clientContext: invocation.clientContext,
        depth: invocation.depth,
        invokedArn: invocation.qualifier ? `${functionArn}:${invocation.qualifier}` : functionArn,
        ...(invocation.failures ? { failures: invocation.failures, ...(invocation.lastError ? { lastError: invocation.lastError } : {}) } : {}),
      }
      const first = early && ({ ...early, context } as Call)
      try {
        lease = await this.#deps.sandboxes.acquire(spec, log, signal, first)
      } catch (error) {
        if (!(error instanceof LoadError)) throw error
        const { cold, errorType, spentMs, waitMs } = error
        const took = spentMs === null ? { initMs: clock.monotonic() - asked - waitMs, durationMs: 0 } : { initMs: 0, durationMs: spentMs }
        const payload = payloadOf(error, invocation.id)
        const end = { error: { type: errorType, message: error.told ?? '', payload }, maxMemoryMb: null, othersMs: 0 }
        const over = Promise.resolve(run.end({ cold, waitMs, responseMs: 0, ...took }, end))
        return { version, handlerKind: null, result: { kind: 'error', errorType, payload }, cold, traceId, over }
      }
      run.tell('placed')
      this.#remember(version.id, lease.handlerKind)
      const isKnown = first !== null && knownKind === lease.handlerKind
      const call: Call = isKnown ? first : ({ ...(await invocation.content(lease.handlerKind, version)), context } as Call)
      const began = clock.monotonic() - lease.spentMs
      const running = lease.run(call, log, signal)
      run.tell('sent')
      invocation.handed?.()
      const result = await running
      run.tell('answered')
      const held = lease
      const answeredAt = clock.monotonic()
      const end = (how: CallEnd, endedAt: number) => {
        held[Symbol.dispose]()
        // A call is often over before anyone has read its body.
        if (result.kind !== 'error') run.bytesOut = result.kind === 'event' ? result.payload.byteLength : result.body.receivedBytes
        const { cold, waitMs, initMs } = held
        return run.end({ cold, waitMs, initMs, durationMs: endedAt - began, responseMs: endedAt - answeredAt }, how)
      }
      // Where the call was over with its answer nothing followed that: no second look at the clock.
      const over = held.ended ? Promise.resolve(end(held.ended, answeredAt)) : held.finished.then((how) => end(how, clock.monotonic()))
      if (!held.ended) this.#track(over)
      // What is answered outlives a kill: its record is in the file before the answer goes out.
      if (!invocation.recordedBehind) await meter.settled()
      return {
        version,
        handlerKind: held.handlerKind,
        result,
        cold: held.cold,
        traceId,
        over,
      }
    } catch (error) {
      run.fail(error, lease?.waitMs ?? clock.monotonic() - asked)
      // What was answered gives its sandbox back when it is over.
      if (run.isOver) lease?.[Symbol.dispose]()
      throw error
    }
  }

  #remember(versionId: string, kind: HandlerKind): void {
    if (this.#kinds.has(versionId)) return
    if (this.#kinds.size >= LIMITS.rememberedVersions.value) this.#kinds.delete(this.#kinds.keys().next().value as string)
    this.#kinds.set(versionId, kind)
  }

  #track(over: Promise<unknown>): void {
    this.#running.add(over)
    over
      .catch((error: unknown) => this.#deps.log.error({ error: String(error) }, 'an invocation could not be ended in order'))
      .finally(() => this.#running.delete(over))
  }
}

/** The end of one invocation: exactly one REPORT line, one meter record and one slot given back, whichever way it went. */
class Run {
  readonly #deps: InvokerDeps
  readonly #invocation: Invocation
  readonly #version: Version
  readonly #slot: Slot
  readonly #log: InvocationLog
  readonly #lines: PlatformLines
  readonly #startedAt: number
  readonly #onEnd: () => void
  #state: InvocationState = { state: 'admitted' }
  bytesOut = 0
  mark: StartMark | null = null
  /** Its project is in use. */
  use: Disposable | null = null
  /** Null where it stood in no queue. */
  queueMs: number | null = null

  constructor(
    deps: InvokerDeps,
    invocation: Invocation,
    version: Version,
    slot: Slot,
    log: InvocationLog,
    lines: PlatformLines,
    startedAt: number,
    onEnd: () => void,
  ) {
    this.#onEnd = onEnd
    this.#deps = deps
    this.#invocation = invocation
    this.#version = version
    this.#slot = slot
    this.#log = log
    this.#lines = lines
    this.#startedAt = startedAt
  }

  get isOver(): boolean {
    return this.#state.state === 'over'
  }

  tell(event: 'placed' | 'sent' | 'answered'): void {
    this.#state = after(INVOCATION_LIFE, this.#state, event, null)
  }

  end(timing: Timing, { error, maxMemoryMb, othersMs }: CallEnd): Over {
    const { definition } = this.#version
    const outcome = error === null ? 'ok' : outcomeOf(error.type)
    this.#state = after(INVOCATION_LIFE, this.#state, 'ended', { outcome })
    const billedMs = Math.max(1, Math.ceil(timing.durationMs - othersMs + timing.initMs))
    const { durationMs, initMs, cold } = timing
    const message = error?.message ?? ''
    this.#log.end(this.#lines, {
      durationMs,
      billedMs,
      memoryMb: definition.memoryMb,
      maxMemoryMb,
      initMs,
      cold,
      outcome,
      errorType: error?.type ?? null,
      message,
    })
    const record = this.#finish(timing, outcome, billedMs, maxMemoryMb)
    return { ...timing, record, logTail: () => this.#log.lastBytes(), error }
  }

  /** It never came to user code: refused, or lost before the call. Logged, metered as cut and not billed. */
  fail(error: unknown, waitMs: number): void {
    const before = this.#state
    this.#state = after(INVOCATION_LIFE, before, 'failed', null)
    if (this.#state === before) return
    this.#log.flush()
    const reason = error instanceof MayflyError ? `${error.code}: ${error.message}` : 'a fault of this node'
    for (const line of this.#lines.notRun(reason)) this.#log.platform(line)
    this.#finish({ cold: null, waitMs, initMs: 0, durationMs: 0, responseMs: 0 }, 'cut', 0, null)
  }

  #finish(timing: Timing, outcome: MeterRecord['outcome'], billedMs: number, maxMemoryMb: number | null): MeterRecord {
    this.#log.handOn()
    this.#onEnd()
    this.#slot[Symbol.dispose]()
    this.use?.[Symbol.dispose]()
    const record: MeterRecord = {
      invocationId: this.#invocation.id,
      attempt: this.#invocation.attempt ?? 1,
      project: this.#version.project,
      functionName: this.#version.functionName,
      version: this.#version.version,
      startedAt: this.#startedAt,
      outcome,
      durationMs: timing.durationMs,
      responseMs: timing.responseMs,
      billedMs,
      memoryMb: this.#version.definition.memoryMb,
      maxMemoryMb,
      cold: timing.cold,
      queueMs: this.queueMs,
      waitMs: timing.waitMs,
      initMs: timing.initMs,
      bytesIn: this.#invocation.bytesIn(),
      bytesOut: this.bytesOut,
    }
    // What came from the queue is stored with the outcome of its entry as well.
    this.#deps.meter.ended(record, this.mark, this.#invocation.recordedBehind === undefined)
    return record
  }
}

/** What the host says of an end in the load, in the form of those in a call. */
const payloadOf = ({ errorType, payload, told }: LoadError, id: string): Uint8Array =>
  told === null ? payload : Buffer.from(JSON.stringify({ errorType, errorMessage: `RequestId: ${id} Error: ${told}` }))

const outcomeOf = (errorType: string): MeterRecord['outcome'] =>
  errorType === 'Sandbox.Timedout' ? 'timeout' : errorType === 'Runtime.ExitError' ? 'exit' : 'error'

const ROOT = /(?:^|;) *Root=(1-[0-9a-f]{8}-[0-9a-f]{24})/

/** X-Ray's header: the Root that came, or a fresh one. */
export function traceIdOf(given: string | null, nowMs: number): string {
  const root = given === null ? null : ROOT.exec(given)?.[1]
  if (root && given !== null && given.length <= 256 && /^[\x20-\x7e]*$/.test(given)) return given
  const seconds = Math.floor(nowMs / 1000)
    .toString(16)
    .padStart(8, '0')
  const random = (systemRandom(Buffer.allocUnsafe(20)) as Buffer).toString('hex')
  return `Root=1-${seconds}-${random.slice(0, 24)};Parent=${random.slice(24)};Sampled=0`
}
