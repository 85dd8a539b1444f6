import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FUNCTION_KINDS, World } from './life-fixture.ts'

/** Something that may happen at any moment. */
interface Happening {
  /** For people who read a counterexample. */
  readonly what: string
  readonly happens: (world: World) => void
  /** Nothing that goes on by itself comes before the next thing that happens. */
  readonly atOnce: boolean
}

const kind = fc.constantFrom(...FUNCTION_KINDS)
const which = fc.nat({ max: 7 })
const one = <T>(weight: number, values: fc.Arbitrary<T>, happens: (world: World, value: T) => void, name: string) => ({
  weight,
  arbitrary: fc.tuple(values, fc.boolean()).map(
    ([value, atOnce]): Happening => ({
      what: `${name} ${JSON.stringify(value) ?? ''}${atOnce ? ', and at once' : ''}`,
      happens: (world) => happens(world, value),
      atOnce,
    }),
  ),
})
const NOTHING = fc.constant(undefined)

const happening = fc.oneof(
  one(8, kind, (world, of) => world.call(of), 'call'),
  one(
    10,
    fc.integer({ min: 1, max: 4 }),
    (world, times) => {
      for (let i = 0; i < times; i++) world.steps.take(0, 'well')
    },
    'goes well',
  ),
  one(6, fc.tuple(which, fc.nat({ max: 8 })), (world, [step, way]) => void world.steps.take(step, way), 'goes'),
  one(3, which, (world, caller) => world.leave(caller), 'leaves'),
  one(5, fc.constantFrom(1, 10, 60, 500, 1_000, 3_000, 10_000, 30_000), (world, ms) => world.clock.advance(ms), 'ms pass'),
  one(2, fc.tuple(kind, fc.boolean()), (world, [of, isTried]) => void world.deploy(of, isTried), 'deploy'),
  one(1, kind, (world, of) => world.remove(of), 'remove'),
  one(1, NOTHING, (world) => world.changeSecret(), 'secret'),
  one(1, fc.tuple(kind, fc.nat({ max: 2 })), (world, [of, count]) => world.provision(of, count), 'provision'),
  one(1, NOTHING, (world) => world.stop(), 'stop'),
)

test('whatever happens in whatever order: one outcome and one meter record for each call, no limit exceeded, nothing left', { timeout: 120_000 }, async () => {
  const seen = new Set<string>()
  await fc.assert(
    fc.asyncProperty(fc.array(happening, { minLength: 5, maxLength: 60, size: 'max' }), fc.boolean(), async (happenings, drains) => {
      using world = await World.open()
      await world.settle()
      for (const { happens, atOnce } of happenings) {
        happens(world)
        if (atOnce) continue
        await world.settle()
        world.check()
      }
      await world.finish(drains)
      for (const name of world.seen) seen.add(name)
      assert.deepEqual(world.faults, [], happenings.map(({ what }) => what).join('; '))
    }),
    { numRuns: 300 },
  )
  // It has been wherever a call or a sandbox can come: else it has shown nothing.
  const wanted = [
    ...['event', 'http', 'error', 'sandbox_lost', 'too_many_invocations', 'function_concurrency_reached', 'sandbox_unavailable', 'shutting_down'],
    ...['function_not_found', 'the client has left'],
    ...['idle-drop', 'memory', 'retired', 'used', 'timeout', 'lost'].map((why) => `ended: ${why}`),
    ...['ready', 'busy', 'freezing', 'frozen', 'draining'].map((state) => `state: ${state}`),
    ...['ok', 'error', 'timeout', 'exit', 'cut'].map((outcome) => `metered: ${outcome}`),
  ]
  assert.deepEqual(
    wanted.filter((name) => !seen.has(name)),
    [],
  )
})
