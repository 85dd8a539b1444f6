import { createHash } from 'node:crypto'
import { invalidValue, named } from './errors.ts'
import { isObject, type Json } from './fields.ts'

/** A value of a message attribute as JSON carries it: bytes in base64. */
export interface AttributeValue {
  readonly DataType: string
  readonly StringValue?: string
  readonly BinaryValue?: string
}
export type MessageAttributes = Readonly<Record<string, AttributeValue>>

const MOST = 10
const NAME = /^(?!(?:aws|amazon)\.)(?!\.)(?!.*\.\.)[a-zA-Z0-9_.-]{1,256}(?<!\.)$/i
const TYPE = /^(String|Number|Binary)(\.[^\0]{1,240})?$/
// What XML 1.0 can carry: the older clients read messages by it.
const UNFIT = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/

export const md5 = (text: string) => createHash('md5').update(text).digest('hex')

/** @throws SqsError */
export function checkBody(body: string): void {
  if (body === '') throw named('InvalidParameterValueException', 'The request must contain the parameter MessageBody.')
  if (UNFIT.test(body))
    throw named('InvalidMessageContents', 'Invalid characters in the message: it may hold #x9, #xA, #xD and what XML 1.0 allows above them.')
}

/** Null where there are none. @throws SqsError */
export function messageAttributesOf(input: Json): MessageAttributes | null {
  const given = input.MessageAttributes ?? {}
  if (!isObject(given)) throw invalidValue('MessageAttributes must be a map.')
  const entries = Object.entries(given)
  if (entries.length === 0) return null
  if (entries.length > MOST) throw invalidValue(`Number of message attributes [${entries.length}] exceeds the allowed maximum [${MOST}].`)
  const read: Record<string, AttributeValue> = {}
  for (const [name, value] of entries) {
    const shown = name.slice(0, 100)
    if (!NAME.test(name)) throw invalidValue(`The message attribute name '${shown}' is invalid.`)
    if (!isObject(value)) throw invalidValue(`The message attribute '${shown}' must contain a value.`)
    const { DataType, StringValue, BinaryValue } = value
    const type = typeof DataType === 'string' ? TYPE.exec(DataType)?.[1] : undefined
    if (type === undefined) throw invalidValue(`The message attribute '${shown}' must have a DataType of String, Number or Binary.`)
    if (type === 'Binary') {
      if (typeof BinaryValue !== 'string' || BinaryValue === '' || !/^[A-Za-z0-9+/]*={0,2}$/.test(BinaryValue))
        throw invalidValue(`The message attribute '${shown}' must have a BinaryValue.`)
      read[name] = { DataType: DataType as string, BinaryValue }
    } else {
      if (typeof StringValue !== 'string' || StringValue === '') throw invalidValue(`The message attribute '${shown}' must have a StringValue.`)
      if (UNFIT.test(StringValue)) throw named('InvalidMessageContents', `The message attribute '${shown}' holds characters that are not allowed.`)
      if (type === 'Number' && !/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(StringValue.trim()))
        throw invalidValue(`Can't cast the value of message (user) attribute '${shown}' to a number.`)
      read[name] = { DataType: DataType as string, StringValue }
    }
  }
  return read
}

const bytesOf = ({ StringValue, BinaryValue }: AttributeValue) =>
  BinaryValue === undefined ? Buffer.from(StringValue ?? '') : Buffer.from(BinaryValue, 'base64')

/** How SQS counts a message. */
export function sizeOf(body: string, attributes: MessageAttributes | null): number {
  let bytes = Buffer.byteLength(body)
  for (const [name, value] of Object.entries(attributes ?? {})) bytes += Buffer.byteLength(name) + Buffer.byteLength(value.DataType) + bytesOf(value).length
  return bytes
}

/** What clients check: names in order, each part with its length before it. @see Amazon SQS Developer Guide, "Calculating the MD5 message digest for message attributes" */
export function md5OfAttributes(attributes: MessageAttributes): string {
  const hash = createHash('md5')
  const part = (bytes: Buffer) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    hash.update(length).update(bytes)
  }
  for (const [name, value] of Object.entries(attributes).toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    part(Buffer.from(name))
    part(Buffer.from(value.DataType))
    hash.update(Buffer.from([value.BinaryValue === undefined ? 1 : 2]))
    part(bytesOf(value))
  }
  return hash.digest('hex')
}

/** Those that were asked for, by name, by `prefix.*` or all. */
export function chosen(attributes: MessageAttributes, names: readonly string[]): MessageAttributes | null {
  const all = names.some((name) => name === 'All' || name === '.*')
  const wanted = (name: string) => all || names.some((one) => one === name || (one.endsWith('.*') && name.startsWith(one.slice(0, -1))))
  const picked = Object.fromEntries(Object.entries(attributes).filter(([name]) => wanted(name)))
  return Object.keys(picked).length === 0 ? null : picked
}
