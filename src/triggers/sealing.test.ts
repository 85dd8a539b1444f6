import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { DatabaseError } from '../backends/database/database.ts'
import type { ProjectRef } from '../core/project.ts'
import { systemClock } from '../lib/clock.ts'
import { openPlace, type Place } from './triggers-fixture.ts'

const DEMO = 'demo' as ProjectRef

describe('an outbox is sealed', () => {
  let place: Place
  before(async () => {
    place = await openPlace()
    await place.own.script('create table public.noted (n int)')
  })
  after(() => place.close())
  afterEach(() => place.clear())

  const opened = async () => {
    const triggers = place.open()
    await place.addFunction('f')
    await triggers.put(DEMO, 'f', [{ object: { bucket: 'in', events: ['created'] } }])
    return triggers
  }
  const PUBLISH = `select mayfly.publish('object', 'in', 'created', '{"key":"a","size":3,"eTag":"e","sequencer":"0001"}')`
  const reach = () => place.databases.projectConnection('demo')
  const entries = async () => (await place.databases.control.sql`select from mayfly.entry`).length
  const lies = async () => (await place.own.sql`select from mayfly.outbox`).length
  /** Somebody in the middle of a transaction that has caused an event. */
  const inTheMiddle = async (hold: Promise<void>) => {
    const caused = Promise.withResolvers<void>()
    const done = place.own.transaction(async (tx) => {
      await tx`select mayfly.publish('object', 'in', 'created', '{"key":"a","size":3,"eTag":"e","sequencer":"0001"}')`
      caused.resolve()
      await hold
    })
    done.catch(() => {})
    await caused.promise
    return { done }
  }
  const waitsForLock = async () => {
    for (;;) {
      const rows = await place.own.sql`select from pg_locks where relation = 'mayfly.outbox'::regclass and not granted`
      if (rows.length > 0) return
      await systemClock.sleep(5)
    }
  }

  it('when what is being caused has been committed and handed on; from then on nobody commits an event', async () => {
    const triggers = await opened()
    const hold = Promise.withResolvers<void>()
    const slow = await inTheMiddle(hold.promise)
    const sealing = triggers.seal(DEMO, reach)
    await waitsForLock()
    hold.resolve()
    await slow.done
    {
      await using sealed = await sealing
      assert.ok(sealed)
      assert.deepEqual([await entries(), await lies()], [1, 0])
      await assert.rejects(place.own.script(`set lock_timeout = 100; ${PUBLISH}`), (error) => error instanceof DatabaseError && error.sqlState === '55P03')
      // What causes nothing goes on.
      await place.own.script('insert into public.noted values (1)')
    }
    await place.own.script(PUBLISH)
  })

  it('by ending who does not come to an end: that is not acknowledged, and nothing of it is there', async () => {
    const triggers = await opened()
    const never = Promise.withResolvers<void>()
    const stuck = await inTheMiddle(never.promise)
    await using sealed = await triggers.seal(DEMO, reach)
    assert.ok(sealed)
    never.resolve()
    await assert.rejects(stuck.done, DatabaseError)
    assert.deepEqual([await entries(), await lies()], [0, 0])
  })

  it('not at all where nothing waits for events', async () => {
    assert.equal(await place.open().seal(DEMO, reach), null)
  })
})
