import { StringDecoder } from 'node:string_decoder'
import { LIMITS } from '../core/limits.ts'
import { LINES_PER_RECORD, type LogLine, type LogRecord, type LogWriter } from '../core/meter.ts'
import { KiB } from '../lib/bytes.ts'
import { Fifo } from '../lib/fifo.ts'
import { Ticking } from '../lib/ticking.ts'
import { LogTail } from './log-tail.ts'
import type { PlatformLines, Report } from './platform-lines.ts'
import type { LogSink } from '../sandbox/index.ts'

/** How much of an invocation's log the Lambda API gives back with `LogType: Tail`. */
const TAIL_BYTES = 4 * KiB
/** A line without end is cut here and goes on in the next line. */
const LINE_BYTES = 64 * KiB
/** Lines are handed on once they come to so much. */
const RECORD_BYTES = 32 * KiB
/** Lines of a call that goes on are handed on after so long. */
const HAND_ON_MS = 50

/** Hands on, now and then, what running invocations wrote, so that their logs can be followed. */
export class LiveLogs implements Disposable {
  readonly #open = new Set<InvocationLog>()
  readonly #ticking = new Ticking(HAND_ON_MS, () => {
    for (const log of this.#open) log.live()
    return this.#open.size > 0
  })

  add(log: InvocationLog): void {
    this.#open.add(log)
    this.#ticking.wake()
  }
  delete(log: InvocationLog): void {
    this.#open.delete(log)
  }
  [Symbol.dispose](): void {
    this.#ticking[Symbol.dispose]()
  }
}

/** Head and tail have half of what is kept each. */
const HALF = LIMITS.invocationLog.value / 2
const HALF_LINES = LIMITS.invocationLogLines.value / 2

/**
 * The log of one invocation: splits what the function writes into lines, keeps head and tail within
 * LIMITS.invocationLog and LIMITS.invocationLogLines, counts what was dropped between them, and frames it with Lambda's own lines.
 */
export class InvocationLog implements LogSink {
  readonly #writer: LogWriter
  readonly #subject: Omit<LogRecord, 'lines'>
  readonly #now: () => number
  /** Its first lines, which are said with the first that follows them: most calls write nothing. */
  #unsaid: PlatformLines | null = null
  #beganAt = 0
  /** All of it, where nothing was written. */
  #quiet: (() => string[]) | null = null
  /** Made when the function writes: most calls write nothing. */
  #open: Record<'stdout' | 'stderr', { readonly decoder: StringDecoder; rest: string }> | null = null
  #lines: LogLine[] = []
  #linesBytes = 0
  #headBytes = 0
  #headLines = 0
  readonly #tail = new LogTail({ bytes: HALF, lines: HALF_LINES })
  /** The head is full. */
  #hasTail = false
  #dropped = 0
  readonly #last = new Fifo<string>()
  #lastBytes = 0

  constructor(writer: LogWriter, subject: Omit<LogRecord, 'lines'>, now: () => number) {
    this.#writer = writer
    this.#subject = subject
    this.#now = now
  }

  /** Its call begins. */
  begin(lines: PlatformLines): void {
    this.#unsaid = lines
    this.#beganAt = this.#now()
  }

  /** Its call is over, whatever way: what was open is ended, and the last lines follow. */
  end(lines: PlatformLines, report: Report): void {
    this.flush()
    if (this.#unsaid === null || !lines.follow || report.outcome !== 'ok' || report.message !== '') {
      for (const line of lines.end(report)) this.platform(line)
      return
    }
    this.#unsaid = null
    this.#quiet = () => [...lines.start(), ...lines.end(report)]
    const { durationMs, billedMs, memoryMb, maxMemoryMb, initMs, cold } = report
    const call = [this.#subject.invocationId, this.#beganAt, this.#now(), rounded(durationMs), billedMs, memoryMb, maxMemoryMb, rounded(initMs), cold] as const
    this.#writer.quiet(this.#subject, call)
  }

  write(stream: 'stdout' | 'stderr', bytes: Uint8Array): void {
    this.#say()
    this.#open ??= { stdout: { decoder: new StringDecoder('utf8'), rest: '' }, stderr: { decoder: new StringDecoder('utf8'), rest: '' } }
    const open = this.#open[stream]
    // Only what is new is looked through: a line may come byte by byte.
    const text = open.decoder.write(bytes as Buffer)
    const at = this.#now()
    let start = 0
    for (let end = text.indexOf('\n'); end !== -1 && !this.#hasTail; end = text.indexOf('\n', start)) {
      this.#line(stream, open.rest + text.slice(start, end), at, text.length - end)
      open.rest = ''
      start = end + 1
    }
    const end = text.lastIndexOf('\n')
    if (end >= start) {
      this.#tail.push(stream, open.rest + text.slice(start, end + 1), at)
      open.rest = ''
      start = end + 1
    }
    open.rest += text.slice(start)
    while (open.rest.length > LINE_BYTES) {
      this.#line(stream, open.rest.slice(0, LINE_BYTES), at, open.rest.length - LINE_BYTES)
      open.rest = open.rest.slice(LINE_BYTES)
    }
  }

  lost(bytes: number): void {
    this.#dropped += bytes
  }

  /** A line of the platform's own; never dropped. */
  platform(text: string): void {
    this.#say()
    this.#ours(text, this.#now())
  }

  /** Of a call that goes on: its lines so far; the first of one that has only begun are left for its end. */
  live(): void {
    if (this.#unsaid === null || this.#now() - this.#beganAt >= HAND_ON_MS) this.handOn()
  }

  /** Writes the lines that are whole, if there are any. */
  handOn(): void {
    this.#say()
    if (this.#lines.length === 0) return
    this.#writer.write({ ...this.#subject, lines: this.#lines })
    this.#lines = []
    this.#linesBytes = 0
  }

  /** Ends open lines and takes what was kept of the tail; `handOn` writes it. */
  flush(): void {
    if (this.#open) {
      for (const stream of ['stdout', 'stderr'] as const) {
        const rest = this.#open[stream].rest + this.#open[stream].decoder.end()
        if (rest !== '') this.#line(stream, rest, this.#now(), 0)
      }
      this.#open = null
    }
    const { lines, dropped } = this.#tail.take()
    this.#dropped += dropped
    for (const { text } of lines.slice(-TAIL_BYTES)) this.#remember(text)
    if (this.#dropped > 0) {
      this.platform(`[mayfly] ${this.#dropped} bytes of this invocation's log were dropped: ${LIMITS.invocationLog.value} are kept`)
      this.#dropped = 0
    }
    for (const line of lines) this.#keep(line)
  }

  /** The last 4096 bytes, as `X-Amz-Log-Result` carries them. */
  lastBytes(): Buffer {
    const lines = this.#quiet === null ? this.#last.toArray() : this.#quiet().map((line) => `${line}\n`)
    const all = Buffer.from(lines.join(''))
    return all.subarray(Math.max(0, all.length - TAIL_BYTES))
  }

  #say(): void {
    if (this.#unsaid === null) return
    const lines = this.#unsaid.start()
    this.#unsaid = null
    for (const line of lines) this.#ours(line, this.#beganAt)
  }

  #ours(text: string, at: number): void {
    this.#remember(text)
    this.#keep({ at, source: 'platform', text })
  }

  /** @param behind  so much of what came with it follows it */
  #line(source: 'stdout' | 'stderr', text: string, at: number, behind: number): void {
    const bytes = Buffer.byteLength(text) + 1
    this.#hasTail ||= this.#headBytes + bytes > HALF || this.#headLines >= HALF_LINES
    if (this.#hasTail) return void this.#tail.push(source, `${text}\n`, at)
    if (behind < TAIL_BYTES) this.#remember(text)
    this.#headBytes += bytes
    this.#headLines++
    this.#keep({ at, source, text })
  }

  #keep(line: LogLine): void {
    this.#lines.push(line)
    this.#linesBytes += line.text.length
    if (this.#lines.length >= LINES_PER_RECORD || this.#linesBytes >= RECORD_BYTES) this.handOn()
  }

  #remember(text: string): void {
    this.#last.push(`${text}\n`)
    this.#lastBytes += text.length + 1
    while (this.#lastBytes > TAIL_BYTES * 4 && this.#last.length > 1) this.#lastBytes -= this.#last.shift()?.length ?? 0
  }
}

/** As it is shown. */
const rounded = (ms: number) => Math.round(ms * 100) / 100
