import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { noCrash } from '../core/crash.ts'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import type { ProjectRef } from '../core/project.ts'
import { systemClock } from '../lib/clock.ts'
import { uuidv7 } from '../lib/ids.ts'
import { Queues } from './service.ts'

const DEMO = 'demo' as ProjectRef
const never = new AbortController().signal

describe('Queues', () => {
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  before(async () => {
    opened = await openTestDatabases()
    await opened.databases.control.script(
      `begin; insert into mayfly.project (id, ref, name, state, data_key) values ('${randomUUID()}', 'demo', 'demo', 'active', ''), ('${randomUUID()}', 'other', 'other', 'active', ''); commit`,
    )
  })
  after(() => opened.close())
  const open = async (changes: Partial<ConstructorParameters<typeof Queues>[0]> = {}) => {
    const queues = new Queues({
      database: opened.databases.control,
      admitSpace: () => {},
      projectBytes: LIMITS.queueBytes.value,
      mostQueues: LIMITS.projectQueues.value,
      newId: () => uuidv7(systemClock.now()),
      crash: noCrash,
      clock: systemClock,
      log: silentLog,
      ...changes,
    })
    await queues.start()
    return queues
  }
  const letter = (body: string) => ({ body, sender: 'me', bytes: body.length })

  it('is known to the next life, and to its own project alone', async () => {
    {
      await using queues = await open()
      const queue = await queues.create(DEMO, 'kept', {})
      await queues.send(queue, [letter('one')])
    }
    await using queues = await open()
    assert.throws(() => queues.get('other' as ProjectRef, 'kept'), { code: 'queue_not_found' })
    const other = await queues.create('other' as ProjectRef, 'kept', {})
    const queue = queues.get(DEMO, 'kept')
    const [message] = await queues.receive(queue, { most: 10, waitMs: 0 }, never)
    assert.equal(message?.body, 'one')
    // A receipt opens nothing at the queue of another project.
    await assert.rejects(queues.done(other, message?.receipt ?? ''), { code: 'receipt_invalid' })
    await queues.hide(queue, message?.receipt ?? '', 0)
    await assert.rejects(queues.hide(queue, message?.receipt ?? '', 5), { code: 'message_not_in_flight' })
    await queues.remove(queue)
    assert.equal((await opened.databases.control.sql`select from mayfly.message`).length, 0)
    assert.equal((await opened.databases.control.sql`select from mayfly.message_body`).length, 0)
  })

  it('holds a project to what its queues and their messages may take', async () => {
    assert.deepEqual([LIMITS.projectQueues.error, LIMITS.queueBytes.error], ['queues_full', 'queue_storage_full'])
    await using queues = await open({ projectBytes: 1_000, mostQueues: 1 })
    const queue = await queues.create(DEMO, 'small', {})
    await assert.rejects(queues.create(DEMO, 'more', {}), { code: 'queues_full' })
    await assert.rejects(queues.create(DEMO, 'small', { visibilitySeconds: 1 }), { code: 'queue_exists' })
    await queues.send(queue, [letter('x'.repeat(700))])
    await assert.rejects(queues.send(queue, [letter('x'.repeat(700))]), { code: 'queue_storage_full' })
    const [message] = await queues.receive(queue, { most: 1, waitMs: 0 }, never)
    await queues.done(queue, message?.receipt ?? '')
    await queues.send(queue, [letter('x'.repeat(700))])
    await queues.remove(queue)
  })

  it('removes what is past its time, and leaves what is not', async () => {
    {
      await using queues = await open()
      const queue = await queues.create(DEMO, 'short', { retentionSeconds: 60 })
      await queues.send(queue, [letter('old'), letter('new')])
      await opened.databases.control
        .sql`update mayfly.message set sent_at = clock_timestamp() - interval '61 seconds' where id in (select message_id from mayfly.message_body where body = 'old')`
      assert.deepEqual(
        (await queues.receive(queue, { most: 10, waitMs: 0, visibilitySeconds: 0 }, never)).map(({ body }) => body),
        ['new'],
      )
    }
    await using _next = await open()
    const bodies = async () => (await opened.databases.control.sql<{ body: Buffer }>`select body from mayfly.message_body`).map(({ body }) => body.toString())
    while ((await bodies()).length > 1) await systemClock.sleep(20)
    assert.deepEqual(await bodies(), ['new'])
  })

  it('knows how much is in it without a look at all of it: what came, went, was given up, moved and purged', async () => {
    const { sql } = opened.databases.control
    await using queues = await open()
    const dead = await queues.create(DEMO, 'count-dead', {})
    const queue = await queues.create(DEMO, 'count', { deadLetter: { queue: 'count-dead', maxReceives: 1 } })
    const agree = async (told: string) => {
      for (const one of [queue, dead]) {
        const { visible, inFlight, delayed, bytes } = await queues.depth(one)
        const [row] = await sql<{ messages: string; bytes: string }>`
          select count(*) as messages, coalesce(sum(bytes), 0) as bytes from mayfly.message where queue_id = ${one.id}`
        assert.deepEqual([visible + inFlight + delayed, bytes], [Number(row?.messages), Number(row?.bytes)], `${told}: ${one.name}`)
      }
    }
    await queues.send(queue, ['a', 'b', 'c'].map(letter))
    await queues.send(queue, [{ ...letter('later'), delaySeconds: 900 }])
    await agree('sent')
    const [first] = await queues.receive(queue, { most: 1, waitMs: 0 }, never)
    const { oldestSentAt, ...now } = await queues.depth(queue)
    assert.deepEqual({ ...now, bytes: 0 }, { visible: 2, inFlight: 1, delayed: 1, bytes: 0 })
    // The oldest is found by ids, which within a millisecond are in no order.
    assert.ok(Math.abs(Number(oldestSentAt) - Number(first?.sentAt)) < 1_000, `${oldestSentAt?.toISOString()} is not ${first?.sentAt.toISOString()}`)
    await queues.done(queue, first?.receipt ?? '')
    await queues.done(queue, first?.receipt ?? '')
    await agree('done')
    await queues.receive(queue, { most: 10, waitMs: 0, visibilitySeconds: 0 }, never)
    await queues.receive(queue, { most: 10, waitMs: 0 }, never)
    await agree('given up')
    assert.equal((await queues.depth(dead)).visible, 2)
    const move = await queues.moves.begin(dead, null, null)
    while ((await queues.moves.find(move))?.state === 'RUNNING') await systemClock.sleep(10)
    await agree('moved')
    await queues.purge(queue)
    await agree('purged')
    await queues.send(dead, [letter('left')])
    {
      await using next = await open()
      assert.equal((await next.depth(next.get(DEMO, 'count-dead'))).visible, 1)
    }
    for (const one of [queue, dead]) await queues.remove(one)
  })

  it('gives what was sent together in its order, and shows the beginning of what is long', async () => {
    await using queues = await open()
    const queue = await queues.create(DEMO, 'order', {})
    const bodies = ['first', 'second', 'third', 'x'.repeat(LIMITS.shownPayload.value), 'y'.repeat(LIMITS.shownPayload.value + 1)]
    await queues.send(queue, bodies.map(letter))
    const seen = await queues.peek(queue, 10)
    assert.deepEqual(
      seen.map(({ body }) => body.toString()),
      bodies.map((body) => body.slice(0, LIMITS.shownPayload.value)),
    )
    assert.deepEqual(
      seen.map(({ bodyIsWhole }) => bodyIsWhole),
      [true, true, true, true, false],
    )
    const received = await queues.receive(queue, { most: 10, waitMs: 0 }, never)
    assert.deepEqual(
      received.map(({ body }) => body),
      bodies,
    )
    await queues.remove(queue)
  })

  it('gives back what was received as if it had not been, and nothing that another has by now', async () => {
    await using queues = await open()
    const queue = await queues.create(DEMO, 'back', {})
    await queues.send(queue, [letter('x')])
    const once = async () => (await queues.receive(queue, { most: 1, waitMs: 0 }, never))[0]
    const first = await once()
    await queues.giveBack(queue, [first?.receipt ?? ''])
    const second = await once()
    assert.deepEqual([first?.receiveCount, second?.receiveCount], [1, 1])
    await queues.hide(queue, second?.receipt ?? '', 0)
    const third = await once()
    assert.equal(third?.receiveCount, 2)
    await queues.giveBack(queue, [second?.receipt ?? ''])
    assert.equal(await once(), undefined)
    await queues.done(queue, third?.receipt ?? '')
    await queues.remove(queue)
  })

  it('are copied to another project without their messages, once', async () => {
    await using queues = await open()
    await queues.create(DEMO, 'two', {})
    const one = await queues.create(DEMO, 'one', { visibilitySeconds: 5, deadLetter: { queue: 'two', maxReceives: 2 } }, { team: 'a' })
    await queues.send(one, [letter('x')])
    const other = 'other' as ProjectRef
    for (let times = 0; times < 2; times++) await queues.cloneProject(DEMO, other)
    const copy = queues.get(other, 'one')
    assert.deepEqual([copy.settings, copy.tags, (await queues.depth(copy)).visible], [one.settings, { team: 'a' }, 0])
    assert.notEqual(copy.id, one.id)
    // What is given up by the copy stays in its project.
    await queues.send(copy, [letter('own')])
    for (let times = 0; times < 3; times++) await queues.receive(copy, { most: 1, waitMs: 0, visibilitySeconds: 0 }, never)
    assert.deepEqual(await Promise.all([queues.get(other, 'two'), queues.get(DEMO, 'two')].map(async (queue) => (await queues.depth(queue)).visible)), [1, 0])
    for (const ref of [DEMO, other]) for (const name of ['one', 'two']) await queues.remove(queues.get(ref, name))
  })

  it('moves back once at a time', async () => {
    await using queues = await open()
    const dead = await queues.create(DEMO, 'graves', {})
    await queues.create(DEMO, 'source', { deadLetter: { queue: 'graves', maxReceives: 1 } })
    await queues.send(
      dead,
      Array.from({ length: 3 }, () => letter('x')),
    )
    const id = await queues.moves.begin(dead, queues.get(DEMO, 'source'), 1)
    await assert.rejects(queues.moves.begin(dead, null, null), { code: 'move_running' })
    assert.equal((await queues.moves.cancel(id))?.state, 'CANCELLED')
    assert.equal(await queues.moves.cancel(id), null)
  })

  it('moves back no more in a second than it was told', async () => {
    const waits: number[] = []
    // Each wait of a move, from the moment at which it began, without the waiting.
    const clock = {
      ...systemClock,
      monotonic: () => 0,
      sleep: async (ms: number, signal?: AbortSignal) => (ms === 1_000 || ms === 500 ? void waits.push(ms) : systemClock.sleep(ms, signal)),
    }
    await using queues = await open({ clock })
    const dead = await queues.create(DEMO, 'slowly', {})
    const to = await queues.create(DEMO, 'there', {})
    await queues.send(
      dead,
      Array.from({ length: 5 }, () => letter('x')),
    )
    const id = await queues.moves.begin(dead, to, 2)
    while ((await queues.moves.find(id))?.state === 'RUNNING') await systemClock.sleep(10)
    assert.deepEqual(waits, [1_000, 1_000, 500], 'two, two, and the last one')
    assert.equal((await queues.depth(to)).visible, 5)
  })
})
