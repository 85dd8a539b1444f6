import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import type { ProjectRef } from '../../core/project.ts'
import type { TriggerSpec } from '../../core/trigger-spec.ts'
import type { Pump, SourceHost } from '../event-source.ts'
import { eventSourceConformance } from '../source-conformance.ts'
import { openPlace, type Place } from '../triggers-fixture.ts'
import { scheduleSource } from './schedule.ts'

const DEMO = 'demo' as ProjectRef
const HOUR_S = 3_600

/** Lets a due time come: each of its schedules is due at a whole second of its own, now. */
const isDue = ({ databases }: Place, n: number) => databases.control.sql`
  update mayfly.schedule set due_at = date_trunc('second', clock_timestamp()) - (20 - ${n}::int) * interval '1 second' where due_at is not null`

eventSourceConformance({
  kind: 'schedule',
  trigger: { schedule: { every: 365 * 86_400, timezone: 'UTC' } },
  cause: async (place, n) => {
    // What is new was looked at by now.
    await place.open().once(DEMO)
    await place.databases.control.sql`
      update mayfly.schedule set due_at = timestamptz '2000-01-01Z' + ${n}::int * interval '1 second'`
  },
  crashes: ['beforeFiringCommit', 'afterFiring'],
})

describe('a look at the schedules', () => {
  for (const [what, seen, restMs] of [
    ['none is there', { hasNew: false, hasWaiting: false, nextMs: null }, 1_000],
    ['the next is far', { hasNew: false, hasWaiting: false, nextMs: 3_600_000 }, 1_000],
    ['the next is near', { hasNew: false, hasWaiting: false, nextMs: 250.5 }, 251],
  ] as const)
    it(`asks once where ${what}, and comes again in ${restMs} ms`, async () => {
      let asked = 0
      const sql = async () => {
        asked++
        return [seen]
      }
      await using pump = scheduleSource.open?.({ control: { sql } } as unknown as SourceHost) as Pump
      assert.deepEqual([await pump.pass(new AbortController().signal), asked], [restMs, 1])
    })
})

describe('schedules', () => {
  let place: Place
  before(async () => {
    place = await openPlace()
  })
  after(async () => {
    await place.close()
  })
  afterEach(() => place.clear())

  const watch = async (schedule: Omit<NonNullable<TriggerSpec['schedule']>, 'timezone'>) => {
    await place.addFunction('f')
    const triggers = place.open()
    await triggers.put(DEMO, 'f', [{ schedule: { timezone: 'UTC', ...schedule } }])
    await triggers.once(DEMO)
    return triggers
  }
  const times = async () => (await place.queued()).map(({ payload }) => (JSON.parse(payload) as { time: string }).time)
  const endAll = () => place.databases.control.script('truncate mayfly.entry, mayfly.entry_payload')
  const states = async () => (await place.databases.control.sql<{ state: string }>`select state from mayfly.firing order by due_at`).map(({ state }) => state)
  /** Its node was away for so many of its hours. */
  const away = (hours: number) =>
    place.databases.control.sql`
    update mayfly.trigger set created_at = date_trunc('second', clock_timestamp()) - ${hours * HOUR_S + 1_800}::int * interval '1 second'`.then(
      () => place.databases.control.sql`
      update mayfly.schedule set due_at = (select created_at + ${HOUR_S}::int * interval '1 second' from mayfly.trigger where id = trigger_id)`,
    )

  it('runs what was missed as it says: none, one for all, or each', async () => {
    for (const [missed, runs] of [
      ['skip', 0],
      ['once', 1],
      ['all', 250],
    ] as const) {
      const triggers = await watch({ every: HOUR_S, missed })
      await away(250)
      for (let looks = 0; looks < 4; looks++) await triggers.once(DEMO)
      const all = await times()
      assert.equal(all.length, runs, missed)
      assert.equal(new Set(all).size, runs)
      await place.clear()
    }
  })
  it('lets a run begin beside the one before, leaves it out, or lets it wait, as it says', async () => {
    for (const [overlap, queued, said] of [
      ['allow', 3, ['over', 'over', 'over']],
      ['skip', 1, ['started', 'skipped', 'skipped']],
      ['queue', 1, ['started', 'waiting', 'waiting']],
    ] as const) {
      const triggers = await watch({ every: 7 * 86_400, overlap })
      for (const n of [1, 2, 3]) {
        await isDue(place, n)
        await triggers.once(DEMO)
      }
      assert.equal((await times()).length, queued, overlap)
      assert.deepEqual(await states(), said)
      await endAll()
      await triggers.once(DEMO)
      assert.equal((await times()).length, overlap === 'queue' ? 1 : 0, `${overlap}: when the first has ended`)
      await place.clear()
    }
  })
  it('is not run again by a clock that was set back, nor by the same due time looked at twice', async () => {
    const triggers = await watch({ every: 7 * 86_400 })
    await isDue(place, 1)
    const [before] = await place.databases.control.sql<{ due_at: Date }>`select due_at from mayfly.schedule`
    await triggers.once(DEMO)
    await place.databases.control.sql`update mayfly.schedule set due_at = ${before?.due_at ?? null}`
    await triggers.once(DEMO)
    assert.equal((await times()).length, 1)
  })
  it('says when a time comes that comes once, and never runs one that was past when it was said', async () => {
    const triggers = await watch({ at: '2000-01-01T00:00:00' })
    assert.equal((await times()).length, 0)
    await triggers.put(DEMO, 'f', [{ schedule: { at: '2999-01-01T00:00:00+09:00', timezone: 'UTC' } }])
    await triggers.once(DEMO)
    assert.deepEqual(
      (await triggers.of(DEMO, 'f')).map(({ nextAt }) => nextAt?.toISOString()),
      ['2998-12-31T15:00:00.000Z'],
    )
  })
})
