import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import type { Database } from '../backends/database/database.ts'
import { LIMITS } from '../core/limits.ts'
import type { ProjectRef } from '../core/project.ts'
import type { TriggerSpec } from '../core/trigger-spec.ts'
import { systemClock } from '../lib/clock.ts'
import { openPlace, type Place } from './triggers-fixture.ts'

const DEMO = 'demo' as ProjectRef
const on = (bucket: string, more: Partial<TriggerSpec['object']> = {}): TriggerSpec => ({ object: { bucket, events: ['created'], ...more } })

describe('Triggers', () => {
  let place: Place
  before(async () => {
    place = await openPlace()
  })
  after(async () => {
    await place.close()
  })
  afterEach(() => place.clear())

  const subscriptions = async (database: Database = place.own) =>
    (await database.sql<{ source: string; events: string[] }>`select source, events from mayfly.subscription order by source`).map((one) => [
      one.source,
      one.events.join(),
    ])
  const until = async (what: () => boolean | Promise<boolean>, ms = 10_000) => {
    for (const end = performance.now() + ms; performance.now() < end; await systemClock.sleep(10)) if (await what()) return
    assert.fail('it did not come to that')
  }

  it('are in force in the project when they are answered, and stand there as they were said', async () => {
    await place.addFunction('f')
    const triggers = place.open()
    const { changed, triggers: made } = await triggers.put(DEMO, 'f', [
      on('a'),
      on('b', { events: ['removed', 'created'], prefix: ['x/'], suffix: ['.JPG', '.jpg'] }),
    ])
    assert.equal(changed, true)
    assert.deepEqual(await subscriptions(), [
      ['a', 'created'],
      ['b', 'created,removed'],
    ])
    assert.deepEqual(
      made.map(({ spec }) => spec),
      [{ object: { bucket: 'a', events: ['created'] } }, { object: { bucket: 'b', events: ['created', 'removed'], prefix: ['x/'], suffix: ['.jpg'] } }],
    )
    assert.deepEqual(await triggers.of(DEMO, 'f'), made)
    assert.deepEqual(await triggers.list(DEMO), made)
  })
  it('say what is not there that they wait for, whatever its name, until it is', async () => {
    const triggers = place.open({ hasBucket: async (_ref, name) => name === 'there' })
    const rows = (table: string): TriggerSpec => ({ row: { table, events: ['insert'] } })
    const all = [
      on('there'),
      on('gone'),
      on('gone'),
      { ...on('off'), enabled: false },
      rows('public.Items'),
      rows(`public.a'"b`),
      { queue: { name: 'q', batchSize: 1 } },
    ]
    const lacking = await triggers.warnings(DEMO, all)
    assert.deepEqual(
      lacking.map((text) => /^nothing starts it until there is (the (?:bucket|table) .+?): make it/.exec(text)?.[1]),
      ['the bucket "gone"', 'the table public.Items', `the table public.a'"b`],
    )
    await place.own.script('create table public."Items" (id int primary key); create view public.seen as select 1')
    assert.deepEqual(await triggers.warnings(DEMO, [rows('public.Items')]), [])
    assert.equal((await triggers.warnings(DEMO, [rows('public.seen')])).length, 1, 'a view has no rows of its own')
    await place.own.script('drop table public."Items"; drop view public.seen')
    const at = (time: string) => ({ schedule: { at: time, timezone: 'Asia/Seoul' } }) as const
    assert.deepEqual(await triggers.warnings(DEMO, [at('2020-01-01T00:00:00'), at('2999-01-01T00:00:00Z'), { ...at('2020-01-01T00:00:00'), enabled: false }]), [
      'triggers: the time of the schedule 2020-01-01T00:00:00 (Asia/Seoul) is over; it starts nothing.',
    ])
  })
  it('change nothing when the same is said again, in whatever order; keep what stays, and put away what goes', async () => {
    await place.addFunction('f')
    const triggers = place.open()
    const first = await triggers.put(DEMO, 'f', [on('a'), on('b', { suffix: ['.x', '.y'] })])
    const again = await triggers.put(DEMO, 'f', [on('b', { suffix: ['.Y', '.x'] }), on('a'), on('a')])
    assert.deepEqual([again.changed, again.triggers], [false, first.triggers])
    const next = await triggers.put(DEMO, 'f', [on('a'), on('c')])
    assert.equal(next.triggers.find((one) => one.spec.object?.bucket === 'a')?.id, first.triggers.find((one) => one.spec.object?.bucket === 'a')?.id)
    assert.deepEqual(await subscriptions(), [
      ['a', 'created'],
      ['c', 'created'],
    ])
    assert.deepEqual((await triggers.put(DEMO, 'f', [])).triggers, [])
    assert.deepEqual(await subscriptions(), [])
  })
  it('touch only those of their own function', async () => {
    await place.addFunction('f')
    await place.addFunction('g')
    const triggers = place.open()
    await triggers.put(DEMO, 'f', [on('a')])
    await triggers.put(DEMO, 'g', [on('b')])
    await triggers.put(DEMO, 'f', [])
    assert.deepEqual(await subscriptions(), [['b', 'created']])
    assert.deepEqual(
      (await triggers.list(DEMO)).map((one) => one.function),
      ['g'],
    )
  })
  it('of a function that is not there are refused, and change nothing', async () => {
    const triggers = place.open()
    await assert.rejects(triggers.put(DEMO, 'none', [on('a')]), { code: 'function_not_found' })
    await assert.rejects(triggers.of(DEMO, 'none'), { code: 'function_not_found' })
    await assert.rejects(triggers.put('gone' as ProjectRef, 'f', [on('a')]), { code: 'project_not_found' })
    assert.deepEqual(await subscriptions(), [])
  })
  it('of a function that is deleted while they are put are refused too', async () => {
    const id = await place.addFunction('f')
    let asked = 0
    const triggers = place.open({
      functions: {
        get: async () => {
          if (asked++ > 0) throw Object.assign(new Error('gone'), { code: 'function_not_found' })
          await place.removeFunction('f')
          return { id }
        },
      },
    })
    await assert.rejects(triggers.put(DEMO, 'f', [on('a')]), { code: 'function_not_found' })
    assert.deepEqual(await triggers.list(DEMO), [])
  })
  it('put twenty times at once end as one of them said, with no double', async () => {
    await place.addFunction('f')
    const triggers = place.open()
    await Promise.all(Array.from({ length: 20 }, (_, n) => triggers.put(DEMO, 'f', [on(`b${n % 3}`), on('always')])))
    const now = await triggers.of(DEMO, 'f')
    assert.equal(now.length, 2)
    assert.deepEqual(
      (await subscriptions()).map(([source]) => source),
      now.map((one) => one.spec.object?.bucket).toSorted(),
    )
  })
  it('and a deletion of their function at once come to an end, without a deadlock', async () => {
    const triggers = place.open()
    for (let n = 0; n < 10; n++) {
      await place.addFunction('f')
      await triggers.put(DEMO, 'f', [on('a')])
      const [put] = await Promise.allSettled([triggers.put(DEMO, 'f', [on('b'), on('c')]), place.removeFunction('f')])
      if (put.status === 'rejected') assert.equal((put.reason as { code: string }).code, 'function_not_found')
      await triggers.functionGone(DEMO)
      assert.deepEqual([await triggers.list(DEMO), await subscriptions()], [[], []])
    }
  })
  it('go with their function, from the mirror too; a function of the same name begins without', async () => {
    await place.addFunction('f')
    const triggers = place.open()
    await triggers.put(DEMO, 'f', [on('a')])
    await place.removeFunction('f')
    await triggers.functionGone(DEMO)
    assert.deepEqual([await subscriptions(), await triggers.list(DEMO)], [[], []])
    await place.addFunction('f')
    assert.deepEqual(await triggers.of(DEMO, 'f'), [])
  })
  it('go with their project, and leave nothing', async () => {
    const other = await place.addProject('other')
    await place.addFunction('f', other)
    const triggers = place.open()
    await triggers.put(other.ref, 'f', [on('a')])
    await triggers.dropProject(other.ref)
    await place.databases.dropProject('other')
    await place.databases.control.sql`delete from mayfly.project where ref = 'other'`
    for (const table of ['trigger', 'mirror', 'relayed']) {
      const left = table === 'trigger' ? place.databases.control.sql`select from mayfly.trigger` : place.databases.control.sql`select from mayfly.mirror`
      assert.deepEqual(await left, [], table)
    }
    triggers.wake(other.ref)
  })
  it('that a kill left half put are in force soon after the next start, and no sooner is the mirror called reached', async () => {
    await place.addFunction('f')
    // The node dies between its two databases: what is wanted stands in control, and nothing of it in the project.
    const cut = place.open({
      databases: {
        control: place.databases.control,
        openProject: () => Promise.reject(new Error('killed')),
        openOwner: () => Promise.reject(new Error('killed')),
        status: async () => [],
        brokenOff: async () => [],
      },
    })
    await assert.rejects(cut.put(DEMO, 'f', [on('a')]), /killed/)
    assert.deepEqual(await subscriptions(), [])
    const triggers = place.open()
    await triggers.start()
    await until(async () => (await subscriptions()).length === 1)
    // And between the project's commit and its note of it.
    await place.databases.control.sql`update mayfly.mirror set reached = 0`
    await until(async () => (await place.databases.control.sql`select from mayfly.mirror where wanted <> reached`).length === 0)
    assert.deepEqual(await subscriptions(), [['a', 'created']])
  })
  it('are brought to a project that was away, without asking it all the time', async () => {
    await place.addFunction('f')
    let asked = 0
    let away = true
    const { databases } = place
    const triggers = place.open({
      databases: {
        control: databases.control,
        status: () => databases.status(),
        brokenOff: async () => [],
        openOwner: (ref) => databases.openOwner(ref),
        openProject: async (ref) => {
          asked++
          if (away) throw new Error('it is away')
          return await databases.openProject(ref)
        },
      },
    })
    await triggers.start()
    await assert.rejects(triggers.put(DEMO, 'f', [on('a')]), /away/)
    await systemClock.sleep(3_000)
    assert.ok(asked >= 2 && asked <= 8, `${asked} times in 3 s`)
    away = false
    await until(async () => (await subscriptions()).length === 1)
  })
  it('are brought to one project while another does not answer', async () => {
    await place.addFunction('f')
    const slow = await place.addProject('slow')
    await place.addFunction('g', slow)
    let away = true
    const held = Promise.withResolvers<void>()
    const { databases } = place
    const triggers = place.open({
      databases: {
        control: databases.control,
        status: () => databases.status(),
        brokenOff: async () => [],
        openOwner: (ref) => databases.openOwner(ref),
        openProject: async (ref) => {
          if (away) throw new Error('it is away')
          if (ref === 'slow') await held.promise
          return await databases.openProject(ref)
        },
      },
    })
    await assert.rejects(triggers.put(slow.ref, 'g', [on('b')]), /away/)
    await assert.rejects(triggers.put(DEMO, 'f', [on('a')]), /away/)
    away = false
    await triggers.start()
    await until(async () => (await subscriptions()).length === 1)
    // Behind again, while the slow one is still waited for.
    await databases.control.sql`update mayfly.mirror set wanted = wanted + 1 from mayfly.project where project.id = project_id and ref = ${DEMO}`
    const behind = async () =>
      (await databases.control.sql<{ ref: string }>`select ref from mayfly.mirror join mayfly.project on id = project_id where wanted <> reached`).map(
        ({ ref }) => ref,
      )
    await until(async () => (await behind()).join() === 'slow')
    held.resolve()
    await until(async () => (await behind()).length === 0)
    assert.deepEqual(await subscriptions(await databases.openProject('slow')), [['b', 'created']])
  })
  it('are at most LIMITS.projectTriggers of a project', async () => {
    const most = LIMITS.projectTriggers.value
    const perFunction = LIMITS.functionTriggers.value
    const triggers = place.open()
    for (let n = 0; n < most / perFunction; n++) {
      await place.addFunction(`f${n}`)
      await triggers.put(
        DEMO,
        `f${n}`,
        Array.from({ length: perFunction }, (_, at) => on(`b${at}`)),
      )
    }
    await place.addFunction('more')
    await assert.rejects(triggers.put(DEMO, 'more', [on('a')]), { code: 'bad_request' })
    await triggers.put(DEMO, 'f0', [])
    await triggers.put(DEMO, 'more', [on('a')])
    assert.equal((await triggers.list(DEMO)).length, most - perFunction + 1)
  })
})
