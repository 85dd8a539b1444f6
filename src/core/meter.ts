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
  /** From the sandbox having the call until it was over, the answer's last byte and `waitUntil` included. */
  readonly durationMs: number
  /** The part of it after the answer had begun: bytes on their way, and `waitUntil`. */
  readonly responseMs: number
  /** Loading and the duration; of the time in which other calls ran beside it in its sandbox, its share. Whole, at least 1; 0 where it did not come to user code. */
  readonly billedMs: number
  readonly memoryMb: number
  readonly maxMemoryMb: number | null
  readonly cold: string | null
  /** From when the queue took the event to the start of this attempt; null where nobody queued it. */
  readonly queueMs: number | null
  /** Waiting for a sandbox, or for one to be thawed or started. */
  readonly waitMs: number
  /** Loading the code into it. */
  readonly initMs: number
  readonly bytesIn: number
  readonly bytesOut: number
}

/**
 * An execution that ended well before its start was written down, and that is stored by the journal alone: numbers of it
 * that its version does not say.
 */
export type AloneCall = readonly [
  invocationId: string,
  startedAt: number,
  durationMs: number,
  billedMs: number,
  maxMemoryMb: number | null,
  waitMs: number,
  initMs: number,
  responseMs: number,
  bytesIn: number,
  bytesOut: number,
]

/** What such executions of a version have in common. */
export type CalledVersion = Pick<MeterRecord, 'project' | 'functionName' | 'version' | 'memoryMb'>

/** A line that a function wrote (`stdout`, `stderr`), or one of ours about it (`platform`: START, END, REPORT). */
export interface LogLine {
  /** Wall time, ms since 1970. */
  readonly at: number
  readonly source: 'platform' | 'stdout' | 'stderr'
  readonly text: string
}

/** Whose log it is. */
export interface LogSubject {
  readonly project: string
  readonly functionName: string
  readonly version: string
  /** How many functions stood before the call; absent for none. */
  readonly depth?: number
}

/** Lines of one invocation that were written together, in their order; at most LINES_PER_RECORD. */
export interface LogRecord extends LogSubject {
  readonly invocationId: string
  readonly lines: readonly LogLine[]
}
export const LINES_PER_RECORD = 1024

/** A call that wrote nothing and ended well. START, END and REPORT follow from this (`lines-of-call.ts`). */
export type QuietCall = readonly [
  invocationId: string,
  startedAt: number,
  endedAt: number,
  durationMs: number,
  billedMs: number,
  memoryMb: number,
  maxMemoryMb: number | null,
  initMs: number,
  cold: string | null,
]

/** Such calls of one version, told together. */
export interface QuietRecord extends LogSubject {
  readonly calls: readonly QuietCall[]
}

/** What the journal of logs holds. */
export type LogEntry = LogRecord | QuietRecord

/** What a function sent to others than the platform, and got of them, since the record before: each byte stands in one. */
export interface EgressRecord {
  readonly project: string
  readonly functionName: string
  readonly version: string
  /** Wall time, ms since 1970, when it was counted. */
  readonly at: number
  readonly bytesIn: number
  readonly bytesOut: number
}

/** That an execution has begun: it is written down unless the execution is over before. */
export interface StartMark {
  readonly invocationId: string
  readonly attempt: number
}

/** Where executions and lines are written: appended to the process's journal, never waited for on the warm path. */
export interface Meter {
  started(start: {
    invocationId: string
    attempt: number
    project: string
    functionName: string
    version: string
    memoryMb: number
    startedAt: number
  }): StartMark
  /**
   * @param mark  of its start, where that is at hand
   * @param isAlone  nobody stores the record but who is told here
   */
  ended(record: MeterRecord, mark?: StartMark | null, isAlone?: boolean): void
  carried(egress: EgressRecord): void
  /** Resolves when what was told before is in the journal's file: an answer that is given after it outlives a kill. */
  settled(): Promise<void>
}

export interface LogWriter {
  write(record: LogRecord): void
  /** Instead of its three lines. */
  quiet(of: LogSubject, call: QuietCall): void
}
