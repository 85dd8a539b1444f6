/** One execution, metered once by (invocation, attempt). Written to the process's journal, read by `usage`. */
export interface MeterRecord {
  readonly invocationId: string
  readonly attempt: number
  readonly project: string
  readonly functionName: string
  readonly version: string
  /** Wall time, ms since 1970, when it was admitted. */
  readonly startedAt: number
  readonly outcome: 'ok' | 'error' | 'timeout' | 'exit' | 'cut'
  readonly durationMs: number
  readonly billedMs: number
  readonly memoryMb: number
  readonly maxMemoryMb: number | null
  readonly cold: string | null
  readonly waitMs: number
  readonly initMs: number
  readonly bytesIn: number
  readonly bytesOut: number
}

/** A line that a function wrote, or one of ours about it (START, END, REPORT). */
export interface LogRecord {
  readonly at: number
  readonly project: string
  readonly functionName: string
  readonly version: string
  readonly invocationId: string
  readonly source: 'platform' | 'stdout' | 'stderr'
  readonly text: string
}

/** Where executions and lines are written: appended to the process's journal, never waited for on the warm path. */
export interface Meter {
  started(start: { invocationId: string; attempt: number; project: string; functionName: string; version: string; memoryMb: number; startedAt: number }): void
  ended(record: MeterRecord): void
}

export interface LogWriter {
  write(record: LogRecord): void
}
