/** The frame protocol of runtimes/PROTOCOL.md, as the suite's own host speaks it. */
export const MAX_PAYLOAD = 64 * 1024
export const STREAM_WINDOW = 256 * 1024
export const SANDBOX_WINDOW = 4 * 1024 * 1024
export const LOG_WINDOW = 1024 * 1024
const HEADER = 12

/** What a guest says on descriptor 3. */
export const SAYS = {
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
} as const
/** What a host says there. */
export const TELLS = { data: 6, end: 7, credit: 10, warm: 30, specialise: 31, call: 32, cancel: 33, shutdown: 34 } as const
/** What both say on descriptor 4; the host opens nothing. */
export const RELAY = { data: 6, end: 7, credit: 10, open: 20, reset: 21 } as const
export const FLAG = { fin: 1, done: 2, stdout: 4, stderr: 8, raw: 16 } as const

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

export function encode(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  return Buffer.concat([u32(payload.byteLength), Buffer.from([type, flags, 0, 0]), u32(stream), payload])
}

/** A frame for each 64 KiB of `payload`, at least one; `last` are the flags of the last. */
export function encodePieces(type: number, last: number, stream: number, payload: Uint8Array): Buffer[] {
  const frames: Buffer[] = []
  for (let at = 0; at === 0 || at < payload.byteLength; at += MAX_PAYLOAD) {
    frames.push(encode(type, at + MAX_PAYLOAD >= payload.byteLength ? last : 0, stream, payload.subarray(at, at + MAX_PAYLOAD)))
  }
  return frames
}

/** Whole frames out of bytes that come split anywhere. @throws Error for a frame that the law does not know */
export class Decoder {
  readonly #known: ReadonlySet<number>
  #held = Buffer.alloc(0)

  constructor(known: Readonly<Record<string, number>>) {
    this.#known = new Set(Object.values(known))
  }
  /** How many bytes of a frame that did not end are held. */
  get rest(): number {
    return this.#held.length
  }
  *push(chunk: Uint8Array): Generator<Frame> {
    this.#held = Buffer.concat([this.#held, chunk])
    while (this.#held.length >= HEADER) {
      const length = this.#held.readUInt32LE(0)
      const type = this.#held.readUInt8(4)
      if (length > MAX_PAYLOAD) throw new Error(`a frame of ${length} bytes`)
      if (!this.#known.has(type)) throw new Error(`a frame of type ${type}, which has no place here`)
      if (this.#held.readUInt16LE(6) !== 0) throw new Error('a reserved field that is set')
      if (this.#held.length < HEADER + length) return
      const frame = {
        type,
        flags: this.#held.readUInt8(5),
        stream: this.#held.readUInt32LE(8),
        payload: Buffer.from(this.#held.subarray(HEADER, HEADER + length)),
      }
      this.#held = this.#held.subarray(HEADER + length)
      yield frame
    }
  }
}
