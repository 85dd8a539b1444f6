import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FUNCTION_KINDS, type FunctionKind, World } from './life-fixture.ts'

/** Something that may happen at any moment. */
interface Happening {
  readonly happens: (world: World, kinds: readonly FunctionKind[]) => void
  /** Nothing that goes on by itself comes before the next thing that happens. */
  readonly atOnce: boolean
  /** For people who read a counterexample. */
  readonly [fc.toStringMethod]: () => string
}

const which = fc.nat({ max: 7 })
const one = <T>(weight: number, values: fc.Arbitrary<T>, name: string, happens: (world: World, value: T, kindOf: (which: number) => FunctionKind) => void) => ({
  weight,
  arbitrary: fc.tuple(values, fc.boolean()).map(
    ([value, atOnce]): Happening => ({
      happens: (world, kinds) => happens(world, value, (which) => kinds[which % kinds.length] as FunctionKind),
      atOnce,
      [fc.toStringMethod]: () => `${name} ${JSON.stringify(value) ?? ''}${atOnce ? ' at once' : ''}`,
    }),
  ),
})
const NOTHING = fc.constant(undefined)

const happening = fc.oneof(
  one(8, which, 'call', (world, of, kindOf) => world.call(kindOf(of))),
  one(10, fc.integer({ min: 1, max: 4 }), 'goes well', (world, times) => {
    for (let i = 0; i < times; i++) world.steps.take(0, 'well')
  }),
  one(6, fc.tuple(which, fc.nat({ max: 8 })), 'goes', (world, [step, way]) => void world.steps.take(step, way)),
  one(3, which, 'leaves', (world, caller) => world.leave(caller)),
  one(5, fc.constantFrom(1, 10, 60, 500, 1_000, 3_000, 10_000, 30_000), 'ms pass', (world, ms) => world.clock.advance(ms)),
  one(2, fc.tuple(which, fc.boolean()), 'deploy', (world, [of, isTried], kindOf) => void world.deploy(kindOf(of), isTried)),
  one(1, which, 'remove', (world, of, kindOf) => world.remove(kindOf(of))),
  one(2, NOTHING, 'secret', (world) => world.changeSecret()),
  one(2, fc.tuple(which, fc.nat({ max: 2 })), 'provision', (world, [of, count], kindOf) => world.provision(kindOf(of), count)),
  one(1, NOTHING, 'stop', (world) => world.stop()),
)
/** Few, so that what happens to one function meets what happens to it. */
const kinds = fc.shuffledSubarray(FUNCTION_KINDS, { minLength: 1, maxLength: 3 })

test('whatever happens in whatever order: one outcome and one meter record for each call, no limit exceeded, nothing left', { timeout: 120_000 }, async () => {
  const seen = new Set<string>()
  await fc.assert(
    fc.asyncProperty(fc.array(happening, { minLength: 5, maxLength: 60, size: 'max' }), kinds, fc.boolean(), async (happenings, kinds, drains) => {
      using world = await World.open()
      await world.settle()
      for (const { happens, atOnce } of happenings) {
        happens(world, kinds)
        if (atOnce) continue
        await world.settle()
        world.check()
      }
      await world.finish(drains)
      for (const name of world.seen) seen.add(name)
      assert.deepEqual(world.faults, [])
    }),
    { numRuns: 200 },
  )
  // It has been wherever a call or a sandbox can come: else it has shown nothing.
  const wanted = [
    ...['event', 'http', 'error', 'sandbox_lost', 'too_many_invocations', 'function_concurrency_reached', 'sandbox_unavailable', 'shutting_down'],
    ...['function_not_found', 'the client has left', 'the body broke off', 'the journal is not writable'],
    ...['idle-drop', 'memory', 'retired', 'used', 'timeout', 'lost'].map((why) => `ended: ${why}`),
    ...['ready', 'busy', 'freezing', 'frozen', 'draining'].map((state) => `state: ${state}`),
    ...['ok', 'error', 'timeout', 'exit', 'cut'].map((outcome) => `metered: ${outcome}`),
  ]
  assert.deepEqual(
    wanted.filter((name) => !seen.has(name)),
    [],
  )
})

/** What was found by the above, each for itself. `well`: all that is under way goes as it should. */
const story = (name: string, tell: (world: World, well: () => Promise<void>) => Promise<void>) =>
  test(name, async () => {
    using world = await World.open()
    const well = async () => {
      await world.settle()
      for (let i = 0; i < 100 && world.steps.take(0, 'well') !== null; i++) await world.settle()
    }
    await tell(world, well)
    await world.finish(true)
    assert.deepEqual(world.faults, [])
  })

story('a sandbox that cannot be given back is told in the log, and nothing else ends with it', async (world, well) => {
  world.call('one')
  await well()
  world.remove('one')
  await world.settle()
  assert.match(String(world.steps.take(0, 'fails')), /^kill s-\d+: fails$/)
})

story('a deployment that goes on behind a stop starts no sandbox', async (world, well) => {
  world.stop()
  await well()
  void world.deploy('one', true)
})

story('what stands frozen has room made for its limit before it runs again', async (world, well) => {
  for (const kind of ['one', 'many', 'extended'] as const) {
    world.call(kind)
    await well()
    world.clock.advance(60)
    await well()
  }
  const begun = async (kind: FunctionKind) => {
    world.call(kind)
    await world.settle()
    for (let i = 0; i < 100 && !world.steps.all.some((what) => what.startsWith('call')); i++) {
      world.steps.take(0, 'well')
      await world.settle()
    }
    const at = world.steps.all.findIndex((what) => what.startsWith('call'))
    world.steps.take(at, 'never')
  }
  await begun('held')
  await begun('held')
  await begun('one')
  world.check()
})
