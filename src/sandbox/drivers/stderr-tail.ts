import type { Readable } from 'node:stream'
import { KiB } from '../../lib/bytes.ts'

/** Drains what a process writes outside the protocol and keeps its last 8 KiB. */
export class StderrTail {
  #text = ''
  constructor(stream: Readable | null) {
    stream?.on('data', (chunk: Buffer) => {
      this.#text = (this.#text + chunk.toString('utf8')).slice(-8 * KiB)
    })
    stream?.on('error', () => {})
  }
  text(): string {
    return this.#text
  }
}
