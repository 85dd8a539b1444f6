import type { EventSource } from '../event-source.ts'

/** Messages of a topic are the events of the bus of its name: `EventBus` brings them to the queue as they come. */
export const topicSource: EventSource<'topic'> = { kind: 'topic' }
