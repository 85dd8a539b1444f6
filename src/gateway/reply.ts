import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { ERRORS, MayflyError } from '../core/errors.ts'
import type { Reply } from '../core/route.ts'
import { type Leaving, signalOf } from '../lib/leaving.ts'
import { KiB } from '../lib/bytes.ts'
import { HeldReplies } from './held-replies.ts'

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
/** A larger body is written beside its head: to copy it costs more than a second write. */
const ONE_PIECE = 16 * 1024
/** A larger one is written in pieces of this, so that it is seen whether its client takes it. */
const PIECE = 128 * KiB
/** Of all servers of this process. */
const heldReplies = new HeldReplies()

/**
 * Name, value, name, value: what the reply says itself stands in place of what all have.
 * @param withoutLength  its length is counted, whatever it says
 */
function linesOf(common: Readonly<Record<string, string>>, own: NonNullable<Reply['headers']>, withoutLength: boolean): (string | string[])[] {
  const lines: (string | string[])[] = []
  const named: string[] = []
  for (const name in own) {
    const value = own[name]
    if (value === undefined) continue
    const lower = name.toLowerCase()
    if (withoutLength && lower === 'content-length') continue
    if (lower in common) named.push(lower)
    lines.push(name, value as string | string[])
  }
  for (const name in common) if (!named.includes(name)) lines.push(name, common[name] as string)
  return lines
}

/**
 * Writes a reply with back-pressure. A body that breaks off after the head cuts the connection, so that
 * the client cannot take half of it for the whole.
 * @returns null where nothing is waited for: most replies are there as a whole
 */
export function writeReply(
  response: ServerResponse,
  reply: Reply,
  /** Names in small letters. */
  common: Readonly<Record<string, string>>,
  headOnly: boolean,
  signal: Leaving,
): Promise<void> | null {
  const body = reply.body ?? null
  const isEmpty = body === null || NO_BODY.has(reply.status)
  const isCounted = isEmpty ? !NO_BODY.has(reply.status) && !headOnly : typeof body === 'string' || body instanceof Uint8Array
  const lines = linesOf(common, reply.headers ?? {}, isCounted)
  if (isEmpty) {
    if (isCounted) lines.push('content-length', '0')
    response.writeHead(reply.status, lines).end()
    return null
  }
  if (typeof body === 'string' || body instanceof Uint8Array) {
    const bytes = typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength
    lines.push('content-length', String(bytes))
    response.writeHead(reply.status, lines)
    if (headOnly) response.end()
    // As text of one byte a character it leaves with the head, in one write.
    else if (bytes <= ONE_PIECE && typeof body !== 'string') response.end(Buffer.from(body.buffer, body.byteOffset, bytes).toString('latin1'), 'latin1')
    else if (bytes <= ONE_PIECE && bytes === body.length) response.end(body, 'latin1')
    else if (bytes > PIECE) return writeWhole(response, typeof body === 'string' ? Buffer.from(body) : body)
    // As text it would have the head written in UTF-8 too.
    else response.end(typeof body === 'string' ? Buffer.from(body) : body)
    return null
  }
  response.writeHead(reply.status, lines)
  return writeStream(response, body, headOnly, signal)
}

async function writeWhole(response: ServerResponse, body: Uint8Array): Promise<void> {
  using held = heldReplies.hold(response, body.byteLength)
  for (let at = 0; at < body.byteLength && !response.destroyed; at += PIECE) {
    if (!response.write(body.subarray(at, at + PIECE))) await takenOrGone(response)
    held.moved()
  }
  if (!response.destroyed) response.end()
}

const takenOrGone = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const go = () => {
      response.off('drain', go)
      response.off('close', go)
      resolve()
    }
    response.on('drain', go)
    response.on('close', go)
  })

async function writeStream(response: ServerResponse, body: AsyncIterable<Uint8Array>, headOnly: boolean, signal: Leaving): Promise<void> {
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
      if (!response.write(chunk)) await once(response, 'drain', { signal: signalOf(signal) })
    }
    response.end()
  } catch {
    response.destroy()
  }
}
