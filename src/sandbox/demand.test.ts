import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { VirtualClock } from '../lib/virtual-clock.ts'
import { Demand, stockFor, Took } from './demand.ts'

test('what comes steadily is known by its rate, and forgotten when it stops', async () => {
  const clock = new VirtualClock()
  const demand = new Demand(clock)
  for (let n = 0; n < 600; n++) {
    demand.note('a')
    await clock.pass(100)
  }
  assert.ok(Math.abs(demand.perSecond('a') - 10) < 0.5, `${demand.perSecond('a')} a second`)
  assert.equal(demand.perSecond('b'), 0)
  await clock.pass(30_000)
  assert.ok(demand.perSecond('a') < 1)
  await clock.pass(120_000)
  assert.equal(demand.count('a') < 0.01, true)
})

test('what has just begun counts at its own rate, but as if it had lasted three seconds', () => {
  const demand = new Demand(new VirtualClock())
  for (let n = 0; n < 30; n++) demand.note('a')
  assert.ok(Math.abs(demand.perSecond('a') - 11.6) < 0.5, `${demand.perSecond('a')} a second`)
})

test('it remembers so many names (rememberedVersions)', () => {
  const demand = new Demand(new VirtualClock())
  for (let n = 0; n <= LIMITS.rememberedVersions.value; n++) demand.note(String(n))
  assert.deepEqual([demand.count('0'), demand.count('1')], [0, 1])
})

test('the stock is what is asked for while the next is made, and more for chance', () => {
  assert.equal(stockFor(0, 600), 0)
  assert.ok(stockFor(10, 600) > 6 && stockFor(10, 600) < 12)
  assert.ok(stockFor(1, 100) < 1)
})

test('how long something takes follows what it took', () => {
  const took = new Took(100)
  for (let n = 0; n < 50; n++) took.note(300)
  assert.ok(Math.abs(took.ms - 300) < 2)
})
