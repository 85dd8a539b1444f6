import { MayflyError } from '../core/errors.ts'
import type { Clock } from '../lib/clock.ts'
import type { Leaving } from '../lib/leaving.ts'
import { within } from '../lib/within.ts'
import { BusyShares } from './busy-shares.ts'
import { type CallAhead, type CallEnds, type Channel, ChannelClosed, type Failed, ProtocolError } from './channel.ts'
import type { Depths } from './depths.ts'
import { exitOf, howItEnded, messageIn, whyItEnded } from './exits.ts'
import type { HeldLog } from './held-log.ts'
import { IdleWork } from './idle-work.ts'
import type { SandboxLife, SandboxState } from './state.ts'
import type { Call, CallEnd, CallResult, ColdReason, Ending, HandlerKind, LogSink, SandboxLease, SandboxProcess, SandboxSpec } from './types.ts'

/**
 * The peak of memory is asked again after a call that took longer than this, or when it was not asked for MEMORY_AGE_MS.
 * Calls that ran beside each other take what the one before them was told.
 */
const EXITED = 'Runtime.ExitError'
const SHORT_CALL_MS = 5
const MEMORY_AGE_MS = 100

/** One sandbox that serves one version, and the one who tells of what happens in its life from there on. */
export class Specialised {
  readonly id: string
  readonly spec: SandboxSpec
  readonly handlerKind: HandlerKind
  readonly process: SandboxProcess
  readonly channel: Channel
  /** What it printed when it was loaded ahead of any call. */
  readonly printed: HeldLog | null
  readonly #clock: Clock
  readonly #depths: Depths
  readonly #shares: BusyShares
  readonly #idleWork: IdleWork
  readonly #onFree: (sandbox: Specialised) => void
  readonly #onGone: (sandbox: Specialised, killed: Promise<void>, why: Ending | null) => void
  readonly #life: SandboxLife
  #freezing: Promise<void> | null = null
  #thawing: Promise<void> | null = null
  #ending: Promise<void> | null = null
  #drained: Ending | null = null
  /** Somebody looks into it: it stays as it is, and no call of it is too late. */
  #isInspected = false
  /** Gives those calls their time anew whose time is over meanwhile. */
  readonly #late = new Set<() => void>()
  /** How many calls were sent to it. */
  calls = 0
  /** How long its calls take, the last ones counting most; null before the first has ended. */
  callMs: number | null = null
  /** Of the calls that run in it, in the order in which they began. */
  readonly #logs = new Set<LogSink>()
  /** The one that began last, once it was looked for; null when it has ended. */
  #latest: LogSink | null = null
  /** Those of them to which something was written past the runtime: more may be under way when their call ends. */
  readonly #overheard = new Set<LogSink>()
  #memoryAt = Number.NEGATIVE_INFINITY
  /** For the log, behind the words that the caller gets. */
  #whyItEnded = ''
  #ranOutOfMemory = false
  #peakMb: number | null = null

  constructor(parts: {
    spec: SandboxSpec
    handlerKind: HandlerKind
    process: SandboxProcess
    channel: Channel
    /** It is being loaded. */
    life: SandboxLife
    clock: Clock
    depths: Depths
    printed: HeldLog | null
    /** It can take another call now. */
    onFree: (sandbox: Specialised) => void
    /** `killed` resolves when nothing of it is left; `why` is null when the node stops. */
    onGone: (sandbox: Specialised, killed: Promise<void>, why: Ending | null) => void
  }) {
    this.id = parts.process.id
    this.spec = parts.spec
    this.handlerKind = parts.handlerKind
    this.process = parts.process
    this.channel = parts.channel
    this.printed = parts.printed
    this.#clock = parts.clock
    this.#depths = parts.depths
    this.#shares = new BusyShares(parts.clock)
    this.#idleWork = new IdleWork(() => this.process.cpuMs?.() ?? null)
    this.#onFree = parts.onFree
    this.#onGone = parts.onGone
    this.#life = parts.life
    this.#life.tell('loaded', { nowMs: parts.clock.monotonic() })
    this.process.hear((bytes) => this.#overhear(bytes))
    void this.channel.failure.then(() => this.end('lost'))
  }

  get state(): SandboxState {
    return this.#life.now
  }

  get isInspected(): boolean {
    return this.#isInspected
  }

  /** For as long as somebody looks into it. Then it ends with its last call, as nobody knows what was changed in it. */
  inspect(): Disposable {
    this.#isInspected = true
    return {
      [Symbol.dispose]: () => {
        this.#timeRuns()
        this.drain('retired')
      },
    }
  }

  #timeRuns(): void {
    this.#isInspected = false
    for (const anew of this.#late) anew()
    this.#late.clear()
  }

  /** Since when it could be frozen; null while it cannot. */
  get idleSinceMs(): number | null {
    const { now } = this.#life
    return now.state === 'ready' ? now.sinceMs : null
  }

  /**
   * Takes the right to one call. Thaws first when it stands frozen, or on its way there.
   * @returns false when it does not come back to life: it is being ended, and the call needs another
   */
  begin(): boolean | Promise<boolean> {
    const before = this.#life.now.state
    if (before === 'ready') this.#idleWork.end()
    this.#life.tell('called', null)
    if (before === 'freezing' || before === 'frozen') this.#thawing = this.#thaw()
    // A call that joins one that waits for the thaw waits too.
    return this.#thawing === null || this.#thawing.then(() => !this.#life.isGone)
  }

  async #thaw(): Promise<void> {
    try {
      await this.#freezing
      await this.process.thaw()
    } catch {
      void this.end('lost')
    } finally {
      this.#thawing = null
    }
  }

  /** Gives the right back; `ran` is false where nothing came of it. */
  finish(ran = true): void {
    const nowMs = this.#clock.monotonic()
    this.#life.tell('finished', { nowMs })
    const isUsed = this.spec.reuse === 'never' && !(this.#isInspected && this.calls === 0)
    // What was sent ahead runs in it for nobody.
    const isTaken = !ran && this.channel.ahead !== null
    if (this.#life.isGone || isUsed || isTaken) return void this.end(this.#drained ?? 'used')
    if (this.#life.now.state === 'ready') this.#idleWork.begin(nowMs)
    this.#onFree(this)
    // Unless a call that waited has it by now.
    if (this.#idleWork.isSeen) void this.freeze()
  }

  /** Stops it where it stands, if nothing runs in it. */
  async freeze(): Promise<void> {
    if (this.#life.now.state !== 'ready' || this.#isInspected) return
    this.#idleWork.end()
    this.#life.tell('cooled', null)
    this.#freezing = this.process.freeze().catch(() => {})
    await this.#freezing
    const memory = this.process.memory()
    this.#life.tell('froze', { chargedMb: memory?.currentMb ?? this.spec.memoryMb })
  }

  /** No new calls; ends when the last is over. */
  drain(why: Ending): void {
    this.#drained ??= why
    // Of a version that is over nobody waits for who looks.
    if (this.#isInspected) this.#timeRuns()
    this.#life.tell('drained', null)
    if (this.#life.isGone) void this.end(why)
  }

  /** Ends it now, whatever runs in it; what waits in it for its end is told first, and has a moment. Idempotent. */
  end(why: Ending | null): Promise<void> {
    if (this.#ending) return this.#ending
    this.#life.tell('ended', null)
    const killed = this.#tellEnd(why).then(() => this.process.kill())
    this.#ending = (async () => {
      this.#onGone(this, killed, why)
      // Where something of it stays, who was told of its end says so in the log; nobody here could do more.
      await killed.catch(() => {})
      this.channel.close()
    })()
    return this.#ending
  }

  async #tellEnd(why: Ending | null): Promise<void> {
    // One that serves a single call is ended too often to be waited for.
    const ms = this.spec.reuse === 'never' ? 0 : this.channel.shutdownMs
    if (ms === 0 || this.channel.isOver) return
    await (this.#thawing ?? this.#freezing)
    await this.process.thaw().catch(() => {})
    this.channel.shutDown(why === 'timeout' ? 'timeout' : 'spindown', ms)
    await within(this.#clock, ms, this.channel.failure)
  }

  /** The right to one call, taken by `begin`. */
  lease(found: Found): SandboxLease {
    return new Lease(this, found)
  }

  /** Sends the call and holds its deadline, of which `spentMs` are over; `heard` gets its outcome, then its end, each once. @throws MayflyError payload_too_large */
  run(call: Call, log: LogSink, signal: Leaving, heard: Heard, spentMs: number): void {
    const { invocationId, depth } = call.context
    const began = this.#clock.monotonic()
    const leftMs = Math.max(0, this.spec.timeoutMs - spentMs)
    let error: Failed | null = null
    let answered = false
    let concluded = false
    // Of a call that ran out of time: with its end there is nothing left to measure.
    let lastMb: number | null = null
    const answer = (result: CallResult) => {
      // What comes too late nobody reads.
      if (answered) return this.channel.abandon(id, new Error('the call is over'))
      answered = true
      if (result.kind === 'error') error = result
      heard.result(result)
    }
    const conclude = (last: Failed | null) => {
      if (concluded) return
      concluded = true
      timer[Symbol.dispose]()
      if (this.#late.size > 0) this.#late.delete(anew)
      signal.removeEventListener('abort', onLeave)
      this.#depths.ended(depth)
      this.#logs.delete(log)
      if (this.#latest === log) this.#latest = null
      this.#overheard.delete(log)
      const [tookMs, own] = [this.#clock.monotonic() - began, share()]
      this.callMs = this.callMs === null ? tookMs : this.callMs + (tookMs - this.callMs) / 8
      heard.end({
        maxMemoryMb: lastMb ?? this.#maxMemoryMb(began),
        // Where there can be no others, not by the error of a sum either.
        othersMs: this.spec.concurrency === 1 ? 0 : Math.max(0, tookMs - own),
        error:
          last === null
            ? null
            : { type: last.errorType, message: messageFor(last) + (last.errorType === EXITED ? this.#whyItEnded : ''), payload: last.payload },
      })
    }
    const ends: CallEnds = {
      result: answer,
      broke: (failure) => {
        error = failure
      },
      over: (ended) => {
        if (concluded) return
        if (ended === null) {
          // What was written before its end may be on its way: the first call is waited for with it, others where there was any.
          if (!this.#overheard.delete(log) && this.calls > 1) return conclude(error)
          timer[Symbol.dispose]()
          return void this.process.heardOut().then(() => conclude(error))
        }
        this.#lost(ended, invocationId).then(
          (lost) => {
            answer(lost)
            conclude(error ?? lost)
          },
          (shared: unknown) => {
            if (!answered) heard.failed(shared)
            answered = true
            conclude(error ?? sandboxLost)
          },
        )
      },
    }
    const sent = this.#takeAhead(call)
    // First, for it may refuse the call: then nothing has begun. It tells nothing before this turn is over.
    const id = sent?.id ?? this.channel.call(call, leftMs, log, ends)
    const expire = () => {
      if (concluded) return
      if (this.#isInspected) return void this.#late.add(anew)
      lastMb = this.#maxMemoryMb(began)
      const late = this.#timedOut(invocationId)
      answer(late)
      conclude(late)
      this.channel.abandon(id, new Error('the function has run out of time'))
    }
    const anew = () => {
      timer = this.#clock.timer(this.spec.timeoutMs, expire)
    }
    let timer = this.#clock.timer(leftMs, expire)
    const onLeave = () => this.channel.cancel(id)
    this.calls++
    const share = this.#shares.begin()
    this.#depths.began(depth)
    this.#logs.add(log)
    this.#latest = log
    signal.addEventListener('abort', onLeave)
    if (signal.aborted) onLeave()
    sent?.listen(ends)
  }

  /** The call that runs in it already, if it is this one. */
  #takeAhead(call: Call): CallAhead | null {
    const { ahead } = this.channel
    if (ahead?.call !== call) return null
    this.channel.ahead = null
    return ahead
  }

  #maxMemoryMb(began: number): number | null {
    if (this.#life.isGone) return this.#ranOutOfMemory ? this.spec.memoryMb : null
    const now = this.#clock.monotonic()
    const age = now - this.#memoryAt
    if ((now - began > SHORT_CALL_MS && age > SHORT_CALL_MS) || age > MEMORY_AGE_MS) {
      const memory = this.process.memory()
      this.#peakMb = memory === null ? null : Math.min(memory.peakMb, this.spec.memoryMb)
      this.#memoryAt = now
    }
    return this.#peakMb
  }

  #timedOut(invocationId: string): Failed {
    // With one call at a time it can only be this call that does not end; with several the others may finish.
    if (this.spec.concurrency === 1) void this.end('timeout')
    else this.drain('timeout')
    return failed('Sandbox.Timedout', `RequestId: ${invocationId} Error: Task timed out after ${(this.spec.timeoutMs / 1000).toFixed(2)} seconds`)
  }

  /** What is written past its runtime, by a program that it started or an engine at its end, is of the call that began last. */
  #overhear(bytes: Uint8Array): void {
    const log = this.#lastLog() ?? (this.calls === 0 ? this.printed : null)
    if (!log) return
    log.write('stderr', bytes)
    if (this.#logs.has(log)) this.#overheard.add(log)
  }

  /** Looked for once after each end of it: what is written past a runtime comes in many pieces. */
  #lastLog(): LogSink | null {
    if (this.#latest === null) for (const log of this.#logs) this.#latest = log
    return this.#latest
  }

  async #lost(error: Error, invocationId: string): Promise<Failed> {
    void this.end('lost')
    // Whose fault it was cannot be told where several calls shared the process: each may be sent again.
    if (this.spec.concurrency > 1) throw new MayflyError('sandbox_lost', 'the sandbox that ran this call and others ended')
    if (error instanceof ProtocolError)
      return failed('Runtime.ProtocolError', `RequestId: ${invocationId} Error: The runtime broke the protocol: ${error.message}`)
    const exit = error instanceof ChannelClosed ? await this.process.exited : { code: null, signal: 'SIGKILL', outOfMemory: false }
    const said = this.channel.exit ?? exitOf(exit)
    this.#ranOutOfMemory = exit.outOfMemory
    this.#whyItEnded = whyItEnded(said, exit, this.spec.memoryMb)
    return failed(EXITED, `RequestId: ${invocationId} Error: ${howItEnded(said)}`)
  }
}

/** How a call came to its sandbox. */
export interface Found {
  readonly cold: ColdReason | null
  readonly waitMs: number
  readonly initMs: number
  readonly spentMs?: number
}

interface Heard {
  result(result: CallResult): void
  /** There is no result to be had: the call may be sent again. */
  failed(error: unknown): void
  end(end: CallEnd): void
}

/** One call's right to a sandbox. Its end is known as soon as it happens, so that nobody waits for what is over. */
class Lease implements SandboxLease {
  readonly #sandbox: Specialised
  readonly cold: ColdReason | null
  readonly waitMs: number
  readonly initMs: number
  readonly spentMs: number
  ended: CallEnd | null = null
  #finished: PromiseWithResolvers<CallEnd> | null = null
  #ran = false
  #given = false

  constructor(sandbox: Specialised, found: Found) {
    this.#sandbox = sandbox
    this.cold = found.cold
    this.waitMs = found.waitMs
    this.initMs = found.initMs
    this.spentMs = found.spentMs ?? 0
  }
  get sandboxId(): string {
    return this.#sandbox.id
  }
  get handlerKind(): HandlerKind {
    return this.#sandbox.handlerKind
  }
  get finished(): Promise<CallEnd> {
    if (this.ended) return Promise.resolve(this.ended)
    this.#finished ??= Promise.withResolvers()
    return this.#finished.promise
  }
  run(call: Call, log: LogSink, signal: Leaving): Promise<CallResult> {
    return new Promise((result, failed) => {
      this.#sandbox.run(call, log, signal, { result, failed, end: (end) => this.#end(end) }, this.spentMs)
      this.#ran = true
    })
  }
  [Symbol.dispose](): void {
    if (!this.#ran && this.ended === null) this.#end({ maxMemoryMb: null, othersMs: 0, error: null })
    if (this.#given) return
    this.#given = true
    this.#sandbox.finish(this.#ran)
  }
  #end(end: CallEnd): void {
    this.ended = end
    this.#finished?.resolve(end)
  }
}

/** For log and meter: the caller gets the error of that name. */
const sandboxLost = failed('Sandbox.Lost', 'Error: The sandbox that ran this call and others ended')

function failed(errorType: string, errorMessage: string): Failed {
  return { kind: 'error', errorType, payload: Buffer.from(JSON.stringify({ errorType, errorMessage })) }
}

/** What the log says of an end that the function did not tell of itself. */
function messageFor(error: { readonly errorType: string; readonly payload: Uint8Array }): string {
  if (!/^(Sandbox|Runtime\.(Exit|Protocol))/.test(error.errorType)) return ''
  return messageIn(error.payload).replace(/^RequestId: \S+ (Error: )?/, '')
}
