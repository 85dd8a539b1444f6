import type { Sql, Tx } from '../backends/database/database.ts'
import type { JournalPosition } from '../core/journal.ts'
import type { EgressRecord, MeterRecord } from '../core/meter.ts'
import { uuidTime } from '../lib/ids.ts'
import type { DaySums } from './bill.ts'
import { MOST_AFTER_ID_MS, type Pack, type Sum } from './packs.ts'

export interface MeterStart {
  readonly invocationId: string
  readonly attempt: number
  readonly project: string
  readonly functionName: string
  readonly version: string
  readonly memoryMb: number
  readonly startedAt: number
}

// Rows travel as one JSON text: an array for each column, made by the driver, costs the node several times as much.
export const insertStarts = (tx: Tx, starts: readonly MeterStart[], process: string) => tx`
  insert into mayfly.invocation_meter (invocation_id, attempt, project, function_name, version, started_at, memory_mb, process)
  select "invocationId", attempt, project, "functionName", version, to_timestamp("startedAt" / 1000.0), "memoryMb", ${process}
    from json_to_recordset(${JSON.stringify(starts)}::json)
      as start ("invocationId" uuid, attempt int, project text, "functionName" text, version text, "startedAt" float8, "memoryMb" int)
   order by 1, 2
  on conflict do nothing`

/** What most executions of a batch have in common is told once; the rest is a column of numbers each, which is read in a fraction of the time of objects. */
function packed(ends: readonly MeterRecord[]) {
  const kinds: (Kind & { readonly kind: number })[] = []
  const known = new Map<string, number>()
  let last: (typeof kinds)[number] | null = null
  const kindOf = (of: MeterRecord): number => {
    if (last !== null && isOfKind(of, last)) return last.kind
    const { attempt, project, functionName, version, memoryMb, outcome, cold } = of
    const key = JSON.stringify([attempt, project, functionName, version, memoryMb, outcome, cold])
    let kind = known.get(key)
    if (kind === undefined) {
      kind = kinds.length
      known.set(key, kind)
      kinds.push({ kind, attempt, project, functionName, version, memoryMb, outcome, cold })
    }
    last = kinds[kind] as (typeof kinds)[number]
    return kind
  }
  return { kinds: columnOf(ends, kindOf), common: JSON.stringify(kinds) }
}

type Kind = Pick<MeterRecord, 'attempt' | 'project' | 'functionName' | 'version' | 'memoryMb' | 'outcome' | 'cold'>
const isOfKind = (one: Kind, kind: Kind) =>
  one.version === kind.version &&
  one.functionName === kind.functionName &&
  one.project === kind.project &&
  one.outcome === kind.outcome &&
  one.cold === kind.cold &&
  one.attempt === kind.attempt &&
  one.memoryMb === kind.memoryMb

/** PostgreSQL's text of an array; older records lack some. Ids are quoted, for whatever stands in a journal. */
function columnOf(ends: readonly MeterRecord[], numberOf: (end: MeterRecord) => number | null | undefined): string {
  let text = ''
  for (const end of ends) text += `${text === '' ? '' : ','}${numberOf(end) ?? 'null'}`
  return `{${text}}`
}
const idsOf = (ends: readonly MeterRecord[]): string => `{${ends.map(({ invocationId }) => `"${invocationId.replaceAll(/["\\]/g, '')}"`).join(',')}}`

/** Whose executions they are. */
type Of = Pick<Sum, 'project' | 'functionName'>

/** Functions share so many: a batch may be of a thousand functions. */
const PLACES = 256

/**
 * Who writes executions, in whatever process, takes the places of their functions first, in this order, then rows by their
 * ids, those of starts before those of ends, then what days add up to: so no two wait for each other.
 */
export function placesOf(of: readonly Of[]): number[] {
  const places = new Set<number>()
  let last: Of | null = null
  for (const one of of) {
    if (last !== null && one.functionName === last.functionName && one.project === last.project) continue
    last = one
    let place = 0
    for (const character of `${one.project}/${one.functionName}`) place = (place * 31 + (character.codePointAt(0) as number)) % 65_521
    places.add(place % PLACES)
  }
  return [...places].sort((one, other) => one - other)
}
const PLACE_LOCK = 84

/** Until the end of the transaction. */
export const takePlaces = (tx: Tx, places: readonly number[]) =>
  tx`select pg_advisory_xact_lock(${PLACE_LOCK}, place) from unnest(${`{${places.join(',')}}`}::int[]) as place`

/**
 * Fills in how executions ended; one that has an end keeps it, but the end that a later start gave to what it found open.
 * @param places  which it takes first: those of all ends, or none where this transaction has them
 */
export const finishMeters = (tx: Tx, ends: readonly MeterRecord[], places: readonly number[]) => {
  const { kinds, common } = packed(ends)
  return tx`
  insert into mayfly.invocation_meter as meter (invocation_id, attempt, project, function_name, version, started_at, outcome, duration_ms, billed_ms,
    memory_mb, max_memory_mb, cold, queue_ms, wait_ms, init_ms, response_ms, bytes_in, bytes_out)
  select id, attempt, project, "functionName", version, to_timestamp(started / 1000.0), outcome, duration, billed,
         "memoryMb", most, cold, queue, wait, init, response, came, went
    from unnest(${idsOf(ends)}::uuid[], ${kinds}::int[], ${columnOf(ends, (end) => end.startedAt)}::float8[], ${columnOf(ends, (end) => end.durationMs)}::float8[],
           ${columnOf(ends, (end) => end.billedMs)}::bigint[], ${columnOf(ends, (end) => end.maxMemoryMb)}::int[], ${columnOf(ends, (end) => end.queueMs)}::float8[],
           ${columnOf(ends, (end) => end.waitMs)}::float8[], ${columnOf(ends, (end) => end.initMs)}::float8[], ${columnOf(ends, (end) => end.responseMs)}::float8[],
           ${columnOf(ends, (end) => end.bytesIn)}::bigint[], ${columnOf(ends, (end) => end.bytesOut)}::bigint[])
      as ended (id, kind, started, duration, billed, most, queue, wait, init, response, came, went)
    join json_to_recordset(${common}::json)
      as common (kind int, attempt int, project text, "functionName" text, version text, "memoryMb" int, outcome text, cold text) using (kind)
   where (select count(pg_advisory_xact_lock(${PLACE_LOCK}, place)::text) from unnest(${`{${places.join(',')}}`}::int[]) as place) >= 0
   order by id, attempt
  on conflict (invocation_id, attempt) do update set outcome = excluded.outcome, duration_ms = excluded.duration_ms, billed_ms = excluded.billed_ms,
    max_memory_mb = excluded.max_memory_mb, cold = excluded.cold, queue_ms = excluded.queue_ms, wait_ms = excluded.wait_ms,
    init_ms = excluded.init_ms, response_ms = excluded.response_ms, bytes_in = excluded.bytes_in, bytes_out = excluded.bytes_out
   where meter.outcome is null or (meter.outcome = 'cut' and excluded.outcome <> 'cut')`
}

/** Executions of one version as one row; `reached` is how far the journal has been read with them. */
export const insertPack = (tx: Tx, { project, functionName, version, memoryMb, calls }: Pack, journal: string, reached: JournalPosition) => {
  let [first, last] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const call of calls) {
    const startedAt = call[1]
    if (startedAt < first) first = startedAt
    if (startedAt > last) last = startedAt
  }
  return tx`
  insert into mayfly.execution_pack (project, function_name, version, memory_mb, first_at, last_at, executions, calls, journal, segment, "offset")
  values (${project}, ${functionName}, ${version}, ${memoryMb}, to_timestamp(${first}::float8 / 1000.0), to_timestamp(${last}::float8 / 1000.0), ${calls.length},
          ${JSON.stringify(calls)}, ${journal}, ${reached.segment}, ${reached.offset})`
}

/** Adds to days what executions come to that have no rows of their own. */
export const addSums = (tx: Tx, sums: readonly Sum[]) => tx`
  insert into mayfly.usage_day as total (project, day, function_name, executions, errors, cut, cold, billed_ms, billed_mb_ms, bytes_in, bytes_out)
  select project, day, "functionName", executions, 0, 0, 0, "billedMs", "billedMbMs", "bytesIn", "bytesOut"
    from json_to_recordset(${JSON.stringify(sums)}::json)
      as came (project text, day date, "functionName" text, executions bigint, "billedMs" bigint, "billedMbMs" bigint, "bytesIn" bigint, "bytesOut" bigint)
   order by 1, 2, 3
  on conflict (project, day, function_name) do update set executions = total.executions + excluded.executions, billed_ms = total.billed_ms + excluded.billed_ms,
    billed_mb_ms = total.billed_mb_ms + excluded.billed_mb_ms, bytes_in = total.bytes_in + excluded.bytes_in, bytes_out = total.bytes_out + excluded.bytes_out`

/** How far a journal was read when the last of its packs was stored. index: execution_pack_journal */
export const selectReached = async (sql: Sql, journal: string): Promise<JournalPosition | null> => {
  const [row] = await sql<{ segment: string; offset: string }>`
    select segment, "offset" from mayfly.execution_pack where journal = ${journal} order by segment desc, "offset" desc limit 1`
  return row ? { segment: Number(row.segment), offset: Number(row.offset) } : null
}

/** Adds to days what functions sent to others, and got of them. */
export const addEgress = (tx: Tx, records: readonly EgressRecord[]) => tx`
  insert into mayfly.usage_day as total (project, day, function_name, egress_in, egress_out)
  select project, (to_timestamp(at / 1000.0) at time zone 'UTC')::date, "functionName", sum("bytesIn"), sum("bytesOut")
    from json_to_recordset(${JSON.stringify(records)}::json) as carried (project text, "functionName" text, at float8, "bytesIn" bigint, "bytesOut" bigint)
   group by 1, 2, 3 order by 1, 2, 3
  on conflict (project, day, function_name) do update set egress_in = total.egress_in + excluded.egress_in, egress_out = total.egress_out + excluded.egress_out`

/**
 * Whenever they began: a clock that has been set back since puts that into the future.
 * @param process  null: of all, as nothing runs yet
 */
// index: invocation_meter_open
export const cutOpenMeters = async (tx: Tx, process: string | null) => {
  const open = await tx<Of>`
    select distinct project, function_name as "functionName" from mayfly.invocation_meter
     where outcome is null and (${process}::text is null or process = ${process})`
  if (open.length === 0) return []
  await takePlaces(tx, placesOf(open))
  return await tx<{ invocationId: string }>`
    update mayfly.invocation_meter set outcome = 'cut'
     where outcome is null and (${process}::text is null or process = ${process})
    returning invocation_id as "invocationId"`
}

// index: usage_day_pkey
export const selectDays = (sql: Sql, project: string, from: string) => sql<DaySums>`
  select to_char(day, 'YYYY-MM-DD') as day, function_name as "functionName", executions, errors, cut, cold, billed_ms as "billedMs",
         billed_mb_ms as "billedMbMs", bytes_in as "bytesIn", bytes_out as "bytesOut", egress_in as "egressIn", egress_out as "egressOut"
    from mayfly.usage_day where project = ${project} and day >= ${from}::date order by day, function_name collate "C"`

/** The day that the database's clock has, in UTC, some days ago. */
export const selectDayBefore = async (sql: Sql, days: number): Promise<string> =>
  (await sql<{ day: string }>`select to_char((clock_timestamp() at time zone 'UTC')::date - ${days}::int, 'YYYY-MM-DD') as day`)[0]?.day ?? ''

export interface StoredInvocation {
  readonly id: string
  readonly attempt: number
  readonly version: string
  readonly startedAt: Date
  readonly outcome: MeterRecord['outcome'] | null
  /** Run and response together. */
  readonly durationMs: number
  readonly billedMs: number
  /** Null where nothing was queued, or it was executed before this was measured. */
  readonly queueMs: number | null
  readonly waitMs: number
  readonly initMs: number
  readonly runMs: number
  /** Null while it runs, and where it was executed before this was measured: then the run includes it. */
  readonly responseMs: number | null
  readonly cold: string | null
  readonly memoryMb: number
  readonly maxMemoryMb: number | null
  readonly bytesIn: number
  readonly bytesOut: number
  /** Microseconds since 1970, as text: what `Date` cannot hold. */
  readonly startedUs: string
}

/** How executions ended that are meant; `failed` is by an error, its time, or its process. */
export const ENDS = ['succeeded', 'failed', 'cut', 'running'] as const
export type EndsAs = (typeof ENDS)[number]

export interface ExecutionsOf extends Omit<InvocationsOf, 'functionName'> {
  readonly functionName: string | null
  readonly state: EndsAs | null
  /** Begun at this time or after it, and before that. */
  readonly from: Date | null
  readonly to: Date | null
}

export interface InvocationsOf {
  readonly project: string
  readonly functionName: string
  readonly before: { readonly startedUs: string; readonly id: string; readonly attempt: number } | null
  readonly limit: number
}

/**
 * Of all functions of a project, or of one: the newest first; of one instant by id and attempt, so that a page goes on where
 * the last ended. Rows are found of each function by its name, those one after the other; where the newest of each make a
 * page, none that is older is looked at. Those without rows of their own stand in packs, of which no more is unfolded than a
 * page may have. index: invocation_meter_function, execution_pack_function, execution_pack_project
 */
export const selectExecutions = (sql: Sql, { project, functionName, state, from, to, before, limit }: ExecutionsOf) => sql<
  StoredInvocation & { readonly function: string }
>`
  with recursive named (name) as (
    select coalesce(${functionName}::text, (select min(function_name) from mayfly.invocation_meter where project = ${project}))
    union all
    select (select min(function_name) from mayfly.invocation_meter where project = ${project} and function_name > name)
      from named where ${functionName}::text is null and name is not null),
  asked as (
    select coalesce(${from}::timestamptz, '-infinity') as since, coalesce(${to}::timestamptz, 'infinity') as until,
           coalesce(timestamptz 'epoch' + ${before?.startedUs ?? null}::bigint * interval '1 microsecond', 'infinity') as before),
  newest (at) as (
    select last.started_at from named cross join lateral (
      select started_at from mayfly.invocation_meter
       where project = ${project} and function_name = name
         and (${state}::text is null or outcome = 'ok') and started_at >= (select since from asked) and started_at < (select least(until, before) from asked)
       order by started_at desc limit (select ${limit}::bigint / count(*) + 1 from named)) as last
     where ${functionName}::text is null and coalesce(${state}::text, 'succeeded') = 'succeeded'),
  enough (at) as (select coalesce((select at from newest order by at desc offset ${limit}::bigint limit 1), '-infinity'))
  select invocation_id as id, function_name as function, attempt, version, started_at as "startedAt", outcome, duration_ms as "durationMs", billed_ms::float8 as "billedMs",
         queue_ms as "queueMs", wait_ms as "waitMs", init_ms as "initMs", duration_ms - coalesce(response_ms, 0) as "runMs", response_ms as "responseMs", cold, memory_mb as "memoryMb", max_memory_mb as "maxMemoryMb",
         bytes_in::float8 as "bytesIn", bytes_out::float8 as "bytesOut", (extract(epoch from started_at) * 1000000)::bigint::text as "startedUs"
    from (
      select last.* from named cross join lateral (
        select invocation_id, function_name, attempt, version, started_at, outcome, duration_ms, billed_ms, queue_ms, wait_ms, init_ms, response_ms, cold, memory_mb,
               max_memory_mb, bytes_in, bytes_out
          from mayfly.invocation_meter
         where project = ${project} and function_name = name
           and case ${state}::text when 'succeeded' then outcome = 'ok' when 'failed' then outcome in ('error', 'timeout', 'exit')
                    when 'cut' then outcome = 'cut' when 'running' then outcome is null else true end
           and started_at >= (select greatest(since, at) from asked, enough) and started_at < (select until from asked) and started_at <= (select before from asked)
           and (started_at < (select before from asked) or (invocation_id, attempt) > (${before?.id ?? null}::uuid, ${before?.attempt ?? null}::int))
         order by started_at desc, invocation_id, attempt limit ${limit}) as last
      union all
      (select invocation_id, function_name, attempt, version, started_at, outcome, duration_ms, billed_ms, queue_ms, wait_ms, init_ms, response_ms, cold, memory_mb,
              max_memory_mb, bytes_in, bytes_out
         from mayfly.packed_executions(${project}, ${functionName}, (select greatest(since, at) from asked, enough), (select least(until, before) from asked), ${limit})
        where coalesce(${state}::text, 'succeeded') = 'succeeded'
          and started_at >= (select since from asked) and started_at < (select until from asked) and started_at <= (select before from asked)
          and (started_at < (select before from asked) or (invocation_id, attempt) > (${before?.id ?? null}::uuid, ${before?.attempt ?? null}::int))
        order by started_at desc, invocation_id, attempt limit ${limit})) as found
   order by "startedAt" desc, id, attempt limit ${limit}`

/**
 * Of one invocation, by its attempts. What stands in packs began at about the time in its id; of those packs the one that has it is unfolded.
 * index: invocation_meter_pkey, execution_pack_project
 */
export const selectExecutionsOf = (sql: Sql, project: string, id: string) => sql<
  Pick<StoredInvocation, 'attempt' | 'version' | 'startedAt' | 'outcome' | 'durationMs' | 'queueMs'> & { readonly functionName: string }
>`
  select attempt, function_name as "functionName", version, started_at as "startedAt", outcome, duration_ms as "durationMs", queue_ms as "queueMs"
    from mayfly.invocation_meter where invocation_id = ${id} and project = ${project}
   union all
  select 1, function_name, version, to_timestamp((call ->> 1)::float8 / 1000.0), 'ok', (call ->> 2)::float8, null::float8
    from mayfly.execution_pack cross join lateral json_array_elements(calls::json) as call
   where project = ${project} and last_at >= to_timestamp(${uuidTime(id) - MOST_AFTER_ID_MS}::float8 / 1000)
     and last_at <= to_timestamp(${uuidTime(id) + MOST_AFTER_ID_MS}::float8 / 1000) + interval '1 minute'
     and strpos(calls, ${id}::uuid::text) > 0 and call ->> 0 = ${id}::uuid::text
   order by attempt`

export interface ColdStarts {
  /** When the span of time began, seconds since 1970. */
  readonly at: number
  readonly cold: string
  readonly count: number
}

/** Why calls were cold, in the last spans of time of `stepS` seconds each, the one that runs among them. */
// index: invocation_meter_cold
export const selectColdStarts = (sql: Sql, of: { project: string; functionName: string | null; spans: number; stepS: number }) => sql<ColdStarts>`
  select (floor(extract(epoch from started_at) / ${of.stepS}::int) * ${of.stepS}::int)::float8 as at, cold, count(*)::float8 as count
    from mayfly.invocation_meter
   where project = ${of.project} and cold is not null and (${of.functionName}::text is null or function_name = ${of.functionName})
     and started_at >= to_timestamp((floor(extract(epoch from clock_timestamp()) / ${of.stepS}::int) - ${of.spans}::int + 1) * ${of.stepS}::int)
   group by 1, 2 order by 1, 2`

/** How many executions one transaction takes away. */
const BATCH = 5_000

// index: usage_day_pkey
export const selectMetered = (sql: Sql) => sql<{ project: string; functionName: string }>`
  select distinct project, function_name as "functionName" from mayfly.usage_day`

/** How many packs one transaction takes away. */
const PACKS = 100

/**
 * Takes away executions of a function that ended and are older than so many days; 0 days: all of them.
 * @returns whether there may be more
 */
export const deleteOldMeters = async (tx: Tx, of: { project: string; functionName: string }, days: number): Promise<boolean> => {
  // index: invocation_meter_function
  const gone = await tx`
    delete from mayfly.invocation_meter where (invocation_id, attempt) in (
      select invocation_id, attempt from mayfly.invocation_meter
       where project = ${of.project} and function_name = ${of.functionName} and outcome is not null
         and started_at < clock_timestamp() - ${days} * interval '1 day'
       order by started_at limit ${BATCH})
    returning 1`
  // index: execution_pack_function
  const packs = await tx`
    delete from mayfly.execution_pack where ctid in (
      select ctid from mayfly.execution_pack
       where project = ${of.project} and function_name = ${of.functionName} and last_at < clock_timestamp() - ${days} * interval '1 day'
       order by last_at limit ${PACKS})
    returning 1`
  return gone.length === BATCH || packs.length === PACKS
}

export const deleteOldDays = (sql: Sql, days: number) => sql`
  delete from mayfly.usage_day where day < (clock_timestamp() at time zone 'UTC')::date - ${days}::int`

/** Takes away what is known of a project that goes, a batch at a time. @returns whether there may be more */
export const deleteProjectMeters = async (tx: Tx, project: string): Promise<boolean> => {
  // index: invocation_meter_function
  const gone = await tx`
    delete from mayfly.invocation_meter where (invocation_id, attempt) in (
      select invocation_id, attempt from mayfly.invocation_meter where project = ${project} limit ${BATCH})
    returning 1`
  // index: execution_pack_project
  const packs = await tx`
    delete from mayfly.execution_pack where ctid in (select ctid from mayfly.execution_pack where project = ${project} limit ${PACKS}) returning 1`
  if (gone.length === BATCH || packs.length === PACKS) return true
  await tx`delete from mayfly.usage_day where project = ${project}`
  return false
}
