import type { Clock } from './clock.ts'

/** True when `work` settles within `ms`; false when it does not. Leaves no timer behind. */
export async function within(clock: Clock, ms: number, work: Promise<unknown>): Promise<boolean> {
  const waiting = new AbortController()
  const done = work.then(
    () => true,
    () => true,
  )
  const late = clock.sleep(ms, waiting.signal).then(
    () => false,
    () => true,
  )
  try {
    return await Promise.race([done, late])
  } finally {
    waiting.abort()
  }
}
