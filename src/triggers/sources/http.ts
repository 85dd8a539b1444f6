import type { EventSource } from '../event-source.ts'

/** Requests to paths of a project: `HttpRoutes` says which function answers one, at once, and nothing of it is ever queued. */
export const httpSource: EventSource<'http'> = { kind: 'http' }
