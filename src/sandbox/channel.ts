import type { Duplex } from 'node:stream'
import { MayflyError } from '../core/errors.ts'
import { CallAhead, type CallEnds, CallSide } from './call-side.ts'
import type { Exit } from './exits.ts'
import { creditOf, FLAG, type Frame, FrameDecoder, FrameWriter, LOG_WINDOW, MAX_PAYLOAD, ProtocolError, TYPE, UNREAD_BYTES } from './frames.ts'
import { errorIn, exitIn, helloIn, loadedIn, lostIn } from './guest-frames.ts'
import { RelaySide } from './relay-side.ts'
import { Talkers } from './talkers.ts'
import { type Call, type HandlerKind, LoadError, type LogSink, type VersionContext } from './types.ts'

export type { CallAhead, CallEnds, Failed } from './call-side.ts'
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
  readonly framework: string | null
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

/** How a guest runs its dummy rounds. */
export interface Warming {
  readonly rounds: number
  /** That it will be told when it becomes a version's, most likely. */
  readonly relayPorts: readonly number[]
  /** Also what makes and takes requests, which takes most of the time. */
  readonly fetches: boolean
  /** Memory that was needed for it is given back, which takes half as long again. */
  readonly collects: boolean
}

/** A call that may go behind the load of its code, and how long the function may take for it. */
export interface First {
  readonly call: Call
  readonly remainingMs: number
}

const LOADING = 0
/** An honest guest does not come near: its pieces are large, or few. */
const FRAMES_A_TURN = 512
/** Nor does it take so long to hear so many. */
const LONG_MS = 2
const LOOK_EVERY = 64
/** A connection to the platform is more work than other frames: so many times, with what is made for it behind. */
const OPEN_WEIGHT = 32
const NOTHING = Buffer.alloc(0)
const talkers = new Talkers()

/** Why a sandbox ends, in Lambda's words for its extensions. */
export type EndReason = 'spindown' | 'timeout' | 'failure'

/**
 * The host's side of the two descriptors of one sandbox. Everything that comes in is hostile until it was checked:
 * an unknown stream, a second result, bytes beyond credit or a head of the wrong form end the channel with a
 * ProtocolError, and every call that runs with it.
 */
export class Channel {
  readonly #control: Duplex
  readonly #relay: Duplex
  readonly #writer: FrameWriter
  readonly #calls: CallSide
  readonly #relays: RelaySide
  readonly #hello = Promise.withResolvers<Record<string, unknown>>()
  #loading: { resolve: (kind: HandlerKind) => void; reject: (error: Error) => void; log: LogSink } | null = null
  #warming: PromiseWithResolvers<void> | null = null
  /** How long the guest wants to hear of its end before it comes; 0 where nothing in it waits for that. */
  shutdownMs = 0
  /** The call that was sent behind the load, and runs since. */
  ahead: CallAhead | null = null
  /** How the guest said that it ends; null when it said nothing, as when it is killed. */
  exit: Exit | null = null
  #logAllowed = LOG_WINDOW
  #helloSeen = false
  #dead: Error | null = null
  readonly #failure = Promise.withResolvers<Error>()

  constructor(process: { readonly control: Duplex; readonly relay: Duplex }, onRelay: (connection: Duplex) => void) {
    this.#control = process.control
    this.#relay = process.relay
    this.#writer = new FrameWriter(this.#control)
    this.#calls = new CallSide(this.#writer)
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
  warm(how: Warming): Promise<void> {
    if (this.#dead) return Promise.reject(this.#dead)
    this.#warming = Promise.withResolvers<void>()
    this.#writer.send(TYPE.warm, 0, 0, Buffer.from(JSON.stringify(how)))
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

  /**
   * Lets the guest load what was announced.
   * @param first  a call that goes behind it, to a guest that takes such: see `ahead`
   * @throws LoadError with Lambda's JSON when the code does not load
   */
  load(log: LogSink, first: First | null = null): Promise<HandlerKind> {
    if (this.#dead) return Promise.reject(this.#dead)
    return new Promise((resolve, reject) => {
      this.#loading = { resolve, reject, log }
      this.#writer.send(TYPE.specialise, FLAG.fin, LOADING)
      if (first) this.#callAhead(first, log)
      this.#writer.flush()
    })
  }

  #callAhead({ call, remainingMs }: First, log: LogSink): void {
    try {
      this.#calls.ahead(new CallAhead(call), remainingMs, log)
    } catch (error) {
      // Whoever sends it hears of that.
      if (!(error instanceof MayflyError)) throw error
    }
  }

  specialise(fields: SpecialiseFields, log: LogSink): Promise<HandlerKind> {
    this.announce(fields)
    return this.load(log)
  }

  /** @see CallSide.call */
  call(call: Call, remainingMs: number, log: LogSink, ends: CallEnds): number {
    return this.#calls.call(call, remainingMs, log, ends)
  }

  /** @see CallSide.cancel */
  cancel(id: number): void {
    this.#calls.cancel(id)
  }

  /** @see CallSide.abandon */
  abandon(id: number, error: Error): void {
    this.#calls.abandon(id, error)
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
    const hear = (chunk: Buffer, goesOn: () => void) => {
      if (this.#dead) return
      let frames = 0
      let looks = LOOK_EVERY
      const from = performance.now()
      const enough = () => {
        if (frames < looks) return false
        looks = frames + LOOK_EVERY
        return frames >= FRAMES_A_TURN || performance.now() - from > LONG_MS
      }
      try {
        const isMore = decoder.push(
          chunk,
          (frame) => {
            frames += frame.type === TYPE.open ? OPEN_WEIGHT : 1
            take(frame)
          },
          enough,
        )
        if (isMore || frames >= FRAMES_A_TURN) {
          socket.pause()
          // What it gave others to do is done in this turn still, and is time that it took.
          setImmediate(() => talkers.rest(performance.now() - from, () => (isMore ? hear(NOTHING, () => socket.resume()) : socket.resume())))
        } else goesOn()
        if (socket.writableLength > UNREAD_BYTES) throw new ProtocolError(`it does not read the ${socket.writableLength} bytes that it is told`)
      } catch (error) {
        this.#end(error instanceof ProtocolError ? error : new ProtocolError(error instanceof Error ? error.message : 'a frame could not be taken'))
      }
    }
    socket.on('data', (chunk: Buffer) => hear(chunk, () => {}))
    socket.on('error', () => this.#end(new ChannelClosed()))
    socket.on('end', () => this.#end(new ChannelClosed()))
    socket.on('close', () => this.#end(new ChannelClosed()))
    // Of a sandbox that died before anybody listened nothing is heard any more.
    if (socket.destroyed || socket.readableEnded) this.#end(new ChannelClosed())
  }

  #end(error: Error): void {
    if (this.#dead) return
    this.#dead = error
    this.#calls.end(error)
    this.#relays.end()
    this.#loading?.reject(error)
    this.#warming?.reject(error)
    this.#hello.reject(error)
    this.#writer.release()
    this.#control.destroy()
    this.#relay.destroy()
    this.#failure.resolve(error)
  }

  #onControl(frame: Frame): void {
    switch (frame.type) {
      case TYPE.hello: {
        if (this.#helloSeen) throw new ProtocolError('a second hello')
        this.#helloSeen = true
        this.#hello.resolve(helloIn(frame))
        return
      }
      case TYPE.exiting:
        this.exit = exitIn(frame)
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
        // Checked first: where it cannot be believed, whoever waits for it hears of the end.
        if (frame.type === TYPE.loaded) {
          const { kind, shutdownMs } = loadedIn(frame)
          this.shutdownMs = shutdownMs
          this.ahead = this.#calls.loaded(kind)
          loading.resolve(kind)
        } else {
          const { errorType, payload } = errorIn(frame)
          loading.reject(new LoadError(errorType, payload))
        }
        this.#loading = null
        return
      }
      case TYPE.log:
      case TYPE.logLost:
        this.#onLog(frame)
        return
      default:
        this.#calls.take(frame)
    }
  }

  #onLog(frame: Frame): void {
    const sink = frame.stream === LOADING ? this.#loading?.log : this.#calls.logOf(frame.stream)
    if (frame.type === TYPE.logLost) {
      sink?.lost(lostIn(frame))
      return
    }
    this.#logAllowed -= frame.payload.length
    if (this.#logAllowed < 0) throw new ProtocolError('log bytes beyond credit')
    if (frame.payload.length === 0) return
    sink?.write(frame.flags & FLAG.stderr ? 'stderr' : 'stdout', Buffer.from(frame.payload))
    this.#logAllowed += frame.payload.length
    this.#writer.send(TYPE.credit, FLAG.stdout, 0, creditOf(frame.payload.length))
  }
}
