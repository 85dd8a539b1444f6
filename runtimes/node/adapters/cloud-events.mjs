// Events as Google's functions get them: CloudEvents in binary form, by HTTP.
import { Buffer } from 'node:buffer'

const { parse, stringify } = JSON
const STORAGE = 'storage.googleapis.com'

/** @param text  the JSON of an event of any form @returns headers and body of the request that carries it */
export function cloudEventRequest(text) {
  const event = parse(text)
  const record = event?.Records?.[0]
  if (record?.eventSource === 'aws:s3') return binary(ofObject(record))
  if (record?.eventSource === 'aws:sqs' || record?.EventSource === 'aws:sns') return binary(ofMessage(record))
  if (event?.source === 'aws.events' && event['detail-type'] === 'Scheduled Event') return binary(ofSchedule(event))
  if (typeof event?.specversion === 'string' && typeof event.type === 'string') return binary(event)
  return json(text)
}

const json = (text, headers = []) => {
  const body = Buffer.from(text)
  return { headers: [['content-type', 'application/json'], ['content-length', String(body.length)], ...headers], body }
}

function binary({ data, data_base64: base64, datacontenttype = 'application/json', ...attributes }) {
  const headers = Object.entries(attributes).flatMap(([name, value]) => (value === undefined || value === null ? [] : [[`ce-${name}`, String(value)]]))
  if (base64 === undefined && /[/+]json\b/.test(datacontenttype)) return json(stringify(data ?? {}), headers)
  const body = base64 === undefined ? Buffer.from(typeof data === 'string' ? data : stringify(data ?? '')) : Buffer.from(base64, 'base64')
  return { headers: [['content-type', datacontenttype], ['content-length', String(body.length)], ...headers], body }
}

/** An object of our storage that came or went, as Cloud Storage tells it. */
function ofObject({ eventName, eventTime, s3, responseElements }) {
  const name = decodeURIComponent(s3.object.key.replaceAll('+', ' '))
  const bucket = s3.bucket.name
  const generation = String(Date.parse(eventTime) * 1000)
  const came = eventName.startsWith('ObjectCreated')
  return {
    specversion: '1.0',
    id: responseElements?.['x-amz-request-id'] ?? `${bucket}/${name}/${generation}`,
    type: `google.cloud.storage.object.v1.${came ? 'finalized' : 'deleted'}`,
    source: `//${STORAGE}/projects/_/buckets/${bucket}`,
    subject: `objects/${name}`,
    time: eventTime,
    bucket,
    data: {
      kind: 'storage#object',
      id: `${bucket}/${name}/${generation}`,
      name,
      bucket,
      generation,
      metageneration: '1',
      timeCreated: eventTime,
      updated: eventTime,
      ...(came ? { size: String(s3.object.size ?? 0), etag: s3.object.eTag } : {}),
    },
  }
}

/** A message of a queue or a topic, as Pub/Sub tells it. */
function ofMessage({ messageId, body, attributes, eventSourceARN, Sns: sns }) {
  const name = (sns?.TopicArn ?? eventSourceARN ?? '').split(':').at(-1)
  const id = sns?.MessageId ?? messageId
  const time = sns?.Timestamp ?? new Date(Number(attributes?.SentTimestamp ?? Date.now())).toISOString()
  const message = {
    '@type': 'type.googleapis.com/google.pubsub.v1.PubsubMessage',
    data: Buffer.from(sns?.Message ?? body ?? '').toString('base64'),
    attributes: {},
  }
  return {
    specversion: '1.0',
    id,
    type: 'google.cloud.pubsub.topic.v1.messagePublished',
    source: `//pubsub.googleapis.com/projects/_/topics/${name}`,
    time,
    data: { message: { ...message, messageId: id, publishTime: time }, subscription: `projects/_/subscriptions/${name}` },
  }
}

/** A time that has come, as Cloud Scheduler tells it. */
function ofSchedule({ id, time, resources = [] }) {
  return {
    specversion: '1.0',
    id,
    type: 'google.cloud.scheduler.job.v1.executed',
    source: `//cloudscheduler.googleapis.com/projects/_/locations/_/jobs/${(resources[0] ?? '').split('/').at(-1)}`,
    time,
    data: { customData: '' },
  }
}
