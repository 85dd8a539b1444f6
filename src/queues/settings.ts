import { LIMITS } from '../core/limits.ts'

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

export const RANGES = {
  delaySeconds: [0, 900],
  maxMessageBytes: [1024, LIMITS.queueMessage.value],
  retentionSeconds: [60, LIMITS.queueRetention.value],
  waitSeconds: [0, 20],
  visibilitySeconds: [0, 43_200],
} as const satisfies Record<keyof typeof DEFAULTS, readonly [number, number]>

const NAME = /^[a-zA-Z0-9_-]{1,80}$/
export const isQueueName = (name: unknown): name is string => typeof name === 'string' && NAME.test(name)
