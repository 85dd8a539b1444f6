import { LIMITS } from '../core/limits.ts'
import type { LogLine, LogRecord } from '../core/meter.ts'

interface Bucket {
  bytes: number
  at: number
}

/**
 * How much of what functions write is let through, for each project apart: so much a second, and a burst. What is
 * past that is dropped and its place says how much it was; our own lines always stand.
 */
export class LogRate {
  readonly #buckets = new Map<string, Bucket>()
  /** Lines that were dropped so far. */
  dropped = 0

  /** The record as it may be written; the same one when nothing had to go. */
  admit(record: LogRecord, nowMs: number): LogRecord {
    let bytes = 0
    for (const line of record.lines) if (line.source !== 'platform') bytes += line.text.length
    if (bytes === 0) return record
    let bucket = this.#buckets.get(record.project)
    if (bucket === undefined) {
      bucket = { bytes: LIMITS.logBurst.value, at: nowMs }
      this.#buckets.set(record.project, bucket)
    }
    bucket.bytes = Math.min(LIMITS.logBurst.value, bucket.bytes + ((nowMs - bucket.at) / 1000) * LIMITS.logRate.value)
    bucket.at = nowMs
    if (bytes <= bucket.bytes) {
      bucket.bytes -= bytes
      return record
    }
    return { ...record, lines: this.#cut(record.lines, bucket) }
  }

  forget(project: string): void {
    this.#buckets.delete(project)
  }

  #cut(lines: readonly LogLine[], bucket: Bucket): LogLine[] {
    const kept: LogLine[] = []
    let gone = 0
    const tell = (at: number) => {
      if (gone > 0)
        kept.push({ at, source: 'platform', text: `[mayfly] ${gone} lines were dropped: this project writes more than ${LIMITS.logRate.value} bytes a second` })
      this.dropped += gone
      gone = 0
    }
    for (const line of lines) {
      if (line.source !== 'platform' && line.text.length > bucket.bytes) {
        gone++
        continue
      }
      tell(line.at)
      if (line.source !== 'platform') bucket.bytes -= line.text.length
      kept.push(line)
    }
    tell(lines.at(-1)?.at ?? 0)
    return kept
  }
}
