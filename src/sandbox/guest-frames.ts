import type { Exit } from './exits.ts'
import { FLAG, type Frame, PROTOCOL_VERSION, ProtocolError, STREAM_WINDOW } from './frames.ts'
import type { HandlerKind } from './types.ts'

/*
 * What the frames of a guest say. User code may write any bytes to its descriptor, so each of these believes nothing:
 * it gives what the host has checked, or throws a ProtocolError that ends the channel.
 */

/** As on Lambda, where external extensions are there. */
const MAX_SHUTDOWN_MS = 2_000
const MAX_TYPE_LENGTH = 256

export function helloIn({ payload }: Frame): Record<string, unknown> {
  const hello = decodeJson(payload)
  if (!isRecord(hello) || hello.version !== PROTOCOL_VERSION) throw new ProtocolError('another version of the protocol')
  return hello
}

export function exitIn({ payload }: Frame): Exit {
  if (payload.length !== 4) throw new ProtocolError('an exit code has four bytes')
  return { code: payload.readUInt8(0), signal: payload.readUInt8(1) }
}

/** `shutdownMs`: how long it wants to hear of its end before it comes. */
export function loadedIn({ payload }: Frame): { kind: HandlerKind; shutdownMs: number } {
  const value = decodeJson(payload)
  const { kind, shutdownMs: asked } = isRecord(value) ? value : {}
  if (kind !== 'lambda' && kind !== 'fetch') throw new ProtocolError('an unknown kind of handler')
  const shutdownMs = asked ?? 0
  if (typeof shutdownMs !== 'number' || !(shutdownMs >= 0 && shutdownMs <= MAX_SHUTDOWN_MS))
    throw new ProtocolError(`an end that takes more than ${MAX_SHUTDOWN_MS} ms`)
  return { kind, shutdownMs }
}

/** An error in JSON that says its type; or, behind a head with the type, any bytes as the runtime sent them. */
export function errorIn({ flags, payload }: Frame): { errorType: string; payload: Uint8Array } {
  if ((flags & FLAG.raw) === 0) return { errorType: errorTypeOf(decodeJson(payload)), payload: Buffer.from(payload) }
  const [head, rest] = split(payload)
  return { errorType: errorTypeOf(decodeJson(head)), payload: Buffer.from(rest) }
}

/** A head with its length before it, and what follows. */
function split(payload: Buffer): [head: Buffer, rest: Buffer] {
  const headBytes = payload.length < 4 ? Number.POSITIVE_INFINITY : payload.readUInt32LE(0)
  if (4 + headBytes > payload.length) throw new ProtocolError('a head that is cut short')
  return [payload.subarray(4, 4 + headBytes), payload.subarray(4 + headBytes)]
}

/** The content type of a stream. */
export function streamIn({ payload }: Frame): string {
  const value = decodeJson(payload)
  if (!isRecord(value) || typeof value.contentType !== 'string') throw new ProtocolError('a stream without its type')
  return value.contentType
}

/** The head of an answer; with it the whole body, where that is there. */
export function headIn({ flags, payload }: Frame): { status: number; headers: [string, string][]; body: Buffer | null } {
  const [head, body] = (flags & FLAG.raw) === 0 ? [payload, null] : split(payload)
  if (body !== null && (flags & FLAG.fin) === 0) throw new ProtocolError('a body with its head that is not whole')
  const value = decodeJson(head)
  const { status, headers } = isRecord(value) ? value : {}
  if (typeof status !== 'number' || !Number.isInteger(status) || status < 200 || status > 599) throw new ProtocolError('a head without a status of 200 to 599')
  if (!Array.isArray(headers)) throw new ProtocolError('a head without headers')
  for (const pair of headers) {
    if (!Array.isArray(pair) || pair.length !== 2 || typeof pair[0] !== 'string' || typeof pair[1] !== 'string')
      throw new ProtocolError('a header that is no pair of texts')
  }
  return { status, headers, body: body === null ? null : Buffer.from(body) }
}

/** How many bytes more the host may send. */
export function creditIn({ payload }: Frame): number {
  if (payload.length !== 4) throw new ProtocolError('a credit has four bytes')
  const bytes = payload.readUInt32LE(0)
  if (bytes > STREAM_WINDOW) throw new ProtocolError('a credit beyond the window')
  return bytes
}

/** How many bytes of the log it did not send. */
export function lostIn({ payload }: Frame): number {
  if (payload.length !== 4) throw new ProtocolError('a count of lost bytes has four')
  return payload.readUInt32LE(0)
}

/** It stands in lines of the log, where it must not begin another. */
function errorTypeOf(value: unknown): string {
  if (!isRecord(value) || typeof value.errorType !== 'string') throw new ProtocolError('an error without its type')
  return value.errorType.slice(0, MAX_TYPE_LENGTH).replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, ' ')
}

function decodeJson(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString('utf8'))
  } catch {
    throw new ProtocolError('a head is not JSON')
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)
