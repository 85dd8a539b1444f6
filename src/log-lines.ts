import { write, writeSync } from 'node:fs'

const MOST_BYTES = 1024 * 1024
const RETRY_MS = 50

/**
 * Where the node's log goes: lines to a file descriptor, without ever waiting for it or ending by it. What cannot be
 * written (a full disk) or is not taken in time (a pipe that nobody reads) is left out and counted. pino's own
 * destination ends the process by such an error and then tries the rest again without end.
 */
export class LogLines {
  readonly #fd: number
  #waiting: string[] = []
  #bytes = 0
  #writing = false
  #dropped = 0

  constructor(fd: number) {
    this.#fd = fd
  }

  /** Lines that were left out and not yet told. */
  get dropped(): number {
    return this.#dropped
  }

  write(line: string): void {
    const bytes = Buffer.byteLength(line)
    if (this.#bytes + bytes > MOST_BYTES) {
      this.#dropped++
      return
    }
    this.#waiting.push(line)
    this.#bytes += bytes
    if (!this.#writing) this.#next()
  }

  /** What still waits when the process ends; nothing when a write hangs. */
  end(): void {
    if (this.#writing || this.#waiting.length === 0) return
    try {
      writeSync(this.#fd, this.#take().chunk)
    } catch {
      // nobody is left to tell
    }
  }

  #take(): { chunk: Buffer; lines: number } {
    const lines = this.#waiting
    this.#waiting = []
    this.#bytes = 0
    return { chunk: Buffer.from(lines.join('')), lines: lines.length }
  }

  #next(): void {
    this.#writing = this.#waiting.length > 0
    if (!this.#writing) return
    if (this.#dropped > 0) {
      this.#waiting.unshift(`${JSON.stringify({ level: 40, dropped: this.#dropped, msg: 'lines of the log could not be written and were left out' })}\n`)
    }
    const { chunk, lines } = this.#take()
    const told = this.#dropped
    this.#put(chunk, (written) => {
      this.#dropped += written ? -told : lines - (told > 0 ? 1 : 0)
      this.#next()
    })
  }

  #put(chunk: Buffer, done: (written: boolean) => void): void {
    write(this.#fd, chunk, (error, count) => {
      if (error?.code === 'EAGAIN') setTimeout(() => this.#put(chunk, done), RETRY_MS)
      else if (error) done(false)
      else if (count < chunk.length) this.#put(chunk.subarray(count), done)
      else done(true)
    })
  }
}
