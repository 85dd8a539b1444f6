import type { FunctionInfo, ProvisionedInfo } from '../client/client.ts'
import { harmless } from './output.ts'

/** What `mayfly ls` says of a function's concurrency: how many calls at once, how many sandboxes are kept loaded. */
export function concurrencyOf({ reservedConcurrency, provisionedNow }: FunctionInfo): string {
  const calls = reservedConcurrency === null ? [] : [reservedConcurrency === 0 ? 'no calls' : `${reservedConcurrency} calls`]
  return [...calls, ...(provisionedNow === null ? [] : [keptOf(provisionedNow)])].join(', ')
}

/** How many sandboxes are kept loaded, and how many should be. */
export const keptOf = ({ available, requested, status }: ProvisionedInfo): string =>
  `${available} of ${requested} loaded${status === 'FAILED' ? ' (failed)' : ''}`

/** Why they are not there, with what the code said. */
export const whyNotKept = ({ reason, detail }: ProvisionedInfo): string =>
  detail === undefined ? (reason ?? '') : `the code does not load (${reason}): ${harmless(detail)}`
