import { LIMITS } from '../../core/limits.ts'
import type { Seen } from './authorise.ts'
import type { Change, Tuple } from './pgoutput.ts'
import type { Table } from './tables.ts'
import { toJson } from './values.ts'

/** Of a row that is too large only values up to this are told. */
const SMALL_VALUE = 64

/** The columns of a change that may be told to who sees this much; of what was, the key alone where rows are filtered. */
export function columnsOf(table: Table, seen: Seen, which: 'record' | 'old'): number[] {
  const inKey = new Set(table.key)
  const keyOnly = which === 'old' && seen.filtered
  return table.relation.columns.flatMap(({ name }, at) => (seen.columns?.has(name) && table.types[at] && (!keyOnly || inKey.has(at)) ? [at] : []))
}

/**
 * A change as clients are told it.
 * @param select  the columns that were asked for; null for all. The key is always among them
 * @returns null when it is not told at all
 */
export function dataOf(table: Table, change: Change, seen: Seen, select: readonly string[] | null): string | null {
  const { relation } = table
  const head = {
    schema: relation.schema,
    table: relation.name,
    commit_timestamp: new Date(change.committedAt).toISOString(),
    type: change.type,
  }
  if (seen.columns === null) return null
  const refused = (error: string) => JSON.stringify({ ...head, columns: [], record: {}, errors: [error] })
  const keyReadable = table.key.every((at) => seen.columns?.has(relation.columns[at]?.name ?? ''))
  if (seen.columns.size === 0 || !keyReadable) return refused('Error 401: Unauthorized')
  if (change.type !== 'DELETE') {
    if (seen.filtered && table.key.length === 0) return refused('Error 400: Bad Request, no primary key')
    if (!seen.visible.has(change)) return null
  }
  const asked = (at: number) => select === null || table.key.includes(at) || select.includes(relation.columns[at]?.name ?? '')
  const shown = columnsOf(table, seen, 'record').filter(asked)
  const columns = shown.map((at) => ({ name: relation.columns[at]?.name, type: table.types[at]?.name }))
  const old = columnsOf(table, seen, 'old').filter(asked)
  const build = (most: number) => {
    const row = (places: readonly number[], tuple: Tuple) =>
      `{${places
        .flatMap((at) => {
          const value = tuple[at]
          if (value === undefined || (value !== null && Buffer.byteLength(value) > most)) return []
          return [`${JSON.stringify(relation.columns[at]?.name)}:${toJson(value, table.types[at] as NonNullable<Table['types'][number]>)}`]
        })
        .join(',')}}`
    const parts = [JSON.stringify(head).slice(0, -1), `"columns":${JSON.stringify(columns)}`]
    if (change.record) parts.push(`"record":${row(shown, change.record)}`)
    // The key did not change: it is what it is now.
    if (change.type !== 'INSERT')
      parts.push(
        `"old_record":${
          change.old
            ? row(old, change.old)
            : row(
                old.filter((at) => table.key.includes(at)),
                change.record as Tuple,
              )
        }`,
      )
    parts.push(`"errors":${most === Number.POSITIVE_INFINITY ? 'null' : '["Error 413: Payload Too Large"]'}}`)
    return parts.join(',')
  }
  const whole = build(Number.POSITIVE_INFINITY)
  return Buffer.byteLength(whole) > LIMITS.realtimeRecord.value ? build(SMALL_VALUE) : whole
}
