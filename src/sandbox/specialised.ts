import { MayflyError } from '../core/errors.ts'
import type { Clock } from '../lib/clock.ts'
import { type Channel, ChannelClosed, ProtocolError } from './channel.ts'
import { afterCallBegan, afterCallEnded, afterDrain, afterFreezeAsked, afterFrozen, type SandboxState } from './state.ts'
import type { Call, CallResult, ColdReason, HandlerKind, LogSink, SandboxLease, SandboxProcess, SandboxSpec } from './types.ts'

type End = { readonly maxMemoryMb: number | null; readonly error: { readonly type: string; readonly message: string } | null }

/** One sandbox that serves one version, and the one owner of its state. */
export class Specialised {
  readonly id: string
  readonly spec: SandboxSpec
  readonly handlerKind: HandlerKind
  readonly process: SandboxProcess
  readonly channel: Channel
  readonly #clock: Clock
  readonly #depths: number[]
  readonly #onGone: (sandbox: Specialised) => void
  #state: SandboxState
  #freezing: Promise<void> | null = null
  #ending: Promise<void> | null = null

  constructor(parts: {
    spec: SandboxSpec
    handlerKind: HandlerKind
    process: SandboxProcess
    channel: Channel
    clock: Clock
    depths: number[]
    onGone: (sandbox: Specialised) => void
  }) {
    this.id = parts.process.id
    this.spec = parts.spec
    this.handlerKind = parts.handlerKind
    this.process = parts.process
    this.channel = parts.channel
    this.#clock = parts.clock
    this.#depths = parts.depths
    this.#onGone = parts.onGone
    this.#state = { state: 'ready', sinceMs: parts.clock.monotonic() }
    void this.channel.failure.then(() => this.end())
  }

  get state(): SandboxState {
    return this.#state
  }

  /** Takes the right to one call. Thaws first when it stands frozen, or on its way there. */
  async begin(): Promise<void> {
    const before = this.#state.state
    this.#state = afterCallBegan(this.#state)
    if (before === 'freezing') await this.#freezing
    if (before === 'freezing' || before === 'frozen') await this.process.thaw()
  }

  /** Gives the right back. */
  finish(): void {
    this.#state = afterCallEnded(this.#state, this.#clock.monotonic())
    if (this.#state.state === 'gone' || this.spec.reuse === 'never') void this.end()
  }

  /** Stops it where it stands, if nothing runs in it. */
  async freeze(): Promise<void> {
    if (this.#state.state !== 'ready') return
    this.#state = afterFreezeAsked(this.#state)
    this.#freezing = this.process.freeze().catch(() => {})
    await this.#freezing
    const memory = await this.process.memory()
    this.#state = afterFrozen(this.#state, memory?.currentMb ?? this.spec.memoryMb)
  }

  /** No new calls; ends when the last is over. */
  drain(): void {
    this.#state = afterDrain(this.#state)
    if (this.#state.state === 'gone') void this.end()
  }

  /** Ends it now, whatever runs in it. Idempotent. */
  end(): Promise<void> {
    if (this.#ending) return this.#ending
    this.#state = { state: 'gone' }
    this.#ending = (async () => {
      this.#onGone(this)
      await this.process.kill()
      this.channel.close()
    })()
    return this.#ending
  }

  /** The right to one call, taken by `begin`. */
  lease(found: { cold: ColdReason | null; waitMs: number; initMs: number }): SandboxLease {
    const finished = Promise.withResolvers<End>()
    let ran = false
    let given = false
    const giveBack = async () => {
      if (given) return
      given = true
      this.finish()
    }
    return {
      sandboxId: this.id,
      handlerKind: this.handlerKind,
      ...found,
      finished: finished.promise,
      run: async (call, log, signal) => {
        ran = true
        return await this.#run(call, log, signal, finished.resolve)
      },
      [Symbol.asyncDispose]: async () => {
        if (!ran) finished.resolve({ maxMemoryMb: null, error: null })
        await giveBack()
      },
    }
  }

  async #run(call: Call, log: LogSink, signal: AbortSignal, finished: (end: End) => void): Promise<CallResult> {
    const { invocationId, depth } = call.context
    this.#depths.push(depth)
    const sent = this.channel.call(call, this.spec.timeoutMs, log)
    const late = Promise.withResolvers<Extract<CallResult, { kind: 'error' }>>()
    const timer = this.#clock.timer(this.spec.timeoutMs, () => late.resolve(this.#timedOut(invocationId)))
    const onLeave = () => this.channel.cancel(sent.id)
    signal.addEventListener('abort', onLeave)
    if (signal.aborted) onLeave()
    // The error comes by this call's own promise: a reaction on the channel's would stay for as long as the sandbox lives.
    const outcome = Promise.race([sent.result.catch((error: Error) => this.#lost(error, invocationId)), late.promise])
    const over = async () => {
      const result = await outcome.catch(() => sandboxLost)
      let error = result.kind === 'error' ? result : null
      if (error === null || !this.#isGone) {
        // An http body, or waitUntil, may go on; the deadline holds for them too.
        const end = await Promise.race([sent.over, late.promise])
        if (end instanceof Error) error ??= await this.#lost(end, invocationId).catch(() => sandboxLost)
        else if (end !== null) error = end
      }
      timer[Symbol.dispose]()
      signal.removeEventListener('abort', onLeave)
      this.#depths.splice(this.#depths.indexOf(depth), 1)
      const memory = this.#isGone ? null : await this.process.memory()
      finished({
        maxMemoryMb: memory === null ? null : Math.min(memory.peakMb, this.spec.memoryMb),
        error: error === null ? null : { type: error.errorType, message: messageFor(error) },
      })
    }
    void over()
    return await outcome
  }

  get #isGone(): boolean {
    return this.#state.state === 'gone'
  }

  #timedOut(invocationId: string): Extract<CallResult, { kind: 'error' }> {
    // With one call at a time it can only be this call that does not end; with several the others may finish.
    if (this.spec.concurrency === 1) void this.end()
    else this.drain()
    return failed('Sandbox.Timedout', `RequestId: ${invocationId} Error: Task timed out after ${(this.spec.timeoutMs / 1000).toFixed(2)} seconds`)
  }

  async #lost(error: Error, invocationId: string): Promise<Extract<CallResult, { kind: 'error' }>> {
    void this.end()
    // Whose fault it was cannot be told where several calls shared the process: each may be sent again.
    if (this.spec.concurrency > 1) throw new MayflyError('sandbox_lost', 'the sandbox that ran this call and others ended')
    if (error instanceof ProtocolError)
      return failed('Runtime.ProtocolError', `RequestId: ${invocationId} Error: The runtime broke the protocol: ${error.message}`)
    const exit = error instanceof ChannelClosed ? await this.process.exited : { code: null, signal: 'SIGKILL', outOfMemory: false }
    const code = this.channel.exitCode ?? exit.code
    const how =
      exit.outOfMemory || code === null ? ' with error: signal: killed' : code === 0 ? ' without providing a reason' : ` with error: exit status ${code}`
    return failed('Runtime.ExitError', `RequestId: ${invocationId} Error: Runtime exited${how}`)
  }
}

/** For log and meter: the caller gets the error of that name. */
const sandboxLost = failed('Sandbox.Lost', 'Error: The sandbox that ran this call and others ended')

function failed(errorType: string, errorMessage: string): Extract<CallResult, { kind: 'error' }> {
  return { kind: 'error', errorType, payload: Buffer.from(JSON.stringify({ errorType, errorMessage })) }
}

/** What the log says of an end that the function did not tell of itself. */
function messageFor(error: { readonly errorType: string; readonly payload: Uint8Array }): string {
  if (!/^(Sandbox|Runtime\.(Exit|Protocol))/.test(error.errorType)) return ''
  const told = JSON.parse(Buffer.from(error.payload).toString('utf8')) as { errorMessage: string }
  return told.errorMessage.replace(/^RequestId: \S+ (Error: )?/, '')
}
