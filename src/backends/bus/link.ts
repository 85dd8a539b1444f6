import type { Duplex } from 'node:stream'
import { KiB, MiB } from '../../lib/bytes.ts'
import type { BusValue } from './bus.ts'

/** What goes over a link. An id belongs to who asked. */
export type Frame =
  | { readonly kind: 'tell'; readonly subject: string; readonly value: BusValue }
  | { readonly kind: 'ask'; readonly id: number; readonly subject: string; readonly value: BusValue }
  | { readonly kind: 'answer'; readonly id: number; readonly value: BusValue }
  | { readonly kind: 'failed'; readonly id: number; readonly message: string }
  | { readonly kind: 'forget'; readonly id: number }
  | { readonly kind: 'responds' | 'silent'; readonly subject: string }

/** One message; what is larger is no small fact. */
const MAX_FRAME_BYTES = 4 * MiB
/** What the other side has not taken yet. Past it that side does not read: the link is cut, and whoever watches it sees that. */
const MAX_WAITING_BYTES = 16 * MiB
const HEAD_BYTES = 4
const FIRST_BYTES = 64 * KiB

/**
 * Frames over a byte stream between two processes: four bytes of length, then JSON. The stream is a socket pair that one
 * process gave the other when it started it, so that nobody else is ever at the other end.
 */
export class Link {
  readonly #stream: Duplex
  readonly #take: (frame: Frame) => void
  #held = Buffer.allocUnsafe(FIRST_BYTES)
  #length = 0
  #closed = false

  /**
   * @param take  what it throws cuts the link: who says what cannot be taken ends nobody but itself
   * @param gone  called once, when nothing comes or goes any more
   */
  constructor(stream: Duplex, take: (frame: Frame) => void, gone: () => void) {
    this.#stream = stream
    this.#take = take
    stream.on('data', (chunk: Buffer) => this.#receive(chunk))
    stream.on('error', () => this.cut())
    const over = () => {
      if (this.#closed) return
      this.#closed = true
      stream.destroy()
      gone()
    }
    stream.on('end', over)
    stream.on('close', over)
  }

  /** @throws RangeError when the value is too large */
  send(frame: Frame): void {
    if (this.#closed) return
    const payload = Buffer.from(JSON.stringify(frame))
    if (payload.length > MAX_FRAME_BYTES) throw new RangeError(`a message of the bus has ${payload.length} bytes; ${MAX_FRAME_BYTES} are allowed`)
    const bytes = Buffer.allocUnsafe(HEAD_BYTES + payload.length)
    bytes.writeUInt32LE(payload.length, 0)
    payload.copy(bytes, HEAD_BYTES)
    this.#stream.write(bytes)
    if (this.#stream.writableLength > MAX_WAITING_BYTES) this.cut()
  }

  cut(): void {
    this.#stream.destroy()
  }

  #receive(chunk: Buffer): void {
    const length = this.#length + chunk.length
    if (length > this.#held.length) {
      const larger = Buffer.allocUnsafe(Math.max(length, this.#held.length * 2))
      this.#held.copy(larger, 0, 0, this.#length)
      this.#held = larger
    }
    chunk.copy(this.#held, this.#length)
    this.#length = length
    let at = 0
    while (this.#length - at >= HEAD_BYTES) {
      const size = this.#held.readUInt32LE(at)
      if (size > MAX_FRAME_BYTES) return void this.cut()
      if (this.#length - at - HEAD_BYTES < size) break
      const text = this.#held.toString('utf8', at + HEAD_BYTES, at + HEAD_BYTES + size)
      at += HEAD_BYTES + size
      try {
        this.#take(JSON.parse(text) as Frame)
      } catch {
        return void this.cut()
      }
      // What follows on a link that was cut meanwhile is nobody's any more.
      if (this.#closed || this.#stream.destroyed) return
    }
    this.#held.copyWithin(0, at, this.#length)
    this.#length -= at
  }
}
