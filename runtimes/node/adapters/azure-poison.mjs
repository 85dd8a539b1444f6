// Messages that fail too often, as Azure's host sees to them: its storage has a queue for them, and so has its service bus.
import { kindOf, triggerOf } from './azure-bindings.mjs'
import { attemptsOf } from './azure-host.mjs'
import { contentOf, isQueueName, sendMessages } from './azure-queues.mjs'

const KEPT_IN = { queuetrigger: '-poison', servicebustrigger: '-deadletter' }

/** Where the messages of an event have had their last try, they are kept in a queue beside their own. @returns what came of them, or null */
export async function givesUp(metadata, host, event) {
  const trigger = triggerOf(metadata)
  const suffix = KEPT_IN[kindOf(trigger)]
  const records = event?.Records
  if (suffix === undefined || !Array.isArray(records) || records.length === 0) return null
  const most = triesOf(metadata, host)
  if (!records.every((record) => record.eventSource === 'aws:sqs' && Number(record.attributes?.ApproximateReceiveCount) >= most)) return null
  const queue = `${records[0].eventSourceARN.split(':').at(-1)}${suffix}`
  // Such a queue has none of its own.
  if (queue.endsWith(suffix.repeat(2)) || !isQueueName(queue)) return null
  for (const record of records) {
    const { string, bytes } = contentOf(record)
    await sendMessages(queue, [bytes ?? string], record.attributes.AWSTraceHeader)
  }
  return `${metadata.name}: given up after ${most} tries; ${records.length === 1 ? 'the message lies' : `${records.length} messages lie`} in the queue ${queue}`
}

function triesOf({ retryOptions, ...metadata }, host) {
  if (retryOptions === undefined || retryOptions === null) return attemptsOf(kindOf(triggerOf(metadata)), host)
  return retryOptions.maxRetryCount < 0 ? Number.POSITIVE_INFINITY : retryOptions.maxRetryCount + 1
}
