// Messages for queues of the project, and what of them a trigger is told: in the form that Azure's own have.
import { Buffer } from 'node:buffer'
import { createHash, createHmac } from 'node:crypto'

const env = process.env
/** What one request of the queues takes. */
const REQUEST = { most: 10, mostBytes: 1 << 20 }
/** Beside the body of a message, with room for its attribute. */
const MESSAGE_BYTES = 100
/** What the text of a message cannot hold there. */
const UNFIT = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/
const PACKED = 'ContentEncoding'

/** Whether a queue here can have this name. */
export const isQueueName = (name) => /^[a-zA-Z0-9_-]{1,80}$/.test(name)

/** What a function gave to its output, as messages: of a list each is one, also where it came as the text of JSON. */
export function messagesOf(data) {
  if (data.bytes) return [Buffer.from(data.bytes)]
  const text = data.string ?? data.json ?? String(data.int ?? data.double ?? '')
  const list = listIn(text)
  if (list === null) return [text]
  return list.filter((one) => one !== null).map((one) => (typeof one === 'string' ? one : JSON.stringify(one)))
}

function listIn(text) {
  if (!/^\s*\[/.test(text)) return null
  try {
    const value = JSON.parse(text)
    return Array.isArray(value) ? value : null
  } catch {
    return null
  }
}

/** The body of a message that came: its text; bytes where they are none. */
export function contentOf({ body, messageAttributes }) {
  if (messageAttributes?.[PACKED]?.stringValue !== 'base64') return { string: body }
  const bytes = Buffer.from(body, 'base64')
  const string = textOf(bytes)
  return string === null ? { bytes } : { string }
}

function textOf(bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return null
  }
}

/** Resolves when they are on disk. The queue is made where it is not there. @throws when one of them was not taken */
export async function sendMessages(queue, messages, traceId) {
  const trace = traceId ? { MessageSystemAttributes: { AWSTraceHeader: { DataType: 'String', StringValue: traceId } } } : {}
  for (const batch of batchesOf(messages.map(entryOf), ({ MessageBody }) => Buffer.byteLength(MessageBody) + MESSAGE_BYTES, REQUEST)) {
    const Entries = batch.map((entry, n) => ({ Id: String(n), ...entry, ...trace }))
    const { Failed = [] } = await sendBatch(queue, { QueueUrl: `/000000000000/${queue}`, Entries })
    if (Failed.length > 0) throw new Error(`the queue ${queue} did not take a message: ${Failed[0].Message}`)
  }
}

function entryOf(message) {
  const text = typeof message === 'string' ? message.toWellFormed() : textOf(message)
  if (text !== null && !UNFIT.test(text)) return { MessageBody: text }
  const MessageAttributes = { [PACKED]: { DataType: 'String', StringValue: 'base64' } }
  return { MessageBody: Buffer.from(text ?? message).toString('base64'), MessageAttributes }
}

/** In their order: as many as one request takes, and as many bytes. */
export function batchesOf(all, bytesOf, { most, mostBytes }) {
  const batches = []
  let bytes = mostBytes
  for (const one of all) {
    const more = bytesOf(one)
    if (bytes + more > mostBytes || batches.at(-1).length === most) {
      batches.push([])
      bytes = 0
    }
    batches.at(-1).push(one)
    bytes += more
  }
  return batches
}

async function sendBatch(queue, input) {
  const sent = await ask('SendMessageBatch', input)
  if (sent.ok) return sent.answer
  if (!/QueueDoesNotExist$/.test(sent.answer.__type)) throw refused(queue, sent)
  const made = await ask('CreateQueue', { QueueName: queue })
  // Who else makes it at the same time may say more of it.
  if (!made.ok && !/QueueNameExists$/.test(made.answer.__type)) throw refused(queue, made)
  const again = await ask('SendMessageBatch', input)
  if (!again.ok) throw refused(queue, again)
  return again.answer
}

const refused = (queue, { status, answer }) => new Error(`the queue ${queue} cannot be written: ${status} ${answer.message ?? ''}`)

/** One call of the queues, signed with what this sandbox has for that. */
async function ask(operation, input) {
  if (env.AWS_ACCESS_KEY_ID === undefined) throw new Error('a function without a role has no queues')
  const body = JSON.stringify(input)
  const url = new URL('/', env.AWS_ENDPOINT_URL)
  const headers = { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': `AmazonSQS.${operation}`, ...signed(url, body) }
  const response = await fetch(url, { method: 'POST', headers, body })
  const text = await response.text()
  return { ok: response.ok, status: response.status, answer: text.startsWith('{') ? JSON.parse(text) : { message: text.slice(0, 200) } }
}

/** @see AWS General Reference, "Signature Version 4 signing process" */
function signed({ host }, body) {
  const at = `${new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '')}`
  const scope = `${at.slice(0, 8)}/${env.AWS_REGION}/sqs/aws4_request`
  const hash = (text) => createHash('sha256').update(text).digest('hex')
  const canonical = ['POST', '/', '', `host:${host}`, `x-amz-date:${at}`, '', 'host;x-amz-date', hash(body)].join('\n')
  const hmac = (key, text) => createHmac('sha256', key).update(text).digest()
  const key = scope.split('/').reduce(hmac, `AWS4${env.AWS_SECRET_ACCESS_KEY}`)
  const signature = hmac(key, ['AWS4-HMAC-SHA256', at, scope, hash(canonical)].join('\n')).toString('hex')
  const authorization = `AWS4-HMAC-SHA256 Credential=${env.AWS_ACCESS_KEY_ID}/${scope}, SignedHeaders=host;x-amz-date, Signature=${signature}`
  return { 'x-amz-date': at, authorization }
}
