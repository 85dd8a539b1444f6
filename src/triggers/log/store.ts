import type { Sql, Tx } from '../../backends/database/database.ts'
import type { ProjectRef } from '../../core/project.ts'

type Query = Sql | Tx

export interface LogTrigger {
  readonly id: string
  readonly project: ProjectRef
  readonly functionId: string
  readonly functionName: string
  readonly definition: unknown
  readonly seq: string
}

/** The triggers of log lines that are wanted now. */
export const selectLogTriggers = (sql: Query) => sql<LogTrigger>`
  select trigger.id, project.ref as project, function_id as "functionId", function_name as "functionName", definition, seq
    from mayfly.log_cursor join mayfly.trigger on trigger.id = trigger_id join mayfly.project on project.id = project_id
   where project.state = 'active' and function_id is not null and definition -> 'enabled' is null
   order by trigger.id`

/** Nobody else follows it until the transaction ends; null when somebody does, or it is wanted no more. */
// Its trigger is held too, and never waited for: who removes one holds it first, and then comes for its cursor.
export const lockCursor = async (tx: Tx, triggerId: string): Promise<LogTrigger | null> =>
  (
    await tx<LogTrigger>`
      select trigger.id, project.ref as project, function_id as "functionId", function_name as "functionName", definition, seq
        from mayfly.log_cursor join mayfly.trigger on trigger.id = trigger_id join mayfly.project on project.id = project_id
       where trigger_id = ${triggerId} and project.state = 'active' and function_id is not null
         for update of log_cursor skip locked for key share of trigger skip locked`
  )[0] ?? null

/** Of these projects, each held until the transaction ends, in one order for all. */
export const lockCursorsOf = (tx: Tx, projects: readonly string[]) => tx<LogTrigger>`
  select trigger.id, project.ref as project, function_id as "functionId", function_name as "functionName", definition, seq
    from mayfly.log_cursor join mayfly.trigger on trigger.id = trigger_id join mayfly.project on project.id = project_id
   where project.ref = any (${projects}::text[]) and function_id is not null and definition -> 'enabled' is null
   order by trigger_id for update of log_cursor`

export const addUnseen = (tx: Tx, triggerId: string, lines: number) =>
  tx`update mayfly.log_cursor set unseen = unseen + ${lines} where trigger_id = ${triggerId}`

export const countUnseen = async (sql: Query): Promise<number> =>
  Number((await sql<{ n: string }>`select coalesce(sum(unseen), 0) as n from mayfly.log_cursor`)[0]?.n ?? 0)

export const insertCursors = (tx: Tx, triggerIds: readonly string[], seq: string) => tx`
  insert into mayfly.log_cursor (trigger_id, seq) select id, ${seq}::bigint from unnest(${triggerIds}::uuid[]) as made (id)`

export const moveCursor = (tx: Tx, triggerId: string, seq: string) => tx`update mayfly.log_cursor set seq = ${seq}::bigint where trigger_id = ${triggerId}`
