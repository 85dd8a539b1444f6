import { LIMITS } from '../core/limits.ts'
import { count, type Infer, list, milliseconds } from '../core/settings.ts'

export const invokeSettings = {
  concurrency: count({
    default: LIMITS.concurrentInvocations.value,
    min: 1,
    max: 100_000,
    of: 'invocations',
    doc: 'How many invocations the node runs at once; more are refused with 429.',
  }),
  projectConcurrency: count({
    default: LIMITS.concurrentInvocations.value,
    min: 1,
    max: 100_000,
    of: 'invocations',
    doc: 'How many invocations of one project run at once, where the project has no number of its own.',
  }),
  functionConcurrency: count({
    default: LIMITS.concurrentInvocations.value,
    min: 1,
    max: 100_000,
    of: 'invocations',
    doc: 'How many invocations of one function run at once.',
  }),
  waitMs: milliseconds({
    default: 1_000,
    min: 0,
    max: 30_000,
    doc: 'How long a call by `/functions/v1`, by a function URL or by an HTTP trigger waits for its turn where its function, its project or the node is full; then it is refused with 429.',
  }),
  queueConcurrency: count({ default: 16, min: 1, max: 10_000, of: 'invocations', doc: 'How many invocations from the queue run at once.' }),
  maxAttempts: count({ default: 3, min: 1, max: 100, of: 'attempts', doc: 'How many times a queued invocation may fail before it becomes a dead letter.' }),
  maxAgeMs: milliseconds({ default: 21_600_000, min: 60_000, max: 1_209_600_000, doc: 'How old a queued invocation may become before it is given up.' }),
  webhookOrigins: list({
    doc: 'Origins such as `http://hooks.lan:8080` that functions may tell of outcomes though they are no public addresses.',
    takes: 'origins separated by commas',
    each: (origin) => URL.canParse(origin) && new URL(origin).origin === origin,
  }),
  deadLetterDays: count({ default: 14, min: 1, max: 3_650, of: 'days', doc: 'How long dead letters are kept.' }),
}
export type InvokeConfig = Infer<typeof invokeSettings>
