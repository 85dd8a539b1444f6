// What Azure's bindings bring and take: events in, blobs in and out.
import { Buffer } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { HandlerError } from '../errors.mjs'

const env = process.env
const kindOf = (binding) => binding.type.toLowerCase()

export const triggerOf = (metadata) => Object.values(metadata.bindings).find((binding) => kindOf(binding).endsWith('trigger'))

/** `%NAME%` is a setting of the app. */
export const settled = (text) => String(text ?? '').replaceAll(/%([^%]+)%/g, (_whole, name) => env[name] ?? `%${name}%`)

const json = (value) => ({ json: JSON.stringify(value ?? null) })
const texts = (values) => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { string: String(value) }]))

/** An event of ours as the trigger's own data, with what the handler sees beside it. */
export async function triggerData(metadata, event) {
  const trigger = triggerOf(metadata)
  const record = event?.Records?.[0]
  switch (kindOf(trigger)) {
    case 'blobtrigger':
      return await blobEvent(trigger, event, record)
    case 'timertrigger': {
      const now = new Date().toISOString()
      const timer = { IsPastDue: false, Schedule: { AdjustForDST: true }, ScheduleStatus: { Last: now, Next: now, LastUpdated: now } }
      return { data: json(event?.Schedule ? event : timer), metadata: {} }
    }
    case 'queuetrigger':
    case 'servicebustrigger': {
      const messages = event?.Records ? event.Records.map(({ body }) => body) : [event]
      const asText = (message) => (typeof message === 'string' ? message : JSON.stringify(message))
      const many = trigger.cardinality === 'many'
      const id = record?.messageId ?? randomUUID()
      const count = Number(record?.attributes?.ApproximateReceiveCount ?? 1)
      const now = new Date().toISOString()
      const beside =
        kindOf(trigger) === 'queuetrigger'
          ? {
              DequeueCount: count,
              Id: id,
              InsertionTime: now,
              NextVisibleTime: now,
              ExpirationTime: now,
              PopReceipt: record?.receiptHandle ?? '',
              QueueTrigger: asText(messages[0]),
            }
          : { MessageId: id, DeliveryCount: count, EnqueuedTimeUtc: now }
      return { data: many ? { collectionString: { string: messages.map(asText) } } : { string: asText(messages[0]) }, metadata: texts(beside) }
    }
    case 'cosmosdbtrigger':
      return { data: json(Array.isArray(event) ? event : [event?.new ?? event]), metadata: {} }
    case 'httptrigger':
      return {
        data: {
          http: {
            method: 'POST',
            url: 'http://localhost/',
            headers: { 'content-type': 'application/json' },
            query: {},
            params: {},
            body: { bytes: Buffer.from(JSON.stringify(event)) },
          },
        },
        metadata: {},
      }
    default:
      return { data: json(event), metadata: {} }
  }
}

async function blobEvent(trigger, event, record) {
  const at = record?.s3 ? `${record.s3.bucket.name}/${decodeURIComponent(record.s3.object.key.replaceAll('+', ' '))}` : event?.blob
  if (typeof at !== 'string') throw new TypeError('a function of blobs is started by an event of an object, or by {"blob": "container/name"}')
  const bytes = await readBlob(at)
  if (bytes === null) throw new Error(`the blob ${at} is not there any more`)
  const beside = { ...tokensOf(settled(trigger.path), at), BlobTrigger: at, Uri: `${env.MAYFLY_PUBLIC_URL ?? ''}/storage/v1/object/${at}` }
  return {
    data: { bytes },
    metadata: { ...texts(beside), Properties: json({ ContentLength: bytes.length, ETag: record?.s3?.object?.eTag ?? null }), Metadata: json({}) },
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

function resolved(template, triggerMetadata, trigger) {
  const known = Object.fromEntries(Object.entries(triggerMetadata).map(([name, value]) => [name.toLowerCase(), value.string ?? '']))
  const message = parsed(trigger?.string)
  return settled(template).replaceAll(/\{([^}]+)\}/g, (_whole, name) => {
    if (name.toLowerCase() === 'rand-guid') return randomUUID()
    if (name.toLowerCase() === 'datetime') return new Date().toISOString()
    const value = known[name.toLowerCase()] ?? message?.[name] ?? trigger?.http?.params?.[name] ?? trigger?.http?.query?.[name]
    if (value === undefined || typeof value === 'object') throw new Error(`the path "${template}" has {${name}}, which this call does not know`)
    return String(value)
  })
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** The trigger's data, and that of further inputs. @throws for inputs that nothing stands behind */
export async function inputsOf(metadata, trigger, triggerMetadata) {
  const inputs = []
  for (const [name, binding] of Object.entries(metadata.bindings)) {
    if (binding.direction !== 'in') continue
    if (kindOf(binding).endsWith('trigger')) inputs.push({ name, data: trigger })
    else if (kindOf(binding) === 'blob') {
      const bytes = await readBlob(resolved(binding.path, triggerMetadata, trigger))
      inputs.push({ name, data: bytes === null ? null : { bytes } })
    } else throw notServed(metadata, 'input', binding)
  }
  return inputs
}

/** Writes what a function gave to its outputs. */
export async function outputsOf(metadata, response, triggerMetadata) {
  const given = new Map(response.outputData.map(({ name, data }) => [name, data]))
  given.set('$return', response.returnValue)
  for (const [name, binding] of Object.entries(metadata.bindings)) {
    const data = given.get(name)
    if (binding.direction !== 'out' || kindOf(binding) === 'http' || data === undefined || data === null) continue
    if (kindOf(binding) !== 'blob') throw notServed(metadata, 'output', binding)
    await writeBlob(resolved(binding.path, triggerMetadata, null), data)
  }
}

function notServed(metadata, what, { type }) {
  const error = new HandlerError('Function.BindingNotServed', `the ${what} '${type}' of ${metadata.name} is not served here: nothing stands behind it`)
  // Where this stands is of no use to the owner of the app.
  error.stack = `${error.name}: ${error.message}`
  return error
}

const addressOf = (at) => `${env.MAYFLY_URL}/storage/v1/object/${at.split('/').map(encodeURIComponent).join('/')}`
const credentials = () => ({ authorization: `Bearer ${env.MAYFLY_KEY}`, apikey: env.MAYFLY_KEY ?? '' })

async function readBlob(at) {
  const response = await fetch(addressOf(at), { headers: credentials() })
  if (response.ok) return Buffer.from(await response.arrayBuffer())
  const text = await response.text()
  if (response.status === 404 || /not.?found/i.test(text)) return null
  throw new Error(`the blob ${at} cannot be read: ${response.status} ${text.slice(0, 200)}`)
}

async function writeBlob(at, data) {
  const body = data.bytes ?? data.string ?? data.json ?? ''
  const type = data.bytes ? 'application/octet-stream' : data.json === undefined ? 'text/plain;charset=UTF-8' : 'application/json'
  const response = await fetch(addressOf(at), { method: 'POST', headers: { ...credentials(), 'x-upsert': 'true', 'content-type': type }, body })
  if (!response.ok) throw new Error(`the blob ${at} cannot be written: ${response.status} ${(await response.text()).slice(0, 200)}`)
}
