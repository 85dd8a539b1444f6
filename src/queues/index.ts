export { SqsError } from './dialects/sqs/errors.ts'
export { type Message, type Outgoing, Queues, type QueueInfo, type Sent } from './service.ts'
export { isQueueName, type QueueSettings } from './settings.ts'
