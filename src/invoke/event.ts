import { isUtf8 } from 'node:buffer'
import { MayflyError } from '../core/errors.ts'
import type { HandlerKind } from '../sandbox/index.ts'
import { type EventReply, fetchCallOfEvent, urlReplyOfFetch } from './event-to-fetch.ts'
import type { Content, Outcome } from './service.ts'

/** The bytes of an event; an empty body is `{}`. @throws MayflyError body_not_json */
export function eventPayload(body: Buffer): Uint8Array {
  if (body.length === 0) return Buffer.from('{}')
  const bad = (why: string) => new MayflyError('body_not_json', `Could not parse request body into json: Could not parse payload into json: ${why}`)
  if (!isUtf8(body)) throw bad('Invalid UTF-8')
  try {
    JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw bad(error instanceof Error ? error.message : 'not JSON')
  }
  return body
}

/** A `fetch` handler that gets an event sees it as a POST; its Response comes back in the form of a function URL's answer. */
export const eventContent = (kind: HandlerKind, payload: Uint8Array): Content => (kind === 'lambda' ? { kind: 'event', payload } : fetchCallOfEvent(payload))

/** @throws what broke a Response off */
export async function eventReply({ result }: Outcome): Promise<EventReply> {
  switch (result.kind) {
    case 'event':
      return { payload: result.payload, errorType: null }
    case 'error':
      return result
    case 'http':
      return await urlReplyOfFetch(result)
    case 'stream':
      throw new Error('a stream came to a caller that takes none')
  }
}
