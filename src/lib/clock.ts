import { setTimeout as delay } from 'node:timers/promises'

/** The one source of time that everything below `main.ts` is handed; a test hands its own. */
export interface Clock {
  /** Wall time, milliseconds since 1970. */
  now(): number
  /** Milliseconds from an arbitrary start, never going back; for durations and deadlines. */
  monotonic(): number
  /** Calls `fire` once after `ms`, unless it is disposed first: the cheap way to hold a deadline. */
  timer(ms: number, fire: () => void): Disposable
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  timer: (ms, fire) => {
    const handle = setTimeout(fire, ms)
    return { [Symbol.dispose]: () => clearTimeout(handle) }
  },
  sleep: async (ms, signal) => {
    await delay(ms, undefined, signal ? { signal } : {})
  },
}

/**
 * One whose wall time is wrong, as after an operator or a time server has set it; durations are right.
 * @param byMs  asked at most each 100 ms
 */
export function skewed(clock: Clock, byMs: () => number): Clock {
  let known = 0
  let asked = Number.NEGATIVE_INFINITY
  const skew = (): number => {
    if (clock.monotonic() - asked >= 100) {
      known = byMs()
      asked = clock.monotonic()
    }
    return known
  }
  return { ...clock, now: () => clock.now() + skew() }
}
