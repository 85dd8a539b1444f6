import { MayflyError } from '../core/errors.ts'
import type { HandlerKind } from '../sandbox/index.ts'
import { fetchCallOfEvent, urlReplyOfFetch } from './event-to-fetch.ts'
import type { Content, Outcome } from './service.ts'

/** The bytes of an event; an empty body is `{}`. @throws MayflyError body_not_json */
export function eventPayload(body: Buffer): Uint8Array {
  if (body.length === 0) return Buffer.from('{}')
  try {
    JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw new MayflyError('body_not_json', `Could not parse request body into json: ${error instanceof Error ? error.message : 'not JSON'}`)
  }
  return body
}

/** A `fetch` handler that gets an event sees it as a POST; its Response comes back in the form of a function URL's answer. */
export const eventContent = (kind: HandlerKind, payload: Uint8Array): Content => (kind === 'lambda' ? { kind: 'event', payload } : fetchCallOfEvent(payload))

/** What a caller by event gets: the returned bytes, or Lambda's error JSON. */
export async function eventReply(outcome: Outcome): Promise<Uint8Array> {
  const { result } = outcome
  return result.kind === 'http' ? await urlReplyOfFetch(result) : result.payload
}
