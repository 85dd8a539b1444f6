import type { Duplex } from 'node:stream'
import { LIMITS } from '../core/limits.ts'
import { KiB, MiB } from '../lib/bytes.ts'

/** The frame protocol, version 1. The law is runtimes/PROTOCOL.md. */
export const PROTOCOL_VERSION = 1
export const HEADER_BYTES = 12
export const MAX_PAYLOAD = 64 * KiB
export const STREAM_WINDOW = 256 * KiB
export const SANDBOX_WINDOW = 4 * MiB
export const LOG_WINDOW = 1 * MiB
/** So much may wait for a guest that does not read. What it may make us answer, credits for its windows byte by byte, is less. */
export const UNREAD_BYTES: number = LIMITS.unreadFrames.value

export const TYPE = {
  hello: 1,
  loaded: 2,
  loadError: 3,
  result: 4,
  head: 5,
  data: 6,
  end: 7,
  callError: 8,
  done: 9,
  credit: 10,
  log: 11,
  logLost: 12,
  warmed: 13,
  exiting: 14,
  stream: 15,
  open: 20,
  reset: 21,
  warm: 30,
  specialise: 31,
  call: 32,
  cancel: 33,
  shutdown: 34,
} as const
const KNOWN: ReadonlySet<number> = new Set(Object.values(TYPE))

export const FLAG = { fin: 1, done: 2, stdout: 4, stderr: 8, raw: 16 } as const

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

/** The other side broke the protocol; the sandbox that said it is killed. */
export class ProtocolError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ProtocolError'
  }
}

const JOINED = 4 * KiB
const EMPTY = Buffer.alloc(0)
const NEVER = () => false

export function encodeFrame(type: number, flags: number, stream: number, payload: Uint8Array = EMPTY): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.byteLength)
  frame.writeUInt32LE(payload.byteLength, 0)
  frame[4] = type
  frame[5] = flags
  frame[6] = 0
  frame[7] = 0
  frame.writeUInt32LE(stream, 8)
  frame.set(payload, HEADER_BYTES)
  return frame
}

/** The frame of a call: a head in JSON with its length before it, and what follows that. In one piece, which is written once. */
export function encodeCall(flags: number, stream: number, head: string, headBytes: number, rest: Uint8Array | null): Buffer {
  const length = 4 + headBytes + (rest?.byteLength ?? 0)
  const frame = Buffer.allocUnsafe(HEADER_BYTES + length)
  frame.writeUInt32LE(length, 0)
  frame[4] = TYPE.call
  frame[5] = flags
  frame[6] = 0
  frame[7] = 0
  frame.writeUInt32LE(stream, 8)
  frame.writeUInt32LE(headBytes, HEADER_BYTES)
  frame.write(head, HEADER_BYTES + 4)
  if (rest !== null) frame.set(rest, HEADER_BYTES + 4 + headBytes)
  return frame
}

/** The payload of a credit. */
export const creditOf = (bytes: number): Buffer => {
  const payload = Buffer.allocUnsafe(4)
  payload.writeUInt32LE(bytes, 0)
  return payload
}

/**
 * Takes bytes as they come, split anywhere, and gives whole frames, but for data: those are given as they come, in
 * pieces of which the last has the flags. Joining them first cost more than all else of a long body.
 */
export class FrameDecoder {
  /** The beginning of a frame that is no data. */
  #held: Buffer = EMPTY
  #data: Omit<Frame, 'payload'> | null = null
  /** Bytes of the data frame that are still to come. */
  #left = 0

  /**
   * @param enough  asked after each frame: where it is so, the others are kept for the next time
   * @returns whether there are such
   * @throws ProtocolError for a length past the limit, an unknown type or a reserved field that is set
   */
  push(chunk: Buffer, take: (frame: Frame) => void, enough: () => boolean = NEVER): boolean {
    let bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    let at = this.#data === null ? 0 : this.#piece(this.#data, bytes, take)
    let isEnough = false
    while (bytes.length - at >= HEADER_BYTES && !isEnough) {
      const length = bytes.readUInt32LE(at)
      const type = bytes[at + 4] as number
      if (length > MAX_PAYLOAD) throw new ProtocolError(`a frame of ${length} bytes; ${MAX_PAYLOAD} is the limit`)
      if (!KNOWN.has(type)) throw new ProtocolError(`a frame of the unknown type ${type}`)
      if (bytes.readUInt16LE(at + 6) !== 0) throw new ProtocolError('a reserved field is set')
      const frame = { type, flags: bytes[at + 5] as number, stream: bytes.readUInt32LE(at + 8) }
      const from = at + HEADER_BYTES
      if (bytes.length - from >= length) {
        take({ ...frame, payload: bytes.subarray(from, from + length) })
        at = from + length
        isEnough = enough()
      } else if (type === TYPE.data) {
        this.#left = length
        at = from + this.#piece(frame, bytes.subarray(from), take)
      } else break
    }
    bytes = bytes.subarray(at)
    // A copy, so that a small rest does not hold a large chunk.
    this.#held = bytes.length === 0 ? EMPTY : isEnough ? bytes : Buffer.from(bytes)
    return isEnough && bytes.length > 0
  }

  /** @returns how many bytes of it were there */
  #piece(frame: Omit<Frame, 'payload'>, bytes: Buffer, take: (frame: Frame) => void): number {
    const payload = bytes.subarray(0, this.#left)
    this.#left -= payload.length
    this.#data = this.#left === 0 ? null : frame
    if (payload.length > 0 || this.#left === 0) take({ ...frame, flags: this.#left === 0 ? frame.flags : 0, payload })
    return payload.length
  }
}

/**
 * Collects frames and writes them once per turn of the event loop, heads and credits before data. Data waits
 * while the socket is full.
 */
export class FrameWriter {
  readonly #socket: Duplex
  #first: Buffer[] = []
  #data: Buffer[] = []
  #scheduled = false
  #full = false
  #waiting: (() => void)[] = []

  constructor(socket: Duplex) {
    this.#socket = socket
    socket.on('drain', () => {
      this.#full = false
      const waiting = this.#waiting
      this.#waiting = []
      for (const go of waiting) go()
    })
  }

  send(type: number, flags: number, stream: number, payload?: Uint8Array): void {
    this.sendFrame(encodeFrame(type, flags, stream, payload))
  }

  sendFrame(frame: Buffer): void {
    this.#first.push(frame)
    this.#schedule()
  }

  /** Queues data behind what else is sent this turn. Callers wait for `room` between their pieces, so streams take turns. */
  sendData(type: number, flags: number, stream: number, payload?: Uint8Array): void {
    this.#data.push(encodeFrame(type, flags, stream, payload))
    this.#schedule()
  }

  /** Resolves when the socket takes data again; at once when it does. */
  room(): Promise<void> | null {
    return this.#full ? new Promise((resolve) => this.#waiting.push(resolve)) : null
  }

  /** Lets everybody who waits go on: the socket is gone and takes anything. */
  release(): void {
    this.#full = false
    const waiting = this.#waiting
    this.#waiting = []
    for (const go of waiting) go()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.flush()
    })
  }

  /** Writes at once what was queued. */
  flush(): void {
    const frames = this.#data.length === 0 ? this.#first : this.#first.concat(this.#data)
    this.#first = []
    this.#data = []
    if (this.#socket.destroyed || frames.length === 0) return
    if (frames.length === 1) {
      if (!this.#socket.write(frames[0])) this.#full = true
      return
    }
    // Small ones go in one piece; of large ones a joint copy would cost more than it saves.
    const large = frames.some((frame) => frame.length > JOINED)
    if (large) this.#socket.cork()
    for (const bytes of large ? frames : [Buffer.concat(frames)]) if (!this.#socket.write(bytes)) this.#full = true
    if (large) this.#socket.uncork()
  }
}

/** How many bytes may still be sent; senders wait for it in order. */
export class Credit {
  #left: number
  #waiting: { wanted: number; go: () => void }[] = []
  #closed = false

  constructor(bytes: number) {
    this.#left = bytes
  }
  get left(): number {
    return this.#left
  }
  /** Resolves when `bytes` were taken; at once (null) when they are there. */
  take(bytes: number): Promise<void> | null {
    if (this.#closed || (this.#waiting.length === 0 && this.#left >= bytes)) {
      this.#left -= bytes
      return null
    }
    return new Promise((go) => this.#waiting.push({ wanted: bytes, go }))
  }
  give(bytes: number): void {
    this.#left += bytes
    for (let next = this.#waiting[0]; next && this.#left >= next.wanted; next = this.#waiting[0]) {
      this.#left -= next.wanted
      this.#waiting.shift()
      next.go()
    }
  }
  /** Nobody waits any more: what is sent now goes nowhere. */
  close(): void {
    this.#closed = true
    for (const { go } of this.#waiting) go()
    this.#waiting = []
  }
}
