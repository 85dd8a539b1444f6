export { SqsError } from './dialects/sqs/errors.ts'
export { type Message, Queues, type QueueInfo } from './service.ts'
export { isQueueName, type QueueSettings } from './settings.ts'
