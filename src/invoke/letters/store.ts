import type { Sql, Tx } from '../../backends/database/database.ts'
import type { Given, Webhook } from '../store.ts'

type Query = Sql | Tx

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
  /** Where it was to be told; null for a function. */
  readonly url: string | null
  /** The queue that was to be told; null for none. */
  readonly queue: string | null
}

/** Which letters are meant; null for any. */
export interface LetterFilter {
  readonly functionName: string | null
  readonly reason: string | null
  readonly errorType: string | null
  /** Given up at this time or after it. */
  readonly from: Date | null
  /** Given up at this time, to the millisecond in which it is told, or before it. */
  readonly to: Date | null
  /** Only those that stand behind this one in the list. */
  readonly after: string | null
}

/** The newest first. index: dead_letter_project, dead_letter_filter */
export const selectDeadLetters = (sql: Query, project: string, of: LetterFilter, limit: number) => sql<DeadLetter>`
  select id, function_name as "functionName", qualifier, enqueued_at as "enqueuedAt", dead_at as "deadAt", attempts, lost, reason, error_type as "errorType",
         error_message as "errorMessage", octet_length(payload) as "payloadBytes", webhook ->> 'url' as url, queue
    from mayfly.dead_letter
   where project = ${project} and (${of.functionName}::text is null or function_name = ${of.functionName})
     and (${of.reason}::text is null or reason = ${of.reason}) and (${of.errorType}::text is null or error_type = ${of.errorType})
     and (${of.from}::timestamptz is null or dead_at >= ${of.from}) and (${of.to}::timestamptz is null or dead_at < ${of.to}::timestamptz + interval '1 millisecond')
     and (${of.after}::uuid is null
          or dead_at <= (select dead_at from mayfly.dead_letter one where one.id = ${of.after})
             and (dead_at < (select dead_at from mayfly.dead_letter one where one.id = ${of.after}) or id > ${of.after}::uuid))
   order by dead_at desc, id limit ${limit}`

/** With the first bytes of its event. */
export const selectDeadLetter = (sql: Query, project: string, id: string, payloadBytes: number) => sql<DeadLetter & { readonly payload: Buffer }>`
  select id, function_name as "functionName", qualifier, enqueued_at as "enqueuedAt", dead_at as "deadAt", attempts, lost, reason, error_type as "errorType",
         error_message as "errorMessage", octet_length(payload) as "payloadBytes", webhook ->> 'url' as url, queue, substring(payload for ${payloadBytes}) as payload
    from mayfly.dead_letter where project = ${project} and id = ${id}`

export interface TakenLetter {
  readonly id: string
  readonly functionName: string
  readonly qualifier: string | null
  readonly payload: Buffer
  readonly webhook: Webhook | null
  readonly queue: string | null
  /** Of the message to that queue. */
  readonly attributes: string | null
}

/** Takes them away. @returns what they are made of, in the order in which they were queued; without those that are gone by now */
export const takeDeadLetters = async (sql: Query, project: string, ids: readonly string[]): Promise<TakenLetter[]> =>
  (
    await sql<TakenLetter & { readonly enqueuedAt: Date }>`
      delete from mayfly.dead_letter where project = ${project} and id = any(${[...ids]}::uuid[])
      returning id, function_name as "functionName", qualifier, payload, webhook, queue, attributes, enqueued_at as "enqueuedAt"`
  ).toSorted((a, b) => a.enqueuedAt.getTime() - b.enqueuedAt.getTime())

export const countDeadLetters = async (sql: Query): Promise<number> =>
  Number((await sql<{ n: string }>`select count(*) as n from mayfly.dead_letter`)[0]?.n ?? 0)

/** index: dead_letter_age */
export const deleteOldDeadLetters = (sql: Query, days: number) => sql`
  delete from mayfly.dead_letter where dead_at < clock_timestamp() - ${days} * interval '1 day'`
