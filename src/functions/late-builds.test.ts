import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '../lib/simulated-clock.ts'
import { LateBuilds } from './late-builds.ts'

test('what is edited is built when the edits have come to rest, once, and only what still serves', () => {
  const clock = new SimulatedClock()
  const builds = new LateBuilds(clock)
  const built: string[] = []
  for (const key of ['a', 'b', 'c', 'd']) {
    builds.add(key, () => built.push(key))
    clock.advance(4_000)
    if (key !== 'd') builds.drop(key)
  }
  assert.deepEqual([built, clock.waiting.length], [[], 1])
  clock.advance(6_000)
  assert.deepEqual(built, ['d'])
  builds.add('e', () => built.push('e'))
  builds.add('e', () => built.push('e again'))
  builds[Symbol.dispose]()
  clock.advance(60_000)
  assert.deepEqual([built, clock.waiting.length], [['d'], 0])
})
