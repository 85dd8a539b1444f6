import { isDeepStrictEqual } from 'node:util'
import { LIMITS } from '../core/limits.ts'
import { QUEUE_NAME, QUEUE_RANGES, type QueueSpec } from '../core/queue-spec.ts'

/** What a queue is told to do; absent is the default. */
export interface QueueSettings {
  readonly delaySeconds?: number
  readonly maxMessageBytes?: number
  readonly retentionSeconds?: number
  readonly waitSeconds?: number
  readonly visibilitySeconds?: number
  /** Where a message goes that was received so many times and is still there. */
  readonly deadLetter?: { readonly queue: string; readonly maxReceives: number }
  /** Which queues may give up messages to this one; absent: all. */
  readonly deadLetterOf?: 'none' | readonly string[]
}

export const DEFAULTS = {
  delaySeconds: 0,
  maxMessageBytes: LIMITS.queueMessage.value,
  retentionSeconds: 345_600,
  waitSeconds: 0,
  visibilitySeconds: 30,
} as const

export const RANGES = QUEUE_RANGES satisfies Record<keyof typeof DEFAULTS, readonly [number, number]>

export const isQueueName = (name: unknown): name is string => typeof name === 'string' && QUEUE_NAME.test(name)

/** The names of what is another in a queue than it is to be; what is not said is its default. */
export const differencesOf = (has: QueueSettings | QueueSpec, wanted: QueueSpec): string[] =>
  [...Object.keys(DEFAULTS), 'deadLetter'].filter((name) => {
    const of = (settings: object) => (settings as Readonly<Record<string, unknown>>)[name] ?? (DEFAULTS as Readonly<Record<string, unknown>>)[name]
    return !isDeepStrictEqual(of(has), of(wanted))
  })
