import type { Sql, Tx } from '../backends/database/database.ts'
import { QUIET_LINES, quietLine } from '../core/lines-of-call.ts'
import { LINES_PER_RECORD, type LogRecord, type QuietCall, type QuietRecord } from '../core/meter.ts'
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

interface Chunk {
  readonly project: string
  readonly function: string
  readonly version: string
  readonly at: number
  readonly bytes: number
  readonly depth: number
}

/** A record as it is stored. */
export interface LogRow extends Chunk {
  readonly invocation: string
  readonly lines: readonly (readonly [at: number, source: string, text: string])[]
}

/** Calls that wrote nothing, as they are stored: at most as many as have LINES lines. */
export interface QuietRow extends Chunk {
  readonly calls: number
  /** In JSON. */
  readonly quiet: string
}

export const insertLines = (tx: Tx, rows: readonly LogRow[]) => tx`
  insert into mayfly.log_chunk (project, function_name, version, invocation_id, at, lines, bytes, depth)
  select project, function, version, invocation, to_timestamp(at / 1000.0), lines, bytes, depth
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
      as record (project text, function text, version text, invocation uuid, at float8, lines jsonb, bytes int, depth smallint)`

export const rowOf = (record: LogRecord): LogRow => ({
  project: record.project,
  function: record.functionName,
  version: record.version,
  invocation: record.invocationId,
  at: record.lines[0]?.at ?? 0,
  lines: record.lines.map((line) => [line.at, line.source, storableText(line.text)]),
  bytes: record.lines.reduce((sum, line) => sum + line.text.length, 0),
  depth: record.depth ?? 0,
})

export const insertQuiet = (tx: Tx, rows: readonly QuietRow[]) => tx`
  insert into mayfly.log_chunk (project, function_name, version, at, lines, bytes, depth, quiet_calls, quiet)
  select project, function, version, to_timestamp(at / 1000.0), '[]', bytes, depth, calls, quiet
    from json_to_recordset(${`[${rows.map(quietJson).join(',')}]`}::json)
      as record (project text, function text, version text, at float8, bytes int, depth smallint, calls int, quiet json)`

const quietJson = ({ quiet, ...row }: QuietRow): string => `${JSON.stringify(row).slice(0, -1)},"quiet":${quiet}}`

export const quietRowOf = ({ project, functionName, version, depth = 0, calls }: QuietRecord): QuietRow => {
  const quiet = JSON.stringify(calls)
  return { project, function: functionName, version, at: calls[0]?.[1] ?? 0, bytes: quiet.length, depth, calls: calls.length, quiet }
}

export interface LinesOf {
  readonly project: string
  readonly functionName: string
  readonly afterSeq: string | null
  readonly invocationId: string | null
  readonly limit: number
}

/** A line as it lies there: one of a call that wrote nothing is told from the call. */
type LineRow = Omit<StoredLine, 'source' | 'text'> &
  ({ readonly call: null; readonly source: string; readonly text: string } | { readonly call: QuietCall; readonly which: number })

export function lineOf(row: LineRow): StoredLine {
  const { seq, version, invocationId } = row
  if (row.call === null) return { seq, version, invocationId, at: row.at, source: row.source, text: row.text }
  const { at, source, text } = quietLine(row.call, version, row.which)
  return { seq, version, invocationId, at: new Date(at), source, text }
}

/** The last lines, or the first after one: both oldest first, so that who goes on from the last misses none. */
export const selectLines = (sql: Sql, of: LinesOf) => (of.afterSeq === null ? selectLast(sql, of) : selectAfter(sql, of))

/*
 * In both, `before` says how many lines at least the chunks that are nearer have: those beyond what is asked for are not
 * unfolded. Of one invocation nobody knows that.
 */

// index: log_chunk_function
const selectLast = (sql: Sql, of: LinesOf) => sql<LineRow>`
  select * from (
    select chunk.seq * ${LINES} + line.place as seq, line.at, line.invocation as "invocationId", version, line.source, line.text, line.call, line.which
      from (select *, sum(greatest(1, quiet_calls * ${QUIET_LINES}::int)) over (order by seq desc) - greatest(1, quiet_calls * ${QUIET_LINES}::int) as before
              from (select * from mayfly.log_chunk
                     where project = ${of.project} and function_name = ${of.functionName}
                       and (${of.invocationId}::uuid is null or invocation_id = ${of.invocationId}::uuid or strpos(quiet::text, ${of.invocationId}::uuid::text) > 0)
                     order by seq desc limit ${of.limit}) as near) as chunk
     cross join lateral (
       select place - 1 as place, to_timestamp((value ->> 0)::float8 / 1000) as at, chunk.invocation_id::text as invocation, value ->> 1 as source,
              value ->> 2 as text, null::json as call, null::int as which
         from jsonb_array_elements(chunk.lines) with ordinality as written (value, place)
       union all
       select (place - 1) * ${QUIET_LINES}::int + which, chunk.at, value ->> 0, null, null, value, which
         from json_array_elements(chunk.quiet) with ordinality as called (value, place) cross join generate_series(0, ${QUIET_LINES}::int - 1) as which
     ) as line
     where (${of.invocationId}::uuid is not null or chunk.before < ${of.limit}) and (${of.invocationId}::uuid is null or line.invocation = ${of.invocationId}::uuid::text)
     order by 1 desc limit ${of.limit}) as last
   order by seq`

// index: log_chunk_function
const selectAfter = (sql: Sql, of: LinesOf) => sql<LineRow>`
  select chunk.seq * ${LINES} + line.place as seq, line.at, line.invocation as "invocationId", version, line.source, line.text, line.call, line.which
    from (select *, sum(greatest(1, quiet_calls * ${QUIET_LINES}::int)) over (order by seq) - greatest(1, quiet_calls * ${QUIET_LINES}::int) as before
            from (select * from mayfly.log_chunk
                   where project = ${of.project} and function_name = ${of.functionName} and seq >= ${of.afterSeq}::bigint / ${LINES}
                     and (${of.invocationId}::uuid is null or invocation_id = ${of.invocationId}::uuid or strpos(quiet::text, ${of.invocationId}::uuid::text) > 0)
                   order by seq limit ${of.limit + 1}) as near) as chunk
   cross join lateral (
     select place - 1 as place, to_timestamp((value ->> 0)::float8 / 1000) as at, chunk.invocation_id::text as invocation, value ->> 1 as source,
            value ->> 2 as text, null::json as call, null::int as which
       from jsonb_array_elements(chunk.lines) with ordinality as written (value, place)
     union all
     select (place - 1) * ${QUIET_LINES}::int + which, chunk.at, value ->> 0, null, null, value, which
       from json_array_elements(chunk.quiet) with ordinality as called (value, place) cross join generate_series(0, ${QUIET_LINES}::int - 1) as which
   ) as line
   -- Of the first chunk all may have been read already.
   where (${of.invocationId}::uuid is not null or chunk.before < ${of.limit + LINES})
     and (${of.invocationId}::uuid is null or line.invocation = ${of.invocationId}::uuid::text)
     and chunk.seq * ${LINES} + line.place > ${of.afterSeq}::bigint
   order by 1 limit ${of.limit}`

/** What a chunk counts with beside its text: its row and its places in the indexes. */
export const ROW_BYTES = 256

/**
 * In the transaction that stores the records, and first: what is stored of a project at the same time is stored one after
 * the other, so that who follows meets chunks in the order of their numbers. In order, so that two transactions never wait
 * for each other.
 */
export const addVolume = (tx: Tx, rows: readonly Chunk[]) => {
  const volumes = new Map<string, number>()
  for (const { project, bytes } of rows) volumes.set(project, (volumes.get(project) ?? 0) + bytes + ROW_BYTES)
  return tx<{ project: string; bytes: string }>`
    insert into mayfly.log_volume as volume (project, bytes)
    select * from unnest(${[...volumes.keys()]}::text[], ${[...volumes.values()]}::bigint[]) as told (project, bytes) order by project collate "C"
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

/** A chunk that is kept no more. */
export interface GoneChunk {
  readonly project: string
  readonly functionName: string
  readonly seq: string
  readonly lines: number
}

/**
 * Takes the oldest chunks of a project away until it has at most so many bytes, a batch at a time.
 * @returns which went: none when it is done
 */
export const trimProject = async (tx: Tx, project: string, bytes: number): Promise<GoneChunk[]> => {
  // Written to, not only locked: a first row that is not committed yet is waited for too.
  const [volume] = await tx<{ bytes: string }>`
    insert into mayfly.log_volume as volume (project, bytes) values (${project}, 0) on conflict (project) do update set bytes = volume.bytes returning bytes`
  const excess = Number(volume?.bytes ?? 0) - bytes
  if (excess <= 0) return []
  // index: log_chunk_project
  return await tx<GoneChunk>`
    with oldest as (
      select seq, sum(bytes + ${ROW_BYTES}) over (order by seq) - bytes - ${ROW_BYTES} as before
        from (select seq, bytes from mayfly.log_chunk where project = ${project} order by seq limit ${BATCH}) as first),
    gone as (
      delete from mayfly.log_chunk using oldest where log_chunk.seq = oldest.seq and oldest.before < ${excess}
      returning log_chunk.project, log_chunk.function_name, log_chunk.seq, log_chunk.bytes,
                jsonb_array_length(log_chunk.lines) + log_chunk.quiet_calls * ${QUIET_LINES}::int as lines),
    sums as (select count(*)::int as chunks, coalesce(sum(bytes), 0) as text, coalesce(sum(lines), 0) as lines from gone),
    counted as (
      update mayfly.log_volume
         set bytes = bytes - sums.text - sums.chunks * ${ROW_BYTES}, dropped_lines = dropped_lines + sums.lines, dropped_bytes = dropped_bytes + sums.text
        from sums where project = ${project})
    select project, function_name as "functionName", seq, lines from gone`
}

/** @returns which went: none when it is done */
export const deleteOldLines = async (tx: Tx, days: number): Promise<GoneChunk[]> => {
  // index: log_chunk_age
  const gone = await tx<GoneChunk & { readonly bytes: number }>`
    delete from mayfly.log_chunk
     where seq in (select seq from mayfly.log_chunk where at < clock_timestamp() - ${days} * interval '1 day' order by at limit ${BATCH})
    returning project, function_name as "functionName", seq, bytes, jsonb_array_length(lines) + quiet_calls * ${QUIET_LINES}::int as lines`
  // In order, as those who add to them.
  for (const [project, chunks] of [...Map.groupBy(gone, (one) => one.project)].toSorted(([one], [other]) => (one < other ? -1 : 1))) {
    const bytes = chunks.reduce((sum, one) => sum + one.bytes + ROW_BYTES, 0)
    await tx`update mayfly.log_volume set bytes = bytes - ${bytes}::bigint where project = ${project}`
  }
  return gone
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

/** A record as it lies there, for who follows a project. */
export interface StoredChunk {
  readonly seq: string
  readonly functionName: string
  readonly version: string
  readonly depth: number
  readonly invocationId: string | null
  /** As it counts in a page. */
  readonly bytes: number
  readonly lines: LogRow['lines']
  /** Calls that wrote nothing. */
  readonly quiet: readonly QuietCall[] | null
}

export interface ChunksAfter {
  readonly project: string
  /** Null for all. */
  readonly functionName: string | null
  readonly afterSeq: string
  readonly limit: number
  /** How much text; the first comes in any case. */
  readonly bytes: number
}

// index: log_chunk_project, log_chunk_function
export const selectChunksAfter = (sql: Sql | Tx, { project, functionName, afterSeq, limit, bytes }: ChunksAfter) => sql<StoredChunk>`
  select seq, function_name as "functionName", version, depth, invocation_id as "invocationId", bytes, lines, quiet
    from (select *, sum(bytes) over (order by seq) - bytes as before
            from (select * from mayfly.log_chunk
                   where project = ${project} and (${functionName}::text is null or function_name = ${functionName}) and seq > ${afterSeq}::bigint
                   order by seq limit ${limit}) as near) as chunk
   where before < ${bytes} order by seq`

/** The last chunk of each, 0 where there is none. index: log_chunk_project */
export const selectLastSeqs = (sql: Sql | Tx, projects: readonly string[]) => sql<{ project: string; seq: string }>`
  select project, coalesce((select max(seq) from mayfly.log_chunk where log_chunk.project = wanted.project), 0) as seq
    from unnest(${projects}::text[]) as wanted (project)`

/** The lines of a chunk, each with the number by which it is known. */
export function* linesOfChunk({ seq, version, invocationId, lines, quiet }: StoredChunk): Generator<StoredLine> {
  const first = BigInt(seq) * BigInt(LINES)
  for (const [place, [at, source, text]] of lines.entries())
    yield { seq: String(first + BigInt(place)), at: new Date(at), invocationId: invocationId ?? '', version, source, text }
  for (const [place, call] of (quiet ?? []).entries())
    for (let which = 0; which < QUIET_LINES; which++) {
      const { at, source, text } = quietLine(call, version, which)
      yield { seq: String(first + BigInt(place * QUIET_LINES + which)), at: new Date(at), invocationId: call[0], version, source, text }
    }
}
