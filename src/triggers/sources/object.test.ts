import { eventSourceConformance } from '../source-conformance.ts'

eventSourceConformance({
  kind: 'object',
  trigger: { object: { bucket: 'in', events: ['created'] } },
  cause: async ({ own }, n) => {
    await own.sql`select mayfly.publish('object', 'in', 'created', jsonb_build_object('key', ${String(n)}::text))`
  },
  crashes: ['afterRelay', 'afterOutboxDelete'],
})
