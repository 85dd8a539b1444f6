import type { EventSource } from '../event-source.ts'

/** Webhooks of other services: `WebhooksIn` brings them to the queue as they come, and nothing is left to be looked for. */
export const webhookSource: EventSource<'webhook'> = { kind: 'webhook' }
