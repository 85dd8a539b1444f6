import { Cron } from 'croner'
import type { TriggerSpec } from '../../core/trigger-spec.ts'

export type Schedule = NonNullable<TriggerSpec['schedule']>

/** Later than this a due time was missed: nobody looked when it came. */
export const MISSED_MS = 60_000
/** How many due times one look takes of a schedule. */
export const AT_ONCE = 100

/**
 * The first due time after a moment; null when there is none any more.
 * What a cron says is local time. A time that the clocks skip comes at the first moment after the gap; one that they show
 * twice comes the first time, unless the hour is left open (`*`): then each hour that passes has its own.
 * @param since  when the schedule was made: `every` counts from there
 */
export function nextDue({ cron, every, at, timezone }: Schedule, since: number, after: number): number | null {
  if (every !== undefined) {
    const step = every * 1_000
    const start = Math.floor(since / 1_000) * 1_000
    return start + Math.max(1, Math.floor((after - start) / step) + 1) * step
  }
  if (at !== undefined) {
    const time = timeOf(at, timezone)
    return time !== null && time > after ? time : null
  }
  const next = new Cron(cron ?? '', { paused: true, mode: '5-or-6-parts', timezone }).nextRun(new Date(after))
  return next?.getTime() ?? null
}

/** Of a date and time with its offset, or else in a zone. */
export function timeOf(at: string, timezone: string): number | null {
  if (/(?:Z|[+-]\d\d:\d\d)$/.test(at)) return Date.parse(at)
  return new Cron(at, { paused: true, timezone }).nextRun(new Date(0))?.getTime() ?? null
}

export interface Taken {
  /** In their order. */
  readonly fire: readonly number[]
  readonly next: number | null
}

/** What is to be done with the due times from `first` until now: those on time each, of those that were missed what the schedule says. */
export function takeDue(schedule: Schedule, since: number, first: number, now: number): Taken {
  const fire: number[] = []
  let due: number | null = first
  if (first < now - MISSED_MS && schedule.missed !== 'all') {
    // One for all that were missed; it says the time of the first.
    if ((schedule.missed ?? 'once') === 'once') fire.push(first)
    due = nextDue(schedule, since, Math.max(first, now - MISSED_MS))
  }
  while (due !== null && due <= now && fire.length < AT_ONCE) {
    fire.push(due)
    due = nextDue(schedule, since, due)
  }
  return { fire, next: due }
}
