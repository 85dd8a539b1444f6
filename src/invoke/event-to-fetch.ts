import { LIMITS } from '../core/limits.ts'
import type { CallResult } from '../sandbox/index.ts'
import type { Content } from './service.ts'

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

/** A Response as the answer of a function URL in JSON: `{statusCode, headers, body, isBase64Encoded}`. */
export async function urlReplyOfFetch(result: Extract<CallResult, { kind: 'http' }>): Promise<Uint8Array> {
  const headers: Record<string, string> = Object.create(null)
  for (const [name, value] of result.headers) headers[name] = headers[name] === undefined ? value : `${headers[name]},${value}`
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of result.body) {
    size += chunk.byteLength
    if (size > LIMITS.invocationReply.value) return Buffer.from(JSON.stringify(tooLarge))
    chunks.push(chunk)
  }
  const body = Buffer.concat(chunks)
  const isText = TEXT.test(headers['content-type'] ?? '')
  return Buffer.from(
    JSON.stringify({ statusCode: result.status, headers, body: isText ? body.toString('utf8') : body.toString('base64'), isBase64Encoded: !isText }),
  )
}

const tooLarge = {
  errorMessage: `Response payload size exceeded maximum allowed payload size (${LIMITS.invocationReply.value} bytes).`,
  errorType: 'Function.ResponseSizeTooLarge',
}
