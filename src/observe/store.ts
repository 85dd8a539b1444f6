import type { Sql, Tx } from '../backends/database/database.ts'
import { LINES_PER_RECORD, type LogRecord } from '../core/meter.ts'
import { storableText } from '../lib/text.ts'

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

/** A record as it is stored. */
export interface LogRow {
  readonly project: string
  readonly function: string
  readonly version: string
  readonly invocation: string
  readonly at: number
  readonly lines: readonly (readonly [at: number, source: string, text: string])[]
  readonly bytes: number
}

export const insertLines = (tx: Tx, rows: readonly LogRow[]) => tx`
  insert into mayfly.log_chunk (project, function_name, version, invocation_id, at, lines, bytes)
  select project, function, version, invocation, to_timestamp(at / 1000.0), lines, bytes
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
      as record (project text, function text, version text, invocation uuid, at float8, lines jsonb, bytes int)`

export const rowOf = (record: LogRecord): LogRow => ({
  project: record.project,
  function: record.functionName,
  version: record.version,
  invocation: record.invocationId,
  at: record.lines[0]?.at ?? 0,
  lines: record.lines.map((line) => [line.at, line.source, storableText(line.text)]),
  bytes: record.lines.reduce((sum, line) => sum + line.text.length, 0),
})

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

/** What a chunk counts with beside its text: its row and its places in the indexes. */
export const ROW_BYTES = 256

/** In the transaction that stores the records. In order, so that two transactions never wait for each other. */
export const addVolume = (tx: Tx, rows: readonly LogRow[]) => {
  const volumes = new Map<string, number>()
  for (const { project, bytes } of rows) volumes.set(project, (volumes.get(project) ?? 0) + bytes + ROW_BYTES)
  return tx<{ project: string; bytes: string }>`
    insert into mayfly.log_volume as volume (project, bytes)
    select * from unnest(${[...volumes.keys()]}::text[], ${[...volumes.values()]}::bigint[]) order by 1
    on conflict (project) do update set bytes = volume.bytes + excluded.bytes
    returning project, bytes`
}

export interface Volume {
  readonly bytes: number
  readonly droppedLines: number
  readonly droppedBytes: number
}

export const selectVolume = async (sql: Sql, project: string): Promise<Volume> => {
  const [row] = await sql<Volume>`
    select bytes::float8, dropped_lines::float8 as "droppedLines", dropped_bytes::float8 as "droppedBytes" from mayfly.log_volume where project = ${project}`
  return row ?? { bytes: 0, droppedLines: 0, droppedBytes: 0 }
}

export const selectVolumesOver = (sql: Sql, bytes: number) => sql<{ project: string }>`select project from mayfly.log_volume where bytes > ${bytes}`

/** How many chunks one transaction takes away. */
const BATCH = 1_000

/**
 * Takes the oldest chunks of a project away until it has at most so many bytes, a batch at a time.
 * @returns how many chunks went: 0 when it is done
 */
export const trimProject = async (tx: Tx, project: string, bytes: number): Promise<number> => {
  // Written to, not only locked: a first row that is not committed yet is waited for too.
  const [volume] = await tx<{ bytes: string }>`
    insert into mayfly.log_volume as volume (project, bytes) values (${project}, 0) on conflict (project) do update set bytes = volume.bytes returning bytes`
  const excess = Number(volume?.bytes ?? 0) - bytes
  if (excess <= 0) return 0
  // index: log_chunk_project
  const [gone] = await tx<{ chunks: number }>`
    with oldest as (
      select seq, sum(bytes + ${ROW_BYTES}) over (order by seq) - bytes - ${ROW_BYTES} as before
        from (select seq, bytes from mayfly.log_chunk where project = ${project} order by seq limit ${BATCH}) as first),
    gone as (
      delete from mayfly.log_chunk using oldest where log_chunk.seq = oldest.seq and oldest.before < ${excess}
      returning log_chunk.bytes, jsonb_array_length(log_chunk.lines) as lines),
    sums as (select count(*)::int as chunks, coalesce(sum(bytes), 0) as text, coalesce(sum(lines), 0) as lines from gone)
    update mayfly.log_volume
       set bytes = bytes - sums.text - sums.chunks * ${ROW_BYTES}, dropped_lines = dropped_lines + sums.lines, dropped_bytes = dropped_bytes + sums.text
      from sums where project = ${project}
    returning sums.chunks`
  return gone?.chunks ?? 0
}

/** @returns how many chunks went: 0 when it is done */
export const deleteOldLines = async (tx: Tx, days: number): Promise<number> => {
  // index: log_chunk_age
  const gone = await tx<{ project: string; chunks: number; text: string }>`
    with gone as (
      delete from mayfly.log_chunk
       where seq in (select seq from mayfly.log_chunk where at < clock_timestamp() - ${days} * interval '1 day' order by at limit ${BATCH})
      returning project, bytes)
    select project, count(*)::int as chunks, sum(bytes) as text from gone group by project order by project`
  for (const { project, chunks, text } of gone)
    await tx`update mayfly.log_volume set bytes = bytes - ${text}::bigint - ${chunks * ROW_BYTES}::bigint where project = ${project}`
  return gone.reduce((sum, one) => sum + one.chunks, 0)
}

/** @returns how many chunks went: 0 when it is done */
export const deleteProjectLines = async (tx: Tx, project: string): Promise<number> => {
  // index: log_chunk_project
  const [gone] = await tx<{ chunks: number }>`
    with gone as (
      delete from mayfly.log_chunk where seq in (select seq from mayfly.log_chunk where project = ${project} order by seq limit ${BATCH}) returning 1)
    select count(*)::int as chunks from gone`
  if (gone?.chunks === 0) await tx`delete from mayfly.log_volume where project = ${project}`
  return gone?.chunks ?? 0
}
