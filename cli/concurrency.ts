import type { FunctionInfo } from '../client/client.ts'

/** What `mayfly ls` says of a function's concurrency: how many calls at once, how many sandboxes are kept loaded. */
export function concurrencyOf({ reservedConcurrency, provisionedNow }: FunctionInfo): string {
  const calls = reservedConcurrency === null ? [] : [reservedConcurrency === 0 ? 'no calls' : `${reservedConcurrency} calls`]
  const kept =
    provisionedNow === null ? [] : [`${provisionedNow.available} of ${provisionedNow.requested} loaded${provisionedNow.status === 'FAILED' ? ' (failed)' : ''}`]
  return [...calls, ...kept].join(', ')
}
