// What Azure's bindings bring and take: blobs in and out, messages out.
import { Buffer } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { HandlerError } from '../errors.mjs'
import { isQueueName, messagesOf, sendMessages } from './azure-queues.mjs'
import { isTopicName, publish } from './azure-topics.mjs'

const env = process.env
export const kindOf = (binding) => binding.type.toLowerCase()

export const triggerOf = (metadata) => Object.values(metadata.bindings).find((binding) => kindOf(binding).endsWith('trigger'))

/** `%NAME%` is a setting of the app. */
export const settled = (text) => String(text ?? '').replaceAll(/%([^%]+)%/g, (_whole, name) => env[name] ?? `%${name}%`)

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

/** The queue that an output names, of Azure's storage or its service bus; null for another output. */
export function queueOf(binding) {
  if (!['queue', 'servicebus'].includes(kindOf(binding)) || typeof binding.queueName !== 'string') return null
  return settled(binding.queueName)
}

/** The topic that an output names; null for another output. */
export const topicOf = (binding) => (kindOf(binding) === 'servicebus' && typeof binding.topicName === 'string' ? settled(binding.topicName) : null)

/** Writes what a function gave to its outputs. */
export async function outputsOf(metadata, response, { triggerMetadata, trigger, traceId }) {
  const given = new Map(response.outputData.map(({ name, data }) => [name, data]))
  given.set('$return', response.returnValue)
  for (const [name, binding] of Object.entries(metadata.bindings)) {
    const data = given.get(name)
    if (binding.direction !== 'out' || kindOf(binding) === 'http' || data === undefined || data === null) continue
    if (kindOf(binding) === 'blob') await writeBlob(resolved(binding.path, triggerMetadata, trigger), data)
    else if (queueOf(binding) !== null)
      await sendMessages(namedQueue(metadata, resolved(binding.queueName, triggerMetadata, trigger)), messagesOf(data), traceId)
    else if (topicOf(binding) !== null) await publish(namedTopic(metadata, resolved(binding.topicName, triggerMetadata, trigger)), messagesOf(data))
    else throw notServed(metadata, 'output', binding)
  }
}

function namedQueue({ name: by }, name) {
  if (!isQueueName(name)) throw new Error(`the output of ${by} goes to the queue "${name}", which is no name of one here (1 to 80 letters, digits, - and _)`)
  return name
}

function namedTopic({ name: by }, name) {
  if (!isTopicName(name)) throw new Error(`the output of ${by} goes to the topic "${name}", which is no name of one here (letters, digits, - and _)`)
  return name
}

function notServed(metadata, what, { type }) {
  const error = new HandlerError('Function.BindingNotServed', `the ${what} '${type}' of ${metadata.name} is not served here: nothing stands behind it`)
  // Where this stands is of no use to the owner of the app.
  error.stack = `${error.name}: ${error.message}`
  return error
}

const addressOf = (at) => `${env.MAYFLY_URL}/storage/v1/object/${at.split('/').map(encodeURIComponent).join('/')}`
const credentials = () => ({ authorization: `Bearer ${env.MAYFLY_KEY}`, apikey: env.MAYFLY_KEY ?? '' })

export async function readBlob(at) {
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
