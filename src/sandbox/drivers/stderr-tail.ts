import type { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { LIMITS } from '../../core/limits.ts'
import { KiB } from '../../lib/bytes.ts'

const KEPT_BYTES = 8 * KiB
/** So much is read, and as much again after each pause: who writes without end waits for it, and the node does nothing else for it. */
const BURST_BYTES: number = LIMITS.pastRuntime.value
const PAUSE_MS = 50
/** Who waits for all that was written waits for so many pauses at most. */
const MOST_PAUSES = 4
/** How the first process of a sandbox tells with what status its program ended, behind all else. It is as trustworthy as what is inside. */
export const END_MARK = '\0ended '
const ENDED = new RegExp(`${END_MARK}(\\d{1,3})$`)
const MARKED_BYTES = END_MARK.length + 3

/** Drains what a process writes outside the protocol, tells it, and keeps its last 8 KiB. */
export class StderrTail {
  #text = ''
  #left = BURST_BYTES
  #pieces = 0
  #paused: Promise<void> | null = null
  /** What the program's status was, once it has been told. */
  status: number | null = null
  /** Nobody writes any more. */
  readonly over: Promise<void>
  /** Told of each piece, but for what is the platform's own. */
  take: ((bytes: Uint8Array) => void) | null = null

  constructor(...streams: readonly (Readable | null)[]) {
    const open = streams.filter((stream) => stream !== null)
    this.over = Promise.all(open.map((stream) => new Promise<void>((resolve) => stream.once('close', resolve)))).then(() => {})
    for (const stream of open) {
      stream.on('data', (chunk: Buffer) => this.#onData(stream, chunk))
      stream.on('error', () => {})
    }
  }

  /** Resolves when nothing more is there to be read, or after a few pauses. */
  async heardOut(): Promise<void> {
    for (let pauses = 0; pauses < MOST_PAUSES; ) {
      const before = this.#pieces
      await turn()
      if (this.#paused !== null) {
        pauses++
        await this.#paused
      } else if (this.#pieces === before) return
    }
  }

  #onData(stream: Readable, chunk: Buffer): void {
    const mark = ENDED.exec(chunk.subarray(-MARKED_BYTES).toString('latin1'))
    if (mark) this.status = Number(mark[1])
    const bytes = mark ? chunk.subarray(0, chunk.length - mark[0].length) : chunk
    this.#text = (this.#text + bytes.subarray(-KEPT_BYTES).toString('utf8')).slice(-KEPT_BYTES)
    if (bytes.length > 0) this.take?.(bytes)
    this.#pieces++
    this.#left -= chunk.length
    if (this.#left > 0) return
    stream.pause()
    this.#paused = new Promise((resolve) => {
      setTimeout(() => {
        this.#left = BURST_BYTES
        this.#paused = null
        stream.resume()
        resolve()
      }, PAUSE_MS).unref()
    })
  }

  text(): string {
    return this.#text
  }
}
