import type { Readable } from 'node:stream'
import { KiB } from '../../lib/bytes.ts'

const KEPT_BYTES = 8 * KiB
/** So much is read, and as much again after each pause: who writes without end waits for it, and the node does nothing else for it. */
export const BURST_BYTES = 256 * KiB
const PAUSE_MS = 50

/** Drains what a process writes outside the protocol and keeps its last 8 KiB. */
export class StderrTail {
  #text = ''
  #left = BURST_BYTES
  constructor(stream: Readable | null) {
    stream?.on('data', (chunk: Buffer) => {
      this.#text = (this.#text + chunk.subarray(-KEPT_BYTES).toString('utf8')).slice(-KEPT_BYTES)
      this.#left -= chunk.length
      if (this.#left > 0) return
      stream.pause()
      setTimeout(() => {
        this.#left = BURST_BYTES
        stream.resume()
      }, PAUSE_MS).unref()
    })
    stream?.on('error', () => {})
  }
  text(): string {
    return this.#text
  }
}
