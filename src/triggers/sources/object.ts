import type { EventSource } from '../event-source.ts'
import { matches, objectEventOf } from '../match.ts'
import { s3Event } from '../s3-event.ts'

/** Objects of a bucket that come or go: storage tells of them as it commits. */
export const objectSource: EventSource<'object'> = {
  kind: 'object',
  lacks: async ({ hasBucket }, project, { object: { bucket } }) =>
    (await hasBucket(project, bucket))
      ? null
      : `the bucket ${JSON.stringify(bucket)}: make it on the page Files of the console, by createBucket of supabase-js, or under "buckets" of a project's mayfly.json`,
  subscribes: (_, { object }) => [{ source: object.bucket, events: object.events }],
  eventFor: (row, definition, context) => {
    const event = objectEventOf(row)
    return event && matches(definition, event) ? s3Event(event, context) : null
  },
}
