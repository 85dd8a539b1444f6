import { z } from 'zod'
import { MayflyError } from '../core/errors.ts'
import { jsonOf } from '../core/json-body.ts'
import { json } from '../core/json-reply.ts'
import { LIMITS } from '../core/limits.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import { queueNameSchema, queueSpecSchema } from '../core/queue-spec.ts'
import type { RequestContext, Route } from '../core/route.ts'
import { checkBody } from './dialects/sqs/contents.ts'
import { asSqsError } from './dialects/sqs/errors.ts'
import type { Message, QueueInfo, Queues } from './service.ts'
import { DEFAULTS, RANGES } from './settings.ts'
import type { Depth, Move, Peeked } from './store.ts'

export { sqsRoutes } from './dialects/sqs/http.ts'

/** As many as SQS takes and gives at once. */
const BATCH = 10
const SHOWN = 100
const SENDER = 'management'

const message = z.strictObject({ body: z.string(), delaySeconds: z.int().min(0).max(RANGES.delaySeconds[1]).optional() })
const sendSchema = z.union([message, z.strictObject({ messages: z.array(message).min(1).max(BATCH) })], {
  error: `must be {"body":"…"} with \`delaySeconds\` if you like, or up to ${BATCH} of them as {"messages":[…]}`,
})
const receiveSchema = z.strictObject({
  most: z.int().min(1).max(BATCH).default(1),
  visibilitySeconds: z.int().min(0).max(RANGES.visibilitySeconds[1]).optional(),
  waitSeconds: z.int().min(0).max(RANGES.waitSeconds[1]).default(0),
})
const doneSchema = z.strictObject({ receipts: z.array(z.string().max(1_000)).max(SHOWN) })
const redriveSchema = z.strictObject({ to: queueNameSchema.optional(), perSecond: z.int().min(1).max(500).optional() })

/** Queues for their owner: by the command, the console and curl. What sends and receives all day long speaks SQS. */
export function messageQueueRoutes({ queues, draining }: { readonly queues: Queues; readonly draining: AbortSignal }): Route[] {
  const queueOf = (context: RequestContext) => queues.get(refOf(context), context.params.queue ?? '')
  const at = (method: string, rest: string, doc: string, handle: Route['handle'], adds?: 'data'): Route => ({
    method,
    path: `/api/v1/projects/:ref/queues${rest}`,
    access: 'manage',
    plane: 'management',
    ...(adds ? { adds } : {}),
    doc,
    handle,
  })
  return [
    at('GET', '', 'Lists the queues of a project, each with its settings and how much is in it.', async (context) => {
      const all = queues.list(refOf(context))
      const depths = await Promise.all(all.map((one) => queues.depth(one)))
      return json(200, { queues: all.map((one, n) => shown(queues, one, depths[n] as Depth)) })
    }),
    at(
      'PUT',
      '/:queue',
      'Makes a queue, or makes the settings of the one there is those of the body: `visibilitySeconds`, `delaySeconds`, `retentionSeconds`, `waitSeconds`, `maxMessageBytes`, `deadLetter` with `queue` and `maxReceives`. What is left out has its default; the same again changes nothing.',
      async (context) => {
        const ref = refOf(context)
        const name = context.params.queue ?? ''
        const spec = parsed(queueSpecSchema, await context.body(LIMITS.managementBody.value))
        const { changed, queue } = await queues.ensure(ref, name, spec)
        return json(200, { changed, queue: shown(queues, queue, await queues.depth(queue)) })
      },
      'data',
    ),
    at('GET', '/:queue', 'Shows a queue: its settings, how much is in it, the queues that give up messages to it, and its last moves.', async (context) => {
      const queue = queueOf(context)
      const moves = await queues.moves.of(queue)
      return json(200, { queue: shown(queues, queue, await queues.depth(queue)), moves: moves.map((move) => shownMove(queues, move)) })
    }),
    at('DELETE', '/:queue', 'Removes a queue that is empty; with `messages=drop` one that is not, with its messages.', async (context) => {
      await queues.remove(queueOf(context), { evenFull: context.query.get('messages') === 'drop' })
      return { status: 204, headers: {} }
    }),
    at(
      'POST',
      '/:queue/messages',
      `Sends a message, \`{"body":"hello","delaySeconds":5}\`, or up to ${BATCH} as \`{"messages":[…]}\`. 202 once they are on disk.`,
      async (context) => {
        const queue = queueOf(context)
        const given = parsed(sendSchema, await context.body(LIMITS.queueRequest.value))
        const most = queue.settings.maxMessageBytes ?? DEFAULTS.maxMessageBytes
        const messages = ('messages' in given ? given.messages : [given]).map(({ body, delaySeconds }) => {
          const bytes = Buffer.byteLength(body)
          if (bytes > most) throw new MayflyError('payload_too_large', `the message has ${bytes} bytes; the queue ${queue.name} takes ${most}`)
          checkFit(body)
          return { body, delaySeconds, bytes, sender: SENDER }
        })
        return json(202, { ids: await queues.send(queue, messages) })
      },
      'data',
    ),
    at(
      'GET',
      '/:queue/messages',
      'Looks at the first messages of a queue (`limit`), with the beginning of their bodies (`bodyIsWhole`); they stay as they are.',
      async (context) => {
        const text = context.query.get('limit') ?? '10'
        if (!/^\d{1,3}$/.test(text) || Number(text) < 1 || Number(text) > SHOWN) throw new MayflyError('bad_request', `limit: must be 1 to ${SHOWN}`)
        return json(200, { messages: (await queues.peek(queueOf(context), Number(text))).map(shownPeeked) })
      },
    ),
    at(
      'POST',
      '/:queue/receive',
      'Receives messages (`most`, `waitSeconds`, `visibilitySeconds`): they are hidden from others until then, and come again if they are not done.',
      async (context) => {
        const queue = queueOf(context)
        const { most, visibilitySeconds, waitSeconds } = parsed(receiveSchema, await context.body(LIMITS.managementBody.value))
        const signal = AbortSignal.any([context.signal, draining])
        return json(200, { messages: (await queues.receive(queue, { most, visibilitySeconds, waitMs: waitSeconds * 1000 }, signal)).map(shownMessage) })
      },
    ),
    at('POST', '/:queue/done', 'Deletes messages that were received, by their `receipts`.', async (context) => {
      const queue = queueOf(context)
      const { receipts } = parsed(doneSchema, await context.body(LIMITS.managementBody.value))
      await Promise.all(receipts.map((receipt) => queues.done(queue, receipt)))
      return json(200, { done: receipts.length })
    }),
    at('POST', '/:queue/purge', 'Deletes all messages that were sent to the queue by now.', async (context) => {
      const queue = queueOf(context)
      await queues.purge(queue)
      return json(200, { purged: queue.name })
    }),
    at(
      'POST',
      '/:queue/redrive',
      'Brings the messages of a dead-letter queue back to where they came from, or `to` another queue, at most `perSecond`; it goes on after the answer.',
      async (context) => {
        const queue = queueOf(context)
        const body = await context.body(LIMITS.managementBody.value)
        const { to, perSecond } = parsed(redriveSchema, body.length === 0 ? Buffer.from('{}') : body)
        if (to === queue.name) throw new MayflyError('bad_request', 'to: must be another queue')
        if (to === undefined && queues.sourcesOf(queue).length === 0)
          throw new MayflyError('bad_request', `no queue gives up messages to ${queue.name}: say \`to\` which queue they go`)
        await queues.moves.begin(queue, to === undefined ? null : queues.get(refOf(context), to), perSecond ?? null)
        return json(202, { move: shownMove(queues, (await queues.moves.of(queue))[0] as Move) })
      },
    ),
    at('DELETE', '/:queue/redrive', 'Ends the move of messages that runs; what was moved stays where it is.', async (context) => {
      const [move] = await queues.moves.of(queueOf(context))
      const ended = move?.state === 'RUNNING' ? await queues.moves.cancel(move.id) : null
      if (!ended) throw new MayflyError('move_not_found', 'no messages of this queue are being moved')
      return json(200, { move: shownMove(queues, ended) })
    }),
  ]
}

const refOf = (context: RequestContext): ProjectRef => (context.project as Project).ref

/** @throws MayflyError body_not_json, bad_request that names each wrong field */
function parsed<T extends z.ZodType>(schema: T, body: Buffer): z.infer<T> {
  const given = jsonOf(body)
  const result = schema.safeParse(given)
  if (result.success) return result.data
  const told = result.error.issues.slice(0, 10).map((issue) => `${issue.path.length > 0 ? `${issue.path.map(String).join('.')}: ` : ''}${issue.message}`)
  throw new MayflyError('bad_request', told.join('; '))
}

function checkFit(body: string): void {
  try {
    checkBody(body)
  } catch (error) {
    throw new MayflyError('bad_request', asSqsError(error).message)
  }
}

const shown = (queues: Queues, queue: QueueInfo, depth: Depth) => ({
  name: queue.name,
  settings: { ...DEFAULTS, ...queue.settings },
  visible: depth.visible,
  inFlight: depth.inFlight,
  delayed: depth.delayed,
  bytes: depth.bytes,
  oldestSentAt: depth.oldestSentAt?.toISOString() ?? null,
  deadLettersOf: queues.sourcesOf(queue).map(({ name }) => name),
  createdAt: queue.createdAt.toISOString(),
  modifiedAt: queue.modifiedAt.toISOString(),
})

const shownPeeked = ({ id, sentAt, visibleAt, receiveCount, bytes, body, bodyIsWhole }: Peeked) => ({
  id,
  sentAt: sentAt.toISOString(),
  visibleAt: visibleAt.toISOString(),
  receiveCount,
  bytes,
  body: body.toString('utf8'),
  bodyIsWhole,
})

const shownMessage = ({ id, receipt, body, receiveCount, sentAt, source }: Message) => ({
  ...{ id, receipt, body, receiveCount },
  sentAt: sentAt.toISOString(),
  ...(source === null ? {} : { givenUpBy: source }),
})

const shownMove = (queues: Queues, { targetId, perSecond, state, failure, moved, total, startedAt }: Move) => ({
  to: targetId === null ? null : (queues.byId(targetId)?.name ?? null),
  ...{ state: state.toLowerCase(), failure, moved, total, perSecond },
  startedAt: startedAt.toISOString(),
})
