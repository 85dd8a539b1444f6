import type { Sql, Tx } from '../backends/database/database.ts'
import { LINES_PER_RECORD, type LogRecord } from '../core/meter.ts'

export interface StoredLine {
  readonly seq: string
  readonly at: Date
  readonly invocationId: string
  readonly version: string
  readonly source: string
  readonly text: string
}

/** A line's `seq` is its chunk's times this, plus its place there. */
const LINES = LINES_PER_RECORD

export const insertLines = (tx: Tx, records: readonly LogRecord[]) => tx`
  insert into mayfly.log_chunk (project, function_name, version, invocation_id, at, lines, bytes)
  select project, function, version, invocation, to_timestamp(at / 1000.0), lines, bytes
    from jsonb_to_recordset(${JSON.stringify(records.map(rowOf))}::jsonb)
      as record (project text, function text, version text, invocation uuid, at float8, lines jsonb, bytes int)`

const rowOf = (record: LogRecord) => ({
  project: record.project,
  function: record.functionName,
  version: record.version,
  invocation: record.invocationId,
  at: record.lines[0]?.at ?? 0,
  lines: record.lines.map((line) => [line.at, line.source, storable(line.text)]),
  bytes: record.lines.reduce((sum, line) => sum + line.text.length, 0),
})

// PostgreSQL's text holds neither a zero byte nor half a character.
const storable = (text: string) => (text.includes('\0') ? text.replaceAll('\0', '\u{fffd}') : text).toWellFormed()

export interface LinesOf {
  readonly project: string
  readonly functionName: string
  readonly afterSeq: string | null
  readonly invocationId: string | null
  readonly limit: number
}

/** The last lines, or the first after one: both oldest first, so that who goes on from the last misses none. */
export const selectLines = (sql: Sql, of: LinesOf) => (of.afterSeq === null ? selectLast(sql, of) : selectAfter(sql, of))

// index: log_chunk_function
const selectLast = (sql: Sql, of: LinesOf) => sql<StoredLine>`
  select * from (
    select chunk.seq * ${LINES} + line.place - 1 as seq, to_timestamp((line.value ->> 0)::float8 / 1000) as at, invocation_id as "invocationId", version,
           line.value ->> 1 as source, line.value ->> 2 as text
      from (select * from mayfly.log_chunk
             where project = ${of.project} and function_name = ${of.functionName} and (${of.invocationId}::uuid is null or invocation_id = ${of.invocationId}::uuid)
             order by seq desc limit ${of.limit}) as chunk
     cross join lateral jsonb_array_elements(chunk.lines) with ordinality as line (value, place)
     order by 1 desc limit ${of.limit}) as last
   order by seq`

// index: log_chunk_function
const selectAfter = (sql: Sql, of: LinesOf) => sql<StoredLine>`
  select chunk.seq * ${LINES} + line.place - 1 as seq, to_timestamp((line.value ->> 0)::float8 / 1000) as at, invocation_id as "invocationId", version,
         line.value ->> 1 as source, line.value ->> 2 as text
    from (select * from mayfly.log_chunk
           where project = ${of.project} and function_name = ${of.functionName} and seq >= ${of.afterSeq}::bigint / ${LINES}
             and (${of.invocationId}::uuid is null or invocation_id = ${of.invocationId}::uuid)
           order by seq limit ${of.limit + 1}) as chunk
   cross join lateral jsonb_array_elements(chunk.lines) with ordinality as line (value, place)
   where chunk.seq * ${LINES} + line.place - 1 > ${of.afterSeq}::bigint
   order by 1 limit ${of.limit}`

// index: log_chunk_age
export const deleteOldLines = (sql: Sql, days: number) => sql`delete from mayfly.log_chunk where at < clock_timestamp() - ${days} * interval '1 day'`
