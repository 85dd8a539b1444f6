import type { Sql, Tx } from '../backends/database/database.ts'
import type { SqlSession } from '../backends/database/sql-session.ts'
import type { ProjectRef } from '../core/project.ts'

type Query = Sql | Tx

export interface TriggerRow {
  readonly id: string
  /** Null when it is gone. */
  readonly functionId: string | null
  readonly functionName: string
  readonly kind: string
  readonly definition: unknown
  readonly createdAt: Date
  /** Of a schedule: when it is due next. */
  readonly nextAt: Date | null
  /** Of lines of a log: how many were given up before it looked at them. */
  readonly unseen: number
}

/** Those of functions that are there, in the order in which they were made. index: trigger_project */
export const selectTriggers = (sql: Query, projectId: string, functionName: string | null) => sql<TriggerRow>`
  select id, function_id as "functionId", function_name as "functionName", kind, definition, created_at as "createdAt", due_at as "nextAt",
         coalesce(unseen, 0)::float8 as unseen
    from mayfly.trigger left join mayfly.schedule on schedule.trigger_id = id left join mayfly.log_cursor on log_cursor.trigger_id = id
   where project_id = ${projectId} and function_id is not null and (${functionName}::text is null or function_name = ${functionName})
   order by function_name collate "C", created_at, id`

/** Of what an event says; orphans too. */
export const selectTriggersById = (sql: Query, projectId: string, ids: readonly string[]) => sql<TriggerRow>`
  select id, function_id as "functionId", function_name as "functionName", kind, definition, created_at as "createdAt", null::timestamptz as "nextAt", 0 as unseen
    from mayfly.trigger where project_id = ${projectId} and id = any (${ids}::uuid[])`

export interface NewTrigger {
  readonly id: string
  readonly functionId: string
  readonly functionName: string
  readonly kind: string
  readonly definition: object
}

export const insertTriggers = (tx: Tx, projectId: string, triggers: readonly NewTrigger[]) => tx`
  insert into mayfly.trigger (id, project_id, function_id, function_name, kind, definition)
  select id, ${projectId}, function_id, function_name, kind, definition
    from unnest(${triggers.map((one) => one.id)}::uuid[], ${triggers.map((one) => one.functionId)}::uuid[], ${triggers.map((one) => one.functionName)}::text[],
      ${triggers.map((one) => one.kind)}::text[], ${triggers.map((one) => JSON.stringify(one.definition))}::jsonb[])
      as made (id, function_id, function_name, kind, definition)`

export const deleteTriggers = (tx: Tx, ids: readonly string[]) => tx`delete from mayfly.trigger where id = any (${ids}::uuid[])`

/** Events of transactions that began before their function went have long been handed on. */
export const deleteOrphans = (sql: Query, olderThanSeconds: number) => sql`
  delete from mayfly.trigger where orphaned_at < clock_timestamp() - ${olderThanSeconds} * interval '1 second'`

/** Two numbers name each lock: ours, and what it is for. */
const LOCKS = 0x6d61_7966

/** Changes of one project's triggers come one after the other. */
export const lockTriggers = (tx: Tx, projectId: string) => tx`select pg_advisory_xact_lock(${LOCKS}, hashtext(${projectId}))`

export interface Mirror {
  readonly ref: ProjectRef
  readonly behind: boolean
}

/** Projects that have or had triggers. */
export const selectMirrors = (sql: Query) => sql<Mirror>`
  select project.ref, mirror.wanted <> mirror.reached as behind
    from mayfly.mirror join mayfly.project on project.id = mirror.project_id where project.state = 'active'`

/** index: mirror_behind */
export const selectBehind = (sql: Query) => sql<{ ref: ProjectRef }>`
  select project.ref from mayfly.mirror join mayfly.project on project.id = mirror.project_id
   where mirror.wanted <> mirror.reached and project.state = 'active'`

export const selectMirror = async (sql: Query, projectId: string): Promise<{ wanted: string; reached: string } | null> =>
  (await sql<{ wanted: string; reached: string }>`select wanted, reached from mayfly.mirror where project_id = ${projectId}`)[0] ?? null

export const reachMirror = (sql: Query, projectId: string, wanted: string) => sql`
  update mayfly.mirror set reached = greatest(reached, ${wanted}::bigint) where project_id = ${projectId}`

/** @returns those that were not handed on before */
export const insertRelayed = async (tx: Tx, projectId: string, eventIds: readonly string[]): Promise<Set<string>> =>
  new Set(
    (
      await tx<{ id: string }>`
        insert into mayfly.relayed (project_id, event_id) select ${projectId}, * from unnest(${eventIds}::uuid[])
        on conflict do nothing returning event_id as id`
    ).map(({ id }) => id),
  )

export const selectRelayed = async (sql: Query, projectId: string, limit: number): Promise<string[]> =>
  (await sql<{ id: string }>`select event_id as id from mayfly.relayed where project_id = ${projectId} limit ${limit}`).map(({ id }) => id)

export const deleteRelayed = (sql: Query, projectId: string, eventIds: readonly string[]) => sql`
  delete from mayfly.relayed where project_id = ${projectId} and event_id = any (${eventIds}::uuid[])`

// What follows is asked of a project's own database.

/** One relay works at a time; until its transaction ends. */
export const tryRelayLock = async (tx: Tx): Promise<boolean> =>
  (await tx<{ locked: boolean }>`select pg_try_advisory_xact_lock(${LOCKS}, 1) as locked`)[0]?.locked ?? false

export const lockSubscriptions = (tx: Tx) => tx`select pg_advisory_xact_lock(${LOCKS}, 2)`

export interface Subscription {
  readonly triggerId: string
  readonly kind: string
  readonly source: string
  readonly events: readonly string[]
}

/** Makes the subscriptions equal to these. A trigger never changes, so that its id says enough. */
export const replaceSubscriptions = async (tx: Tx, wanted: readonly Subscription[]): Promise<void> => {
  await tx`delete from mayfly.subscription where trigger_id <> all (${wanted.map((one) => one.triggerId)}::uuid[])`
  await tx`
    insert into mayfly.subscription (trigger_id, kind, source, events)
    select id, kind, source, string_to_array(events, ',')
      from unnest(${wanted.map((one) => one.triggerId)}::uuid[], ${wanted.map((one) => one.kind)}::text[], ${wanted.map((one) => one.source)}::text[],
        ${wanted.map((one) => one.events.join(','))}::text[]) as made (id, kind, source, events)
    on conflict (trigger_id) do nothing`
}

/** Whether a table is watched, or has to be. */
export const hasRows = async (sql: Query): Promise<boolean> =>
  (
    await sql<{ has: boolean }>`
      select exists (select from mayfly.subscription where kind = 'row')
          or exists (select from pg_trigger where tgfoid = 'mayfly.row_changed()'::regprocedure) as has`
  )[0]?.has ?? false

/** Whether rows can be watched there. */
export const hasTable = async (sql: Query, schema: string, table: string): Promise<boolean> =>
  (
    await sql<{ has: boolean }>`
      select exists (
        select from pg_class join pg_namespace on pg_namespace.oid = relnamespace where nspname = ${schema} and relname = ${table} and relkind in ('r', 'p') and not relispartition
      ) as has`
  )[0]?.has ?? false

/** In a session of the owner, whose tables they are. @throws DatabaseError 55P03 when somebody keeps a table that long */
export const watchRows = async (tx: Tx, waitMs: number): Promise<void> => {
  await tx`select set_config('lock_timeout', ${String(waitMs)}, true)`
  await tx`select mayfly.watch_rows()`
}

export interface OutboxRow {
  readonly seq: string
  readonly eventId: string
  readonly kind: string
  readonly source: string
  readonly event: string
  readonly triggerIds: readonly string[]
  readonly depth: number
  readonly happenedAt: Date
  readonly data: unknown
}

/**
 * Whatever is visible, the oldest first, with no cursor: a transaction that commits late has drawn an early number.
 * @param limit  rows at most
 * @param triggerLimit  triggers of all these rows at most; the first row comes in any case
 */
export const readOutbox = (tx: Tx, limit: number, triggerLimit: number) => tx<OutboxRow>`
  select seq, event_id as "eventId", kind, source, event, trigger_ids as "triggerIds", depth, happened_at as "happenedAt", data
    from (
      select *, sum(cardinality(trigger_ids)) over (order by seq) - cardinality(trigger_ids) as before
        from (select * from mayfly.outbox order by seq limit ${limit}) as first) as counted
   where before = 0 or before + cardinality(trigger_ids) <= ${triggerLimit}
   order by counted.seq`

export const hasOutbox = async (sql: Query): Promise<boolean> => (await sql`select from mayfly.outbox limit 1`).length > 0
export const countOutbox = async (sql: Query): Promise<number> => Number((await sql<{ n: string }>`select count(*) as n from mayfly.outbox`)[0]?.n ?? 0)

/** Nobody commits an event until the transaction ends; those that are in the middle of that are waited for. @throws DatabaseError 55P03 */
export const lockOutbox = async (session: SqlSession, waitMs: number): Promise<void> => {
  await session.run(`set local lock_timeout = ${waitMs}`)
  await session.run('lock table mayfly.outbox in exclusive mode')
}
export const isOutboxEmpty = async (session: SqlSession): Promise<boolean> => (await session.run('select from mayfly.outbox limit 1')).rows.length === 0
/** Who is in the middle of adding to it, or waits to. */
export const endWriters = (session: SqlSession) =>
  session.run(`select pg_terminate_backend(pid) from pg_locks
    where relation = 'mayfly.outbox'::regclass and mode = 'RowExclusiveLock' and pid <> pg_backend_pid()`)

/** Of a copy of another project's database: what that waited for is not its own. */
export const clearEvents = (tx: Tx) => tx`
  with events as (delete from mayfly.outbox)
  delete from mayfly.subscription`

export const deleteOutbox = (tx: Tx, seqs: readonly string[]) => tx`delete from mayfly.outbox where seq = any (${seqs}::bigint[])`

/** Which of these events still lie there. */
export const selectInOutbox = async (sql: Query, eventIds: readonly string[]): Promise<Set<string>> =>
  new Set((await sql<{ id: string }>`select event_id as id from mayfly.outbox where event_id = any (${eventIds}::uuid[])`).map(({ id }) => id))
