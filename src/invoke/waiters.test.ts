import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { VirtualClock } from '../lib/virtual-clock.ts'
import { Waiters } from './waiters.ts'

const never = new AbortController().signal

/** So many wait; how many of them are let in. */
async function letIn(project: (n: number) => string, name: (n: number) => string, count: number): Promise<number> {
  const clock = new VirtualClock()
  const waiters = new Waiters<number>(clock, () => 1)
  const all = Array.from({ length: count }, (_, n) => waiters.enter({ project: project(n), name: name(n) }, 1_000, never))
  await clock.pass(10)
  const waiting = waiters.length
  await clock.pass(1_000)
  assert.deepEqual([new Set(await Promise.all(all)), waiters.length], [new Set([null]), 0])
  return waiting
}

test('so many calls wait of one function (waitingCallsOfFunction), and no more', async () => {
  const most = LIMITS.waitingCallsOfFunction.value
  const one = () => 'x'
  assert.deepEqual([await letIn(one, one, most), await letIn(one, one, most + 1)], [most, most])
})

test('so many of one project (waitingCallsOfProject)', async () => {
  const most = LIMITS.waitingCallsOfProject.value
  assert.deepEqual([await letIn(() => 'p', String, most), await letIn(() => 'p', String, most + 1)], [most, most])
})

test('so many of all (waitingCalls)', async () => {
  const most = LIMITS.waitingCalls.value
  assert.deepEqual([await letIn(String, String, most), await letIn(String, String, most + 1)], [most, most])
})

test('who may not have it stands in nobody’s way', async () => {
  const clock = new VirtualClock()
  const waiters = new Waiters<string>(clock, () => 1)
  const first = waiters.enter({ project: 'p', name: 'full' }, 1_000, never)
  const second = waiters.enter({ project: 'p', name: 'free' }, 1_000, never)
  const asked: string[] = []
  const served = waiters.serve(
    ({ name }) => (asked.push(name), name === 'free'),
    ({ name }) => `for ${name}`,
  )
  assert.deepEqual([served, await second, waiters.has('full'), waiters.has('free')], [true, 'for free', true, false])
  assert.equal(
    waiters.serve(
      () => false,
      () => '',
    ),
    false,
  )
  await clock.pass(1_000)
  assert.equal(await first, null)
})
