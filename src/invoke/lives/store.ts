import type { Sql, Tx } from '../../backends/database/database.ts'
import type { Given } from '../store.ts'

type Query = Sql | Tx

/** What the queue knows of one invocation, wherever it stands by now. */
export interface StoredLife {
  readonly entry: {
    readonly functionId: string
    readonly functionName: string
    readonly qualifier: string | null
    readonly enqueuedAt: string
    readonly dueAt: string
    readonly attempt: number
    readonly spent: number
    readonly lost: number
    readonly running: boolean
    readonly held: boolean
    readonly paused: boolean
    readonly orderKey: string | null
    readonly url: string | null
  } | null
  readonly letter: {
    readonly functionName: string
    readonly qualifier: string | null
    readonly enqueuedAt: string
    readonly deadAt: string
    readonly attempts: number
    readonly lost: number
    readonly reason: Given['reason']
    readonly errorType: string | null
    readonly errorMessage: string | null
    readonly url: string | null
    readonly queue: string | null
  } | null
  readonly failures: readonly {
    readonly attempt: number
    readonly failedAt: string
    readonly errorType: string | null
    readonly errorMessage: string | null
    readonly nextAt: string | null
  }[]
  readonly result: { readonly isError: boolean; readonly payload: string; readonly endedAt: string; readonly expiresAt: string } | null
  readonly told: StoredTold | null
  /** Where its event went when it was given up, as its function's `DeadLetterConfig` says. */
  readonly sentLetter: StoredTold | null
}

interface StoredTold {
  readonly condition: string
  readonly kind: string
  readonly target: string
  readonly delivery: string
  readonly toldAt: string
  /** The delivery is a dead letter by now. */
  readonly isDead: boolean
}

/** In one statement, so that what moves from one place to another stands in one of them. */
export const selectLife = async (sql: Query, project: string, id: string): Promise<StoredLife> =>
  (
    await sql<StoredLife>`
      with told as (
        select what, json_build_object('condition', condition, 'kind', kind, 'target', target, 'delivery', delivery_id, 'toldAt', told_at,
                       'isDead', exists (select from mayfly.dead_letter where dead_letter.id = delivery_id)) as told
          from mayfly.told_outcome where invocation_id = ${id})
      select (select json_build_object('functionId', function_id, 'functionName', function_name, 'qualifier', qualifier, 'enqueuedAt', enqueued_at,
                       'dueAt', due_at, 'attempt', attempt, 'spent', spent, 'lost', lost, 'running', leased_until is not null, 'held', held,
                       'paused', exists (select from mayfly.function_pause pause where pause.function_id = entry.function_id and paused_at is not null),
                       'orderKey', order_key, 'url', webhook ->> 'url')
                from mayfly.entry join mayfly.entry_payload on entry_id = entry.id where entry.id = ${id} and project = ${project}) as entry,
             (select json_build_object('functionName', function_name, 'qualifier', qualifier, 'enqueuedAt', enqueued_at, 'deadAt', dead_at,
                       'attempts', attempts, 'lost', lost, 'reason', reason, 'errorType', error_type, 'errorMessage', error_message, 'url', webhook ->> 'url', 'queue', queue)
                from mayfly.dead_letter where dead_letter.id = ${id} and project = ${project}) as letter,
             coalesce((select json_agg(json_build_object('attempt', attempt, 'failedAt', failed_at, 'errorType', error_type,
                                'errorMessage', error_message, 'nextAt', next_at) order by attempt)
                         from mayfly.entry_failure where invocation_id = ${id}), '[]') as failures,
             (select json_build_object('isError', is_error, 'payload', encode(payload, 'base64'), 'endedAt', ended_at, 'expiresAt', expires_at)
                from mayfly.kept_result where kept_result.id = ${id} and project = ${project} and expires_at > clock_timestamp()) as result,
             (select told from told where what = 'outcome') as told, (select told from told where what = 'letter') as "sentLetter"`
  )[0] as StoredLife

export interface KeptResult {
  readonly id: string
  readonly attempt: number
  readonly project: string
  readonly isError: boolean
  readonly payload: Uint8Array
  readonly keepSeconds: number
}

/**
 * Of entries that are about to end in this transaction; of one that another holder has by now nothing is kept. What came
 * before under the same id was another attempt of the same.
 */
export const insertResults = (tx: Tx, results: readonly KeptResult[]) => tx`
  insert into mayfly.kept_result (id, project, is_error, payload, expires_at)
  select kept.id, project, is_error, payload, clock_timestamp() + seconds * interval '1 second'
    from unnest((select ${results.map((one) => one.id)}::uuid[]), (select ${results.map((one) => one.attempt)}::int[]), (select ${results.map((one) => one.project)}::text[]),
           (select ${results.map((one) => one.isError)}::boolean[]), (select ${results.map((one) => `\\x${Buffer.from(one.payload).toString('hex')}`)}::bytea[]),
           (select ${results.map((one) => one.keepSeconds)}::int[])) as kept (id, attempt, project, is_error, payload, seconds)
    join mayfly.entry on entry.id = kept.id and entry.attempt = kept.attempt
     for update of entry
  on conflict (id) do update set is_error = excluded.is_error, payload = excluded.payload, ended_at = excluded.ended_at, expires_at = excluded.expires_at`

export interface ToldOutcome {
  /** A letter by itself: one call may have both. */
  readonly what?: 'outcome' | 'letter'
  readonly invocationId: string
  readonly condition: string
  readonly kind: string
  readonly target: string
  readonly deliveryId: string
}

export const insertTold = (tx: Tx, told: ToldOutcome) => tx`
  insert into mayfly.told_outcome (invocation_id, what, condition, kind, target, delivery_id)
  values (${told.invocationId}, ${told.what ?? 'outcome'}, ${told.condition}, ${told.kind}, ${told.target}, ${told.deliveryId})
  on conflict (invocation_id, what) do nothing`

export interface Once {
  readonly functionId: string
  readonly key: string
  readonly invocationId: string
  readonly windowSeconds: number
}

/**
 * Makes each key stand for its invocation, where it stands for none yet. @returns for which each stands now; a row for each pair, in no order
 */
export const takeKeys = async (tx: Tx, once: readonly Once[]): Promise<{ functionId: string; key: string; invocationId: string }[]> => {
  const functions = once.map((one) => one.functionId)
  const keys = once.map((one) => one.key)
  // Locked in one order, so that no two transactions wait for each other; of the same key in one group the first counts.
  await tx`
    insert into mayfly.entry_key (function_id, key, invocation_id, expires_at)
    select distinct on (function_id, key) function_id, key, invocation_id, clock_timestamp() + seconds * interval '1 second'
      from unnest(${functions}::uuid[], ${keys}::text[], ${once.map((one) => one.invocationId)}::uuid[], ${once.map((one) => one.windowSeconds)}::int[])
           with ordinality as asked (function_id, key, invocation_id, seconds, n)
     order by function_id, key, n
    on conflict (function_id, key) do update set invocation_id = excluded.invocation_id, expires_at = excluded.expires_at
     where entry_key.expires_at <= clock_timestamp()`
  return await tx<{ functionId: string; key: string; invocationId: string }>`
    select function_id as "functionId", key, invocation_id as "invocationId" from mayfly.entry_key
      join unnest(${functions}::uuid[], ${keys}::text[]) as asked (function_id, key) using (function_id, key)`
}

export interface Pause {
  readonly functionId: string
  readonly pausedAt: Date
}

export const savePause = (sql: Query, functionId: string) => sql<Pause>`
  insert into mayfly.function_pause (function_id, paused_at) values (${functionId}, clock_timestamp())
  on conflict (function_id) do update set paused_at = coalesce(function_pause.paused_at, excluded.paused_at)
  returning function_id as "functionId", paused_at as "pausedAt"`

/** @returns nothing when it was not paused */
export const endPause = (sql: Query, functionId: string) => sql<{ functionId: string }>`
  update mayfly.function_pause set paused_at = null, resumed_at = clock_timestamp() where function_id = ${functionId} and paused_at is not null
  returning function_id as "functionId"`

export const selectPauses = (sql: Query, functionIds: readonly string[]) => sql<Pause>`
  select function_id as "functionId", paused_at as "pausedAt" from mayfly.function_pause where function_id = any(${[...functionIds]}::uuid[]) and paused_at is not null`

export interface ShownEntry {
  readonly id: string
  readonly functionName: string
  readonly state: 'running' | 'retrying' | 'held' | 'paused' | 'waiting'
  readonly attempt: number
  readonly spent: number
  readonly lost: number
  readonly enqueuedAt: Date
  readonly dueAt: Date
  readonly orderKey: string | null
  readonly url: string | null
  readonly errorMessage: string | null
}

/** What runs first, then what waits, the oldest first. index: entry_leased; entry_payload_project */
export const selectEntries = (
  sql: Query,
  project: string,
  of: { readonly functionName: string | null; readonly state: string | null },
  limit: number,
) => sql<ShownEntry>`
  with shown as (
    (select entry.id, function_id, function_name, true as running, attempt, spent, lost, enqueued_at, due_at, held, order_key, webhook, last_error
       from mayfly.entry join mayfly.entry_payload on entry_id = entry.id
      where leased_until is not null and project = ${project} and (${of.functionName}::text is null or function_name = ${of.functionName})
        and (${of.state}::text is null or ${of.state} = 'running')
      order by entry.id limit ${limit})
    union all
    (select entry.id, function_id, function_name, false, attempt, spent, lost, enqueued_at, due_at, held, order_key, webhook, last_error
       from mayfly.entry_payload join mayfly.entry on entry.id = entry_id
      where project = ${project} and leased_until is null and (${of.functionName}::text is null or function_name = ${of.functionName})
        and case ${of.state}::text
              when 'running' then false when 'held' then held when 'retrying' then spent > 0 and not held
              when 'waiting' then spent = 0 and not held
              when 'paused' then exists (select from mayfly.function_pause pause where pause.function_id = entry.function_id and paused_at is not null)
              else true end
      order by entry_id limit ${limit}))
  select id, function_name as "functionName", attempt, spent, lost, enqueued_at as "enqueuedAt", due_at as "dueAt", order_key as "orderKey", webhook ->> 'url' as url,
         last_error ->> 'message' as "errorMessage",
         case when running then 'running' when exists (select from mayfly.function_pause pause where pause.function_id = shown.function_id and paused_at is not null) then 'paused'
              when held then 'held' when spent > 0 then 'retrying' else 'waiting' end as state
    from shown order by running desc, id limit ${limit}`

/** What is kept no longer. index: entry_failure_age, told_outcome_age, kept_result_expiry, entry_key_expiry */
export const deleteOldLives = async (sql: Query, days: number): Promise<void> => {
  await sql`delete from mayfly.entry_failure where failed_at < clock_timestamp() - ${days} * interval '1 day'`
  await sql`delete from mayfly.told_outcome where told_at < clock_timestamp() - ${days} * interval '1 day'`
  await sql`delete from mayfly.kept_result where expires_at < clock_timestamp()`
  await sql`delete from mayfly.entry_key where expires_at < clock_timestamp()`
}
