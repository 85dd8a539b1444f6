import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { ERRORS, MayflyError } from '../core/errors.ts'
import type { Reply } from '../core/route.ts'

/** The catalogue's shape of an error: what a client of ours gets for every failure of the platform. */
export function errorReply(error: unknown, requestId: string): Reply {
  const known = error instanceof MayflyError ? error : new MayflyError('internal', 'the request failed by a fault of this node')
  const entry = ERRORS[known.code]
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (entry.retry === 'after') headers['retry-after'] = '1'
  return {
    status: entry.status,
    headers,
    body: JSON.stringify({ code: known.code, message: known.message, hint: entry.hint, requestId }),
  }
}

const NO_BODY = new Set([204, 205, 304])

/**
 * Writes a reply with back-pressure. A body that breaks off after the head cuts the connection, so that
 * the client cannot take half of it for the whole.
 */
export async function writeReply(
  response: ServerResponse,
  reply: Reply,
  common: Readonly<Record<string, string>>,
  headOnly: boolean,
  signal: AbortSignal,
): Promise<void> {
  for (const name in common) response.setHeader(name, common[name] as string)
  for (const name in reply.headers ?? {}) {
    const value = reply.headers?.[name]
    if (value !== undefined) response.setHeader(name, value as string | string[])
  }
  response.statusCode = reply.status
  const body = reply.body ?? null
  if (body === null || NO_BODY.has(reply.status)) {
    if (!NO_BODY.has(reply.status) && !headOnly) response.setHeader('content-length', '0')
    response.end()
    return
  }
  if (typeof body === 'string' || body instanceof Uint8Array) {
    response.setHeader('content-length', typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength)
    response.end(headOnly ? undefined : body)
    return
  }
  if (headOnly) {
    response.end()
    // Begun and given up, so that whoever makes the body learns that nobody wants it.
    for await (const _ of body) break
    return
  }
  try {
    response.flushHeaders()
    for await (const chunk of body) {
      if (signal.aborted || response.destroyed) break
      if (!response.write(chunk)) await once(response, 'drain', { signal })
    }
    response.end()
  } catch {
    response.destroy()
  }
}
