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
  one(1, fc.boolean(), 'memory of the machine is short', (world, isShort) => world.press(isShort)),
  one(1, NOTHING, 'stop', (world) => world.stop()),
)
/** Few, so that what happens to one function meets what happens to it. */
const kinds = fc.shuffledSubarray(FUNCTION_KINDS, { minLength: 1, maxLength: 3 })

/** Wherever a call or a sandbox came, by chance or by a story. */
const seen = new Set<string>()
const sees = (world: World) => {
  for (const name of world.seen) seen.add(name)
}

test('whatever happens in whatever order: one outcome and one meter record for each call, no limit exceeded, nothing left', { timeout: 120_000 }, async () => {
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
      sees(world)
      assert.deepEqual(world.faults, [])
    }),
    { numRuns: 300 },
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
    sees(world)
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

/** Lets what must come before it go well until user code of so many calls runs. */
async function running(world: World, calls: number): Promise<void> {
  const isCall = (what: string) => /^call \d+ in /.test(what)
  for (let i = 0; i < 200; i++) {
    await world.settle()
    if (world.steps.all.filter(isCall).length === calls) return
    world.steps.take(
      world.steps.all.findIndex((what) => !isCall(what)),
      'well',
    )
  }
}
const stepOf = (world: World, call: number) => world.steps.all.findIndex((what) => what.startsWith(`call ${call} in `))

/** Two calls of one sandbox run, and the time of the first is over. */
async function firstOfTwoIsLate(world: World): Promise<void> {
  world.call('many')
  await running(world, 1)
  world.clock.advance(2_000)
  world.call('many')
  await running(world, 2)
  world.clock.advance(1_000)
  await world.settle()
}

story('a call that runs out of time drains its sandbox: its neighbour ends in peace, the next call comes to another', async (world, well) => {
  await firstOfTwoIsLate(world)
  assert.deepEqual([world.endOf(1)?.record.outcome, world.endOf(2)], ['timeout', null])
  const [first] = world.serving
  assert.deepEqual([first?.state, first?.busy], ['draining', 1])
  world.call('many')
  await running(world, 3)
  assert.deepEqual(
    world.serving.map(({ state, busy }) => [state, busy]),
    [
      ['draining', 1],
      ['busy', 1],
    ],
  )
  world.clock.advance(1_000)
  world.steps.take(stepOf(world, 2), 'well')
  await well()
  assert.deepEqual([world.endOf(2)?.outcome, world.endOf(2)?.record.outcome, world.endOf(3)?.outcome], ['http', 'ok', 'http'])
  assert.ok(!world.serving.some(({ id }) => id === first?.id))
  // Two seconds alone and one shared; one shared, and one alone, as what ran out of time is over.
  assert.deepEqual([world.endOf(1)?.record.billedMs, world.endOf(2)?.record.billedMs], [2_500, 1_500])
})

story('a guest that dies ends all its calls, each to be sent again and none billed', async (world, well) => {
  world.call('many')
  await well()
  for (let i = 0; i < 3; i++) world.call('many')
  await running(world, 3)
  const ids = new Set(world.steps.all.filter((what) => what.startsWith('call ')).map((what) => what.split(' in ')[1]))
  assert.equal(ids.size, 1)
  world.clock.advance(500)
  world.steps.take(stepOf(world, 3), 'dies')
  await well()
  for (const call of [2, 3, 4]) {
    const end = world.endOf(call)
    assert.deepEqual([end?.outcome, end?.record.outcome, end?.record.billedMs], ['sandbox_lost', 'cut', 0])
  }
})

story('an answer that cannot be given, as its journal fails, leaves its call the sandbox for what it still does', async (world, well) => {
  world.call('one')
  await running(world, 1)
  world.steps.take(stepOf(world, 1), 'waits')
  await world.settle()
  world.steps.take(world.steps.all.indexOf('journal'), 'fails')
  await world.settle()
  world.check()
  assert.deepEqual([world.endOf(1), world.serving.map(({ busy }) => busy)], [null, [1]])
  world.clock.advance(100)
  await well()
  const end = world.endOf(1)
  assert.deepEqual([end?.outcome, end?.record.outcome, end?.record.billedMs], ['the journal is not writable', 'ok', 100])
})

story('a call whose record fails when it is over gives its sandbox back once: its neighbour keeps its place', async (world, well) => {
  world.call('many')
  await running(world, 1)
  world.call('many')
  await running(world, 2)
  world.steps.take(stepOf(world, 1), 'well')
  await world.settle()
  world.steps.take(world.steps.all.indexOf('journal'), 'fails')
  await world.settle()
  world.check()
  assert.deepEqual(
    world.serving.map(({ state, busy }) => [state, busy]),
    [['busy', 1]],
  )
  await well()
  assert.deepEqual([world.endOf(1)?.outcome, world.endOf(2)?.outcome], ['the journal is not writable', 'http'])
})

story('a call whose project does not come back to life gives its slot back', async (world, well) => {
  world.wakes = false
  world.call('one')
  await well()
  world.check()
  world.wakes = true
  world.call('one')
  await well()
  assert.deepEqual([world.endOf(1), world.endOf(2)?.outcome], [null, 'event'])
})

story('an answer that comes behind the end of its time is heard by nobody, and its guest is told so', async (world, well) => {
  await firstOfTwoIsLate(world)
  world.steps.take(world.steps.all.indexOf('journal'), 'well')
  await world.settle()
  world.steps.take(stepOf(world, 1), 'streams')
  await world.settle()
  world.check()
  await well()
  assert.deepEqual([world.endOf(1)?.record.outcome, world.endOf(2)?.outcome], ['timeout', 'http'])
})

story(
  'where the machine is short of memory the sandbox that stands idle longest ends, and another when the machine is looked at again',
  async (world, well) => {
    for (const kind of ['one', 'many', 'held'] as const) {
      world.call(kind)
      await well()
      world.clock.advance(100)
      await well()
    }
    const [first, second, third] = world.serving.map(({ id }) => id)
    for (const left of [[second, third], [third]]) {
      world.press(true)
      await well()
      assert.deepEqual(
        world.serving.map(({ id }) => id),
        left,
      )
    }
    assert.ok(first !== undefined && third !== undefined)
    world.press(false)
  },
)

test('all this has been wherever a call or a sandbox can come: else it has shown nothing', () => {
  const wanted = [
    ...['event', 'http', 'error', 'sandbox_lost', 'too_many_invocations', 'function_concurrency_reached', 'sandbox_unavailable', 'shutting_down'],
    ...['function_not_found', 'the client has left', 'the body broke off', 'the journal is not writable'],
    ...['idle-drop', 'memory', 'pressure', 'retired', 'used', 'timeout', 'lost'].map((why) => `ended: ${why}`),
    ...['ready', 'busy', 'freezing', 'frozen', 'draining'].map((state) => `state: ${state}`),
    ...['ok', 'error', 'timeout', 'exit', 'cut'].map((outcome) => `metered: ${outcome}`),
  ]
  assert.deepEqual(
    wanted.filter((name) => !seen.has(name)),
    [],
  )
})
