import { createHash } from 'node:crypto'
import { ACCOUNT, type BusEvent } from './event.ts'
import type { BusTrigger } from './store.ts'

interface Topic {
  readonly name: string
  readonly subscription?: string
}

const topicOf = ({ definition }: BusTrigger) => (definition as { readonly topic: Topic }).topic

/** What a function at a topic gets of an event of the bus of that name: what SNS tells of a message. */
export function topicRecord(event: BusEvent, trigger: BusTrigger) {
  const { name, subscription = trigger.functionName } = topicOf(trigger)
  const topic = `arn:aws:sns:${event.region}:${ACCOUNT}:${name}`
  return {
    Records: [
      {
        EventVersion: '1.0',
        EventSubscriptionArn: `${topic}:${subscription}`,
        EventSource: 'aws:sns',
        Sns: {
          Type: 'Notification',
          MessageId: event.id,
          TopicArn: topic,
          Subject: event['detail-type'],
          Message: typeof event.detail === 'string' ? event.detail : JSON.stringify(event.detail),
          Timestamp: event.time.replace('Z', '.000Z'),
          SignatureVersion: '1',
          Signature: '',
          SigningCertUrl: '',
          UnsubscribeUrl: '',
          MessageAttributes: {},
        },
      },
    ],
  }
}

/** Of those that share a subscription by its name, one for each event, always the same for the same. */
export function oneOfEach(triggers: readonly BusTrigger[], eventId: string): readonly BusTrigger[] {
  const shared = Map.groupBy(triggers, (trigger) => (trigger.kind === 'topic' ? topicOf(trigger).subscription : undefined))
  const number = createHash('sha256').update(eventId).digest().readUInt32BE()
  return triggers.filter((trigger) => {
    const subscription = trigger.kind === 'topic' ? topicOf(trigger).subscription : undefined
    const all = subscription === undefined ? [trigger] : (shared.get(subscription) ?? [])
    return all[number % all.length] === trigger
  })
}
