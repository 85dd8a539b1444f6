import { LIMITS } from '../core/limits.ts'
import { count, type Infer, megabytes } from '../core/settings.ts'
import { MiB } from '../lib/bytes.ts'

export const queuesSettings = {
  projectMb: megabytes({
    default: LIMITS.queueBytes.value / MiB,
    min: 1,
    max: 1_000_000,
    doc: 'How much the messages in the queues of one project may take; past it sending is refused.',
  }),
  perProject: count({ default: LIMITS.projectQueues.value, min: 1, max: 100_000, of: 'queues', doc: 'How many queues a project may have.' }),
}
export type QueuesConfig = Infer<typeof queuesSettings>
