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

// index: log_line_function
export const selectLines = (sql: Sql, of: { project: string; functionName: string; afterSeq: string | null; invocationId: string | null; limit: number }) => sql<StoredLine>`
  select * from (
    select seq, at, invocation_id as "invocationId", version, source, line as text from mayfly.log_line
     where project = ${of.project} and function_name = ${of.functionName}
       and (${of.afterSeq}::bigint is null or seq > ${of.afterSeq}::bigint)
       and (${of.invocationId}::uuid is null or invocation_id = ${of.invocationId}::uuid)
     order by seq desc limit ${of.limit}) as last
   order by seq`

// index: log_line_age
export const deleteOldLines = (sql: Sql, days: number) => sql`delete from mayfly.log_line where at < clock_timestamp() - ${days} * interval '1 day'`
