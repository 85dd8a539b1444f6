import type { Sql, Tx } from '../backends/database/database.ts'
import type { QueueSettings } from './settings.ts'

type Query = Sql | Tx

export interface QueueRow {
  readonly id: string
  readonly project: string
  readonly projectId: string
  readonly name: string
  readonly settings: QueueSettings
  readonly tags: Readonly<Record<string, string>>
  readonly createdAt: Date
  readonly modifiedAt: Date
}

export const selectQueues = (sql: Query) => sql<QueueRow>`
  select queue.id, project.ref as project, project_id as "projectId", queue.name, settings, tags, queue.created_at as "createdAt", modified_at as "modifiedAt"
    from mayfly.message_queue queue join mayfly.project on project.id = project_id where project.state <> 'deleting'`

/** Nothing when the project is gone, or has a queue of this name. */
export const insertQueue = (
  sql: Query,
  id: string,
  project: string,
  name: string,
  settings: QueueSettings,
  tags: Readonly<Record<string, string>>,
) => sql<QueueRow>`
  with made as (
    insert into mayfly.message_queue (id, project_id, name, settings, tags)
    select ${id}, project.id, ${name}, ${JSON.stringify(settings)}::jsonb, ${JSON.stringify(tags)}::jsonb
      from mayfly.project where ref = ${project} and state <> 'deleting'
    on conflict (project_id, name) do nothing returning *)
  select id, ${project} as project, project_id as "projectId", name, settings, tags, created_at as "createdAt", modified_at as "modifiedAt" from made`

export const updateQueue = (sql: Query, id: string, settings: QueueSettings, tags: Readonly<Record<string, string>>) => sql<{ modifiedAt: Date }>`
  update mayfly.message_queue set settings = ${JSON.stringify(settings)}::jsonb, tags = ${JSON.stringify(tags)}::jsonb, modified_at = clock_timestamp()
   where id = ${id} returning modified_at as "modifiedAt"`

/** The queues of a project for another, without their messages; those that it has by now stay. */
export const copyQueues = (sql: Query, from: string, to: string) => sql`
  insert into mayfly.message_queue (id, project_id, name, settings, tags)
  select gen_random_uuid(), target.id, queue.name, settings, tags
    from mayfly.message_queue queue join mayfly.project source on source.id = project_id, mayfly.project target
   where source.ref = ${from} and target.ref = ${to} and target.state <> 'deleting'
  on conflict (project_id, name) do nothing`

/** @returns nothing when it has messages, which go with it only if that is said */
export const deleteQueue = (sql: Query, id: string, withMessages: boolean) => sql<{ id: string }>`
  delete from mayfly.message_queue where id = ${id} and (${withMessages} or not exists (select from mayfly.message where queue_id = ${id})) returning id`

export interface NewMessage {
  readonly queueId: string
  readonly id: string
  readonly delaySeconds: number
  readonly bytes: number
  readonly body: Buffer
  readonly attributes: Buffer | null
  readonly traceHeader: string | null
  readonly sender: string
}

/** Stores those whose queue is there, in their order: who receives gets the first first. @returns their ids */
export const insertMessages = (sql: Query, messages: readonly NewMessage[]) => sql<{ id: string }>`
  with given as materialized (
    select given.* from unnest(${messages.map((one) => one.queueId)}::uuid[], ${messages.map((one) => one.id)}::uuid[], ${messages.map((one) => one.delaySeconds)}::int[],
        ${messages.map((one) => one.bytes)}::int[], ${messages.map((one) => one.body)}::bytea[], ${messages.map((one) => one.attributes)}::bytea[],
        ${messages.map((one) => one.traceHeader)}::text[], ${messages.map((one) => one.sender)}::text[])
        with ordinality as given (queue_id, id, delay, bytes, body, attributes, trace_header, sender, turn)
      join mayfly.message_queue queue on queue.id = given.queue_id),
  bodies as (
    insert into mayfly.message_body (message_id, body, attributes, trace_header, sender) select id, body, attributes, trace_header, sender from given)
  insert into mayfly.message (queue_id, id, visible_at, bytes)
  select queue_id, id, clock_timestamp() + delay * interval '1 second', bytes from given order by turn
  returning id`

export interface ReceivedRow {
  readonly id: string | null
  readonly receiveCount: number
  readonly sentAt: Date
  readonly firstReceivedAt: Date
  readonly sourceId: string | null
  readonly body: Buffer
  readonly attributes: Buffer | null
  readonly traceHeader: string | null
  readonly sender: string
  /** How many were given up instead; they went to the dead-letter queue. */
  readonly dead: number
  readonly deadBytes: number
}

export interface Receiving {
  readonly queueId: string
  readonly most: number
  readonly visibilitySeconds: number
  readonly retentionSeconds: number
  /** Who has been received `maxReceives` times goes there instead. */
  readonly dead: { readonly queueId: string; readonly maxReceives: number } | null
}

/** Hides what can be seen and gives it; one row without an id where there is nothing. index: message_visible */
export const receiveMessages = (sql: Query, { queueId, most, visibilitySeconds, retentionSeconds, dead }: Receiving) => sql<ReceivedRow>`
  with due as materialized (
    select id, receive_count >= ${dead?.maxReceives ?? null}::int as is_dead from mayfly.message
     where queue_id = ${queueId} and visible_at <= clock_timestamp() and sent_at > clock_timestamp() - ${retentionSeconds} * interval '1 second'
     order by visible_at, id limit (select ${most}::int)   -- a select, so that it is not planned anew for each number
       for update skip locked),
  dead as (
    update mayfly.message set queue_id = ${dead?.queueId ?? null}::uuid, source_id = ${queueId}, visible_at = clock_timestamp(), receive_count = 0, first_received_at = null
     where queue_id = ${queueId} and id = any(array(select id from due where is_dead)) returning message.bytes),   -- by their index, however many they are taken for
  taken as (
    update mayfly.message set visible_at = clock_timestamp() + ${visibilitySeconds} * interval '1 second', receive_count = receive_count + 1,
           first_received_at = coalesce(first_received_at, clock_timestamp())
     where queue_id = ${queueId} and id = any(array(select id from due where is_dead is not true))
    returning message.id, receive_count, sent_at, first_received_at, source_id)
  select taken.id, receive_count as "receiveCount", sent_at as "sentAt", first_received_at as "firstReceivedAt", source_id as "sourceId",
         body, attributes, trace_header as "traceHeader", sender, count.dead::int as dead, count.bytes::int as "deadBytes"
    from (select count(*) as dead, coalesce(sum(bytes), 0) as bytes from dead) as count
    left join (taken cross join lateral (
           select body, attributes, trace_header, sender from mayfly.message_body where message_id = taken.id offset 0) as made) on true
   order by sent_at, taken.id`

/** In how many ms the next message of a queue can be seen; nothing where it has none. index: message_visible */
export const selectNextVisible = (sql: Query, queueId: string) => sql<{ ms: number }>`
  select (extract(epoch from visible_at - clock_timestamp()) * 1000)::float8 as ms from mayfly.message where queue_id = ${queueId} order by visible_at, id limit 1`

export interface Held {
  readonly queueId: string
  readonly id: string
  readonly receiveCount: number
}

/** Ends messages; one that another has received by now stays. */
export const deleteMessages = (sql: Query, held: readonly Held[]) => sql<{ queueId: string; bytes: number }>`
  with gone as (
    delete from mayfly.message using unnest(${held.map((one) => one.queueId)}::uuid[], ${held.map((one) => one.id)}::uuid[], ${held.map((one) => one.receiveCount)}::int[])
        as held (queue_id, id, receive_count)
     where message.queue_id = held.queue_id and message.id = held.id and message.receive_count = held.receive_count
    returning message.queue_id, message.id, message.bytes),
  bodies as (delete from mayfly.message_body using gone where message_id = gone.id)
  select queue_id as "queueId", bytes from gone`

/** Those that are still held come back at once, and their receipt did not count. */
export const unreceive = (sql: Query, held: readonly Held[]) => sql`
  update mayfly.message set visible_at = clock_timestamp(), receive_count = message.receive_count - 1
    from unnest(${held.map((one) => one.queueId)}::uuid[], ${held.map((one) => one.id)}::uuid[], ${held.map((one) => one.receiveCount)}::int[])
         as held (queue_id, id, receive_count)
   where message.queue_id = held.queue_id and message.id = held.id and message.receive_count = held.receive_count and message.visible_at > clock_timestamp()`

/** What is hidden until another time; `inFlight` says whether it was, by this receipt. */
export const changeVisibility = (sql: Query, held: Held, seconds: number) => sql<{ inFlight: boolean }>`
  with found as (
    select id, visible_at > clock_timestamp() as in_flight from mayfly.message
     where queue_id = ${held.queueId} and id = ${held.id} and receive_count = ${held.receiveCount} for update),
  changed as (
    update mayfly.message set visible_at = clock_timestamp() + ${seconds} * interval '1 second'
      from found where message.queue_id = ${held.queueId} and message.id = found.id and found.in_flight)
  select in_flight as "inFlight" from found`

export interface Depth {
  readonly visible: number
  readonly inFlight: number
  readonly delayed: number
  readonly bytes: number
  readonly oldestSentAt: Date | null
}

/** Of those that cannot be received now, and of the first; nothing behind them is read. index: message_visible, message_pkey */
export const selectHidden = async (sql: Query, queueId: string): Promise<{ inFlight: number; delayed: number; oldestSentAt: Date | null }> => {
  const [row] = await sql<{ inFlight: string; delayed: string; oldest: Date | null }>`
    select count(*) filter (where receive_count > 0) as "inFlight", count(*) filter (where receive_count = 0) as delayed,
           (select sent_at from mayfly.message first where first.queue_id = ${queueId} order by id limit 1) as oldest
      from mayfly.message where queue_id = ${queueId} and visible_at > clock_timestamp()`
  return { inFlight: Number(row?.inFlight ?? 0), delayed: Number(row?.delayed ?? 0), oldestSentAt: row?.oldest ?? null }
}

export interface Peeked {
  readonly id: string
  readonly sentAt: Date
  readonly visibleAt: Date
  readonly receiveCount: number
  readonly bytes: number
  readonly body: Buffer
  readonly bodyIsWhole: boolean
}

/** The first that would be received, untouched, each with the beginning of its body. */
export const selectMessages = (sql: Query, queueId: string, limit: number, bodyBytes: number) => sql<Peeked>`
  select id, sent_at as "sentAt", visible_at as "visibleAt", receive_count as "receiveCount", bytes, substring(body for ${bodyBytes}) as body,
         octet_length(body) <= ${bodyBytes} as "bodyIsWhole"
    from (select * from mayfly.message where queue_id = ${queueId} order by visible_at, id limit ${limit}) as first
    join mayfly.message_body on message_id = first.id order by visible_at, id`

/** Removes messages of a queue that were sent before, or all that were sent by now. @returns how many and their bytes */
export const deleteSent = async (sql: Query, queueId: string, before: Date, limit: number): Promise<{ messages: number; bytes: number }> => {
  const [row] = await sql<{ messages: number; bytes: string }>`
    with gone as (
      delete from mayfly.message where queue_id = ${queueId} and id in (
        select id from mayfly.message where queue_id = ${queueId} and sent_at <= ${before} order by id limit ${limit} for update skip locked)
      returning id, bytes),
    bodies as (delete from mayfly.message_body using gone where message_id = gone.id)
    select count(*)::int as messages, coalesce(sum(bytes), 0) as bytes from gone`
  return { messages: row?.messages ?? 0, bytes: Number(row?.bytes ?? 0) }
}

export const selectNow = async (sql: Query): Promise<Date> => (await sql<{ now: Date }>`select clock_timestamp() as now`)[0]?.now as Date

/** What each queue holds, those that are gone too. */
export const selectStored = (sql: Query) => sql<{ queueId: string; messages: string; bytes: string }>`
  select queue_id as "queueId", count(*) as messages, sum(bytes) as bytes from mayfly.message group by queue_id`

export interface Move {
  readonly id: string
  readonly sourceId: string
  readonly targetId: string | null
  readonly perSecond: number | null
  readonly state: 'RUNNING' | 'COMPLETED' | 'CANCELLED' | 'FAILED'
  readonly failure: string | null
  readonly moved: number
  readonly total: number
  readonly startedAt: Date
}

/** Nothing where one of this queue is under way. */
export const insertMove = (sql: Query, id: string, projectId: string, sourceId: string, targetId: string | null, perSecond: number | null) => sql<{
  id: string
}>`
  insert into mayfly.message_move (id, project_id, source_id, target_id, per_second, total)
  values (${id}, ${projectId}, ${sourceId}, ${targetId}, ${perSecond}, (select count(*) from mayfly.message where queue_id = ${sourceId}))
  on conflict do nothing returning id`

/** One of them by its id, those of a queue, or all that run; the newest first. */
export const selectMoves = async (sql: Query, by: { readonly id?: string; readonly sourceId?: string }, limit: number): Promise<Move[]> => {
  const rows = await sql<Omit<Move, 'moved' | 'total'> & { moved: string; total: string }>`
    select id, source_id as "sourceId", target_id as "targetId", per_second as "perSecond", state, failure, moved, total, started_at as "startedAt"
      from mayfly.message_move
     where case when ${by.id ?? null}::uuid is not null then id = ${by.id ?? null} when ${by.sourceId ?? null}::uuid is not null then source_id = ${by.sourceId ?? null} else state = 'RUNNING' end
     order by started_at desc, id desc limit ${limit}`
  return rows.map((row) => ({ ...row, moved: Number(row.moved), total: Number(row.total) }))
}

export const endMove = (sql: Query, id: string, state: 'COMPLETED' | 'CANCELLED' | 'FAILED', failure: string | null) => sql<{ id: string }>`
  update mayfly.message_move set state = ${state}, failure = ${failure} where id = ${id} and state = 'RUNNING' returning id`

/** Moves what can be seen and was there when the move began, and counts it; those whose way back is gone stay. */
export const moveMessages = (sql: Query, move: Move, limit: number) => sql<{ queueId: string; bytes: number }>`
  with due as materialized (
    select message.id, queue.id as to_id from mayfly.message join mayfly.message_queue queue on queue.id = coalesce(${move.targetId}::uuid, message.source_id)
     where message.queue_id = ${move.sourceId} and visible_at <= clock_timestamp()
        -- by what stands there: a date of ours has no microseconds, and would leave what was sent in the same millisecond
       and sent_at <= (select started_at from mayfly.message_move where id = ${move.id} and state = 'RUNNING')
     order by visible_at, message.id limit ${limit} for update of message skip locked),
  moved as (
    update mayfly.message set queue_id = due.to_id, source_id = null, visible_at = clock_timestamp(), sent_at = clock_timestamp(), receive_count = 0, first_received_at = null
      from due where message.queue_id = ${move.sourceId} and message.id = due.id returning message.queue_id, message.bytes),
  counted as (update mayfly.message_move set moved = moved + (select count(*) from moved) where id = ${move.id})
  select queue_id as "queueId", bytes from moved`
