import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { BodyQueue, WholeBody } from './body-queue.ts'
import { ChunkQueue } from './chunk-queue.ts'
import { Collected } from './collected.ts'
import { Credit, creditOf, encodeCall, FLAG, type Frame, type FrameWriter, MAX_PAYLOAD, ProtocolError, SANDBOX_WINDOW, STREAM_WINDOW, TYPE } from './frames.ts'
import { creditIn, errorIn, headIn, streamIn } from './guest-frames.ts'
import type { Call, CallResult, HandlerKind, LogSink } from './types.ts'

/** Who hears of one call. Plain functions, for a promise each would cost more than the rest of the call. */
export interface CallEnds {
  /** The one outcome; an `http` result and a stream come with their heads. */
  result(result: CallResult): void
  /** A stream failed on its way, as its function said or for its size. Once at most, after its result. */
  broke(error: Failed): void
  /**
   * The guest has nothing pending for the call any more (`waitUntil` included), or the channel ended first: then with
   * its error (ProtocolError, ChannelClosed), and without a result if none came before.
   */
  over(error: Error | null): void
}

/** A call that is sent behind the load of its code. Until somebody listens it keeps what it hears. */
export class CallAhead implements CallEnds {
  readonly call: Call
  /** Set when it is sent. */
  id = 0
  readonly #heard: ((ends: CallEnds) => void)[] = []
  #ends: CallEnds | null = null

  constructor(call: Call) {
    this.call = call
  }
  result(result: CallResult): void {
    this.#tell((ends) => ends.result(result))
  }
  broke(error: Failed): void {
    this.#tell((ends) => ends.broke(error))
  }
  over(error: Error | null): void {
    this.#tell((ends) => ends.over(error))
  }
  /** From now on `ends` hears it, and what was heard before, at once. */
  listen(ends: CallEnds): void {
    this.#ends = ends
    for (const tell of this.#heard.splice(0)) tell(ends)
  }
  #tell(tell: (ends: CallEnds) => void): void {
    if (this.#ends) tell(this.#ends)
    else this.#heard.push(tell)
  }
}

export type Failed = Extract<CallResult, { kind: 'error' }>

/** Of all sandboxes of this process. */
const ofAll = new Collected()

interface Pending {
  readonly id: number
  readonly kind: 'event' | 'http'
  readonly takesStream: boolean
  /** All of it was in its first frame. */
  readonly isWhole: boolean
  readonly log: LogSink
  readonly ends: CallEnds
  readonly outgoing: Credit
  settled: boolean
  /** Pieces of a result that does not fit one frame, or of a stream that nobody takes as one. */
  parts: ChunkQueue | null
  partBytes: number
  /** There is no room for its pieces. */
  isRefused: boolean
  body: BodyQueue | null
  /** The body is a stream that may still fail. */
  open: boolean
}

/** The host's side of the calls of one sandbox: their events and bodies go out, and one outcome of each comes in. */
export class CallSide {
  readonly #writer: FrameWriter
  readonly #calls = new Map<number, Pending>()
  /** Sent before the code was there; null when it is there. */
  #ahead: { readonly pending: Pending; readonly call: CallAhead } | null = null
  readonly #outgoing = new Credit(SANDBOX_WINDOW)
  readonly #collected: ReturnType<Collected['open']>
  #next = 1
  #bodyAllowed = SANDBOX_WINDOW
  #dead: Error | null = null

  constructor(writer: FrameWriter, collected = ofAll) {
    this.#writer = writer
    this.#collected = collected.open()
  }

  /**
   * Sends one call; `ends` hears how it goes, at once when the channel is over already.
   * @param remainingMs  how long the function may still take, for its own clock; the host's deadline is not here
   * @returns its id, for `cancel`
   * @throws MayflyError payload_too_large when URL and headers do not fit a frame; the sandbox never hears of the call
   */
  call(call: Call, remainingMs: number, log: LogSink, ends: CallEnds): number {
    if (this.#dead) {
      ends.over(this.#dead)
      return 0
    }
    const { context } = call
    const head =
      call.kind === 'event'
        ? { kind: 'event', remainingMs, context }
        : { kind: 'http', remainingMs, context, method: call.method, url: call.url, headers: call.headers, hasBody: call.body !== null }
    const text = JSON.stringify(head)
    const headBytes = Buffer.byteLength(text)
    if (4 + headBytes > MAX_PAYLOAD)
      throw new MayflyError('payload_too_large', `URL and headers have ${headBytes} bytes as the function gets them; ${MAX_PAYLOAD - 4} is the limit`)
    const id = this.#next++
    const payload = call.kind === 'event' ? payloadOf(call) : null
    const inline = payload !== null && 4 + headBytes + payload.byteLength <= MAX_PAYLOAD
    const isWhole = inline || (call.kind === 'http' && call.body === null)
    const pending: Pending = {
      id,
      kind: call.kind,
      takesStream: call.kind === 'event' && call.takesStream === true,
      isWhole,
      log,
      ends,
      outgoing: new Credit(STREAM_WINDOW),
      settled: false,
      parts: null,
      partBytes: 0,
      isRefused: false,
      body: null,
      open: false,
    }
    this.#calls.set(id, pending)
    this.#writer.sendFrame(encodeCall(isWhole ? FLAG.fin : 0, id, text, headBytes, inline ? payload : null))
    if (ends instanceof CallAhead) this.#ahead = { pending, call: ends }
    else if (!isWhole) void this.#pump(pending, bodyOf(call))
    return id
  }

  /** Sends a call whose code is about to be loaded; only its head, and of an event what fits beside it. @throws as `call` */
  ahead(call: CallAhead, remainingMs: number, log: LogSink): void {
    call.id = this.call(call.call, remainingMs, log, call)
  }

  /** The code is there, and with it the call runs that was sent ahead. @returns it, or null where there is none or it does not suit the handler: then it never was */
  loaded(kind: HandlerKind): CallAhead | null {
    const ahead = this.#ahead
    this.#ahead = null
    if (ahead === null) return null
    const { pending, call } = ahead
    if ((pending.kind === 'http') !== (kind === 'fetch')) {
      this.#calls.delete(pending.id)
      return null
    }
    if (!pending.isWhole) void this.#pump(pending, bodyOf(call.call))
    return call
  }

  /** Tells the guest that nobody waits for this call any more. An event runs on, unless who reads its stream has left. */
  cancel(id: number): void {
    const pending = this.#calls.get(id)
    if (pending && (pending.kind === 'http' || pending.takesStream)) this.#writer.send(TYPE.cancel, 0, id)
  }

  /** Its reader gets no more of the body that is on its way, and the guest need not send it. */
  abandon(id: number, error: Error): void {
    const pending = this.#calls.get(id)
    if (!pending?.body || pending.body.ended) return
    pending.body.abandon(error)
    this.cancel(id)
  }

  /** Where its lines go; nowhere when it does not run any more. */
  logOf(id: number): LogSink | undefined {
    return this.#calls.get(id)?.log
  }

  /** @throws ProtocolError */
  take(frame: Frame): void {
    if (frame.type === TYPE.credit) {
      const bytes = creditIn(frame)
      this.#outgoing.give(bytes)
      this.#calls.get(frame.stream)?.outgoing.give(bytes)
      return
    }
    const pending = this.#calls.get(frame.stream)
    if (!pending || pending === this.#ahead?.pending) throw new ProtocolError(`a frame for the call ${frame.stream}, which does not run`)
    switch (frame.type) {
      case TYPE.result:
        if (pending.settled || pending.parts || pending.kind !== 'event') throw new ProtocolError('a second or wrong result')
        if (frame.flags & FLAG.fin) this.#settle(pending, { kind: 'event', payload: Buffer.from(frame.payload) })
        else pending.parts = new ChunkQueue()
        break
      case TYPE.callError: {
        const error: Failed = { kind: 'error', ...errorIn(frame) }
        if (pending.takesStream && pending.body && !pending.body.ended) {
          pending.body.end(false)
          if (pending.open) this.#break(pending, error)
        } else if (pending.settled) throw new ProtocolError('a second result')
        else {
          this.#letGo(pending)
          this.#settle(pending, error)
        }
        break
      }
      case TYPE.stream: {
        if (pending.settled || pending.parts || pending.kind !== 'event') throw new ProtocolError('a second or wrong result')
        const contentType = streamIn(frame)
        if (!pending.takesStream) {
          pending.parts = new ChunkQueue()
          break
        }
        pending.body = this.#bodyOf(pending)
        pending.open = true
        this.#settle(pending, { kind: 'stream', contentType, body: pending.body })
        break
      }
      case TYPE.head: {
        if (pending.settled || pending.kind !== 'http') throw new ProtocolError('a second or wrong result')
        const { status, headers, body: whole } = headIn(frame)
        if (whole !== null) {
          this.#settle(pending, { kind: 'http', status, headers, body: new WholeBody(whole) })
          break
        }
        const body = this.#bodyOf(pending)
        pending.body = body
        if (frame.flags & FLAG.fin) body.end(true)
        this.#settle(pending, { kind: 'http', status, headers, body })
        break
      }
      case TYPE.data:
        this.#onData(pending, frame.payload)
        break
      case TYPE.end:
        if (pending.parts) {
          if ((frame.flags & FLAG.fin) === 0) throw new ProtocolError('a result that broke off')
          this.#collected.give(pending.parts.bytes)
          const payload = pending.parts.takeAll()
          pending.parts = null
          if (pending.partBytes > LIMITS.invocationReply.value) this.#settle(pending, tooLarge(LIMITS.invocationReply.value))
          else this.#settle(pending, pending.isRefused ? NO_ROOM : { kind: 'event', payload })
        } else if (pending.body && !pending.body.ended) {
          pending.body.end((frame.flags & FLAG.fin) !== 0)
          pending.open = false
        } else throw new ProtocolError('an end where nothing was open')
        break
      case TYPE.done:
        break
      default:
        throw new ProtocolError(`a frame of type ${frame.type} has no place on the control descriptor`)
    }
    if (frame.type === TYPE.done || frame.flags & FLAG.done) {
      if (!pending.settled) throw new ProtocolError('done before a result')
      if (pending.body && !pending.body.ended) throw new ProtocolError('done before the end of its body')
      this.#calls.delete(pending.id)
      pending.outgoing.close()
      pending.ends.over(null)
    }
  }

  /** The channel is over, and with it every call. */
  end(error: Error): void {
    this.#dead = error
    for (const pending of this.#calls.values()) {
      this.#letGo(pending)
      pending.outgoing.close()
      pending.body?.fail(error)
      pending.ends.over(error)
    }
    this.#calls.clear()
    this.#outgoing.close()
  }

  async #pump(pending: Pending, body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const chunk of body) {
        for (let at = 0; at < chunk.byteLength; at += MAX_PAYLOAD) {
          const piece = chunk.subarray(at, at + MAX_PAYLOAD)
          await pending.outgoing.take(piece.byteLength)
          await this.#outgoing.take(piece.byteLength)
          await this.#writer.room()
          if (this.#dead || !this.#calls.has(pending.id)) {
            // What was taken for a piece that is not sent nobody will grant again.
            this.#outgoing.give(piece.byteLength)
            return
          }
          this.#writer.sendData(TYPE.data, 0, pending.id, piece)
        }
      }
      if (!this.#dead && this.#calls.has(pending.id)) this.#writer.sendData(TYPE.end, FLAG.fin, pending.id)
    } catch {
      // The sender of the body broke off: the guest sees its stream end without its fin.
      if (!this.#dead && this.#calls.has(pending.id)) this.#writer.sendData(TYPE.end, 0, pending.id)
    }
  }

  #onData(pending: Pending, payload: Buffer): void {
    if (pending.parts) {
      pending.partBytes += payload.length
      this.#writer.send(TYPE.credit, 0, pending.id, creditOf(payload.length))
      // Past the limit the pieces are let go: the caller is told, the guest is let finish.
      pending.isRefused ||= pending.partBytes > LIMITS.invocationReply.value || !this.#collected.take(payload.length)
      if (pending.isRefused) this.#collected.give(pending.parts.clear())
      else pending.parts.push(payload)
      return
    }
    if (!pending.body || pending.body.ended) throw new ProtocolError('data where no body is open')
    if (pending.body.heldBytes + payload.length > STREAM_WINDOW) throw new ProtocolError('data beyond the credit of its stream')
    this.#bodyAllowed -= payload.length
    if (this.#bodyAllowed < 0) throw new ProtocolError('data beyond the credit of the sandbox')
    pending.body.push(payload)
    if (pending.open && pending.body.receivedBytes > LIMITS.streamedReply.value) {
      this.#break(pending, tooLarge(LIMITS.streamedReply.value))
      this.abandon(pending.id, new Error('the stream is larger than it may be'))
    }
  }

  #letGo(pending: Pending): void {
    if (pending.parts) this.#collected.give(pending.parts.clear())
    pending.parts = null
  }

  #consumed(pending: Pending, bytes: number): void {
    this.#bodyAllowed += bytes
    if (!this.#dead) this.#writer.send(TYPE.credit, 0, pending.id, creditOf(bytes))
  }

  #bodyOf(pending: Pending): BodyQueue {
    return new BodyQueue(
      (bytes) => this.#consumed(pending, bytes),
      () => this.cancel(pending.id),
    )
  }

  #break(pending: Pending, error: Failed): void {
    pending.open = false
    pending.ends.broke(error)
  }

  #settle(pending: Pending, result: CallResult): void {
    pending.settled = true
    pending.ends.result(result)
  }
}

const bodyOf = (call: Call): Iterable<Uint8Array> | AsyncIterable<Uint8Array> => (call.kind === 'event' ? [payloadOf(call)] : (call.body ?? []))
const payloadOf = ({ payload }: Extract<Call, { kind: 'event' }>): Uint8Array => (typeof payload === 'function' ? payload() : payload)

const NO_ROOM: Failed = {
  kind: 'error',
  errorType: 'Function.ResponseSizeTooLarge',
  payload: Buffer.from(
    JSON.stringify({
      errorMessage: 'The responses of calls that run beside each other take more memory than the node has for them.',
      errorType: 'Function.ResponseSizeTooLarge',
    }),
  ),
}
const tooLarge = (bytes: number): Failed => ({
  kind: 'error',
  errorType: 'Function.ResponseSizeTooLarge',
  payload: Buffer.from(
    JSON.stringify({
      errorMessage: `Response payload size exceeded maximum allowed payload size (${bytes} bytes).`,
      errorType: 'Function.ResponseSizeTooLarge',
    }),
  ),
})
