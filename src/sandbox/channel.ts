import type { Duplex } from 'node:stream'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { BodyQueue } from './body-queue.ts'
import { ChunkQueue } from './chunk-queue.ts'
import {
  Credit,
  creditOf,
  FLAG,
  type Frame,
  FrameDecoder,
  FrameWriter,
  LOG_WINDOW,
  MAX_PAYLOAD,
  PROTOCOL_VERSION,
  ProtocolError,
  SANDBOX_WINDOW,
  STREAM_WINDOW,
  TYPE,
  UNREAD_BYTES,
} from './frames.ts'
import type { Exit } from './exits.ts'
import { RelaySide } from './relay-side.ts'
import { type Call, type CallResult, type HandlerKind, LoadError, type LogSink, type VersionContext } from './types.ts'

export { ProtocolError } from './frames.ts'

/** The other side went away in order of its own: its process ended or it closed the descriptor. */
export class ChannelClosed extends Error {
  constructor() {
    super('the sandbox closed its channel')
    this.name = 'ChannelClosed'
  }
}

export interface SpecialiseFields {
  readonly handler: string
  /** `{relay}` in a value is replaced inside by the relay's origin. */
  readonly environment: Readonly<Record<string, string>>
  readonly context: VersionContext
  readonly memoryMb: number
  readonly codePath: string
  readonly cachePath: string | null
  readonly concurrency: number
  readonly relayPorts: readonly number[]
  /** In a build sandbox: write the compile cache down once the code is loaded. */
  readonly build: boolean
}

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

export type Failed = Extract<CallResult, { kind: 'error' }>

interface Pending {
  readonly id: number
  readonly kind: 'event' | 'http'
  readonly takesStream: boolean
  readonly log: LogSink
  readonly ends: CallEnds
  readonly outgoing: Credit
  settled: boolean
  /** Pieces of a result that does not fit one frame, or of a stream that nobody takes as one. */
  parts: ChunkQueue | null
  partBytes: number
  body: BodyQueue | null
  /** The body is a stream that may still fail. */
  open: boolean
}

const LOADING = 0
/** As on Lambda, where external extensions are there. */
const MAX_SHUTDOWN_MS = 2_000

/** Why a sandbox ends, in Lambda's words for its extensions. */
export type EndReason = 'spindown' | 'timeout' | 'failure'

const decodeJson = (payload: Buffer): unknown => {
  try {
    return JSON.parse(payload.toString('utf8'))
  } catch {
    throw new ProtocolError('a head is not JSON')
  }
}
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * The host's side of the two descriptors of one sandbox. Everything that comes in is hostile until it was checked:
 * an unknown stream, a second result, bytes beyond credit or a head of the wrong form end the channel with a
 * ProtocolError, and every call that runs with it.
 */
export class Channel {
  readonly #control: Duplex
  readonly #relay: Duplex
  readonly #writer: FrameWriter
  readonly #calls = new Map<number, Pending>()
  readonly #relays: RelaySide
  readonly #hello = Promise.withResolvers<Record<string, unknown>>()
  readonly #outgoing = new Credit(SANDBOX_WINDOW)
  #loading: { resolve: (kind: HandlerKind) => void; reject: (error: Error) => void; log: LogSink } | null = null
  #warming: PromiseWithResolvers<void> | null = null
  /** How long the guest wants to hear of its end before it comes; 0 where nothing in it waits for that. */
  shutdownMs = 0
  /** How the guest said that it ends; null when it said nothing, as when it is killed. */
  exit: Exit | null = null
  #nextCall = 1
  #logAllowed = LOG_WINDOW
  #bodyAllowed = SANDBOX_WINDOW
  #helloSeen = false
  #dead: Error | null = null
  readonly #failure = Promise.withResolvers<Error>()

  constructor(process: { readonly control: Duplex; readonly relay: Duplex }, onRelay: (connection: Duplex) => void) {
    this.#control = process.control
    this.#relay = process.relay
    this.#writer = new FrameWriter(this.#control)
    this.#relays = new RelaySide(this.#relay, onRelay)
    this.#hello.promise.catch(() => {})
    this.#listen(this.#control, (frame) => this.#onControl(frame))
    this.#listen(this.#relay, (frame) => this.#relays.take(frame))
  }

  /** Resolves when the channel is over: a ProtocolError, or ChannelClosed. Never rejects. */
  get failure(): Promise<Error> {
    return this.#failure.promise
  }

  /** The guest's first frame. @throws ProtocolError for another version; ChannelClosed; the signal's reason */
  async hello(signal: AbortSignal): Promise<Record<string, unknown>> {
    const stop = Promise.withResolvers<never>()
    const onAbort = () => stop.reject(signal.reason)
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
    try {
      return await Promise.race([this.#hello.promise, stop.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Runs dummy rounds through the guest's real code path, so that it is hot before the pool takes it. */
  warm(rounds: number): Promise<void> {
    if (this.#dead) return Promise.reject(this.#dead)
    this.#warming = Promise.withResolvers<void>()
    this.#writer.send(TYPE.warm, 0, 0, Buffer.from(JSON.stringify({ rounds })))
    return this.#warming.promise
  }

  /** Tells the guest what it will become: it is awake and has its environment by the time that its code is in place. */
  announce(fields: SpecialiseFields): void {
    const bytes = Buffer.from(JSON.stringify(fields))
    for (let at = 0; at < bytes.length; at += MAX_PAYLOAD) {
      this.#writer.send(TYPE.specialise, at + MAX_PAYLOAD >= bytes.length ? FLAG.done : 0, LOADING, bytes.subarray(at, at + MAX_PAYLOAD))
    }
    this.#writer.flush()
  }

  /** Lets the guest load what was announced. @throws LoadError with Lambda's JSON when the code does not load */
  load(log: LogSink): Promise<HandlerKind> {
    if (this.#dead) return Promise.reject(this.#dead)
    return new Promise((resolve, reject) => {
      this.#loading = { resolve, reject, log }
      this.#writer.send(TYPE.specialise, FLAG.fin, LOADING)
      this.#writer.flush()
    })
  }

  specialise(fields: SpecialiseFields, log: LogSink): Promise<HandlerKind> {
    this.announce(fields)
    return this.load(log)
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
    const headBytes = Buffer.from(JSON.stringify(head))
    if (4 + headBytes.length > MAX_PAYLOAD)
      throw new MayflyError('payload_too_large', `URL and headers have ${headBytes.length} bytes as the function gets them; ${MAX_PAYLOAD - 4} is the limit`)
    const id = this.#nextCall++
    const pending: Pending = {
      id,
      kind: call.kind,
      takesStream: call.kind === 'event' && call.takesStream === true,
      log,
      ends,
      outgoing: new Credit(STREAM_WINDOW),
      settled: false,
      parts: null,
      partBytes: 0,
      body: null,
      open: false,
    }
    this.#calls.set(id, pending)
    const inline = call.kind === 'event' && 4 + headBytes.length + call.payload.byteLength <= MAX_PAYLOAD
    const first = Buffer.allocUnsafe(4 + headBytes.length + (inline ? call.payload.byteLength : 0))
    first.writeUInt32LE(headBytes.length, 0)
    first.set(headBytes, 4)
    if (inline) first.set(call.payload, 4 + headBytes.length)
    const complete = inline || (call.kind === 'http' && call.body === null)
    this.#writer.send(TYPE.call, complete ? FLAG.fin : 0, id, first)
    if (!complete) void this.#pump(pending, call.kind === 'event' ? [call.payload] : (call.body as AsyncIterable<Uint8Array>))
    return id
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

  get isOver(): boolean {
    return this.#dead !== null
  }

  /** Tells the guest to end within so many milliseconds: its extensions hear why. */
  shutDown(reason: EndReason, ms: number): void {
    if (!this.#dead) this.#writer.send(TYPE.shutdown, 0, 0, Buffer.from(JSON.stringify({ reason, ms })))
  }

  /** Ends the channel from our side; the guest exits at the end of its descriptor. */
  close(): void {
    this.#end(new ChannelClosed())
  }

  #listen(socket: Duplex, take: (frame: Frame) => void): void {
    const decoder = new FrameDecoder()
    socket.on('data', (chunk: Buffer) => {
      if (this.#dead) return
      try {
        decoder.push(chunk, take)
        if (socket.writableLength > UNREAD_BYTES) throw new ProtocolError(`it does not read the ${socket.writableLength} bytes that it is told`)
      } catch (error) {
        this.#end(error instanceof ProtocolError ? error : new ProtocolError(error instanceof Error ? error.message : 'a frame could not be taken'))
      }
    })
    socket.on('error', () => this.#end(new ChannelClosed()))
    socket.on('end', () => this.#end(new ChannelClosed()))
    socket.on('close', () => this.#end(new ChannelClosed()))
  }

  #end(error: Error): void {
    if (this.#dead) return
    this.#dead = error
    for (const pending of this.#calls.values()) {
      pending.outgoing.close()
      pending.body?.fail(error)
      pending.ends.over(error)
    }
    this.#calls.clear()
    this.#relays.end()
    this.#loading?.reject(error)
    this.#warming?.reject(error)
    this.#hello.reject(error)
    this.#outgoing.close()
    this.#writer.release()
    this.#control.destroy()
    this.#relay.destroy()
    this.#failure.resolve(error)
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

  #onControl(frame: Frame): void {
    switch (frame.type) {
      case TYPE.hello: {
        if (this.#helloSeen) throw new ProtocolError('a second hello')
        this.#helloSeen = true
        const hello = decodeJson(frame.payload)
        if (!isRecord(hello) || hello.version !== PROTOCOL_VERSION) throw new ProtocolError('another version of the protocol')
        this.#hello.resolve(hello)
        return
      }
      case TYPE.exiting:
        if (frame.payload.length !== 4) throw new ProtocolError('an exit code has four bytes')
        this.exit = { code: frame.payload.readUInt8(0), signal: frame.payload.readUInt8(1) }
        // Nothing follows, and the guest waits for us: had it ended first, a credit of ours would cut off what it said last.
        this.#end(new ChannelClosed())
        return
      case TYPE.warmed:
        if (!this.#warming) throw new ProtocolError('nobody asked it to warm')
        this.#warming.resolve()
        this.#warming = null
        return
      case TYPE.loaded:
      case TYPE.loadError: {
        const loading = this.#loading
        if (!loading) throw new ProtocolError('nothing was being loaded')
        this.#loading = null
        if (frame.type === TYPE.loaded) {
          const value = decodeJson(frame.payload)
          const kind = isRecord(value) ? value.kind : null
          if (kind !== 'lambda' && kind !== 'fetch') throw new ProtocolError('an unknown kind of handler')
          this.shutdownMs = shutdownIn(value)
          loading.resolve(kind)
        } else {
          const { errorType, payload } = errorIn(frame)
          loading.reject(new LoadError(errorType, payload))
        }
        return
      }
      case TYPE.log:
      case TYPE.logLost:
        this.#onLog(frame)
        return
      default:
        this.#onCall(frame)
    }
  }

  #onLog(frame: Frame): void {
    const sink = frame.stream === LOADING ? this.#loading?.log : this.#calls.get(frame.stream)?.log
    if (frame.type === TYPE.logLost) {
      if (frame.payload.length !== 4) throw new ProtocolError('a count of lost bytes has four')
      sink?.lost(frame.payload.readUInt32LE(0))
      return
    }
    this.#logAllowed -= frame.payload.length
    if (this.#logAllowed < 0) throw new ProtocolError('log bytes beyond credit')
    if (frame.payload.length === 0) return
    sink?.write(frame.flags & FLAG.stderr ? 'stderr' : 'stdout', Buffer.from(frame.payload))
    this.#logAllowed += frame.payload.length
    this.#writer.send(TYPE.credit, FLAG.stdout, 0, creditOf(frame.payload.length))
  }

  #onCall(frame: Frame): void {
    if (frame.type === TYPE.credit) {
      if (frame.payload.length !== 4) throw new ProtocolError('a credit has four bytes')
      const bytes = frame.payload.readUInt32LE(0)
      if (bytes > STREAM_WINDOW) throw new ProtocolError('a credit beyond the window')
      this.#outgoing.give(bytes)
      this.#calls.get(frame.stream)?.outgoing.give(bytes)
      return
    }
    const pending = this.#calls.get(frame.stream)
    if (!pending) throw new ProtocolError(`a frame for the call ${frame.stream}, which does not run`)
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
          pending.parts = null
          this.#settle(pending, error)
        }
        break
      }
      case TYPE.stream: {
        if (pending.settled || pending.parts || pending.kind !== 'event') throw new ProtocolError('a second or wrong result')
        const contentType = checkStream(decodeJson(frame.payload))
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
        const { status, headers } = checkHead(decodeJson(frame.payload))
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
          const payload = pending.parts.takeAll()
          pending.parts = null
          this.#settle(pending, pending.partBytes > LIMITS.invocationReply.value ? tooLarge(LIMITS.invocationReply.value) : { kind: 'event', payload })
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

  #onData(pending: Pending, payload: Buffer): void {
    if (pending.parts) {
      pending.partBytes += payload.length
      this.#writer.send(TYPE.credit, 0, pending.id, creditOf(payload.length))
      // Past the limit the pieces are let go: the caller is told, the guest is let finish.
      if (pending.partBytes <= LIMITS.invocationReply.value) pending.parts.push(payload)
      else pending.parts.clear()
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

/** An error in JSON that says its type; or, behind a head with the type, any bytes as the runtime sent them. */
function errorIn({ flags, payload }: Frame): { errorType: string; payload: Uint8Array } {
  if ((flags & FLAG.raw) === 0) return { errorType: errorTypeOf(decodeJson(payload)), payload: Buffer.from(payload) }
  const headBytes = payload.length < 4 ? Number.POSITIVE_INFINITY : payload.readUInt32LE(0)
  if (4 + headBytes > payload.length) throw new ProtocolError('the head of an error is cut short')
  return { errorType: errorTypeOf(decodeJson(payload.subarray(4, 4 + headBytes))), payload: Buffer.from(payload.subarray(4 + headBytes)) }
}

/** @throws ProtocolError for more than is given */
function shutdownIn(value: unknown): number {
  const ms = isRecord(value) ? (value.shutdownMs ?? 0) : 0
  if (typeof ms !== 'number' || !(ms >= 0 && ms <= MAX_SHUTDOWN_MS)) throw new ProtocolError(`an end that takes more than ${MAX_SHUTDOWN_MS} ms`)
  return ms
}

/** It stands in lines of the log, where it must not begin another. */
function errorTypeOf(value: unknown): string {
  if (!isRecord(value) || typeof value.errorType !== 'string') throw new ProtocolError('an error without its type')
  return value.errorType.slice(0, 256).replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, ' ')
}

function checkStream(value: unknown): string {
  if (!isRecord(value) || typeof value.contentType !== 'string') throw new ProtocolError('a stream without its type')
  return value.contentType
}

function checkHead(value: unknown): { status: number; headers: [string, string][] } {
  if (!isRecord(value) || !Number.isInteger(value.status) || (value.status as number) < 200 || (value.status as number) > 599)
    throw new ProtocolError('a head without a status of 200 to 599')
  if (!Array.isArray(value.headers)) throw new ProtocolError('a head without headers')
  for (const pair of value.headers) {
    if (!Array.isArray(pair) || pair.length !== 2 || typeof pair[0] !== 'string' || typeof pair[1] !== 'string')
      throw new ProtocolError('a header that is no pair of texts')
  }
  return { status: value.status as number, headers: value.headers as [string, string][] }
}
