import { z } from 'zod'
import { LIMITS } from './limits.ts'

/*
 * What a project file and the management API may say of a queue. It stands in core because rooms of two floors take it:
 * whoever deploys a project, and `queues` below it.
 */

/** Of each number of a queue the least and the most. */
export const QUEUE_RANGES = {
  delaySeconds: [0, 900],
  maxMessageBytes: [1024, LIMITS.queueMessage.value],
  retentionSeconds: [60, LIMITS.queueRetention.value],
  waitSeconds: [0, 20],
  visibilitySeconds: [0, 43_200],
} as const

export const QUEUE_NAME = /^[a-zA-Z0-9_-]{1,80}$/

const unknownKeys = (what: string) => (issue: { code?: string; keys?: readonly string[] }) =>
  issue.code === 'unrecognized_keys' ? `unknown settings: ${(issue.keys ?? []).map((key) => `\`${key}\``).join(', ')}` : what

export const queueNameSchema = z.string({ error: 'must be the name of a queue' }).regex(QUEUE_NAME, { error: 'must be 1 to 80 letters, digits, `-` and `_`' })

const whole = ([least, most]: readonly [number, number]) =>
  z
    .number({ error: 'must be a number' })
    .int({ error: 'must be a whole number' })
    .min(least, { error: `must be ${least} or more` })
    .max(most, { error: `must be ${most} or less` })
    .optional()

export const queueSpecSchema = z.strictObject(
  {
    visibilitySeconds: whole(QUEUE_RANGES.visibilitySeconds),
    delaySeconds: whole(QUEUE_RANGES.delaySeconds),
    retentionSeconds: whole(QUEUE_RANGES.retentionSeconds),
    waitSeconds: whole(QUEUE_RANGES.waitSeconds),
    maxMessageBytes: whole(QUEUE_RANGES.maxMessageBytes),
    deadLetter: z
      .strictObject(
        {
          queue: queueNameSchema,
          maxReceives: z.number({ error: 'must be a number' }).int({ error: 'must be a whole number' }).min(1, { error: 'must be 1 or more' }).max(1000, {
            error: 'must be 1000 or less',
          }),
        },
        { error: unknownKeys('must be an object with `queue` and `maxReceives`') },
      )
      .optional(),
  },
  { error: unknownKeys('must be an object such as {"visibilitySeconds":60}') },
)
export type QueueSpec = z.infer<typeof queueSpecSchema>
