import type { Sql, Tx } from '../backends/database/database.ts'
import type { MeterRecord } from '../core/meter.ts'

export interface MeterStart {
  readonly invocationId: string
  readonly attempt: number
  readonly project: string
  readonly functionName: string
  readonly version: string
  readonly memoryMb: number
  readonly startedAt: number
}

// Rows travel as one JSON text: an array for each column costs the node several times as much.
export const insertStarts = (tx: Tx, starts: readonly MeterStart[]) => tx`
  insert into mayfly.invocation_meter (invocation_id, attempt, project, function_name, version, started_at, memory_mb)
  select "invocationId", attempt, project, "functionName", version, to_timestamp("startedAt" / 1000.0), "memoryMb"
    from json_to_recordset(${JSON.stringify(starts)}::json)
      as start ("invocationId" uuid, attempt int, project text, "functionName" text, version text, "startedAt" float8, "memoryMb" int)
  on conflict do nothing`

/** Fills in how executions ended; one that has an end keeps it. */
export const finishMeters = (tx: Tx, ends: readonly MeterRecord[]) => tx`
  insert into mayfly.invocation_meter as meter (invocation_id, attempt, project, function_name, version, started_at, outcome, duration_ms, billed_ms,
    memory_mb, max_memory_mb, cold, wait_ms, init_ms, bytes_in, bytes_out)
  select "invocationId", attempt, project, "functionName", version, to_timestamp("startedAt" / 1000.0), outcome, "durationMs", "billedMs",
         "memoryMb", "maxMemoryMb", cold, "waitMs", "initMs", "bytesIn", "bytesOut"
    from json_to_recordset(${JSON.stringify(ends)}::json)
      as ended ("invocationId" uuid, attempt int, project text, "functionName" text, version text, "startedAt" float8, outcome text, "durationMs" float8,
        "billedMs" bigint, "memoryMb" int, "maxMemoryMb" int, cold text, "waitMs" float8, "initMs" float8, "bytesIn" bigint, "bytesOut" bigint)
  on conflict (invocation_id, attempt) do update set outcome = excluded.outcome, duration_ms = excluded.duration_ms, billed_ms = excluded.billed_ms,
    max_memory_mb = excluded.max_memory_mb, cold = excluded.cold, wait_ms = excluded.wait_ms, init_ms = excluded.init_ms, bytes_in = excluded.bytes_in, bytes_out = excluded.bytes_out
   where meter.outcome is null`

// index: invocation_meter_open
export const cutOpenMeters = (sql: Sql, before: number) => sql<{ invocationId: string }>`
  update mayfly.invocation_meter set outcome = 'cut' where outcome is null and started_at < ${new Date(before)} returning invocation_id as "invocationId"`

export interface DayUsage {
  readonly day: string
  readonly functionName: string
  readonly executions: number
  readonly errors: number
  readonly gbSeconds: number
  readonly billedMs: number
}

// index: invocation_meter_day
export const selectUsage = (sql: Sql, project: string, days: number) => sql<DayUsage>`
  select to_char(started_at at time zone 'UTC', 'YYYY-MM-DD') as day, function_name as "functionName",
         count(*) filter (where outcome <> 'cut')::int as executions,
         count(*) filter (where outcome in ('error', 'timeout', 'exit'))::int as errors,
         coalesce(sum(billed_ms / 1000.0 * memory_mb / 1024.0), 0)::float8 as "gbSeconds",
         coalesce(sum(billed_ms), 0)::float8 as "billedMs"
    from mayfly.invocation_meter
   where project = ${project} and started_at > clock_timestamp() - ${days} * interval '1 day'
   group by 1, 2 order by 1 desc, 2`
