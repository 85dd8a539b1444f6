import { MayflyError } from '../core/errors.ts'
import { json } from '../core/json-reply.ts'
import { LIMITS } from '../core/limits.ts'
import { timeOf } from '../core/query-time.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Reply, RequestContext, Route } from '../core/route.ts'
import { type Functions, isFunctionName } from '../functions/index.ts'
import type { Clock } from '../lib/clock.ts'
import { eventPayload } from './event.ts'
import type { DeadLetter, LetterFilter } from './letters/store.ts'
import { type Execution, shownLife } from './lives/shown.ts'
import type { ShownEntry } from './lives/store.ts'
import type { Queue } from './queue.ts'

export interface QueueHttpDeps {
  readonly queue: Queue
  readonly functions: Functions
  /** What was metered of an invocation, by its attempts. */
  readonly executionsOf: (project: ProjectRef, id: string) => Promise<readonly Execution[]>
  readonly clock: Clock
  /** Fires when the node begins to stop: who follows is let go. */
  readonly draining: AbortSignal
}

/** What waits, how it ended, and what was given up. */
export function queueRoutes(deps: QueueHttpDeps): Route[] {
  const { queue } = deps
  const functionOf = (ref: ProjectRef) => async (name: string) => (await deps.functions.resolve(ref, name)).functionId
  const functionIdOf = (context: RequestContext) => functionOf(refOf(context))(context.params.name ?? '')
  return [
    {
      method: 'GET',
      path: '/api/v1/projects/:ref/dead-letters',
      access: 'manage',
      plane: 'management',
      doc: 'Invocations that were given up, the newest first (`function`, `reason`, `error`, `from` and `to` when, `after` the id of one, `limit`), with the reason. With `export=1` all of them with their events, a JSON object a line.',
      handle: async (context) => {
        const filter = filterOf(context)
        if (context.query.get('export') === '1') return ndjson(exported(queue.letters.whole(refOf(context), filter)))
        const letters = await queue.letters.list(refOf(context), filter, limitOf(context, LIMITS.deadLetterPage.value))
        return json(200, { deadLetters: letters.map(shownLetter) })
      },
    },
    {
      method: 'GET',
      path: '/api/v1/projects/:ref/dead-letters/:id',
      access: 'manage',
      plane: 'management',
      doc: 'Shows a dead letter with its event: as `text` or, where it is none, `base64`; of a long one the beginning, with `whole=1` all of it.',
      handle: async (context) => json(200, shownWithPayload(await queue.letters.one(refOf(context), letterIdOf(context), context.query.get('whole') === '1'))),
    },
    {
      method: 'POST',
      path: '/api/v1/projects/:ref/dead-letters/:id/replay',
      access: 'manage',
      plane: 'management',
      adds: 'records',
      doc: 'Queues a dead letter again, as an invocation of its own; the letter is gone then. A JSON body is its event from then on. 202 once that is on disk.',
      handle: async (context) => {
        const ref = refOf(context)
        const body = await context.body(LIMITS.invocationBody.value)
        const payload = body.length === 0 ? null : eventPayload(body)
        return json(202, { invocation: await queue.letters.replay(ref, letterIdOf(context), functionOf(ref), payload) })
      },
    },
    {
      method: 'POST',
      path: '/api/v1/projects/:ref/dead-letters/replay',
      access: 'manage',
      plane: 'management',
      adds: 'records',
      doc: 'Queues all dead letters again that are meant (`function`, `reason`, `error`, `from`, `to`, `limit`), in the order in which they came once. Those whose function is gone stay. 202 once that is on disk.',
      handle: async (context) => {
        const ref = refOf(context)
        return json(202, await queue.letters.replayMany(ref, filterOf(context), limitOf(context, LIMITS.deadLetterPage.value), functionOf(ref)))
      },
    },
    {
      method: 'DELETE',
      path: '/api/v1/projects/:ref/dead-letters/:id',
      access: 'manage',
      plane: 'management',
      doc: 'Removes a dead letter.',
      handle: async (context) => {
        await queue.letters.remove(refOf(context), letterIdOf(context))
        return { status: 204 }
      },
    },
    {
      method: 'DELETE',
      path: '/api/v1/projects/:ref/dead-letters',
      access: 'manage',
      plane: 'management',
      doc: 'Removes all dead letters that are meant (`function`, `reason`, `error`, `from`, `to`, `limit`).',
      handle: async (context) =>
        json(200, { removed: await queue.letters.removeMany(refOf(context), filterOf(context), limitOf(context, LIMITS.deadLetterPage.value)) }),
    },
    {
      method: 'GET',
      path: '/api/v1/projects/:ref/queue',
      access: 'manage',
      plane: 'management',
      doc: 'How many invocations of a project wait and run, and the first of them (`function`, `state`, `limit`).',
      handle: async (context) => {
        const of = { functionName: functionNameOf(context), state: oneOf(context, 'state', STATES) }
        const { waiting, running, entries } = await queue.entriesOf(refOf(context), limitOf(context, LIMITS.queuePage.value), of)
        return json(200, { waiting, running, entries: entries.map(shownEntry) })
      },
    },
    {
      method: 'GET',
      path: '/api/v1/projects/:ref/queue/feed',
      access: 'manage',
      plane: 'management',
      doc: 'What happens in the queue as it happens (`function`): a JSON object a line for as long as the client stays.',
      handle: async (context) =>
        ndjson(queue.feed.follow(refOf(context), functionNameOf(context), deps.clock, AbortSignal.any([context.signal, deps.draining]))),
    },
    {
      method: 'GET',
      path: '/api/v1/projects/:ref/invocations/:id',
      access: 'manage',
      plane: 'management',
      doc: 'The life of an invocation: where it stands, each attempt with its error, when the next is, to whom its outcome was told, and what it answered where its function keeps that.',
      handle: async (context) => {
        const id = invocationIdOf(context)
        const [life, executions] = [await queue.lifeOf(refOf(context), id), await deps.executionsOf(refOf(context), id)]
        const shown = shownLife(id, life, executions)
        if (shown === null) throw new MayflyError('invocation_not_found', `nothing is known of an invocation ${id} in this project`)
        return json(200, { invocation: shown })
      },
    },
    {
      method: 'GET',
      path: '/api/v1/projects/:ref/functions/:name/queue',
      access: 'manage',
      plane: 'management',
      doc: 'Since when the queued calls of a function are paused; null when they are not.',
      handle: async (context) => {
        const id = await functionIdOf(context)
        return json(200, { pausedAt: (await queue.pausedOf([id])).get(id)?.toISOString() ?? null })
      },
    },
    {
      method: 'POST',
      path: '/api/v1/projects/:ref/functions/:name/pause',
      access: 'manage',
      plane: 'management',
      doc: 'Lets the queued calls of a function wait until it is resumed; what runs is left to end, and new ones are taken in as before.',
      handle: async (context) => json(200, { pausedAt: (await queue.pause(await functionIdOf(context))).toISOString() }),
    },
    {
      method: 'POST',
      path: '/api/v1/projects/:ref/functions/:name/resume',
      access: 'manage',
      plane: 'management',
      doc: 'Lets them go on; what waited counts as no older for its wait. `resumed` is false when the function was not paused.',
      handle: async (context) => json(200, { resumed: await queue.resume(await functionIdOf(context)) }),
    },
  ]
}

const STATES = ['running', 'waiting', 'retrying', 'held', 'paused'] as const
const REASONS = ['attempts', 'age', 'node', 'function_gone', 'recursion', 'destination'] as const
const MOST_ERROR = 256

const ndjson = (body: AsyncIterable<Uint8Array>): Reply => ({ status: 200, headers: { 'content-type': 'application/x-ndjson' }, body })

async function* exported(letters: AsyncIterable<DeadLetter & { readonly payload: Buffer }>): AsyncGenerator<Uint8Array> {
  for await (const letter of letters) yield Buffer.from(`${JSON.stringify(shownWithPayload(letter))}\n`)
}

const refOf = (context: RequestContext) => (context.project as Project).ref

function functionNameOf(context: RequestContext): string | null {
  const name = context.query.get('function')
  if (name !== null && !isFunctionName(name)) throw new MayflyError('bad_request', 'function: the name of a function')
  return name
}

function oneOf(context: RequestContext, name: string, known: readonly string[]): string | null {
  const given = context.query.get(name)
  if (given !== null && !known.includes(given)) throw new MayflyError('bad_request', `${name}: one of ${known.join(', ')}`)
  return given
}

function filterOf(context: RequestContext): LetterFilter {
  const errorType = context.query.get('error')
  if (errorType !== null && (errorType.length > MOST_ERROR || errorType.includes('\0'))) throw new MayflyError('bad_request', 'error: the type of an error')
  const after = context.query.get('after')
  if (after !== null && !UUID.test(after)) throw new MayflyError('bad_request', 'after: the id of a dead letter')
  return {
    functionName: functionNameOf(context),
    reason: oneOf(context, 'reason', REASONS),
    errorType,
    from: timeOf(context.query, 'from'),
    to: timeOf(context.query, 'to'),
    after,
  }
}

function limitOf(context: RequestContext, most: number): number {
  const text = context.query.get('limit') ?? '100'
  const limit = Number(text)
  if (!/^\d{1,6}$/.test(text) || limit < 1 || limit > most) throw new MayflyError('bad_request', `limit: a whole number from 1 to ${most}`)
  return limit
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

function letterIdOf(context: RequestContext): string {
  const id = context.params.id ?? ''
  if (!UUID.test(id)) throw new MayflyError('bad_request', 'a dead letter is named by the id of its invocation')
  return id
}

function invocationIdOf(context: RequestContext): string {
  const id = context.params.id ?? ''
  if (!UUID.test(id)) throw new MayflyError('bad_request', 'an invocation is named by its id')
  return id
}

const shownLetter = (letter: DeadLetter) => ({
  id: letter.id,
  function: letter.functionName,
  qualifier: letter.qualifier,
  reason: letter.reason,
  attempts: letter.attempts,
  lost: letter.lost,
  errorType: letter.errorType,
  errorMessage: letter.errorMessage,
  enqueuedAt: letter.enqueuedAt.toISOString(),
  deadAt: letter.deadAt.toISOString(),
  payloadBytes: letter.payloadBytes,
  ...(letter.url === null ? {} : { webhook: letter.url }),
  ...(letter.queue === null ? {} : { queue: letter.queue }),
})

function shownWithPayload(letter: DeadLetter & { readonly payload: Buffer }) {
  const isWhole = letter.payload.length === letter.payloadBytes
  const text = textOf(letter.payload, isWhole)
  return {
    ...shownLetter(letter),
    payloadIsWhole: isWhole,
    ...(text === null ? { encoding: 'base64', payload: letter.payload.toString('base64') } : { encoding: 'text', payload: text }),
  }
}

/** What may be cut off in the middle of a character is text up to there; null when it is no text. */
function textOf(bytes: Buffer, isWhole: boolean): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes, { stream: !isWhole })
  } catch {
    return null
  }
}

const shownEntry = (entry: ShownEntry) => ({
  id: entry.id,
  function: entry.functionName,
  state: entry.state,
  attempt: entry.attempt,
  spent: entry.spent,
  lost: entry.lost,
  enqueuedAt: entry.enqueuedAt.toISOString(),
  dueAt: entry.dueAt.toISOString(),
  ...(entry.orderKey === null ? {} : { orderKey: entry.orderKey }),
  ...(entry.url === null ? {} : { webhook: entry.url }),
  ...(entry.errorMessage === null ? {} : { errorMessage: entry.errorMessage }),
})
