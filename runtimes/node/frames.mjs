// The frames of runtimes/PROTOCOL.md: their form, and the credit for what they carry.
export const HEADER = 12
export const MAX = 64 * 1024
export const STREAM_WINDOW = 256 * 1024
export const SANDBOX_WINDOW = 4 * 1024 * 1024
export const LOG_WINDOW = 1024 * 1024
export const T = {
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
}
export const F = { fin: 1, done: 2, stdout: 4, stderr: 8, raw: 16 }
export const EMPTY = Buffer.alloc(0)

export function encode(type, flags, stream, payload = EMPTY, frame = Buffer.allocUnsafe(HEADER + payload.length)) {
  frame.writeUInt32LE(payload.length, 0)
  frame[4] = type
  frame[5] = flags
  frame[6] = 0
  frame[7] = 0
  frame.writeUInt32LE(stream, 8)
  frame.set(payload, HEADER)
  return frame
}

export class Credit {
  constructor(bytes) {
    this.left = bytes
    this.waiting = []
    this.watching = []
    this.closed = false
  }
  /** Resolves when more is granted, or nothing is needed any more. */
  change() {
    return new Promise((go) => this.watching.push(go))
  }
  /** Nobody waits any more: what is still sent has nowhere to go. */
  close() {
    this.closed = true
    for (const go of this.watching.splice(0)) go()
    for (const { go } of this.waiting.splice(0)) go()
  }
  take(bytes) {
    if (this.closed) return null
    if (this.waiting.length === 0 && this.left >= bytes) {
      this.left -= bytes
      return null
    }
    return new Promise((go) => this.waiting.push({ bytes, go }))
  }
  give(bytes) {
    this.left += bytes
    if (this.watching.length > 0) for (const go of this.watching.splice(0)) go()
    while (this.waiting.length > 0 && this.left >= this.waiting[0].bytes) {
      const next = this.waiting.shift()
      this.left -= next.bytes
      next.go()
    }
  }
}

export const u32 = (value) => {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32LE(value, 0)
  return bytes
}
