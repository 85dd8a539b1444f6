// Events as Google's functions get them: CloudEvents in binary form, by HTTP.
import { Buffer } from 'node:buffer'

const { parse, stringify } = JSON
const STORAGE = 'storage.googleapis.com'

/** @param text  the JSON of an event of any form @returns headers and body of the request that carries it */
export function cloudEventRequest(text) {
  const event = parse(text)
  const record = event?.Records?.[0]
  if (record?.eventSource === 'aws:s3') return binary(ofObject(record))
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
