import type { Sql, Tx } from '../backends/database/database.ts'

type Query = Sql | Tx

export interface NewEntry {
  readonly id: string
  readonly project: string
  readonly functionId: string
  readonly functionName: string
  /** As it was asked for; what it means is asked when the entry runs. */
  readonly qualifier?: string | null
  readonly traceId: string | null
  readonly clientContext: string | null
  readonly depth: number
  readonly payload: Uint8Array
}

/** Stores entries and what they are made of; the time is the database's. */
export const insertEntries = async (tx: Tx, entries: readonly NewEntry[]): Promise<void> => {
  const ids = entries.map((entry) => entry.id)
  await tx`insert into mayfly.entry (id, function_id) select * from unnest(${ids}::uuid[], ${entries.map((entry) => entry.functionId)}::uuid[])`
  await tx`
    insert into mayfly.entry_payload (entry_id, project, function_name, qualifier, trace_id, client_context, depth, payload)
    select * from unnest(${ids}::uuid[], ${entries.map((entry) => entry.project)}::text[], ${entries.map((entry) => entry.functionName)}::text[],
      ${entries.map((entry) => entry.qualifier ?? null)}::text[], ${entries.map((entry) => entry.traceId)}::text[], ${entries.map((entry) => entry.clientContext)}::text[],
      ${entries.map((entry) => entry.depth)}::smallint[], ${entries.map((entry) => Buffer.from(entry.payload))}::bytea[])`
}

export const countEntries = async (sql: Query): Promise<number> => Number((await sql<{ n: string }>`select count(*) as n from mayfly.entry`)[0]?.n ?? 0)

/** The functions for which something waits, one step of the index for each, and in how many ms the head of each comes due. index: entry_due */
export const selectWaitingFunctions = (sql: Query) => sql<{ functionId: string; dueMs: number }>`
  with recursive waiting as (
    (select function_id from mayfly.entry where leased_until is null order by function_id limit 1)
    union all
    select (select function_id from mayfly.entry where leased_until is null and function_id > waiting.function_id order by function_id limit 1)
      from waiting where waiting.function_id is not null)
  select function_id as "functionId", (extract(epoch from head.due_at - clock_timestamp()) * 1000)::float8 as "dueMs"
    from waiting
   cross join lateral (
     select due_at from mayfly.entry where entry.function_id = waiting.function_id and leased_until is null order by priority, due_at, id limit 1) as head`

export interface FreeSlots {
  readonly functions: readonly string[]
  readonly slots: readonly number[]
}

export interface LastError {
  readonly message: string | null
  /** The stack, as the function's language writes it. */
  readonly stack: string | null
}

export interface LeasedEntry {
  readonly id: string
  readonly functionId: string
  readonly attempt: number
  readonly spent: number
  readonly lost: number
  /** How its last attempt failed; null where none has. */
  readonly lastError: LastError | null
  readonly ageMs: number
  readonly project: string
  readonly functionName: string
  readonly qualifier: string | null
  readonly traceId: string | null
  readonly clientContext: string | null
  readonly depth: number
  readonly payload: Buffer
}

/** Leases due entries of the functions that have free slots. A lease that is not settled or renewed ends by itself after `leaseMs`. */
export const leaseDue = (sql: Query, holder: string, free: FreeSlots, leaseMs: number) => sql<LeasedEntry>`
  with due as materialized (   -- materialized, so that the limits are taken once
    select entry.id
      from unnest(${free.functions}::uuid[], ${free.slots}::int[]) as free (function_id, slots)
     cross join lateral (       -- fair: each function by its own free slots. index: entry_due
       select id from mayfly.entry
        where function_id = free.function_id and leased_until is null and due_at <= clock_timestamp()
        order by priority, due_at, id
        limit free.slots
          for update skip locked) as entry),
  leased as (
    update mayfly.entry
       set leased_by = ${holder}, leased_until = clock_timestamp() + ${leaseMs} * interval '1 millisecond', attempt = attempt + 1
      from due
     where entry.id = due.id
    returning entry.id, function_id, attempt, spent, lost, last_error, enqueued_at)
  select id, function_id as "functionId", attempt, spent, lost, last_error as "lastError",
         (extract(epoch from clock_timestamp() - enqueued_at) * 1000)::float8 as "ageMs", project, function_name as "functionName", qualifier, trace_id as "traceId", client_context as "clientContext", depth, payload
    from leased join mayfly.entry_payload on entry_id = id`

/** index: entry_leased */
export const renewLeases = (sql: Query, holder: string, leaseMs: number) => sql`
  update mayfly.entry set leased_until = clock_timestamp() + ${leaseMs} * interval '1 millisecond' where leased_until is not null and leased_by = ${holder}`

/**
 * Gives leases back that ended without an outcome: all of a holder's (its former life), or those past their time.
 * @returns which were, and how many times that happened to each
 */
export const returnLeases = (sql: Query, holder: string | null, count: 0 | 1) => sql<Called & { lost: number }>`
  update mayfly.entry set leased_by = null, leased_until = null, lost = lost + ${count}, due_at = clock_timestamp()
    from mayfly.entry_payload
   where entry_id = id and leased_until is not null and case when ${holder}::uuid is null then leased_until < clock_timestamp() else leased_by = ${holder}::uuid end
  returning id, attempt, lost, project, function_name as "functionName", qualifier`

export interface Settled {
  readonly id: string
  readonly attempt: number
}

/** What settling an entry has to know of the call. */
export interface Called extends Settled {
  readonly project: string
  readonly functionName: string
  readonly qualifier: string | null
}

/** Ends entries; one that another holder has by now stays. */
export const deleteEntries = (sql: Query, settled: readonly Settled[]) => sql<{ id: string }>`
  with gone as (
    delete from mayfly.entry using unnest(${settled.map((one) => one.id)}::uuid[], ${settled.map((one) => one.attempt)}::int[]) as settled (id, attempt)
     where entry.id = settled.id and entry.attempt = settled.attempt returning entry.id)
  delete from mayfly.entry_payload using gone where entry_id = gone.id returning entry_id as id`

/** Lets an entry wait again. `spent` and `lost` are added to what it has; `error` is null where the attempt came to no user code. */
export const retryEntry = (
  sql: Query,
  entry: Settled,
  { waitMs, spent, lost, error }: { readonly waitMs: number; readonly spent: number; readonly lost: number; readonly error: LastError | null },
) => sql`
  update mayfly.entry set leased_by = null, leased_until = null, due_at = clock_timestamp() + ${waitMs} * interval '1 millisecond',
         spent = spent + ${spent}, lost = lost + ${lost}, last_error = coalesce(${error === null ? null : JSON.stringify(error)}::jsonb, last_error)
   where id = ${entry.id} and attempt = ${entry.attempt}`

export interface Given {
  readonly reason: 'attempts' | 'age' | 'node' | 'function_gone' | 'recursion' | 'destination'
  readonly spent: number
  readonly errorType: string | null
  readonly errorMessage: string | null
}

export interface Buried {
  readonly attempts: number
  readonly traceId: string | null
  readonly depth: number
  readonly payload: Buffer
}

/** Makes a dead letter of an entry, in one step; nothing when another holder has it by now. */
export const buryEntry = (sql: Query, entry: Settled, given: Given) => sql<Buried>`
  with gone as (
    delete from mayfly.entry where id = ${entry.id} and attempt = ${entry.attempt} returning id, enqueued_at, spent, lost),
  payload as (
    delete from mayfly.entry_payload using gone where entry_id = gone.id
    returning entry_id, project, function_name, qualifier, trace_id, depth, payload),
  letter as (
    insert into mayfly.dead_letter (id, project, function_name, qualifier, payload, enqueued_at, attempts, lost, reason, error_type, error_message)
    select gone.id, project, function_name, qualifier, payload, enqueued_at, spent + ${given.spent}, lost, ${given.reason}, ${given.errorType}, ${given.errorMessage}
      from gone join payload on payload.entry_id = gone.id
    returning id, attempts)
  select letter.attempts, payload.trace_id as "traceId", payload.depth, payload.payload from letter join payload on payload.entry_id = letter.id`

/** What is given up before it ever waited: it has no entry. */
export interface StillBorn
  extends Pick<NewEntry, 'id' | 'project' | 'functionName' | 'qualifier' | 'payload'>,
    Pick<Given, 'reason' | 'errorType' | 'errorMessage'> {}

export const insertDeadLetters = (tx: Tx, letters: readonly StillBorn[]) => tx`
  insert into mayfly.dead_letter (id, project, function_name, qualifier, payload, enqueued_at, attempts, lost, reason, error_type, error_message)
  select id, project, function_name, qualifier, payload, clock_timestamp(), 0, 0, reason, error_type, error_message
    from unnest(${letters.map((one) => one.id)}::uuid[], ${letters.map((one) => one.project)}::text[], ${letters.map((one) => one.functionName)}::text[],
      ${letters.map((one) => one.qualifier ?? null)}::text[], ${letters.map((one) => Buffer.from(one.payload))}::bytea[], ${letters.map((one) => one.reason)}::text[],
      ${letters.map((one) => one.errorType)}::text[], ${letters.map((one) => one.errorMessage)}::text[])
      as born (id, project, function_name, qualifier, payload, reason, error_type, error_message)`

export interface DeadLetter {
  readonly id: string
  readonly functionName: string
  readonly qualifier: string | null
  readonly enqueuedAt: Date
  readonly deadAt: Date
  readonly attempts: number
  readonly lost: number
  readonly reason: Given['reason']
  readonly errorType: string | null
  readonly errorMessage: string | null
  readonly payloadBytes: number
}

/** The newest first. index: dead_letter_project */
export const selectDeadLetters = (sql: Query, project: string, functionName: string | null, limit: number) => sql<DeadLetter>`
  select id, function_name as "functionName", qualifier, enqueued_at as "enqueuedAt", dead_at as "deadAt", attempts, lost, reason, error_type as "errorType",
         error_message as "errorMessage", octet_length(payload) as "payloadBytes"
    from mayfly.dead_letter
   where project = ${project} and (${functionName}::text is null or function_name = ${functionName})
   order by dead_at desc, id limit ${limit}`

/** With the first bytes of its event. */
export const selectDeadLetter = (sql: Query, project: string, id: string, payloadBytes: number) => sql<DeadLetter & { readonly payload: Buffer }>`
  select id, function_name as "functionName", qualifier, enqueued_at as "enqueuedAt", dead_at as "deadAt", attempts, lost, reason, error_type as "errorType",
         error_message as "errorMessage", octet_length(payload) as "payloadBytes", substring(payload for ${payloadBytes}) as payload
    from mayfly.dead_letter where project = ${project} and id = ${id}`

/** Takes one away. @returns what it is made of; nothing when it is gone by now */
export const deleteDeadLetter = (sql: Query, project: string, id: string) => sql<{ functionName: string; qualifier: string | null; payload: Buffer }>`
  delete from mayfly.dead_letter where project = ${project} and id = ${id} returning function_name as "functionName", qualifier, payload`

export const countDeadLetters = async (sql: Query): Promise<number> =>
  Number((await sql<{ n: string }>`select count(*) as n from mayfly.dead_letter`)[0]?.n ?? 0)

export interface ShownEntry {
  readonly id: string
  readonly functionName: string
  readonly running: boolean
  readonly attempt: number
  readonly spent: number
  readonly lost: number
  readonly enqueuedAt: Date
  readonly dueAt: Date
}

/** What runs first, then what waits, the oldest first. index: entry_leased; entry_payload_project */
export const selectEntries = (sql: Query, project: string, limit: number) => sql<ShownEntry>`
  select * from (
    (select entry.id, function_name as "functionName", true as running, attempt, spent, lost, enqueued_at as "enqueuedAt", due_at as "dueAt"
       from mayfly.entry join mayfly.entry_payload on entry_id = entry.id
      where leased_until is not null and project = ${project} order by entry.id limit ${limit})
    union all
    (select entry.id, function_name, false, attempt, spent, lost, enqueued_at, due_at
       from mayfly.entry_payload join mayfly.entry on entry.id = entry_id
      where project = ${project} and leased_until is null order by entry_id limit ${limit})) as shown
   order by running desc, id limit ${limit}`

/** index: entry_payload_project, entry_leased */
export const countEntriesOf = async (sql: Query, project: string): Promise<{ waiting: number; running: number }> => {
  const [row] = await sql<{ all: string; running: string }>`
    select (select count(*) from mayfly.entry_payload where project = ${project}) as all,
           (select count(*) from mayfly.entry join mayfly.entry_payload on entry_id = entry.id where leased_until is not null and project = ${project}) as running`
  const running = Number(row?.running ?? 0)
  return { waiting: Number(row?.all ?? 0) - running, running }
}

/** index: dead_letter_age */
export const deleteOldDeadLetters = (sql: Query, days: number) => sql`
  delete from mayfly.dead_letter where dead_at < clock_timestamp() - ${days} * interval '1 day'`

/** A project is gone, with all that waited for its functions. */
export const deleteQueueOf = async (tx: Tx, project: string): Promise<void> => {
  await tx`
    with gone as (delete from mayfly.entry_payload where project = ${project} returning entry_id)
    delete from mayfly.entry using gone where id = gone.entry_id`
  await tx`delete from mayfly.dead_letter where project = ${project}`
}

export const selectThere = async (tx: Tx, ids: readonly string[]): Promise<Set<string>> =>
  new Set((await tx<{ id: string }>`select id from mayfly.entry where id = any (${ids}::uuid[])`).map(({ id }) => id))
