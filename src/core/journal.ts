import { closeSync, fdatasync, openSync, promises as fs, readdirSync, readFileSync, truncateSync, writeSync } from 'node:fs'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { Bell } from '../lib/bell.ts'
import { MiB } from '../lib/bytes.ts'
import type { Clock } from '../lib/clock.ts'
import type { Log } from './log.ts'

/** A record's place: it is unique in its journal and grows. */
export interface JournalPosition {
  readonly segment: number
  readonly offset: number
}
export const isBefore = (one: JournalPosition, other: JournalPosition) =>
  one.segment < other.segment || (one.segment === other.segment && one.offset < other.offset)
/** A record that was taken and is not in the file yet. */
interface Taken<T> {
  readonly value: T
  readonly text: string
  /** Of the text, as it will be written. */
  readonly bytes: number
}
export interface JournalRecord<T> {
  readonly value: T
  /** Where the next record begins: consumed up to here. */
  readonly end: JournalPosition
}

const SEGMENT_BYTES = 16 * MiB
const HEAD = 8
const MAX_RECORD = 1 * MiB
const SYNC_MS = 100
/** A record that nobody waits for is written after so long at the latest. */
const WRITE_MS = 5
const MAX_PENDING = 8 * MiB
/** How much of a segment is read at a time; a whole record always fits. */
const READ_BYTES = 2 * MiB
/** So much of what was written is kept in memory for the consumer, which then need not read it back. */
const MAX_RECENT = 8 * MiB

const segmentName = (segment: number) => `${String(segment).padStart(12, '0')}.log`

/**
 * A process's own append-only file of JSON records: length, CRC, payload. Records of a few milliseconds share a write,
 * sooner when somebody waits for theirs; writes of 100 ms share an fsync: kill -9 loses nothing that was waited for, a
 * power cut the last 100 ms. A torn end, left by a cut, is found by its CRC and cut off.
 */
export class Journal<T> implements AsyncDisposable {
  readonly #folder: string
  readonly #log: Log
  /** Armed while something is to be synced, or to be written again: a journal that nobody writes wakes nobody. */
  #syncing: NodeJS.Timeout | null = null
  #segment: number
  #size: number
  #fd: number
  #pending: Taken<T>[] = []
  #pendingBytes = 0
  #delayed: NodeJS.Timeout | null = null
  #settling: PromiseWithResolvers<void> | null = null
  /** The end of what was written, without a gap; `#recentStart` is where it begins. */
  #recent: (JournalRecord<T> & { readonly bytes: number })[] = []
  #recentStart: JournalPosition | null = null
  #recentBytes = 0
  #removedBelow = 0
  #dirty = false
  /** Something stands at the end of the segment that counts for nothing and could not be cut off yet: before that nothing is written. */
  #torn = false
  readonly #written = new Bell()
  /** False after a write failed, until one succeeds again. */
  writable = true
  /** Records that could not be written or did not fit. */
  dropped = 0

  private constructor(folder: string, log: Log, segment: number, size: number, fd: number) {
    this.#folder = folder
    this.#log = log
    this.#segment = segment
    this.#size = size
    this.#fd = fd
  }

  static async open<T>(folder: string, log: Log): Promise<Journal<T>> {
    await fs.mkdir(folder, { recursive: true, mode: 0o700 })
    const segments = segmentsOf(folder)
    const last = segments.at(-1) ?? 1
    const file = path.join(folder, segmentName(last))
    let size = 0
    if (segments.length > 0) {
      const bytes = readFileSync(file)
      for (const record of recordsIn(bytes, 0)) size = record.end
      if (size < bytes.length) {
        log.warn({ folder, bytes: bytes.length - size }, 'the torn end of a journal was cut off')
        truncateSync(file, size)
      }
    }
    return new Journal<T>(folder, log, last, size, openSync(file, 'a', 0o600))
  }

  /** Takes a record; it is written within a few milliseconds, or when somebody waits for `settled`. */
  append(value: T): void {
    const text = JSON.stringify(value)
    const bytes = Buffer.byteLength(text)
    if (bytes > MAX_RECORD || this.#pendingBytes + HEAD + bytes > MAX_PENDING) {
      this.dropped++
      return
    }
    this.#pendingBytes += HEAD + bytes
    this.#pending.push({ value, text, bytes })
    this.#delayed ??= setTimeout(() => this.flush(), WRITE_MS)
  }

  /** Resolves when all that was taken before is written, or could not be. Those who ask in one turn of the event loop share a write. */
  settled(): Promise<void> {
    if (this.#settling) return this.#settling.promise
    if (this.#pending.length === 0) return Promise.resolve()
    this.#settling = Promise.withResolvers<void>()
    setImmediate(() => this.flush())
    return this.#settling.promise
  }

  /** Writes what was taken. What cannot be written is kept, within bounds, and tried again every 100 ms. */
  flush(): void {
    if (this.#delayed) clearTimeout(this.#delayed)
    this.#delayed = null
    const settling = this.#settling
    this.#settling = null
    this.#writePending()
    settling?.resolve()
  }

  #writePending(): void {
    if (this.#pending.length === 0) return
    const bytes = Buffer.allocUnsafe(this.#pendingBytes)
    let end = 0
    for (const one of this.#pending) {
      bytes.writeUInt32LE(one.bytes, end)
      bytes.writeUInt32LE(crc32(one.text), end + 4)
      end += HEAD + bytes.write(one.text, end + HEAD)
    }
    try {
      if (this.#torn) this.#cutOff()
      if (this.#size > 0 && this.#size + bytes.length > SEGMENT_BYTES) this.#beginSegment(this.#segment + 1)
      let at = 0
      while (at < bytes.length) at += writeSync(this.#fd, bytes, at)
    } catch (error) {
      if (this.writable) this.#log.error({ folder: this.#folder, error: (error as Error).message }, 'a journal cannot be written')
      this.writable = false
      this.#repair()
      this.#syncSoon()
      return
    }
    if (!this.writable) this.#log.info({ folder: this.#folder, dropped: this.dropped }, 'a journal can be written again')
    this.writable = true
    this.#keepRecent(bytes.length)
    this.#pending = []
    this.#pendingBytes = 0
    this.#size += bytes.length
    this.#dirty = true
    this.#syncSoon()
    this.#written.ring()
  }

  #keepRecent(bytes: number): void {
    if (this.#recentBytes + bytes > MAX_RECENT) this.#forgetRecent(this.#recent.length)
    let offset = this.#size
    if (this.#recent.length === 0) this.#recentStart = { segment: this.#segment, offset }
    for (const one of this.#pending) {
      offset += HEAD + one.bytes
      this.#recent.push({ value: one.value, end: { segment: this.#segment, offset }, bytes: HEAD + one.bytes })
    }
    this.#recentBytes += bytes
  }

  #forgetRecent(count: number): void {
    const gone = this.#recent.splice(0, count)
    for (const record of gone) this.#recentBytes -= record.bytes
    this.#recentStart = this.#recent.length === 0 ? null : (gone.at(-1)?.end ?? this.#recentStart)
  }

  /** How often something was written. */
  get writes(): number {
    return this.#written.rings
  }

  /**
   * Resolves when something was written, or after `ms`.
   * @param since  what `writes` said when the wait began: at once where something was written since
   */
  async changed(clock: Clock, ms: number, signal: AbortSignal, since: number = this.writes): Promise<void> {
    await this.#written.wait(clock, ms, signal, since)
  }

  /**
   * What was consumed may have outlived the records themselves (a power cut took the end of the file after the
   * database had it): new records must not come to lie before the position, where nobody reads them.
   */
  resumeAfter(position: JournalPosition): void {
    if (position.segment < this.#segment || (position.segment === this.#segment && position.offset <= this.#size)) return
    this.#log.warn({ folder: this.#folder, consumed: position }, 'a journal lost its end after it was consumed; it goes on in a new segment')
    this.#beginSegment(position.segment + 1)
  }

  /** Where the next record will begin, or in the segment behind. */
  get end(): JournalPosition {
    return { segment: this.#segment, offset: this.#size }
  }

  /** Up to `most` whole records from a position on. */
  async read(from: JournalPosition | null, most: number): Promise<JournalRecord<T>[]> {
    const out: JournalRecord<T>[] = []
    if (from && from.segment === this.#segment && from.offset >= this.#size) return out
    if (from && this.#recentStart && !isBefore(from, this.#recentStart)) {
      const begin = this.#recent.findIndex((record) => isBefore(from, record.end))
      return begin === -1 ? out : this.#recent.slice(begin, begin + most)
    }
    for (const segment of segmentsOf(this.#folder)) {
      if (from && segment < from.segment) continue
      const file = await fs.open(path.join(this.#folder, segmentName(segment)), 'r')
      try {
        const chunk = Buffer.allocUnsafe(READ_BYTES)
        for (let start = from && segment === from.segment ? from.offset : 0; out.length < most; ) {
          // Whole records of a write that failed may stand behind the end until they are cut off: they come again.
          const written = segment === this.#segment ? Math.max(0, Math.min(READ_BYTES, this.#size - start)) : READ_BYTES
          const { bytesRead } = await file.read(chunk, 0, written, start)
          let end = 0
          for (const record of recordsIn(chunk.subarray(0, bytesRead), 0)) {
            out.push({ value: JSON.parse(chunk.toString('utf8', record.start, record.end)) as T, end: { segment, offset: start + record.end } })
            end = record.end
            if (out.length >= most) return out
          }
          if (end === 0) break
          start += end
        }
      } finally {
        await file.close()
      }
    }
    return out
  }

  /** Lets go of what lies before a position: the records in memory, and the segments that lie wholly before it. */
  async consumed(upTo: JournalPosition): Promise<void> {
    const kept = this.#recent.findIndex((record) => isBefore(upTo, record.end))
    this.#forgetRecent(kept === -1 ? this.#recent.length : kept)
    if (upTo.segment <= this.#removedBelow) return
    this.#removedBelow = upTo.segment
    for (const segment of segmentsOf(this.#folder)) {
      if (segment < upTo.segment && segment < this.#segment) await fs.rm(path.join(this.#folder, segmentName(segment)), { force: true })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.flush()
    if (this.#syncing) clearTimeout(this.#syncing)
    this.dropped += this.#pending.length
    await new Promise<void>((resolve) => fdatasync(this.#fd, () => resolve()))
    closeSync(this.#fd)
  }

  #beginSegment(segment: number): void {
    const before = this.#fd
    // Opened first: when that fails the old one is still there, and its number is not given to another file.
    this.#fd = openSync(path.join(this.#folder, segmentName(segment)), 'a', 0o600)
    this.#segment = segment
    this.#size = 0
    fdatasync(before, () => closeSync(before))
  }

  /** Half a record may stand there now, of which what follows must not be read as the rest, and whole ones, which will be written again. */
  #repair(): void {
    try {
      this.#cutOff()
    } catch {
      this.#torn = true
    }
  }

  #cutOff(): void {
    truncateSync(path.join(this.#folder, segmentName(this.#segment)), this.#size)
    this.#torn = false
  }

  #syncSoon(): void {
    this.#syncing ??= setTimeout(() => this.#sync(), SYNC_MS).unref()
  }

  #sync(): void {
    this.#syncing = null
    if (!this.writable) this.flush()
    if (!this.#dirty) return
    this.#dirty = false
    fdatasync(this.#fd, () => {})
  }
}

function segmentsOf(folder: string): number[] {
  return readdirSync(folder)
    .filter((name) => /^\d{12}\.log$/.test(name))
    .map((name) => Number.parseInt(name, 10))
    .toSorted((a, b) => a - b)
}

/** The whole records in some bytes; ends at the first that is torn. */
function* recordsIn(bytes: Buffer, from: number): Generator<{ start: number; end: number }> {
  let at = from
  while (bytes.length - at >= HEAD) {
    const length = bytes.readUInt32LE(at)
    const end = at + HEAD + length
    // After a power cut zeros may stand where nothing was written back; no record is empty, and they would pass as one.
    if (length === 0 || length > MAX_RECORD || end > bytes.length) return
    if (crc32(bytes.subarray(at + HEAD, end)) !== bytes.readUInt32LE(at + 4)) return
    yield { start: at + HEAD, end }
    at = end
  }
}
