import type { Sql, Tx } from '../backends/database/database.ts'
import type { LogRecord } from '../core/meter.ts'

export interface StoredLine {
  readonly seq: string
  readonly at: Date
  readonly invocationId: string
  readonly version: string
  readonly source: string
  readonly text: string
}

export const insertLines = (tx: Tx, lines: readonly LogRecord[]) => tx`
  insert into mayfly.log_line (project, function_name, version, invocation_id, at, source, line)
  select * from unnest(${lines.map((line) => line.project)}::text[], ${lines.map((line) => line.functionName)}::text[], ${lines.map((line) => line.version)}::text[],
    ${lines.map((line) => line.invocationId)}::uuid[], ${lines.map((line) => new Date(line.at))}::timestamptz[], ${lines.map((line) => line.source)}::text[],
    ${lines.map((line) => line.text.replaceAll('\0', '\u{fffd}'))}::text[])`

export interface LinesOf {
  readonly project: string
  readonly functionName: string
  readonly afterSeq: string | null
  readonly invocationId: string | null
  readonly limit: number
}

/** The last lines, or the first after one: both oldest first, so that who goes on from the last misses none. */
export const selectLines = (sql: Sql, of: LinesOf) => (of.afterSeq === null ? selectLast(sql, of) : selectAfter(sql, of))

// index: log_line_function
const selectLast = (sql: Sql, of: LinesOf) => sql<StoredLine>`
  select * from (
    select seq, at, invocation_id as "invocationId", version, source, line as text from mayfly.log_line
     where project = ${of.project} and function_name = ${of.functionName} and (${of.invocationId}::uuid is null or invocation_id = ${of.invocationId}::uuid)
     order by seq desc limit ${of.limit}) as last
   order by seq`

// index: log_line_function
const selectAfter = (sql: Sql, of: LinesOf) => sql<StoredLine>`
  select seq, at, invocation_id as "invocationId", version, source, line as text from mayfly.log_line
   where project = ${of.project} and function_name = ${of.functionName} and seq > ${of.afterSeq}::bigint and (${of.invocationId}::uuid is null or invocation_id = ${of.invocationId}::uuid)
   order by seq limit ${of.limit}`

// index: log_line_age
export const deleteOldLines = (sql: Sql, days: number) => sql`delete from mayfly.log_line where at < clock_timestamp() - ${days} * interval '1 day'`
