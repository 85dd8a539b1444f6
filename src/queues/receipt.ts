import type { Held } from './store.ts'

const BYTES = 36
const hex = (id: string) => Buffer.from(id.replaceAll('-', ''), 'hex')
const uuid = (bytes: Buffer) => bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')

/** Says which message was received, and for the how manieth time. It opens nothing: whoever shows it needs a key of the project. */
export function receiptOf({ queueId, id, receiveCount }: Held): string {
  const count = Buffer.alloc(4)
  count.writeUInt32BE(receiveCount)
  return Buffer.concat([hex(queueId), hex(id), count]).toString('base64')
}

/** Null when it is none. */
export function heldBy(receipt: string): Held | null {
  if (!/^[A-Za-z0-9+/]{48}$/.test(receipt)) return null
  const bytes = Buffer.from(receipt, 'base64')
  const receiveCount = bytes.readUInt32BE(32)
  if (bytes.length !== BYTES || receiveCount < 1 || receiveCount > 0x7fffffff) return null
  return { queueId: uuid(bytes.subarray(0, 16)), id: uuid(bytes.subarray(16, 32)), receiveCount }
}
