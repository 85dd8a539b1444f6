import { endLine, reportLine, startLine } from '../core/lines-of-call.ts'
import type { Logging } from '../functions/index.ts'
import type { ColdReason } from '../sandbox/index.ts'

export interface Report {
  readonly durationMs: number
  readonly billedMs: number
  readonly memoryMb: number
  readonly maxMemoryMb: number | null
  readonly initMs: number
  readonly cold: ColdReason | null
  readonly outcome: 'ok' | 'error' | 'timeout' | 'exit' | 'cut'
  readonly errorType: string | null
  /** What a person reads of the error; empty when the function said it itself. */
  readonly message: string
}

/** What the platform writes around an invocation's own lines. */
export interface PlatformLines {
  /** They follow from the report of a call that ended well, and need not be written. */
  readonly follow: boolean
  start(): string[]
  end(report: Report): string[]
  /** It never came to user code. */
  notRun(reason: string): string[]
}

interface Subject {
  readonly id: string
  readonly version: string
  readonly now: () => number
}

/** As the function's LoggingConfig says: Lambda's text, or its telemetry events as JSON. */
export const platformLines = (logging: Logging | null, subject: Subject): PlatformLines =>
  logging?.format === 'JSON' ? jsonLines(logging.systemLevel ?? 'INFO', subject) : textLines(subject)

const textLines = (subject: Subject): PlatformLines => new TextLines(subject)

/** On the path of every call: so no list is made that is only joined. */
class TextLines implements PlatformLines {
  readonly follow = true
  readonly #subject: Subject

  constructor(subject: Subject) {
    this.#subject = subject
  }
  start(): string[] {
    const { id, version } = this.#subject
    return [startLine(id, version)]
  }
  end(report: Report): string[] {
    const { id, now } = this.#subject
    const { outcome, errorType, message } = report
    const status = outcome === 'ok' ? '' : outcome === 'timeout' ? 'Status: timeout\t' : `Status: error\tError Type: ${errorType ?? ''}\t`
    const lines = [endLine(id), reportLine(id, report, status)]
    if (message !== '') lines.unshift(`${iso(now)} ${id} ${message}`)
    return lines
  }
  notRun(reason: string): string[] {
    return [`${endLine(this.#subject.id)}\tNot run: ${reason}`]
  }
}

/** END has no twin in JSON; at WARN only what went wrong is left, at DEBUG the end of the runtime's part comes in addition. */
function jsonLines(level: string, { id, version, now }: Subject): PlatformLines {
  const line = (type: string, record: object) => JSON.stringify({ time: iso(now), type, record })
  return {
    follow: false,
    start: () => (level === 'WARN' ? [] : [line('platform.start', { requestId: id, version })]),
    end: ({ durationMs, billedMs, memoryMb, maxMemoryMb, initMs, outcome, errorType, message }) => {
      const status = outcome === 'ok' ? 'success' : outcome === 'timeout' ? 'timeout' : outcome === 'error' ? 'error' : 'failure'
      const failed = status === 'success' ? { status } : { status, ...(errorType === null ? {} : { errorType }) }
      const metrics = {
        durationMs: rounded(durationMs),
        billedDurationMs: billedMs,
        memorySizeMB: memoryMb,
        ...(maxMemoryMb === null ? {} : { maxMemoryUsedMB: maxMemoryMb }),
        ...(initMs === 0 ? {} : { initDurationMs: rounded(initMs) }),
      }
      return [
        ...(message === '' ? [] : [line('platform.fault', { requestId: id, message })]),
        ...(level === 'DEBUG' ? [line('platform.runtimeDone', { requestId: id, ...failed, metrics: { durationMs: rounded(durationMs) } })] : []),
        ...(level === 'WARN' && status === 'success' ? [] : [line('platform.report', { requestId: id, metrics, ...failed })]),
      ]
    },
    notRun: (reason) => [line('platform.fault', { requestId: id, message: `Not run: ${reason}` })],
  }
}

const iso = (now: () => number) => new Date(now()).toISOString()
const rounded = (ms: number) => Math.round(ms * 1000) / 1000
