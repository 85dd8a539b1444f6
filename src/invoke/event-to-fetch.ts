import { LIMITS } from '../core/limits.ts'
import type { CallResult } from '../sandbox/index.ts'
import type { Content } from './service.ts'

/** What a caller by event gets: the returned bytes, or Lambda's error JSON and its type. */
export interface EventReply {
  readonly payload: Uint8Array
  readonly errorType: string | null
}

/** An event for a `fetch` handler: a POST of its JSON to `/`. */
export const fetchCallOfEvent = (payload: Uint8Array): Content => ({
  kind: 'http',
  method: 'POST',
  url: 'http://localhost/',
  headers: [
    ['content-type', 'application/json'],
    ['content-length', String(payload.byteLength)],
  ],
  body: once(payload),
})

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

const TEXT = /^(text\/|application\/(json|javascript|xml)\b|[^;]*\+(json|xml)\b)/i

/** A Response as the answer of a function URL in JSON: `{statusCode, headers, body, isBase64Encoded}`. @throws what broke it off */
export async function urlReplyOfFetch(result: Extract<CallResult, { kind: 'http' }>): Promise<EventReply> {
  const headers: Record<string, string> = Object.create(null)
  for (const [name, value] of result.headers) headers[name] = headers[name] === undefined ? value : `${headers[name]},${value}`
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of result.body) {
    size += chunk.byteLength
    if (size > LIMITS.invocationReply.value) return { errorType: tooLarge.errorType, payload: Buffer.from(JSON.stringify(tooLarge)) }
    chunks.push(chunk)
  }
  const body = Buffer.concat(chunks)
  const isText = TEXT.test(headers['content-type'] ?? '')
  const text = isText ? body.toString('utf8') : body.toString('base64')
  return { errorType: null, payload: Buffer.from(JSON.stringify({ statusCode: result.status, headers, body: text, isBase64Encoded: !isText })) }
}

const tooLarge = {
  errorMessage: `Response payload size exceeded maximum allowed payload size (${LIMITS.invocationReply.value} bytes).`,
  errorType: 'Function.ResponseSizeTooLarge',
}
