// The two descriptors that lead to the host: 3 for control and calls, 4 for the relay.
import fs from 'node:fs'
import net from 'node:net'
import { Credit, EMPTY, encode, HEADER, MAX, SANDBOX_WINDOW } from './frames.mjs'

export const exit = process.reallyExit?.bind(process) ?? process.exit.bind(process)
const later = setImmediate
const soon = process.nextTick
const clock = Date.now

const JOINED = 4096
const READ = 64 * 1024
/** Frames of large pieces that were sent, kept for the next: new memory for each is cleaned by the kernel and collected by V8. */
const KEPT = 4
const LARGE = HEADER + 16 * 1024
const WHOLE = HEADER + MAX

class Wire {
  constructor(fd) {
    this.fd = fd
    this.take = null
    this.first = []
    this.data = []
    this.scheduled = false
    /** Where one call runs at a time there is nothing to wait for: a turn of the loop more would be all that it costs. */
    this.alone = false
    this.held = EMPTY
    this.waiting = []
    this.full = false
    this.given = 0
    this.heads = []
    this.underWay = []
    this.kept = []
    // One buffer for all that is read: a new one for each read lies outside of V8's heap, which is then collected far too often.
    const onread = { buffer: Buffer.allocUnsafeSlow(READ), callback: (length, buffer) => this.read(buffer.subarray(0, length)) }
    this.socket = new net.Socket({ fd, readable: true, writable: true, onread })
    this.socket.on('end', () => exit(0)) // the host is gone, and we with it
    this.socket.on('error', () => exit(0))
    this.socket.on('close', () => exit(0))
    this.socket.on('drain', () => {
      this.full = false
      for (const go of this.waiting.splice(0)) go()
    })
    this.flush = this.flush.bind(this)
  }
  /** Who takes a frame keeps nothing of its payload but copies. */
  read(chunk) {
    const bytes = this.held.length === 0 ? chunk : Buffer.concat([this.held, chunk])
    let at = 0
    while (bytes.length - at >= HEADER) {
      const length = bytes.readUInt32LE(at)
      if (bytes.length - at < HEADER + length) break
      this.take(bytes[at + 4], bytes[at + 5], bytes.readUInt32LE(at + 8), bytes.subarray(at + HEADER, at + HEADER + length))
      at += HEADER + length
    }
    this.held = at === bytes.length ? EMPTY : Buffer.from(bytes.subarray(at))
    return true
  }
  send(type, flags, stream, payload) {
    this.first.push(encode(type, flags, stream, payload))
    this.schedule()
  }
  sendData(type, flags, stream, payload) {
    const bytes = HEADER + (payload?.length ?? 0)
    const room = bytes < LARGE ? undefined : (this.kept.pop() ?? Buffer.allocUnsafeSlow(WHOLE)).subarray(0, bytes)
    this.data.push(encode(type, flags, stream, payload, room))
    this.schedule()
  }
  /** Calls `send` before the frames of this turn go out, unless it is told before: then it has sent nothing. */
  beforeFlush(send) {
    this.heads.push(send)
    this.schedule()
  }
  room() {
    return this.full ? new Promise((go) => this.waiting.push(go)) : null
  }
  schedule() {
    if (this.scheduled) return
    this.scheduled = true
    if (this.alone) soon(this.flush)
    else later(this.flush)
  }
  flush() {
    if (this.heads.length > 0) for (const send of this.heads.splice(0)) send()
    this.scheduled = false
    const frames = this.data.length === 0 ? this.first : this.first.concat(this.data)
    this.first = []
    this.data = []
    if (frames.length === 0) return
    if (this.socket.writableLength === 0) this.underWay = []
    // Small ones go in one piece; of large ones a joint copy would cost more than it saves.
    const large = frames.some((frame) => frame.length > JOINED)
    if (large) this.socket.cork()
    for (const bytes of large || frames.length === 1 ? frames : [Buffer.concat(frames)]) {
      this.given += bytes.length
      this.underWay.push(bytes)
      if (!this.socket.write(bytes, bytes.buffer.byteLength === WHOLE ? () => this.keep(bytes.buffer) : undefined)) this.full = true
    }
    if (large) this.socket.uncork()
  }
  /** The kernel has all of it. */
  keep(memory) {
    if (this.kept.length < KEPT) this.kept.push(Buffer.from(memory))
  }
  /** Reads no more, for another process does: also what streams ask for by themselves. */
  letGo() {
    this.socket.pause()
    this.socket._read = () => {}
    this.socket._handle.readStop()
  }
  /** At the very end there is no event loop any more: what is queued is written by hand. */
  flushNow() {
    // Of what the socket was given the kernel may not have all: the rest goes first, or frames would be torn.
    const unsent = this.given - (this.socket._handle?.bytesWritten ?? this.given) + (this.socket._handle?.writeQueueSize ?? 0)
    const given = Buffer.concat(this.underWay)
    let bytes = Buffer.concat([given.subarray(given.length - unsent), ...this.first, ...this.data])
    this.first = []
    this.data = []
    const until = clock() + 2000
    while (bytes.length > 0 && clock() < until) {
      try {
        bytes = bytes.subarray(fs.writeSync(this.fd, bytes))
      } catch (error) {
        if (error.code !== 'EAGAIN') return
        nap()
      }
    }
    // Who ends first takes from the other what it has not read: the host closes when it has read the last frame.
    const unheard = Buffer.allocUnsafe(MAX)
    while (clock() < until) {
      try {
        if (fs.readSync(this.fd, unheard) === 0) return
      } catch (error) {
        if (error.code !== 'EAGAIN') return
        nap()
      }
    }
  }
}

/** A millisecond without an event loop. */
const still = new Int32Array(new SharedArrayBuffer(4))
const nap = () => Atomics.wait(still, 0, 0, 1)

export const control = new Wire(3)
export const relay = new Wire(4)
/** What all calls together may still send. */
export const sandboxCredit = new Credit(SANDBOX_WINDOW)
