// Messages for topics of the project: events of the bus of that name.
import { Buffer } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { batchesOf } from './azure-queues.mjs'

const env = process.env
/** What one request of the bus takes. */
const REQUEST = { most: 100, mostBytes: 900_000 }

/** Whether a topic here can have this name. */
export const isTopicName = (name) => /^[a-zA-Z0-9_-]{1,256}$/.test(name)

/** Resolves when they are on disk. @throws when one of them was not taken; those before it were */
export async function publish(topic, messages) {
  if (!env.MAYFLY_KEY) throw new Error('a function without a role has no topics')
  for (const batch of batchesOf(messages.map(textOf), (event) => Buffer.byteLength(event) + 1, REQUEST)) {
    const response = await fetch(`${env.MAYFLY_URL}/events/v1?bus=${topic}`, {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents-batch+json', authorization: `Bearer ${env.MAYFLY_KEY}`, apikey: env.MAYFLY_KEY },
      body: `[${batch.join(',')}]`,
    })
    const said = await response.text()
    if (!response.ok) throw new Error(`the topic ${topic} cannot be written: ${response.status} ${said.slice(0, 200)}`)
  }
}

function textOf(message) {
  const data = typeof message === 'string' ? message.toWellFormed() : Buffer.from(message).toString()
  return JSON.stringify({ specversion: '1.0', id: randomUUID(), source: `/functions/${env.AWS_LAMBDA_FUNCTION_NAME ?? ''}`, type: 'message', data })
}
