import { StringDecoder } from 'node:string_decoder'
import { LIMITS } from '../core/limits.ts'
import type { LogRecord, LogWriter } from '../core/meter.ts'
import { KiB } from '../lib/bytes.ts'
import type { LogSink } from '../sandbox/index.ts'

/** How much of an invocation's log the Lambda API gives back with `LogType: Tail`. */
const TAIL_BYTES = 4 * KiB
/** A line without end is cut here and goes on in the next record. */
const LINE_BYTES = 64 * KiB

/**
 * The log of one invocation: splits what the function writes into lines, keeps head and tail within
 * LIMITS.invocationLog, counts what was dropped between them, and frames it with Lambda's own lines.
 */
export class InvocationLog implements LogSink {
  readonly #writer: LogWriter
  readonly #base: Omit<LogRecord, 'at' | 'source' | 'text'>
  readonly #now: () => number
  readonly #open = { stdout: { decoder: new StringDecoder('utf8'), rest: '' }, stderr: { decoder: new StringDecoder('utf8'), rest: '' } }
  readonly #half = LIMITS.invocationLog.value / 2
  #headBytes = 0
  #tail: LogRecord[] = []
  #tailBytes = 0
  #dropped = 0
  #last: string[] = []
  #lastBytes = 0

  constructor(writer: LogWriter, base: Omit<LogRecord, 'at' | 'source' | 'text'>, now: () => number) {
    this.#writer = writer
    this.#base = base
    this.#now = now
  }

  write(stream: 'stdout' | 'stderr', bytes: Uint8Array): void {
    const open = this.#open[stream]
    open.rest += open.decoder.write(bytes as Buffer)
    let start = 0
    for (let end = open.rest.indexOf('\n'); end !== -1; end = open.rest.indexOf('\n', start)) {
      this.#line(stream, open.rest.slice(start, end))
      start = end + 1
    }
    open.rest = open.rest.slice(start)
    while (open.rest.length > LINE_BYTES) {
      this.#line(stream, open.rest.slice(0, LINE_BYTES))
      open.rest = open.rest.slice(LINE_BYTES)
    }
  }

  lost(bytes: number): void {
    this.#dropped += bytes
  }

  /** A line of the platform's own; never dropped. */
  platform(text: string): void {
    this.#remember(text)
    this.#writer.write({ ...this.#base, at: this.#now(), source: 'platform', text })
  }

  /** Ends open lines and writes what was kept of the tail. */
  flush(): void {
    for (const stream of ['stdout', 'stderr'] as const) {
      const open = this.#open[stream]
      const rest = open.rest + open.decoder.end()
      open.rest = ''
      if (rest !== '') this.#line(stream, rest)
    }
    if (this.#dropped > 0) {
      this.platform(`[mayfly] ${this.#dropped} bytes of this invocation's log were dropped: ${LIMITS.invocationLog.value} are kept`)
      this.#dropped = 0
    }
    for (const record of this.#tail) this.#writer.write(record)
    this.#tail = []
    this.#tailBytes = 0
  }

  /** The last 4096 bytes, as `X-Amz-Log-Result` carries them. */
  lastBytes(): Buffer {
    const all = Buffer.from(this.#last.join(''))
    return all.subarray(Math.max(0, all.length - TAIL_BYTES))
  }

  #line(source: 'stdout' | 'stderr', text: string): void {
    this.#remember(text)
    const record: LogRecord = { ...this.#base, at: this.#now(), source, text }
    const bytes = Buffer.byteLength(text) + 1
    if (this.#headBytes + bytes <= this.#half && this.#tail.length === 0) {
      this.#headBytes += bytes
      this.#writer.write(record)
      return
    }
    this.#tail.push(record)
    this.#tailBytes += bytes
    while (this.#tailBytes > this.#half) {
      const oldest = this.#tail.shift()
      if (!oldest) break
      const size = Buffer.byteLength(oldest.text) + 1
      this.#tailBytes -= size
      this.#dropped += size
    }
  }

  #remember(text: string): void {
    this.#last.push(`${text}\n`)
    this.#lastBytes += text.length + 1
    while (this.#lastBytes > TAIL_BYTES * 4 && this.#last.length > 1) this.#lastBytes -= this.#last.shift()?.length ?? 0
  }
}
