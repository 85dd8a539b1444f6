import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import type { CrashPoint } from '../core/crash.ts'
import type { ProjectRef } from '../core/project.ts'
import type { TriggerSpec } from '../core/trigger-spec.ts'
import { cutting, openPlace, type Place } from './triggers-fixture.ts'

const DEMO = 'demo' as ProjectRef

/** How one source is driven: what its trigger says, and how that comes about. */
export interface SourceCase {
  readonly kind: string
  readonly trigger: TriggerSpec
  /** Makes what a test needs; after each `clear` of the place again. */
  readonly prepare?: (place: Place) => Promise<void>
  /** Makes it happen once, committed when it resolves. Each time it is another event. */
  readonly cause: (place: Place, n: number) => Promise<void>
  /** The moments at which a life may end. */
  readonly crashes: readonly CrashPoint[]
  /** Where it does not end in the queue: what was delivered. */
  readonly delivered?: (place: Place) => Promise<readonly { readonly name: string; readonly payload: string }[]>
}

/** What every event source keeps. */
export function eventSourceConformance(source: SourceCase): void {
  describe(`the source ${source.kind}`, () => {
    let place: Place
    before(async () => {
      place = await openPlace()
    })
    after(async () => {
      await place.close()
    })
    afterEach(() => place.clear())

    const delivered = async () => (source.delivered ? await source.delivered(place) : await place.queued())
    const names = async () => (await delivered()).map(({ name }) => name).toSorted()
    const watch = async (...functions: string[]) => {
      await source.prepare?.(place)
      const triggers = place.open()
      for (const name of functions) {
        await place.addFunction(name)
        await triggers.put(DEMO, name, [source.trigger])
      }
      return triggers
    }

    it('delivers each event to each of its functions, and nothing a second time', async () => {
      const triggers = await watch('f', 'g')
      await triggers.once(DEMO)
      assert.deepEqual(await names(), [], 'nothing has happened yet')
      await source.cause(place, 1)
      await triggers.once(DEMO)
      assert.deepEqual(await names(), ['f', 'g'])
      await triggers.once(DEMO)
      assert.deepEqual(await names(), ['f', 'g'])
      await source.cause(place, 2)
      await triggers.once(DEMO)
      assert.deepEqual(await names(), ['f', 'f', 'g', 'g'])
      const mine = (await delivered()).filter(({ name }) => name === 'f').map(({ payload }) => payload)
      assert.equal(new Set(mine).size, 2, 'two events are told apart')
    })

    it('delivers at least once, whichever crash point or step of a database is the last of a life', async () => {
      await watch('f')
      const crashed = new Set<string>()
      let n = 0
      const survives = async (what: string, changes: Parameters<Place['open']>[0]) => {
        const had = (await names()).length
        await source.cause(place, ++n)
        const wasCut = await place
          .open(changes)
          .once(DEMO)
          .then(
            () => false,
            () => true,
          )
        await place.open().once(DEMO)
        assert.equal((await names()).length, had + 1, what)
        return wasCut
      }
      for (const point of source.crashes) {
        await survives(`cut at ${point}`, {
          crash: (at) => {
            if (at !== point) return
            crashed.add(point)
            throw new Error('cut')
          },
        })
      }
      assert.deepEqual([...crashed].toSorted(), source.crashes.toSorted(), 'each of its points is passed')
      for (let step = 0, cuts = true; cuts; step++)
        for (const when of ['before', 'after'] as const) {
          let at = 0
          const cutHere = async <T>(work: () => Promise<T>): Promise<T> => {
            const mine = at++ === step
            if (mine && when === 'before') throw new Error('cut')
            const result = await work()
            if (mine) throw new Error('cut')
            return result
          }
          const databases = {
            control: cutting(place.databases.control, cutHere),
            openProject: async (ref: string) => cutting(await place.databases.openProject(ref), cutHere),
            openOwner: (ref: string) => place.databases.openOwner(ref),
            status: () => place.databases.status(),
            brokenOff: () => place.databases.brokenOff(),
          }
          cuts = await survives(`cut ${when} step ${step}`, { databases })
        }
    })

    it('delivers nothing for a trigger that was removed, or that rests, and goes on when it is wanted again', async () => {
      const triggers = await watch('f', 'g', 'stays')
      await triggers.put(DEMO, 'f', [])
      await triggers.put(DEMO, 'g', [{ ...source.trigger, enabled: false }])
      await source.cause(place, 1)
      await triggers.once(DEMO)
      assert.deepEqual(await names(), ['stays'])
      await triggers.put(DEMO, 'g', [source.trigger])
      await source.cause(place, 2)
      await triggers.once(DEMO)
      assert.deepEqual(await names(), ['g', 'stays', 'stays'])
    })

    it('delivers nothing to a function that is gone', async () => {
      const triggers = await watch('f', 'stays')
      await place.removeFunction('f')
      await triggers.functionGone(DEMO)
      await source.cause(place, 1)
      await triggers.once(DEMO)
      assert.deepEqual(await names(), ['stays'])
    })

    it('delivers what happened in a project that rests by then', async () => {
      await watch('f')
      await source.cause(place, 1)
      const asleep = place.open({ rests: () => true })
      await asleep.once(DEMO)
      assert.deepEqual(await names(), ['f'])
    })

    it('delivers each event once though two work on it at the same time', async () => {
      await watch('f')
      for (let n = 1; n <= 5; n++) {
        await source.cause(place, n)
        // One that finds the other at work leaves it to that.
        await Promise.all([place.open(), place.open(), place.open()].map((triggers) => triggers.once(DEMO)))
        await place.open().once(DEMO)
        assert.equal((await names()).length, n)
      }
    })
  })
}
