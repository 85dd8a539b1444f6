import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VirtualClock } from '../lib/virtual-clock.ts'
import { ProcessorShares, type Weighed } from './processor-shares.ts'

function standing(processors: number, projects = 2) {
  const all: Weighed[] = []
  const writes = { count: 0 }
  const clock = new VirtualClock()
  const shares = new ProcessorShares({
    processors,
    shares: { projects: () => projects, weightOf: (project) => (project === 'heavy' ? 3 : 1) },
    all: () => all,
    clock,
  })
  const add = (project: string, state: 'busy' | 'ready' | 'frozen' = 'busy') => {
    const seen = { share: 1, now: state }
    all.push({
      spec: { identity: { project } },
      get state() {
        return { state: seen.now }
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

test('what loads counts from its beginning to its end, so that a cold burst weighs little from its start', () => {
  const { shares, add } = standing(2)
  const loading = times(64, () => shares.loads('loud'))
  assert.equal(shares.loads('quiet').share, 1)
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
