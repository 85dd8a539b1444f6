import { z } from 'zod'
import { ERRORS, MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Project } from '../core/project.ts'
import type { Reply, RequestContext, Route, Upgrade } from '../core/route.ts'
import type { Encoding } from './frames.ts'
import type { Realtime } from './service.ts'

const messages = z.object({
  messages: z.array(
    z.object({
      topic: z.string().min(1),
      event: z.string(),
      payload: z.unknown().default({}),
      private: z.union([z.boolean(), z.literal(['true', 'false'])]).default(false),
    }),
  ),
})

/** Clients of this dialect read `error` of a refused send, and `message` of a refused key. */
function fail(error: unknown, { id }: { id: string }): Reply {
  const known = error instanceof MayflyError ? error : new MayflyError('internal', 'Error connecting to Realtime')
  const { status, hint, retry } = ERRORS[known.code]
  return {
    status,
    headers: { 'content-type': 'application/json', ...(retry === 'after' ? { 'retry-after': '1' } : {}) },
    body: JSON.stringify({ error: known.message, code: known.code, message: known.message, hint, requestId: id }),
  }
}

const ACCEPTED: Reply = { status: 202 }
const refName = (context: RequestContext) => (context.project as Project).ref

async function sendBatch(realtime: Realtime, context: RequestContext): Promise<Reply> {
  const body = await context.body(LIMITS.realtimeFrame.value)
  let given: unknown
  try {
    given = JSON.parse(body.toString())
  } catch {
    throw new MayflyError('body_not_json', 'the body is not JSON')
  }
  const parsed = messages.safeParse(given)
  if (!parsed.success) {
    const errors: Record<string, string[]> = {}
    for (const { path, message } of parsed.error.issues) {
      const at = path.join('.') || 'messages'
      errors[at] = [...(errors[at] ?? []), message]
    }
    return { status: 422, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ errors }) }
  }
  const all = parsed.data.messages.map((message) => ({ ...message, bytes: bytesOf(message.payload ?? {}) }))
  // All or none: who is told of a fault may send them all again.
  if (all.some(({ bytes }) => bytes.length > LIMITS.realtimePayload.value)) throw new MayflyError('payload_too_large', payloadTooLarge())
  const isHidden = ({ private: hidden }: { readonly private: boolean | 'true' | 'false' }) => hidden === true || hidden === 'true'
  const writable = await realtime.writableOf(refName(context), context.principal, new Set(all.filter(isHidden).map(({ topic }) => topic)))
  const sent = all.flatMap((one) => {
    const { topic, event, bytes } = one
    const isPrivate = isHidden(one)
    // What one may not send is dropped without a word, as clients of this route know it.
    if (isPrivate && !writable.has(topic)) return []
    return [{ isPrivate, broadcast: { topic: `realtime:${topic}`, event, meta: null, encoding: 'json' as const, payload: bytes } }]
  })
  realtime.publish(refName(context), sent)
  return ACCEPTED
}

/** @throws MayflyError body_not_json for what is read but is nested too deep to be written again */
function bytesOf(payload: unknown): Buffer {
  try {
    return Buffer.from(JSON.stringify(payload))
  } catch (error) {
    throw new MayflyError('body_not_json', 'a payload is nested too deep', { cause: error })
  }
}

async function sendOne(realtime: Realtime, context: RequestContext): Promise<Reply> {
  const { topic = '', event = '' } = context.params
  const isPrivate = context.query.get('private') === 'true'
  // Asked for a channel that is open, too: who has no key is turned away there.
  const writable = await realtime.writableOf(refName(context), context.principal, new Set(isPrivate ? [topic] : []))
  if (isPrivate && !writable.has(topic))
    throw new MayflyError('not_allowed', `You do not have permissions to write to this Channel topic: ${topic.slice(0, 255)}`)
  const payload = await context.body(LIMITS.realtimePayload.value)
  const encoding: Encoding = /^application\/octet-stream\b/i.test(context.headers['content-type'] ?? '') ? 'binary' : 'json'
  if (encoding === 'json') {
    try {
      JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
    } catch {
      throw new MayflyError('body_not_json', 'the body is not JSON')
    }
  }
  realtime.publish(refName(context), [{ isPrivate, broadcast: { topic: `realtime:${topic}`, event, meta: null, encoding, payload } }])
  return ACCEPTED
}

const payloadTooLarge = () => `the payload may have ${LIMITS.realtimePayload.value} bytes`

export const routes = (realtime: Realtime): Route[] => [
  {
    method: 'POST',
    path: '/realtime/v1/api/broadcast',
    access: 'project',
    plane: 'data-plane',
    doc: 'Sends broadcasts (`messages`) to the members of channels, all of them or none; 202 when they are handed over.',
    fail,
    handle: (context) => sendBatch(realtime, context),
  },
  {
    method: 'POST',
    path: '/realtime/v1/api/broadcast/:topic/events/:event',
    access: 'project',
    plane: 'data-plane',
    doc: 'Sends one broadcast, whose payload is the body: JSON, or bytes as `application/octet-stream`.',
    fail,
    handle: (context) => sendOne(realtime, context),
  },
]

export const upgrades = (realtime: Realtime): Upgrade[] => [
  {
    path: '/realtime/v1/websocket',
    access: 'project',
    doc: 'Phoenix channels, `vsn` 1.0.0 or 2.0.0: broadcast, presence, row changes. The key stands in the query (`apikey`) or a header.',
    frameBytes: LIMITS.realtimeFrame.value,
    fail,
    admit: (context) => realtime.admit(context),
    accept: (context, socket) => realtime.accept(context, socket),
  },
]
