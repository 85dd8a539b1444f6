// Events of the platform as what starts Azure's functions: the trigger's own data, and what a handler sees beside it.
import { Buffer } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { kindOf, readBlob, settled, triggerOf } from './azure-bindings.mjs'
import { contentOf } from './azure-queues.mjs'

const env = process.env
const json = (value) => ({ json: JSON.stringify(value ?? null) })
const texts = (values) => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { string: String(value) }]))
const nowText = () => new Date().toISOString()
const asText = (message) => (typeof message === 'string' ? message : JSON.stringify(message ?? null))

/** @returns a list of `{ data, beside }`, one for each invocation that an event is */
export async function startsOf(metadata, event) {
  const trigger = triggerOf(metadata)
  const records = Array.isArray(event?.Records) && event.Records.length > 0 ? event.Records : null
  switch (kindOf(trigger)) {
    case 'blobtrigger':
      return await Promise.all((records ?? [null]).map((record) => ofBlob(trigger, event, record)))
    case 'timertrigger':
      return [{ data: json(event?.Schedule ? event : timerAt(event?.time)), beside: {} }]
    case 'queuetrigger':
      return messagesOf(event, records).map(ofQueue)
    case 'servicebustrigger':
      return batched(trigger, messagesOf(event, records).map(ofBus), 'one')
    case 'eventhubtrigger':
      return batched(
        trigger,
        messagesOf(event, records).map(({ data }) => ({ data, beside: {} })),
        'many',
      )
    case 'eventgridtrigger':
      return (records ?? [event]).map((one) => ({ data: json(gridEvent(one)), beside: {} }))
    case 'cosmosdbtrigger':
      return [{ data: json(Array.isArray(event) ? event : [rowOf(event)]), beside: {} }]
    case 'httptrigger':
      return [{ data: { http: postOf(event) }, beside: {} }]
    default:
      return [{ data: json(event), beside: {} }]
  }
}

const timerAt = (time = nowText()) => ({ IsPastDue: false, Schedule: { AdjustForDST: true }, ScheduleStatus: { Last: time, Next: time, LastUpdated: time } })

/** Of a queue, a topic or a stream; whatever else an event is, is itself the message. */
function messagesOf(event, records) {
  const now = nowText()
  if (records === null) return [{ data: { string: asText(event) }, id: randomUUID(), count: 1, receipt: '', at: now }]
  return records.map((record) => {
    const { messageId, body, attributes, receiptHandle, Sns: sns, kinesis } = record
    if (kinesis) return { data: { string: Buffer.from(kinesis.data, 'base64').toString('utf8') } }
    const data = typeof body === 'string' ? contentOf(record) : { string: asText(sns ? sns.Message : (body ?? record)) }
    const sent = Number(attributes?.SentTimestamp)
    const at = sns?.Timestamp ?? (Number.isFinite(sent) ? new Date(sent).toISOString() : now)
    const id = sns?.MessageId ?? messageId ?? randomUUID()
    return { data, id, count: Number(attributes?.ApproximateReceiveCount ?? 1), receipt: receiptHandle ?? '', at }
  })
}

const stringOf = ({ string, bytes }) => string ?? bytes.toString()

const ofQueue = ({ data, id, count, receipt, at }) => {
  const now = nowText()
  const beside = {
    DequeueCount: count,
    Id: id,
    InsertionTime: at,
    NextVisibleTime: now,
    ExpirationTime: now,
    PopReceipt: receipt,
    QueueTrigger: stringOf(data),
  }
  return { data, beside: texts(beside), count }
}

const ofBus = ({ data, id, count, at }) => ({ data, beside: texts({ MessageId: id, DeliveryCount: count, EnqueuedTimeUtc: at }), count })

/** Where a trigger takes many at once they are one invocation. */
function batched({ cardinality }, messages, otherwise) {
  if ((cardinality ?? otherwise).toLowerCase() !== 'many') return messages
  return [{ data: { collectionString: { string: messages.map(({ data }) => stringOf(data)) } }, beside: messages[0].beside, count: messages[0].count }]
}

/** A row that changed; of one that went, what it was. */
const rowOf = (event) => event?.record ?? event?.old_record ?? event?.new ?? event

/** An object of storage, or an event of a bus, in the schema of Event Grid; whatever else an event is, it is that already. */
function gridEvent(event) {
  if (event?.s3) {
    const at = placeOf(event)
    const came = event.eventName.startsWith('ObjectCreated')
    const [container, ...name] = at.split('/')
    return {
      id: event.responseElements?.['x-amz-request-id'] ?? randomUUID(),
      topic: `/mayfly/${container}`,
      subject: `/blobServices/default/containers/${container}/blobs/${name.join('/')}`,
      eventType: came ? 'Microsoft.Storage.BlobCreated' : 'Microsoft.Storage.BlobDeleted',
      eventTime: event.eventTime,
      data: {
        api: came ? 'PutBlob' : 'DeleteBlob',
        url: addressOf(at),
        blobType: 'BlockBlob',
        eTag: event.s3.object.eTag,
        contentLength: event.s3.object.size,
      },
      dataVersion: '',
      metadataVersion: '1',
    }
  }
  if (event?.['detail-type'] === undefined) return event
  const { id, source, time, detail, resources = [] } = event
  return {
    id,
    topic: source,
    subject: resources[0] ?? source,
    eventType: event['detail-type'],
    eventTime: time,
    data: detail,
    dataVersion: '',
    metadataVersion: '1',
  }
}

const postOf = (event) => ({
  method: 'POST',
  url: 'http://localhost/',
  headers: { 'content-type': 'application/json' },
  query: {},
  params: {},
  body: { bytes: Buffer.from(JSON.stringify(event)) },
})

const placeOf = ({ s3 }) => `${s3.bucket.name}/${decodeURIComponent(s3.object.key.replaceAll('+', ' '))}`
const addressOf = (at) => `${env.MAYFLY_PUBLIC_URL ?? ''}/storage/v1/object/${at}`

async function ofBlob(trigger, event, record) {
  const at = record?.s3 ? placeOf(record) : event?.blob
  if (typeof at !== 'string') throw new TypeError('a function of blobs is started by an event of an object, or by {"blob": "container/name"}')
  const bytes = await readBlob(at)
  if (bytes === null) throw new Error(`the blob ${at} is not there any more`)
  const beside = { ...tokensOf(settled(trigger.path), at), BlobTrigger: at, Uri: addressOf(at) }
  return {
    data: { bytes },
    beside: { ...texts(beside), Properties: json({ ContentLength: bytes.length, ETag: record?.s3?.object?.eTag ?? null }), Metadata: json({}) },
  }
}

/** `photos/{user}/{name}.png` and the path of a blob: what stands for each name. */
function tokensOf(template, at) {
  const names = []
  const pattern = template.split(/(\{[^}]+\})/).map((part) => {
    if (!/^\{.+\}$/.test(part)) return part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
    names.push(part.slice(1, -1))
    return '(.+)'
  })
  const found = new RegExp(`^${pattern.join('')}$`, 's').exec(at)
  return Object.fromEntries(names.map((name, i) => [name, found?.[i + 1] ?? '']))
}
