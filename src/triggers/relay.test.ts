import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import type { Database, Tx } from '../backends/database/database.ts'
import { DatabaseError } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { ProjectRef } from '../core/project.ts'
import { systemClock } from '../lib/clock.ts'
import { uuidv7 } from '../lib/ids.ts'
import { Relay, type RelayDeps } from './relay.ts'
import { eventSources } from './sources.ts'
import { cutting, openPlace, type Place } from './triggers-fixture.ts'

const DEMO = 'demo' as ProjectRef
const never = new AbortController().signal

interface Entry {
  readonly name: string
  readonly depth: number
  readonly key: string
  readonly event: { readonly Records: readonly Record<string, unknown>[] }
}

describe('Relay', () => {
  let place: Place
  before(async () => {
    place = await openPlace()
  })
  after(async () => {
    await place.close()
  })
  afterEach(() => place.clear())

  const watch = async (...functions: string[]) => {
    const triggers = place.open()
    for (const name of functions) {
      await place.addFunction(name)
      await triggers.put(DEMO, name, [{ object: { bucket: 'in', events: ['created', 'removed'] } }])
    }
    return triggers
  }
  const publish = (sql: Database['sql'] | Tx, key: string, event = 'created', data: object = {}) => sql`
    select mayfly.publish('object', 'in', ${event}, ${JSON.stringify({ key, size: 3, eTag: 'e', sequencer: '0001', ...data })}::jsonb)`
  const relay = (changes: Partial<RelayDeps> = {}) =>
    new Relay(
      {
        sources: new Map(eventSources().map((source) => [source.kind, source])),
        databases: place.databases,
        queue: place.queue,
        loopers: async () => new Set(),
        functionId: async () => null,
        newId: () => uuidv7(systemClock.now()),
        region: 'us-east-1',
        crash: () => {},
        ...changes,
      },
      place.project,
    )
  const entries = async (): Promise<Entry[]> =>
    (
      await place.databases.control.sql<{ name: string; depth: number; payload: Buffer }>`
        select function_name as name, depth, payload from mayfly.entry_payload join mayfly.entry on id = entry_id order by entry_id`
    ).map(({ name, depth, payload }) => {
      const event = JSON.parse(payload.toString()) as Entry['event']
      return { name, depth, event, key: (event.Records[0] as { s3: { object: { key: string } } }).s3.object.key }
    })
  const letters = () => place.databases.control.sql<{ function_name: string; reason: string }>`select function_name, reason from mayfly.dead_letter`
  const left = async () => [(await place.own.sql`select from mayfly.outbox`).length, (await place.databases.control.sql`select from mayfly.relayed`).length]
  const until = async (what: () => boolean | Promise<boolean>, ms = 10_000) => {
    for (const end = performance.now() + ms; performance.now() < end; await systemClock.sleep(10)) if (await what()) return
    assert.fail('it did not come to that')
  }

  it('makes an entry of each event for each of its triggers, and leaves nothing behind', async () => {
    await watch('f', 'g')
    await publish(place.own.sql, 'a.jpg')
    await publish(place.own.sql, 'a.jpg', 'removed')
    assert.equal(await relay().run(never), true)
    assert.deepEqual((await entries()).map(({ name, event }) => `${name} ${(event.Records[0] as { eventName: string }).eventName}`).toSorted(), [
      'f ObjectCreated:Put',
      'f ObjectRemoved:Delete',
      'g ObjectCreated:Put',
      'g ObjectRemoved:Delete',
    ])
    assert.deepEqual(await left(), [0, 0])
  })
  it('hands on only what matches the keys that a trigger asks for', async () => {
    const triggers = place.open()
    await place.addFunction('f')
    await triggers.put(DEMO, 'f', [{ object: { bucket: 'in', events: ['created'], prefix: ['a/', 'b/'], suffix: ['.jpg', '.JPEG'] } }])
    const right = ['a/x.jpg', 'b/x.JPG', 'a/.jpeg']
    for (const key of [...right, 'c/x.jpg', 'a/x.png', 'A/x.jpg', 'a/x.jpg.txt']) await publish(place.own.sql, key)
    await publish(place.own.sql, 'a/x.jpg', 'removed')
    await relay().run(never)
    assert.deepEqual((await entries()).map(({ key }) => key).toSorted(), right.toSorted())
    assert.deepEqual(await left(), [0, 0])
  })
  it('tells nothing of a cause that was rolled back', async () => {
    await watch('f')
    await place.own
      .transaction(async (tx) => {
        await publish(tx, 'never')
        throw new Error('no')
      })
      .catch(() => {})
    await relay().run(never)
    assert.deepEqual(await entries(), [])
  })
  it('loses nothing of two writers that commit in the other order than they began', async () => {
    await watch('f')
    const began = Promise.withResolvers<void>()
    const may = Promise.withResolvers<void>()
    const slow = place.own.transaction(async (tx) => {
      await publish(tx, 'first')
      began.resolve()
      await may.promise
    })
    await began.promise
    await publish(place.own.sql, 'second')
    const one = relay()
    await one.run(never)
    assert.deepEqual(
      (await entries()).map(({ key }) => key),
      ['second'],
    )
    may.resolve()
    await slow
    await one.run(never)
    assert.deepEqual((await entries()).map(({ key }) => key).toSorted(), ['first', 'second'])
  })
  it('moves 1000 events, in more than one batch, each once', async () => {
    await watch('f')
    await place.own.sql`select mayfly.publish('object', 'in', 'created', jsonb_build_object('key', n::text)) from generate_series(1, 1000) n`
    await relay().run(never)
    const keys = (await entries()).map(({ key }) => key)
    assert.deepEqual([keys.length, new Set(keys).size], [1000, 1000])
    assert.deepEqual(await left(), [0, 0])
  })

  it('neither loses nor doubles anything, at whatever step it is cut', async () => {
    await watch('f', 'g')
    let at = 0
    for (let cuts = 0, done = false; !done; cuts++) {
      for (const when of ['before', 'after'] as const) {
        await place.databases.control.script('truncate mayfly.relayed, mayfly.entry, mayfly.entry_payload')
        await publish(place.own.sql, 'one')
        await publish(place.own.sql, 'two')
        at = 0
        const cutHere = async <T>(work: () => Promise<T>): Promise<T> => {
          const mine = at++ === cuts
          if (mine && when === 'before') throw new Error('cut')
          const result = await work()
          if (mine) throw new Error('cut')
          return result
        }
        const cut = relay({
          databases: { control: cutting(place.databases.control, cutHere), openProject: async () => cutting(place.own, cutHere) },
          crash: () => {
            if (at++ === cuts) throw new Error('cut')
          },
        })
        const wasCut = await cut.run(never).then(
          () => false,
          () => true,
        )
        await relay().run(never)
        const found = (await entries()).map(({ name, key }) => `${name} ${key}`).toSorted()
        assert.deepEqual(found, ['f one', 'f two', 'g one', 'g two'], `cut ${when} step ${cuts}`)
        assert.deepEqual(await left(), [0, 0], `cut ${when} step ${cuts}`)
        if (!wasCut) done = true
      }
    }
    assert.ok(at >= 12, `only ${at} steps were cut`)
  })
  it('leaves a project to the relay that works on it: each event once', async () => {
    await watch('f')
    await place.own.sql`select mayfly.publish('object', 'in', 'created', jsonb_build_object('key', n::text)) from generate_series(1, 1500) n`
    const began = Promise.withResolvers<void>()
    const may = Promise.withResolvers<void>()
    const slow = relay({
      queue: {
        enqueueIn: async (...what) => {
          began.resolve()
          await may.promise
          return await place.queue.enqueueIn(...what)
        },
      },
    }).run(never)
    await began.promise
    assert.equal(await relay().run(never), false)
    assert.deepEqual(await entries(), [])
    may.resolve()
    await Promise.all([slow, relay().run(never), relay().run(never)])
    await relay().run(never)
    const keys = (await entries()).map(({ key }) => key)
    assert.deepEqual([keys.length, new Set(keys).size], [1500, 1500])
    assert.deepEqual(await left(), [0, 0])
  })
  it('drops what waits for a trigger that was removed, and buries what waits for a function that was', async () => {
    const triggers = await watch('f', 'g', 'stays')
    await publish(place.own.sql, 'x')
    await triggers.put(DEMO, 'f', [])
    await place.removeFunction('g')
    await triggers.functionGone(DEMO)
    await publish(place.own.sql, 'y')
    await relay().run(never)
    assert.deepEqual((await entries()).map(({ name, key }) => `${name} ${key}`).toSorted(), ['stays x', 'stays y'])
    assert.deepEqual(await letters(), [{ function_name: 'g', reason: 'function_gone' }])
    assert.deepEqual(await left(), [0, 0])
  })
  it('ends a loop at LIMITS.callDepth with a dead letter, and no call before', async () => {
    await watch('f')
    for (const depth of [LIMITS.callDepth.value - 1, LIMITS.callDepth.value])
      await place.own.transaction(async (tx) => {
        await tx`select set_config('mayfly.depth', ${String(depth)}, true)`
        await publish(tx, `deep ${depth}`)
      })
    await relay().run(never)
    assert.deepEqual(
      (await entries()).map(({ depth }) => depth),
      [LIMITS.callDepth.value - 1],
    )
    assert.deepEqual(await letters(), [{ function_name: 'f', reason: 'recursion' }])
    const [letter] = await place.queue.letters.list(DEMO, { functionName: 'f', reason: null, errorType: null, from: null, to: null, after: null }, 10)
    assert.deepEqual([letter?.errorType, letter?.attempts], ['recursion_too_deep', 0])
  })
  it('lets a function whose loops are allowed go on past it', async () => {
    await watch('f', 'g')
    await place.own.transaction(async (tx) => {
      await tx`select set_config('mayfly.depth', ${String(LIMITS.callDepth.value)}, true)`
      await publish(tx, 'deep')
    })
    await relay({ loopers: async (project) => new Set(project === DEMO ? ['g'] : []) }).run(never)
    assert.deepEqual(
      (await entries()).map(({ name, depth }) => [name, depth]),
      [['g', LIMITS.callDepth.value]],
    )
    assert.deepEqual(await letters(), [{ function_name: 'f', reason: 'recursion' }])
  })
  it('starts the function that SQL names when its transaction commits, with the id that SQL was told, and buries what names none', async () => {
    const f = await place.addFunction('f')
    const invoke = async (sql: Database['sql'] | Tx, name: string) => (await sql<{ id: string }>`select mayfly.invoke(${name}, '{"n": 1}') as id`)[0]?.id
    await place.own
      .transaction(async (tx) => {
        await invoke(tx, 'f')
        throw new Error('no')
      })
      .catch(() => {})
    const id = await place.own.transaction((tx) => invoke(tx, 'f'))
    await invoke(place.own.sql, 'nobody')
    await place.own.transaction(async (tx) => {
      await tx`select set_config('mayfly.depth', ${String(LIMITS.callDepth.value)}, true)`
      await invoke(tx, 'f')
    })
    await relay({ functionId: async (_, name) => (name === 'f' ? f : null) }).run(never)
    const queued = await place.databases.control.sql<{ id: string; payload: Buffer }>`select entry_id as id, payload from mayfly.entry_payload`
    assert.deepEqual(
      queued.map((one) => [one.id, one.payload.toString()]),
      [[id, '{"n":1}']],
    )
    assert.deepEqual((await letters()).map(({ function_name, reason }) => `${function_name} ${reason}`).toSorted(), ['f recursion', 'nobody function_gone'])
    assert.deepEqual(await left(), [0, 0])
    await assert.rejects(invoke(place.own.sql, 'a; b'), { sqlState: '22023' })
    await assert.rejects(place.own.sql`select mayfly.invoke('f', jsonb_build_object('a', repeat('x', 70000)))`, { sqlState: '54000' })
  })
  it('survives what it cannot read: such an event is dropped, those beside it are not', async () => {
    await watch('f')
    await place.own.sql`select mayfly.publish('object', 'in', 'created', '"nonsense"'), mayfly.publish('object', 'in', 'created', '{"key": 7}')`
    await publish(place.own.sql, 'fine')
    await relay().run(never)
    assert.deepEqual(
      (await entries()).map(({ key }) => key),
      ['fine'],
    )
    assert.deepEqual(await left(), [0, 0])
  })
  it('leaves events where they are while the queue takes none', async () => {
    await watch('f')
    await publish(place.own.sql, 'x')
    const full = relay({ queue: { enqueueIn: () => Promise.reject(new MayflyError('queue_full', 'full')) } })
    await assert.rejects(full.run(never), { code: 'queue_full' })
    assert.equal(full.backlog, 1)
    assert.deepEqual(await left(), [1, 0])
    await relay().run(never)
    assert.equal((await entries()).length, 1)
  })

  describe('as Triggers run it', () => {
    /** Nothing is found by looking. */
    const deaf = { ...systemClock, sleep: (_: number, signal?: AbortSignal) => systemClock.sleep(3_600_000, signal) }

    it('is woken by a bell', async () => {
      await watch('f')
      const triggers = place.open({ clock: deaf })
      await triggers.start()
      await publish(place.own.sql, 'rung')
      triggers.wake(DEMO)
      await until(async () => (await entries()).length === 1)
    })
    it('finds by itself what nobody rang for', async () => {
      const triggers = await watch('f')
      await triggers.start()
      await systemClock.sleep(100)
      await publish(place.own.sql, 'not rung')
      await until(async () => (await entries()).length === 1)
    })
    it('finds at its start what a former life left', async () => {
      await watch('f')
      await publish(place.own.sql, 'old')
      const next = place.open({ clock: deaf })
      await next.start()
      await until(async () => (await entries()).length === 1)
    })
    it('finds at its start what SQL called in a project without triggers, whose server broke off', async () => {
      await place.addFunction('f')
      await place.own.sql`select mayfly.invoke('f', '{}')`
      const next = place.open({ clock: deaf })
      await next.start()
      await until(async () => (await place.databases.control.sql`select from mayfly.entry`).length === 1)
    })
    it('wakes for what comes while it works', async () => {
      await watch('f')
      const triggers = place.open({ clock: deaf })
      await triggers.start()
      await Promise.all(
        Array.from({ length: 200 }, async (_, n) => {
          await publish(place.own.sql, String(n))
          triggers.wake(DEMO)
        }),
      )
      await until(async () => (await entries()).length === 200)
      await until(() => triggers.backlog === 0)
    })
    it('asks a database that is away again after growing pauses, and hands everything on when it is back', async () => {
      let asked = 0
      let away = false
      await watch('f')
      await publish(place.own.sql, 'x')
      away = true
      const triggers = place.open({
        databases: {
          control: place.databases.control,
          status: () => place.databases.status(),
          brokenOff: async () => [],
          openOwner: (ref) => place.databases.openOwner(ref),
          openProject: async (ref) => {
            asked++
            if (away) throw new DatabaseError('08006', 'it is away')
            return await place.databases.openProject(ref)
          },
        },
      })
      await triggers.start()
      for (const end = performance.now() + 3_000; performance.now() < end; await systemClock.sleep(20)) triggers.wake(DEMO)
      assert.ok(asked >= 2 && asked <= 4, `${asked} times in 3 s, however often it was rung for`)
      away = false
      await until(async () => (await entries()).length === 1)
    })
    it('does nothing for a project without triggers', async () => {
      const triggers = place.open({
        databases: {
          control: place.databases.control,
          status: async () => [],
          brokenOff: async () => [],
          openProject: () => assert.fail('it was opened'),
          openOwner: () => assert.fail('it was opened'),
        },
      })
      await triggers.start()
      triggers.wake(DEMO)
      await systemClock.sleep(1_200)
    })
  })
})
