import { LIMITS } from '../core/limits.ts'
import { count, type Infer } from '../core/settings.ts'

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
}
export type InvokeConfig = Infer<typeof invokeSettings>
