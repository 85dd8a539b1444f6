import { z } from 'zod'
import { LIMITS } from './limits.ts'
import { unknownKeys, wholeNumber } from './spec-parts.ts'

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

export const queueNameSchema = z.string({ error: 'must be the name of a queue' }).regex(QUEUE_NAME, { error: 'must be 1 to 80 letters, digits, `-` and `_`' })

export const queueSpecSchema = z.strictObject(
  {
    visibilitySeconds: wholeNumber(QUEUE_RANGES.visibilitySeconds).optional(),
    delaySeconds: wholeNumber(QUEUE_RANGES.delaySeconds).optional(),
    retentionSeconds: wholeNumber(QUEUE_RANGES.retentionSeconds).optional(),
    waitSeconds: wholeNumber(QUEUE_RANGES.waitSeconds).optional(),
    maxMessageBytes: wholeNumber(QUEUE_RANGES.maxMessageBytes).optional(),
    deadLetter: z
      .strictObject(
        {
          queue: queueNameSchema,
          maxReceives: wholeNumber([1, 1000]),
        },
        { error: unknownKeys('must be an object with `queue` and `maxReceives`') },
      )
      .optional(),
  },
  { error: unknownKeys('must be an object such as {"visibilitySeconds":60}') },
)
export type QueueSpec = z.infer<typeof queueSpecSchema>
