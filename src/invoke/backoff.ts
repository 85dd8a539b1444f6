import type { RetryAfter } from '../core/spec-parts.ts'

/** As long as this a failed entry waits at first, and at most. */
export const BACKOFF_BASE_MS = 1_000
export const BACKOFF_MAX_MS = 300_000

/**
 * How long an entry waits before its next attempt, in milliseconds: a random point of the second half of a base that
 * doubles with each failure, from 1 s to 5 min. The randomness keeps entries that failed together from coming back
 * together; the half keeps a retry from coming at once.
 * @param failures  how many times it has failed, from 1 on
 * @throws RangeError when `failures` is below 1; it is a bug in the caller
 * @see Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015
 */
export function backoffMs(failures: number, random: () => number): number {
  if (failures < 1) throw new RangeError(`failures must be 1 or more, got ${failures}`)
  const base = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** Math.min(30, failures - 1))
  return Math.floor(base / 2 + (random() * base) / 2)
}

/**
 * As its function says, in milliseconds. At random, so that what failed together does not come back together: a number
 * is up to a tenth longer, never shorter; what doubles up to a fifth longer or shorter, but never past its bounds.
 */
export function retryAfterMs(said: RetryAfter, failures: number, random: () => number): number {
  if (typeof said === 'number') return Math.floor(said * 1_000 * (1 + random() / 10))
  const doubled = said.least * 2 ** Math.min(30, failures - 1) * (0.8 + 0.4 * random())
  return Math.floor(Math.min(said.most, Math.max(said.least, doubled)) * 1_000)
}
