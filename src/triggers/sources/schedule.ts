import type { Entered, NewEntry } from '../../invoke/index.ts'
import type { EventSource, Pump, SourceHost } from '../event-source.ts'
import { nextDue, type Schedule, takeDue } from '../schedule/due.ts'
import {
  deleteOldFirings,
  type DueSchedule,
  insertFiring,
  insertSchedule,
  lockDue,
  moveSchedule,
  type Outlook,
  selectDue,
  selectNewSchedules,
  selectOpen,
  selectOutlook,
  updateFiring,
} from '../schedule/store.ts'

const LOOK_MS = 1_000
const LIMIT = 200
/** Of one schedule whose runs wait for each other. */
const WAITING = 100
const KEPT_SECONDS = 86_400
const ACCOUNT = '000000000000'

interface ScheduleDefinition {
  readonly schedule: Schedule
  readonly enabled?: false
}

/** Times that come again and again, by the clock of the control database. */
export const scheduleSource: EventSource<'schedule'> = { kind: 'schedule', open: (host) => new Schedules(host) }

class Schedules implements Pump {
  readonly #host: SourceHost

  constructor(host: SourceHost) {
    this.#host = host
  }

  async pass(signal: AbortSignal): Promise<number> {
    const { control } = this.#host
    // Mostly there is nothing to do, which one look tells.
    const seen = await selectOutlook(control.sql)
    if (!seen.hasNew && !seen.hasWaiting && (seen.nextMs === null || seen.nextMs > 0)) return restOf(seen)
    for (const { id, definition, createdAt } of await selectNewSchedules(control.sql)) {
      const { schedule } = definition as ScheduleDefinition
      const since = createdAt.getTime()
      await insertSchedule(control.sql, id, dateOf(nextDue(schedule, since, since)))
    }
    for (const id of await selectDue(control.sql, LIMIT)) {
      if (signal.aborted) break
      await this.#fire(id)
    }
    return restOf(await selectOutlook(control.sql))
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #fire(triggerId: string): Promise<void> {
    const { control, crash } = this.#host
    let entered: Entered | null = null
    await control.transaction(async (tx) => {
      const due = await lockDue(tx, triggerId)
      if (!due) return
      entered = await this.#take(tx, triggerId, due)
      crash('beforeFiringCommit')
    })
    crash('afterFiring')
    ;(entered as Entered | null)?.committed()
  }

  async #take(tx: Parameters<Parameters<SourceHost['control']['transaction']>[0]>[0], triggerId: string, due: DueSchedule): Promise<Entered> {
    const { queue } = this.#host
    const { schedule, enabled } = due.definition as ScheduleDefinition
    const overlap = schedule.overlap ?? 'allow'
    const now = due.now.getTime()
    const entries: NewEntry[] = []
    const start = (at: number): string => {
      const entry = this.#entry(due, at)
      entries.push(entry)
      return entry.id
    }
    // Of those before it: which are still to end, and which wait for that.
    const open = overlap === 'allow' ? [] : await selectOpen(tx, triggerId)
    const there = await queue.stillThere(
      tx,
      open.flatMap(({ state, entryId }) => (state === 'started' && entryId !== null ? [entryId] : [])),
    )
    for (const { dueAt, state, entryId } of open)
      if (state === 'started' && !(entryId !== null && there.has(entryId))) await updateFiring(tx, triggerId, dueAt, 'over', null)
    const waiting = open.filter(({ state }) => state === 'waiting').map(({ dueAt }) => dueAt)
    let busy = there.size > 0
    const first = waiting[0]
    if (!busy && first !== undefined) {
      await updateFiring(tx, triggerId, first, 'started', start(first.getTime()))
      waiting.shift()
      busy = true
    }
    if (due.dueAt !== null && due.dueAt.getTime() <= now) {
      const { fire, next } = takeDue(schedule, due.createdAt.getTime(), due.dueAt.getTime(), now)
      for (const at of enabled === false ? [] : fire) {
        const dueAt = new Date(at)
        if (overlap === 'allow' || !busy) {
          const entry = this.#entry(due, at)
          if (await insertFiring(tx, triggerId, dueAt, overlap === 'allow' ? 'over' : 'started', entry.id)) {
            entries.push(entry)
            busy = true
          }
        } else if (overlap === 'queue' && waiting.length < WAITING) {
          if (await insertFiring(tx, triggerId, dueAt, 'waiting', null)) waiting.push(dueAt)
        } else await insertFiring(tx, triggerId, dueAt, 'skipped', null)
      }
      await moveSchedule(tx, triggerId, dateOf(next))
      await deleteOldFirings(tx, triggerId, KEPT_SECONDS)
    }
    return await queue.enqueueIn(tx, entries)
  }

  /** As EventBridge tells of a schedule. */
  #entry({ project, functionId, functionName }: DueSchedule, at: number): NewEntry {
    const { newId, region } = this.#host
    const id = newId()
    const event = {
      version: '0',
      id,
      'detail-type': 'Scheduled Event',
      source: 'aws.events',
      account: ACCOUNT,
      time: `${new Date(at).toISOString().slice(0, 19)}Z`,
      region,
      resources: [`arn:aws:events:${region}:${ACCOUNT}:rule/${functionName}`],
      detail: {},
    }
    return { id, project, functionId, functionName, traceId: null, clientContext: null, depth: 0, payload: Buffer.from(JSON.stringify(event)) }
  }
}

const dateOf = (ms: number | null): Date | null => (ms === null ? null : new Date(ms))
const restOf = ({ nextMs }: Outlook): number => Math.min(LOOK_MS, Math.max(1, Math.ceil(nextMs ?? LOOK_MS)))
