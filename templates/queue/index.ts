import type { QueueHandler } from '@mayfly/functions'

export const handler: QueueHandler = async (event) => {
  const failed: string[] = []
  for (const { messageId, body } of event.Records) {
    try {
      const { to } = JSON.parse(body) as { to: string }
      console.log(`a message for ${to}`)
    } catch (error) {
      console.error(messageId, error)
      failed.push(messageId)
    }
  }
  // What failed comes again by itself; the rest is done.
  return { batchItemFailures: failed.map((itemIdentifier) => ({ itemIdentifier })) }
}
