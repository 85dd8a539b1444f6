import { LIMITS } from '../core/limits.ts'
import type { CallResult } from '../sandbox/index.ts'
import type { Content } from './service.ts'

/** What a caller by event gets: the returned bytes, or Lambda's error JSON and its type. */
export interface EventReply {
  readonly payload: Uint8Array
  readonly errorType: string | null
}

/** An event for a `fetch` handler: the request that it tells of, or else a POST of its JSON to `/`. */
export const fetchCallOfEvent = (payload: Uint8Array): Content =>
  requestOf(payload) ?? {
    kind: 'http',
    method: 'POST',
    url: 'http://localhost/',
    headers: [
      ['content-type', 'application/json'],
      ['content-length', String(payload.byteLength)],
    ],
    body: once(payload),
  }

const METHOD = /^[A-Z]{1,20}$/
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
const isTexts = (value: unknown): value is Record<string, string> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every((one) => typeof one === 'string')

/** What an event of a function URL (payload format 2.0) tells of; null for every other event. */
function requestOf(payload: Uint8Array): Content | null {
  if (!Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).includes('"requestContext"')) return null
  const event = JSON.parse(Buffer.from(payload).toString('utf8')) as Record<string, unknown> | null
  const http = (event?.requestContext as { http?: { method?: unknown } } | undefined)?.http
  const { version, rawPath, rawQueryString: query = '', headers = {}, cookies = [], body, isBase64Encoded } = event ?? {}
  if (version !== '2.0' || typeof http?.method !== 'string' || !METHOD.test(http.method)) return null
  if (typeof rawPath !== 'string' || !rawPath.startsWith('/') || typeof query !== 'string' || !isTexts(headers) || !Array.isArray(cookies)) return null
  const url = new URL('http://localhost/')
  url.pathname = rawPath
  url.search = query
  const lines = [...Object.entries(headers), ...(cookies.length > 0 ? [['cookie', cookies.join('; ')] as [string, string]] : [])]
  const bytes = typeof body === 'string' ? Buffer.from(body, isBase64Encoded === true ? 'base64' : 'utf8') : null
  return {
    kind: 'http',
    method: http.method,
    url: url.href,
    headers: lines.filter(([name, value]) => NAME.test(name) && VALUE.test(value) && name.toLowerCase() !== 'transfer-encoding'),
    body: bytes === null || http.method === 'GET' || http.method === 'HEAD' ? null : once(bytes),
  }
}

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
