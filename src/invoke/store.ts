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
  /** Of one key of a function, entries run one after the other in the order in which they came. */
  readonly orderKey?: string | null
  /** Told instead of a function. */
  readonly webhook?: Webhook | null
}

/** An address that is told of an outcome, signed with a secret of the project. */
export interface Webhook {
  readonly url: string
  /** The secret's name. */
  readonly secret: string
}

/** Who takes entries as they come, and which. */
export interface Taker {
  readonly holder: string
  readonly leaseMs: number
  readonly ids: ReadonlySet<string>
}

/**
 * Stores entries and what they are made of; the time is the database's. Without an order key it is one statement, which
 * may stand alone.
 * @param taker  has those leased from the first that it wants, where nothing of their function waits and it is not paused
 * @returns the ids of those that are leased
 */
export const insertEntries = async (sql: Query, entries: readonly NewEntry[], taker: Taker | null = null): Promise<readonly string[]> => {
  const ordered = entries.filter(({ orderKey }) => orderKey != null)
  const others = entries.filter(({ orderKey }) => orderKey == null)
  if (ordered.length > 0) await insertOrdered(sql as Tx, ordered)
  if (others.length === 0) return []
  return others.every((one) => isLike(one, others[0] as NewEntry)) ? await insertAlike(sql, others, taker) : await insertUnordered(sql, others, taker)
}

const isLike = (one: NewEntry, other: NewEntry): boolean =>
  one.functionId === other.functionId &&
  one.functionName === other.functionName &&
  one.project === other.project &&
  one.depth === other.depth &&
  (one.qualifier ?? null) === (other.qualifier ?? null) &&
  one.traceId === other.traceId &&
  one.clientContext === other.clientContext &&
  one.webhook == null &&
  other.webhook == null

/** Of one function: what they have in common is told once. Arrays are selects, as the planner would plan each statement by how long they are. index: entry_due */
async function insertAlike(sql: Query, entries: readonly NewEntry[], taker: Taker | null): Promise<readonly string[]> {
  const { functionId, project, functionName, qualifier = null, traceId, clientContext, depth } = entries[0] as NewEntry
  const { ids, begins, bytes, payloads } = runOf(entries)
  const taken = await sql<{ id: string }>`
    with came as materialized (
      select n, id, takes, substring(${payloads}::bytea from begins for bytes) as payload
        from unnest((select ${ids}::uuid[]), (select ${begins}::int[]), (select ${bytes}::int[]), (select ${takesOf(entries, taker)}::boolean[]))
             with ordinality as came (id, begins, bytes, takes, n)),
    made as (
      insert into mayfly.entry (id, function_id, attempt, leased_by, leased_until)
      select id, ${functionId}, taken::int, case when taken then ${taker?.holder ?? null}::uuid end,
             case when taken then clock_timestamp() + ${taker?.leaseMs ?? 0} * interval '1 millisecond' end
        from (select n, id, takes
                 and ((select due_at from mayfly.entry first where first.function_id = ${functionId} and leased_until is null and not held
                        order by priority, due_at, id limit 1) <= clock_timestamp()) is not true
                 and (select paused_at from mayfly.function_pause pause where pause.function_id = ${functionId}) is null as taken from came) as free
       order by n
      returning id, attempt),
    kept as (
      insert into mayfly.entry_payload (entry_id, project, function_name, qualifier, trace_id, client_context, depth, payload)
      select id, ${project}, ${functionName}, ${qualifier}, ${traceId}, ${clientContext}, ${depth}, payload from came)
    select id from made where attempt > 0`
  return taken.map(({ id }) => id)
}

const takesOf = (entries: readonly NewEntry[], taker: Taker | null): string => `{${entries.map(({ id }) => (taker?.ids.has(id) ? 't' : 'f')).join(',')}}`

/** index: entry_due */
async function insertUnordered(sql: Query, entries: readonly NewEntry[], taker: Taker | null): Promise<readonly string[]> {
  const columns = columnsOf(entries)
  const takes = takesOf(entries, taker)
  const taken = await sql<{ id: string }>`
    with came as materialized (
      select n, id, function_id, project, function_name, qualifier, trace_id, client_context, depth, webhook, takes,
             substring(${columns.payloads}::bytea from begins for bytes) as payload
        from unnest((select ${columns.ids}::uuid[]), (select ${columns.functions}::uuid[]), (select ${columns.projects}::text[]), (select ${columns.names}::text[]),
               (select ${columns.qualifiers}::text[]), (select ${columns.traces}::text[]), (select ${columns.contexts}::text[]), (select ${columns.depths}::smallint[]),
               (select ${columns.webhooks}::jsonb[]), (select ${columns.begins}::int[]), (select ${columns.bytes}::int[]), (select ${takes}::boolean[]))
             with ordinality as came (id, function_id, project, function_name, qualifier, trace_id, client_context, depth, webhook, begins, bytes, takes, n)),
    made as (
      insert into mayfly.entry (id, function_id, attempt, leased_by, leased_until)
      select id, came.function_id, taken::int, case when taken then ${taker?.holder ?? null}::uuid end,
             case when taken then clock_timestamp() + ${taker?.leaseMs ?? 0} * interval '1 millisecond' end
        from came
       cross join lateral (
         select takes
            and ((select due_at from mayfly.entry first where first.function_id = came.function_id and leased_until is null and not held
                   order by priority, due_at, id limit 1) <= clock_timestamp()) is not true
            and (select paused_at from mayfly.function_pause pause where pause.function_id = came.function_id) is null as taken offset 0) as free
       order by n
      returning id, attempt),
    kept as (
      insert into mayfly.entry_payload (entry_id, project, function_name, qualifier, trace_id, client_context, depth, payload, webhook)
      select id, project, function_name, qualifier, trace_id, client_context, depth, payload, webhook from came)
    select id from made where attempt > 0`
  return taken.map(({ id }) => id)
}

/** The first of a key may be taken; the others stand behind it. Who adds to a key and who ends its first wait for each other. index: entry_order */
async function insertOrdered(tx: Tx, entries: readonly NewEntry[]): Promise<void> {
  const functions = entries.map((entry) => entry.functionId)
  const keys = entries.map((entry) => entry.orderKey as string)
  await lockKeys(tx, functions, keys)
  await tx`
    insert into mayfly.entry (id, function_id, order_key, held)
    select id, came.function_id, came.order_key,
           exists (select from mayfly.entry before where before.function_id = came.function_id and before.order_key = came.order_key)
           or row_number() over (partition by came.function_id, came.order_key order by n) > 1
      from unnest(${entries.map((entry) => entry.id)}::uuid[], ${functions}::uuid[], ${keys}::text[]) with ordinality as came (id, function_id, order_key, n)
     order by n`
  const columns = columnsOf(entries)
  await tx`
    insert into mayfly.entry_payload (entry_id, project, function_name, qualifier, trace_id, client_context, depth, webhook, payload)
    select id, project, function_name, qualifier, trace_id, client_context, depth, webhook, substring(${columns.payloads}::bytea from begins for bytes)
      from unnest(${columns.ids}::uuid[], ${columns.projects}::text[], ${columns.names}::text[], ${columns.qualifiers}::text[], ${columns.traces}::text[],
             ${columns.contexts}::text[], ${columns.depths}::smallint[], ${columns.webhooks}::jsonb[], ${columns.begins}::int[], ${columns.bytes}::int[])
           as came (id, project, function_name, qualifier, trace_id, client_context, depth, webhook, begins, bytes)`
}

/** What entries are made of, as PostgreSQL's texts of arrays: the driver takes several times as long. Payloads travel as one run of bytes. */
function columnsOf(entries: readonly NewEntry[]) {
  return {
    ...runOf(entries),
    functions: textArray(entries.map(({ functionId }) => functionId)),
    projects: textArray(entries.map(({ project }) => project)),
    names: textArray(entries.map(({ functionName }) => functionName)),
    qualifiers: textArray(entries.map(({ qualifier = null }) => qualifier)),
    traces: textArray(entries.map(({ traceId }) => traceId)),
    contexts: textArray(entries.map(({ clientContext }) => clientContext)),
    depths: textArray(entries.map(({ depth }) => String(depth))),
    webhooks: textArray(entries.map(({ webhook }) => (webhook ? JSON.stringify(webhook) : null))),
  }
}

function runOf(entries: readonly NewEntry[]) {
  let at = 1
  const begins = entries.map(({ payload }) => {
    const begin = at
    at += payload.byteLength
    return begin
  })
  return {
    ids: textArray(entries.map(({ id }) => id)),
    begins: `{${begins.join(',')}}`,
    bytes: `{${entries.map(({ payload }) => payload.byteLength).join(',')}}`,
    payloads: entries.length === 1 ? (entries[0] as NewEntry).payload : Buffer.concat(entries.map(({ payload }) => payload)),
  }
}

const SPECIAL = /["\\]/g
const textArray = (values: readonly (string | null)[]): string => {
  let text = ''
  for (const value of values) text += `${text === '' ? '' : ','}${value === null ? 'NULL' : `"${value.replaceAll(SPECIAL, '\\$&')}"`}`
  return `{${text}}`
}

/** In one order for all, so that no two wait for each other. */
const lockKeys = (tx: Tx, functions: readonly string[], keys: readonly string[]) => tx`
  select pg_advisory_xact_lock(lock) from (
    select distinct hashtextextended(function_id::text || order_key, 62) as lock from unnest(${functions}::uuid[], ${keys}::text[]) as of (function_id, order_key)
     order by 1) as locks`

export const countEntries = async (sql: Query): Promise<number> => Number((await sql<{ n: string }>`select count(*) as n from mayfly.entry`)[0]?.n ?? 0)

export interface WaitingFunction {
  readonly functionId: string
  readonly project: string
  readonly functionName: string
  readonly dueMs: number
}

/**
 * The functions for which something waits, one step of the index for each, and in how many ms the head of each comes
 * due; those that are paused are left out. index: entry_due
 */
export const selectWaitingFunctions = (sql: Query) => sql<WaitingFunction>`
  with recursive waiting as (
    (select function_id from mayfly.entry where leased_until is null and not held order by function_id limit 1)
    union all
    select (select function_id from mayfly.entry where leased_until is null and not held and function_id > waiting.function_id order by function_id limit 1)
      from waiting where waiting.function_id is not null)
  select function_id as "functionId", project, function_name as "functionName", (extract(epoch from head.due_at - clock_timestamp()) * 1000)::float8 as "dueMs"
    from waiting
   cross join lateral (
     select id, due_at from mayfly.entry
      where entry.function_id = waiting.function_id and leased_until is null and not held order by priority, due_at, id limit 1) as head
    join mayfly.entry_payload on entry_id = head.id
   where not exists (select from mayfly.function_pause pause where pause.function_id = waiting.function_id and paused_at is not null)`

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
  /** Since it was queued. */
  readonly queuedMs: number
  /** The same, or since its function went on after a pause: how old it is by the rules of its function. */
  readonly ageMs: number
  readonly orderKey: string | null
  readonly webhook: Webhook | null
  readonly project: string
  readonly functionName: string
  readonly qualifier: string | null
  readonly traceId: string | null
  readonly clientContext: string | null
  readonly depth: number
  readonly payload: Buffer
}

/** Leases due entries of the functions that have free slots and are not paused. A lease that is not settled or renewed ends by itself after `leaseMs`. */
export const leaseDue = (sql: Query, holder: string, free: FreeSlots, leaseMs: number) => sql<LeasedEntry>`
  with due as materialized (   -- materialized, so that the limits are taken once
    select entry.id
        -- as selects, so that the planner does not see how few there are: it would plan each claim anew
      from unnest((select ${free.functions}::uuid[]), (select ${free.slots}::int[])) as free (function_id, slots)
     cross join lateral (       -- fair: each function by its own free slots. index: entry_due
       select id from mayfly.entry
        where function_id = free.function_id and leased_until is null and not held and due_at <= clock_timestamp()
        order by priority, due_at, id
        -- none of one that was paused since it was found to wait
        limit case when (select paused_at from mayfly.function_pause pause where pause.function_id = free.function_id) is null then free.slots else 0 end
          for update skip locked) as entry),
  leased as (
    update mayfly.entry
       set leased_by = ${holder}, leased_until = clock_timestamp() + ${leaseMs} * interval '1 millisecond', attempt = attempt + 1
     where id = any(array(select id from due))   -- by its index, however many the planner takes them for
    returning entry.id, function_id, attempt, spent, lost, last_error, enqueued_at, order_key)
  select id, leased.function_id as "functionId", attempt, spent, lost, last_error as "lastError", order_key as "orderKey", webhook,
         (extract(epoch from clock_timestamp() - enqueued_at) * 1000)::float8 as "queuedMs",
         (extract(epoch from clock_timestamp() - greatest(enqueued_at, resumed_at)) * 1000)::float8 as "ageMs", project, function_name as "functionName", qualifier, trace_id as "traceId", client_context as "clientContext", depth, payload
    from leased
   cross join lateral (   -- looked up for each: a scan of all payloads is never worth it
     select project, function_name, qualifier, trace_id, client_context, depth, payload, webhook from mayfly.entry_payload where entry_id = leased.id offset 0) as made
    left join mayfly.function_pause pause on pause.function_id = leased.function_id`

/** Those of `running` alone: a lease that nobody knows of has to end. */
export const renewLeases = (sql: Query, holder: string, running: readonly string[], leaseMs: number) => sql`
  update mayfly.entry set leased_until = clock_timestamp() + ${leaseMs} * interval '1 millisecond'
   where id = any(${running}::uuid[]) and leased_until is not null and leased_by = ${holder}`

/** Gives back what stands as leased by the holder and does not run: the answer to a lease was lost. index: entry_leased */
export const returnStrays = (sql: Query, holder: string, running: readonly string[]) => sql<{ id: string }>`
  update mayfly.entry set leased_by = null, leased_until = null, due_at = clock_timestamp()
   where leased_until is not null and leased_by = ${holder} and id <> all(${running}::uuid[])
  returning id`

/**
 * Gives leases back that ended without an outcome: all of a holder's (its former life), or those past their time.
 * @returns which were, and how many times that happened to each
 */
export const returnLeases = (sql: Query, holder: string | null, count: 0 | 1) => sql<Called & { lost: number; webhook: Webhook | null }>`
  update mayfly.entry set leased_by = null, leased_until = null, lost = lost + ${count}, due_at = clock_timestamp()
    from mayfly.entry_payload
   where entry_id = id and leased_until is not null and case when ${holder}::uuid is null then leased_until < clock_timestamp() else leased_by = ${holder}::uuid end
  returning id, attempt, lost, project, function_name as "functionName", qualifier, webhook`

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

export interface Keyed {
  readonly functionId: string
  readonly orderKey: string
}

/** Those whose first has ended in this transaction have a new first. index: entry_order */
export const releaseNext = async (tx: Tx, keyed: readonly Keyed[]): Promise<void> => {
  const functions = keyed.map((one) => one.functionId)
  const keys = keyed.map((one) => one.orderKey)
  await lockKeys(tx, functions, keys)
  await tx`
    update mayfly.entry set held = false
      from (select distinct * from unnest(${functions}::uuid[], ${keys}::text[]) as of (function_id, order_key)) as of
     cross join lateral (
       select id from mayfly.entry first where first.function_id = of.function_id and first.order_key = of.order_key order by seq limit 1) as first
     where entry.id = first.id and held`
}

/** Lets an entry wait again. `spent` and `lost` are added to what it has; `error` is null where the attempt came to no user code. */
export const retryEntry = (
  sql: Query,
  entry: Settled,
  {
    waitMs,
    spent,
    lost,
    error,
    told,
  }: { readonly waitMs: number; readonly spent: number; readonly lost: number; readonly error: LastError | null; readonly told: Told },
) => sql<{ nextAt: Date }>`
  with again as (
    update mayfly.entry set leased_by = null, leased_until = null, due_at = clock_timestamp() + ${waitMs} * interval '1 millisecond',
           spent = spent + ${spent}, lost = lost + ${lost}, last_error = coalesce(${error === null ? null : JSON.stringify(error)}::jsonb, last_error)
     where id = ${entry.id} and attempt = ${entry.attempt} and leased_until is not null   -- once, though it be said again
    returning id, attempt, due_at)
  insert into mayfly.entry_failure (invocation_id, attempt, error_type, error_message, next_at)
  select id, attempt, ${told.errorType}, ${told.errorMessage}, due_at from again
  on conflict (invocation_id, attempt) do nothing
  returning next_at as "nextAt"`

type Told = Pick<Given, 'errorType' | 'errorMessage'>

export interface Given {
  readonly reason: 'attempts' | 'age' | 'node' | 'function_gone' | 'recursion' | 'destination'
  readonly spent: number
  readonly errorType: string | null
  readonly errorMessage: string | null
}

export interface Buried {
  readonly functionId: string
  readonly orderKey: string | null
  readonly webhook: Webhook | null
  readonly attempts: number
  readonly traceId: string | null
  readonly depth: number
  readonly payload: Buffer
}

/** Makes a dead letter of an entry, in one step; nothing when another holder has it by now. */
export const buryEntry = (sql: Query, entry: Settled, given: Given) => sql<Buried>`
  with gone as (
    delete from mayfly.entry where id = ${entry.id} and attempt = ${entry.attempt} returning id, attempt, function_id, order_key, enqueued_at, spent, lost),
  payload as (
    delete from mayfly.entry_payload using gone where entry_id = gone.id
    returning entry_id, project, function_name, qualifier, trace_id, depth, payload, webhook),
  failure as (
    insert into mayfly.entry_failure (invocation_id, attempt, error_type, error_message)
    select id, attempt, ${given.errorType}, ${given.errorMessage} from gone
    on conflict (invocation_id, attempt) do nothing),
  letter as (
    insert into mayfly.dead_letter (id, project, function_name, qualifier, payload, webhook, enqueued_at, attempts, lost, reason, error_type, error_message)
    select gone.id, project, function_name, qualifier, payload, webhook, enqueued_at, spent + ${given.spent}, lost, ${given.reason}, ${given.errorType}, ${given.errorMessage}
      from gone join payload on payload.entry_id = gone.id
    returning id, attempts)
  select letter.attempts, function_id as "functionId", order_key as "orderKey", payload.webhook, payload.trace_id as "traceId", payload.depth, payload.payload
    from letter join payload on payload.entry_id = letter.id join gone on gone.id = letter.id`

/** What is given up before it ever waited: it has no entry. */
export interface StillBorn
  extends Pick<NewEntry, 'id' | 'project' | 'functionName' | 'qualifier' | 'payload' | 'webhook'>,
    Pick<Given, 'reason' | 'errorType' | 'errorMessage'> {
  /** The queue that was to be told. */
  readonly queue?: string
  /** Of the message that was to go there, in the form of its dialect. */
  readonly attributes?: string | null
}

export const insertDeadLetters = (tx: Tx, letters: readonly StillBorn[]) => tx`
  insert into mayfly.dead_letter (id, project, function_name, qualifier, payload, enqueued_at, attempts, lost, reason, error_type, error_message, webhook, queue,
                                  attributes)
  select id, project, function_name, qualifier, payload, clock_timestamp(), 0, 0, reason, error_type, error_message, webhook, queue, attributes
    from unnest(${letters.map((one) => one.id)}::uuid[], ${letters.map((one) => one.project)}::text[], ${letters.map((one) => one.functionName)}::text[],
      ${letters.map((one) => one.qualifier ?? null)}::text[], ${letters.map((one) => Buffer.from(one.payload))}::bytea[], ${letters.map((one) => one.reason)}::text[],
      ${letters.map((one) => one.errorType)}::text[], ${letters.map((one) => one.errorMessage)}::text[],
      ${letters.map(({ webhook }) => (webhook ? JSON.stringify(webhook) : null))}::jsonb[], ${letters.map(({ queue }) => queue ?? null)}::text[],
      ${letters.map(({ attributes }) => attributes ?? null)}::text[])
      as born (id, project, function_name, qualifier, payload, reason, error_type, error_message, webhook, queue, attributes)`

/** index: entry_payload_project, entry_leased */
export const countEntriesOf = async (sql: Query, project: string): Promise<{ waiting: number; running: number }> => {
  const [row] = await sql<{ all: string; running: string }>`
    select (select count(*) from mayfly.entry_payload where project = ${project}) as all,
           (select count(*) from mayfly.entry join mayfly.entry_payload on entry_id = entry.id where leased_until is not null and project = ${project}) as running`
  const running = Number(row?.running ?? 0)
  return { waiting: Number(row?.all ?? 0) - running, running }
}

/** A project is gone, with all that waited for its functions. */
export const deleteQueueOf = async (tx: Tx, project: string): Promise<void> => {
  await tx`
    with gone as (delete from mayfly.entry_payload where project = ${project} returning entry_id)
    delete from mayfly.entry using gone where id = gone.entry_id`
  await tx`delete from mayfly.dead_letter where project = ${project}`
  await tx`delete from mayfly.kept_result where project = ${project}`
}

export const selectThere = async (tx: Tx, ids: readonly string[]): Promise<Set<string>> =>
  new Set((await tx<{ id: string }>`select id from mayfly.entry where id = any (${ids}::uuid[])`).map(({ id }) => id))
