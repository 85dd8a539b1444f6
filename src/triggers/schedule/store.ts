import type { Sql, Tx } from '../../backends/database/database.ts'
import type { ProjectRef } from '../../core/project.ts'

type Query = Sql | Tx

export interface NewSchedule {
  readonly id: string
  readonly definition: unknown
  readonly createdAt: Date
}

/** Those that were never looked at. */
export const selectNewSchedules = (sql: Query) => sql<NewSchedule>`
  select id, definition, created_at as "createdAt" from mayfly.trigger
   where kind = 'schedule' and function_id is not null and not exists (select from mayfly.schedule where trigger_id = trigger.id)
   limit 1000`

export const insertSchedule = (sql: Query, triggerId: string, dueAt: Date | null) => sql`
  insert into mayfly.schedule (trigger_id, due_at) select id, ${dueAt} from mayfly.trigger where id = ${triggerId} on conflict do nothing`

/** Due now, or with a run that waits for another to end. index: schedule_due, firing_open */
export const selectDue = async (sql: Query, limit: number): Promise<string[]> =>
  (
    await sql<{ id: string }>`
      (select trigger_id as id from mayfly.schedule where due_at <= clock_timestamp() order by due_at limit ${limit})
      union
      (select trigger_id from mayfly.firing where state in ('started', 'waiting') and exists (
         select from mayfly.firing as other where other.trigger_id = firing.trigger_id and other.state = 'waiting') limit ${limit})`
  ).map(({ id }) => id)

export interface DueSchedule {
  readonly project: ProjectRef
  readonly functionId: string
  readonly functionName: string
  readonly definition: unknown
  readonly createdAt: Date
  readonly dueAt: Date | null
  readonly now: Date
}

/** Nobody else takes it until the transaction ends; null when somebody does, or it is due no more. */
// Its trigger is held too, and never waited for: who removes one holds it first, and then comes for its schedule.
export const lockDue = async (tx: Tx, triggerId: string): Promise<DueSchedule | null> =>
  (
    await tx<DueSchedule>`
      select project.ref as project, function_id as "functionId", function_name as "functionName", definition,
             trigger.created_at as "createdAt", due_at as "dueAt", clock_timestamp() as now
        from mayfly.schedule join mayfly.trigger on trigger.id = trigger_id join mayfly.project on project.id = project_id
       where trigger_id = ${triggerId} and function_id is not null and project.state = 'active'
         for update of schedule skip locked for key share of trigger skip locked`
  )[0] ?? null

export const moveSchedule = (tx: Tx, triggerId: string, dueAt: Date | null) => tx`update mayfly.schedule set due_at = ${dueAt} where trigger_id = ${triggerId}`

export interface Outlook {
  /** Some were never looked at. */
  readonly hasNew: boolean
  /** A run waits for another to end. */
  readonly hasWaiting: boolean
  /** How long until the next one is due; null when none is. */
  readonly nextMs: number | null
}

/** Whether `selectNewSchedules` or `selectDue` would find anything. index: schedule_due, firing_open */
export const selectOutlook = async (sql: Query): Promise<Outlook> =>
  (
    await sql<Outlook>`
      select exists (select from mayfly.trigger
                      where kind = 'schedule' and function_id is not null
                        and not exists (select from mayfly.schedule where trigger_id = trigger.id)) as "hasNew",
             exists (select from mayfly.firing where state = 'waiting') as "hasWaiting",
             (select extract(epoch from min(due_at) - clock_timestamp())::float8 * 1000 from mayfly.schedule where due_at is not null) as "nextMs"`
  )[0] as Outlook

/** @returns false when that due time was taken before */
export const insertFiring = async (tx: Tx, triggerId: string, dueAt: Date, state: string, entryId: string | null): Promise<boolean> =>
  (
    await tx`
      insert into mayfly.firing (trigger_id, due_at, state, entry_id) values (${triggerId}, ${dueAt}, ${state}, ${entryId})
      on conflict do nothing returning state`
  ).length > 0

export interface OpenFiring {
  readonly dueAt: Date
  readonly state: 'started' | 'waiting'
  readonly entryId: string | null
}

/** index: firing_open */
export const selectOpen = (tx: Tx, triggerId: string) => tx<OpenFiring>`
  select due_at as "dueAt", state, entry_id as "entryId" from mayfly.firing
   where trigger_id = ${triggerId} and state in ('started', 'waiting') order by due_at`

export const updateFiring = (tx: Tx, triggerId: string, dueAt: Date, state: string, entryId: string | null) => tx`
  update mayfly.firing set state = ${state}, entry_id = coalesce(${entryId}::uuid, entry_id) where trigger_id = ${triggerId} and due_at = ${dueAt}`

/** What is long over need not be known: the schedule itself has gone on. */
export const deleteOldFirings = (tx: Tx, triggerId: string, seconds: number) => tx`
  delete from mayfly.firing where trigger_id = ${triggerId} and state in ('over', 'skipped') and due_at < clock_timestamp() - ${seconds} * interval '1 second'`
