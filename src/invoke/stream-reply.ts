import { MayflyError } from '../core/errors.ts'
import type { Reply } from '../core/route.ts'
import type { CallResult } from '../sandbox/index.ts'
import { type SetHeader, setHeader } from './function-url.ts'

type Stream = Extract<CallResult, { kind: 'stream' }>

/** A stream of this type begins with `{statusCode, headers, cookies}` in JSON and eight zero bytes. */
const INTEGRATION_TYPE = 'application/vnd.awslambda.http-integration-response'
const PRELUDE_END = Buffer.alloc(8)
/** As much as all headers of a reply may have, and more than any client takes. */
const PRELUDE_BYTES = 64 * 1024
const WITHOUT_BODY = new Set([204, 205, 304])

/**
 * What a handler streams, as an HTTP reply that goes out as it comes.
 * @param set  which headers it may set
 * @throws MayflyError function_reply_invalid for a prelude that is none, or breaks off
 */
export async function replyOfStream({ contentType, body }: Stream, set: SetHeader = setHeader): Promise<Reply> {
  const chunks = body[Symbol.asyncIterator]()
  if (mediaType(contentType) !== INTEGRATION_TYPE) return { status: 200, headers: typed(contentType, set), body: joined(null, chunks) }
  let head = Buffer.alloc(0)
  let end = -1
  try {
    while (end === -1) {
      if (head.length > PRELUDE_BYTES) throw invalid(`its prelude has more than ${PRELUDE_BYTES} bytes`)
      const { done, value } = await chunks.next()
      if (done) throw invalid('its prelude does not end')
      head = Buffer.concat([head, value])
      end = head.indexOf(PRELUDE_END)
    }
    const { status, headers } = replyHead(head.subarray(0, end), set)
    const rest = head.subarray(end + PRELUDE_END.length)
    if (!WITHOUT_BODY.has(status)) return { status, headers, body: joined(rest, chunks) }
    void drained(chunks)
    return { status, headers, body: null }
  } catch (error) {
    await chunks.return?.()
    throw error instanceof MayflyError ? error : invalid('it broke off in its prelude')
  }
}

/** The head of an HTTP answer as a handler would stream it. */
export function integrationPrelude(status: number, lines: readonly (readonly [string, string])[]): Buffer {
  const headers: Record<string, string> = Object.create(null)
  const cookies: string[] = []
  for (const [name, value] of lines) {
    if (name.toLowerCase() === 'set-cookie') cookies.push(value)
    else headers[name] = headers[name] === undefined ? value : `${headers[name]},${value}`
  }
  return Buffer.concat([Buffer.from(JSON.stringify({ statusCode: status, headers, ...(cookies.length > 0 ? { cookies } : {}) })), PRELUDE_END])
}

const invalid = (why: string) => new MayflyError('function_reply_invalid', `the function streams no reply: ${why}`)
const mediaType = (contentType: string) => contentType.split(';', 1)[0]?.trim().toLowerCase()

function typed(contentType: string, set: SetHeader): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = { 'content-type': 'application/octet-stream' }
  set(headers, 'content-type', contentType)
  return headers
}

function replyHead(prelude: Buffer, set: SetHeader): { status: number; headers: Record<string, string | string[]> } {
  let value: unknown
  try {
    value = JSON.parse(prelude.toString('utf8'))
  } catch {
    throw invalid('its prelude is no JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('its prelude is no object')
  const told = value as { statusCode?: unknown; headers?: unknown; cookies?: unknown }
  const status = told.statusCode === undefined ? 200 : Number(told.statusCode)
  if (!Number.isInteger(status) || status < 200 || status > 599) throw invalid('its statusCode is not 200 to 599')
  const headers = typed('application/octet-stream', set)
  if (typeof told.headers === 'object' && told.headers !== null) {
    for (const [name, item] of Object.entries(told.headers)) for (const one of [item].flat()) set(headers, name, String(one))
  }
  if (Array.isArray(told.cookies)) for (const cookie of told.cookies) set(headers, 'set-cookie', String(cookie))
  return { status, headers }
}

async function* joined(first: Uint8Array | null, chunks: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    if (first !== null && first.byteLength > 0) yield first
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value
  } finally {
    await chunks.return?.()
  }
}

/** Read and let go, so that its function comes to its end. */
async function drained(chunks: AsyncIterator<Uint8Array>): Promise<void> {
  try {
    while (!(await chunks.next()).done);
  } catch {
    // The log has what broke it off, and the reply has no body to be cut.
  }
}
