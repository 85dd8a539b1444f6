import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openInProcessBus } from '../backends/bus/in-process.ts'
import { VirtualClock } from '../lib/virtual-clock.ts'
import { ProcessorShares, type Weighed } from './processor-shares.ts'
import { WorkingElsewhere } from './working-elsewhere.ts'

function standing(processors: number, projects = 2, elsewhere?: WorkingElsewhere) {
  const all: Weighed[] = []
  const writes = { count: 0 }
  const clock = new VirtualClock()
  const shares = new ProcessorShares({
    processors,
    shares: { projects: () => projects, weightOf: (project) => (project === 'heavy' ? 3 : 1) },
    all: () => all,
    clock,
    ...(elsewhere === undefined ? {} : { elsewhere }),
  })
  const add = (project: string, state: 'busy' | 'draining' | 'ready' | 'frozen' = 'busy') => {
    const seen = { share: 1, now: state, idleSince: clock.monotonic() }
    all.push({
      spec: { identity: { project } },
      get state() {
        return { state: seen.now }
      },
      get idleSinceMs() {
        return seen.now === 'busy' ? null : seen.idleSince
      },
      process: {
        weigh: (share) => {
          writes.count++
          seen.share = share
        },
      },
    })
    return seen
  }
  const sum = (project: readonly { readonly share: number }[]) => project.reduce((total, { share }) => total + share, 0)
  return { shares, add, writes, sum, clock }
}
/** What is told on the bus of one process is heard in the next turn. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make)

test('however many of a project work, they weigh together what as many as there are processors do', () => {
  const { shares, add, sum } = standing(2)
  const own = add('quiet')
  const loud = times(64, () => add('loud'))
  shares.level()
  assert.equal(own.share, 1)
  assert.equal(sum(loud), 2)
})

test('a burst weighs less a moment after its calls came, and more again at the next look at all', async () => {
  const { shares, add, sum, clock } = standing(2)
  const loud = times(64, () => add('loud'))
  for (const _ of loud) shares.called()
  await clock.pass(50)
  assert.equal(sum(loud), 2)
  for (const one of loud.slice(4)) one.now = 'ready'
  shares.called()
  await clock.pass(50)
  assert.equal(sum(loud), 2)
  shares.level()
  assert.equal(loud[0]?.share, 1 / 2)
})

test('a project of a larger weight has more', () => {
  const { shares, add, sum } = standing(2)
  const [heavy, loud] = [times(16, () => add('heavy')), times(16, () => add('loud'))]
  shares.level()
  assert.equal(sum(heavy), 3 * sum(loud))
})

test('what stands idle counts nothing, and is weighed for its next call', () => {
  const { shares, add } = standing(2)
  const loud = times(16, () => add('loud'))
  shares.level()
  assert.equal(loud[0]?.share, 1 / 8)
  for (const one of loud.slice(1)) one.now = 'frozen'
  shares.level()
  assert.deepEqual([...new Set(loud.map(({ share }) => share))], [1])
})

test('what starts or loads counts from its beginning to its end, so that a cold burst weighs little from its start', () => {
  const { shares, add } = standing(2)
  const loading = times(64, () => shares.begins('loud'))
  assert.equal(shares.begins('quiet').share, 1)
  assert.deepEqual(
    [0, 1, 2, 4, 63].map((at) => loading[at]?.share),
    [1, 1, 1 / 2, 1 / 4, 1 / 32],
  )
  for (const one of loading) one[Symbol.dispose]()
  const alone = add('loud')
  shares.level()
  assert.equal(alone.share, 1)
})

test('where nobody else has functions all have all of their weight; and one is written to when its share changed, no more often', () => {
  const alone = standing(2, 1)
  const loud = times(64, () => alone.add('loud'))
  alone.shares.level()
  assert.deepEqual([...new Set(loud.map(({ share }) => share))], [1])
  const { shares, add, writes } = standing(2)
  times(33, () => add('loud'))
  shares.level()
  times(7, () => add('loud'))
  shares.level()
  assert.equal(writes.count, 40)
})

test('a project is beside others while those have calls, here or in another process, and for a second behind the last', async () => {
  const bus = openInProcessBus()
  const { shares, add, clock } = standing(2)
  assert.equal(shares.isBesideOthers('loud'), false)
  const loud = add('loud')
  assert.equal(shares.isBesideOthers('loud'), false)
  assert.equal(shares.isBesideOthers('quiet'), true)
  const own = add('quiet')
  assert.equal(shares.isBesideOthers('loud'), true)
  own.now = 'frozen'
  own.idleSince = clock.monotonic()
  await clock.pass(1_000)
  assert.equal(shares.isBesideOthers('loud'), true)
  await clock.pass(1)
  assert.equal(shares.isBesideOthers('loud'), false)
  {
    using _ = shares.begins('quiet')
    assert.equal(shares.isBesideOthers('loud'), true)
  }
  assert.equal(standing(2, 1).shares.isBesideOthers('loud'), false)
  loud.now = 'ready'
  const [here, there] = [0, 1].map((process) => new WorkingElsewhere(bus, process, clock))
  there?.tell(new Map([['quiet', 1]]))
  await turn()
  assert.equal(standing(2, 2, here).shares.isBesideOthers('loud'), true)
  assert.equal(standing(2, 2, here).shares.isBesideOthers('quiet'), false)
})

test('what works of a project in other processes of the node counts, until it is told that none does or nothing is heard any more', async () => {
  const bus = openInProcessBus()
  const clock = new VirtualClock()
  const [mine, theirs] = [0, 1].map((process) => new WorkingElsewhere(bus, process, clock)) as [WorkingElsewhere, WorkingElsewhere]
  const [here, there] = [standing(2, 2, mine), standing(2, 2, theirs)]
  const [own, loud] = [here.add('quiet'), [...times(20, () => here.add('loud')), ...times(44, () => there.add('loud'))]]
  // What one tells is heard by the other, which weighs its own a moment later.
  there.shares.level()
  here.shares.level()
  await turn()
  await Promise.all([here, there].map((one) => one.clock.pass(50)))
  assert.deepEqual([own.share, here.sum(loud)], [1, 2])
  for (const one of loud.slice(20)) one.now = 'frozen'
  there.shares.level()
  here.shares.level()
  await turn()
  here.shares.level()
  assert.equal(loud[0]?.share, 2 / 32)
  for (const one of loud.slice(20)) one.now = 'busy'
  there.shares.level()
  await turn()
  assert.equal(mine.of('loud'), 44)
  await clock.pass(3_001)
  assert.deepEqual([mine.of('loud'), mine.projects()], [0, []])
})

test('who has nothing to tell tells nothing, but for the end of what it told', async () => {
  const bus = openInProcessBus()
  const told: unknown[] = []
  bus.subscribe('sandboxes.working', (value) => told.push(value))
  const here = new WorkingElsewhere(bus, 0, new VirtualClock())
  for (const running of [[], [['p', 2]], [], []] as const) here.tell(new Map(running))
  await turn()
  assert.deepEqual(told, [
    { process: 0, running: { p: 2 } },
    { process: 0, running: {} },
  ])
  const there = new WorkingElsewhere(bus, 1, new VirtualClock())
  let changes = 0
  there.onChange(() => changes++)
  for (const running of [[['p', 2]], [['p', 2]], [['p', 3]], []] as const) {
    here.tell(new Map(running))
    await turn()
  }
  assert.equal(changes, 3)
  // What it says itself is not elsewhere.
  assert.equal(here.of('p'), 0)
})

test('those that take no more calls and still work count as those that do', () => {
  const { shares, add, sum } = standing(2)
  add('quiet')
  const loud = [...times(4, () => add('loud')), ...times(4, () => add('loud', 'draining'))]
  shares.level()
  assert.equal(sum(loud), 2)
})
