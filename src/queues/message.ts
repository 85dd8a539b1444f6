import { receiptOf } from './receipt.ts'
import { DEFAULTS } from './settings.ts'
import type { NewMessage, QueueRow, ReceivedRow } from './store.ts'

/** What a message takes beside its bytes. */
export const ROW_BYTES = 200

export interface Outgoing {
  readonly body: string
  /** In the form of a dialect; it is given back as it came. */
  readonly attributes?: string | null
  readonly delaySeconds?: number | undefined
  readonly traceHeader?: string | null
  readonly sender: string
  /** Of body and attributes, as they are counted. */
  readonly bytes: number
}

/** A message that stands in a transaction of somebody else's; told when it has committed. */
export interface Sent {
  readonly id: string
  committed(): void
}

export interface Message {
  readonly id: string
  readonly receipt: string
  readonly body: string
  readonly attributes: string | null
  readonly receiveCount: number
  readonly sentAt: Date
  readonly firstReceivedAt: Date
  readonly traceHeader: string | null
  readonly sender: string
  /** The name of the queue that gave it up. */
  readonly source: string | null
}

export function newMessage(id: string, { id: queueId, settings }: QueueRow, one: Outgoing): NewMessage {
  const { body, attributes = null, traceHeader = null, sender } = one
  return {
    queueId,
    id,
    delaySeconds: one.delaySeconds ?? settings.delaySeconds ?? DEFAULTS.delaySeconds,
    bytes: one.bytes + ROW_BYTES,
    body: Buffer.from(body),
    attributes: attributes === null ? null : Buffer.from(attributes),
    traceHeader,
    sender,
  }
}

export function receivedMessage(queueId: string, row: ReceivedRow & { readonly id: string }, source: string | null): Message {
  const { id, receiveCount, sentAt, firstReceivedAt, traceHeader, sender } = row
  return {
    id,
    receipt: receiptOf({ queueId, id, receiveCount }),
    body: row.body.toString(),
    attributes: row.attributes?.toString() ?? null,
    receiveCount,
    sentAt,
    firstReceivedAt,
    traceHeader,
    sender,
    source,
  }
}
