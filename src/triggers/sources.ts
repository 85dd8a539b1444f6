import type { EventSource } from './event-source.ts'
import { busSource } from './sources/bus.ts'
import { httpSource } from './sources/http.ts'
import { logSource } from './sources/log.ts'
import { objectSource } from './sources/object.ts'
import { queueSource } from './sources/queue.ts'
import { rowSource } from './sources/row.ts'
import { scheduleSource } from './sources/schedule.ts'
import { topicSource } from './sources/topic.ts'
import { webhookSource } from './sources/webhook.ts'

/** Whatever can start a function by itself. */
export const eventSources = (): readonly EventSource[] => [
  objectSource as EventSource,
  rowSource as EventSource,
  scheduleSource as EventSource,
  queueSource as EventSource,
  busSource as EventSource,
  logSource as EventSource,
  topicSource as EventSource,
  webhookSource as EventSource,
  httpSource as EventSource,
]
