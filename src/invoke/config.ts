import { LIMITS } from '../core/limits.ts'
import { count, type Infer, milliseconds } from '../core/settings.ts'

export const invokeSettings = {
  concurrency: count({
    default: LIMITS.concurrentInvocations.value,
    min: 1,
    max: 100_000,
    of: 'invocations',
    doc: 'How many invocations the node runs at once; more are refused with 429.',
  }),
  functionConcurrency: count({
    default: LIMITS.concurrentInvocations.value,
    min: 1,
    max: 100_000,
    of: 'invocations',
    doc: 'How many invocations of one function run at once.',
  }),
  queueConcurrency: count({ default: 16, min: 1, max: 10_000, of: 'invocations', doc: 'How many invocations from the queue run at once.' }),
  maxAttempts: count({ default: 3, min: 1, max: 100, of: 'attempts', doc: 'How many times a queued invocation may fail before it becomes a dead letter.' }),
  maxAgeMs: milliseconds({ default: 21_600_000, min: 60_000, max: 1_209_600_000, doc: 'How old a queued invocation may become before it is given up.' }),
  deadLetterDays: count({ default: 14, min: 1, max: 3_650, of: 'days', doc: 'How long dead letters are kept.' }),
}
export type InvokeConfig = Infer<typeof invokeSettings>
