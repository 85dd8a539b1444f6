import { KiB } from '../lib/bytes.ts'
import { LIMITS } from './limits.ts'

export interface Range {
  readonly least: number
  readonly most: number
}

/** What functions of a project may be set to. */
export interface LimitProfile {
  readonly about: string
  /** MB. */
  readonly memory: Range
  /** Seconds. */
  readonly timeout: Range
  /** MB. */
  readonly tmp: Range
  /** Calls at once in one sandbox. */
  readonly concurrency: Range
  /** Bytes of the event of a queued invocation. */
  readonly queuedPayload: number
}

const whole = (limit: { readonly least: number; readonly value: number }): Range => ({ least: limit.least, most: limit.value })

/**
 * The limit profiles that a project may have. Beside what stands here they are alike: see `LIMITS`.
 * docs/limits.md is made from it.
 */
export const LIMIT_PROFILES = {
  mayfly: {
    about: 'What Mayfly itself can do; a new project has it.',
    memory: whole(LIMITS.functionMemory),
    timeout: whole(LIMITS.functionTimeout),
    tmp: whole(LIMITS.functionTmp),
    concurrency: whole(LIMITS.sandboxCalls),
    queuedPayload: LIMITS.queuedPayload.value,
  },
  // biome-ignore format: a foreign name stands as a text
  'lambda': {
    about: "AWS Lambda's limits of today: what is deployed here can go there.",
    memory: { least: 128, most: 10_240 },
    timeout: { least: 1, most: 900 },
    tmp: { least: 512, most: 10_240 },
    concurrency: { least: 1, most: 1 },
    queuedPayload: LIMITS.queuedPayload.value,
  },
  'lambda-2017': {
    about: "AWS Lambda's limits of 2017, its memory rounded to 1,500 MB.",
    memory: { least: 128, most: 1_500 },
    timeout: { least: 1, most: 300 },
    tmp: { least: 512, most: 512 },
    concurrency: { least: 1, most: 1 },
    queuedPayload: 128 * KiB,
  },
} as const satisfies Record<string, LimitProfile>

export type LimitProfileName = keyof typeof LIMIT_PROFILES
export const DEFAULT_LIMIT_PROFILE: LimitProfileName = 'mayfly'
export const LIMIT_PROFILE_NAMES = Object.keys(LIMIT_PROFILES) as readonly LimitProfileName[]

/** The name, or null when the value is none. */
export const parseLimitProfile = (value: unknown): LimitProfileName | null => LIMIT_PROFILE_NAMES.find((name) => name === value) ?? null
