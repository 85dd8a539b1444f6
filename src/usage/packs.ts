import type { AloneCall, CalledVersion, MeterRecord } from '../core/meter.ts'
import { uuidTime } from '../lib/ids.ts'

/** What the journal holds of an execution that nobody but it stores. */
export interface AloneEntry {
  readonly alone: AloneCall
  readonly of: CalledVersion
}

/** Executions that become one row. */
export interface Pack extends CalledVersion {
  readonly calls: readonly AloneCall[]
}

/** What they add to the sums of a day. */
export interface Sum {
  readonly project: string
  readonly functionName: string
  readonly day: string
  executions: number
  billedMs: number
  /** As a text: a number would not be exact. */
  billedMbMs: string
  bytesIn: number
  bytesOut: number
}

/** Fewer are rows of their own. */
const LEAST = 16
/** Those of a row began within one, so that it is known which rows have those of a time. */
const SPAN_MS = 60_000
/** An execution is looked up by the time in its id: one that began long after it has a row of its own. */
export const MOST_AFTER_ID_MS = 60_000

/** Whether an execution can be told so: most are like this, and what is left out stands fast for all of them. */
export const isPlain = ({ attempt, outcome, cold, queueMs }: MeterRecord): boolean => attempt === 1 && outcome === 'ok' && cold === null && queueMs === null

export const aloneOf = (of: MeterRecord): AloneCall => [
  of.invocationId,
  of.startedAt,
  of.durationMs,
  of.billedMs,
  of.maxMemoryMb,
  of.waitMs,
  of.initMs,
  of.responseMs,
  of.bytesIn,
  of.bytesOut,
]

export const recordOf = ({ alone, of }: AloneEntry): MeterRecord => {
  const [invocationId, startedAt, durationMs, billedMs, maxMemoryMb, waitMs, initMs, responseMs, bytesIn, bytesOut] = alone
  const { project, functionName, version, memoryMb } = of
  const same = { attempt: 1, outcome: 'ok', cold: null, queueMs: null } as const
  const timing = { startedAt, durationMs, responseMs, billedMs, waitMs, initMs }
  return { invocationId, project, functionName, version, memoryMb, maxMemoryMb, bytesIn, bytesOut, ...timing, ...same }
}

const isOf = (one: CalledVersion, other: CalledVersion) =>
  one === other ||
  (one.version === other.version && one.functionName === other.functionName && one.project === other.project && one.memoryMb === other.memoryMb)

/** What a version's executions have in common, one object for all that follow each other. */
export class LastVersion {
  #last: CalledVersion | null = null
  of(record: MeterRecord): CalledVersion {
    if (this.#last !== null && isOf(record, this.#last)) return this.#last
    const { project, functionName, version, memoryMb } = record
    this.#last = { project, functionName, version, memoryMb }
    return this.#last
  }
}

/** Those that many are of, by their version and minute; the others are rows. */
export function packsOf(entries: readonly AloneEntry[]): { readonly packs: readonly Pack[]; readonly rows: readonly MeterRecord[] } {
  interface Group {
    readonly of: CalledVersion
    readonly minute: number
    readonly entries: AloneEntry[]
  }
  const groups = new Map<string, Group>()
  const rows: MeterRecord[] = []
  let last: Group | null = null
  for (const entry of entries) {
    const { alone, of } = entry
    if (!isReadable(alone)) {
      rows.push(recordOf(entry))
      continue
    }
    const minute = Math.floor(alone[1] / SPAN_MS)
    if (last === null || last.minute !== minute || !isOf(last.of, of)) {
      const key: string = JSON.stringify([minute, of.project, of.functionName, of.version, of.memoryMb])
      last = groups.get(key) ?? { of, minute, entries: [] }
      groups.set(key, last)
    }
    last.entries.push(entry)
  }
  const packs: Pack[] = []
  for (const group of groups.values()) {
    if (group.entries.length < LEAST) rows.push(...group.entries.map(recordOf))
    else packs.push({ ...group.of, calls: group.entries.map(({ alone }) => alone) })
  }
  return { packs, rows }
}

/** What PostgreSQL does not look at when it is written must not fail when it is read; who refuses what is wrong are the columns of rows. */
function isReadable(call: AloneCall): boolean {
  const id = call[0]
  const mostMb = call[4]
  const afterMs = call[1] - uuidTime(id)
  return (
    afterMs >= -MOST_AFTER_ID_MS &&
    afterMs <= MOST_AFTER_ID_MS &&
    UUID.test(id) &&
    // durations
    Number.isFinite(call[2]) &&
    Number.isFinite(call[5]) &&
    Number.isFinite(call[6]) &&
    Number.isFinite(call[7]) &&
    // what is billed, and bytes
    Number.isSafeInteger(call[3]) &&
    Number.isSafeInteger(call[8]) &&
    Number.isSafeInteger(call[9]) &&
    (mostMb === null || (Number.isSafeInteger(mostMb) && Math.abs(mostMb) < 2 ** 31))
  )
}
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** In UTC; a time that is none has none. */
export const dayOf = (ms: number): string => {
  const at = new Date(ms)
  return Number.isNaN(at.getTime()) ? '1970-01-01' : at.toISOString().slice(0, 10)
}

/** What they add to days, in the order in which all who add to them take them. */
export function sumsOf(packs: readonly Pack[]): Sum[] {
  const sums = new Map<string, Sum>()
  for (const { project, functionName, memoryMb, calls } of packs) {
    const day = dayOf((calls[0] as AloneCall)[1])
    let billed = 0
    let [bytesIn, bytesOut] = [0, 0]
    for (const call of calls) {
      billed += call[3]
      bytesIn += call[8]
      bytesOut += call[9]
    }
    const billedMbMs = BigInt(billed) * BigInt(memoryMb)
    const key = JSON.stringify([project, day, functionName])
    const sum = sums.get(key)
    if (sum === undefined) {
      sums.set(key, { project, functionName, day, executions: calls.length, billedMs: billed, billedMbMs: String(billedMbMs), bytesIn, bytesOut })
      continue
    }
    sum.executions += calls.length
    sum.billedMs += billed
    sum.billedMbMs = String(BigInt(sum.billedMbMs) + billedMbMs)
    sum.bytesIn += bytesIn
    sum.bytesOut += bytesOut
  }
  return [...sums.values()]
}
