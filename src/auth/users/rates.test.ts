import assert from 'node:assert/strict'
import { it } from 'node:test'
import { LIMITS } from '../../core/limits.ts'
import { systemClock } from '../../lib/clock.ts'
import { AddressRate } from './rates.ts'

it('an address may ask in bursts, then as often as its bucket fills, whatever others do', () => {
  let now = 0
  const rate = new AddressRate({ ...systemClock, monotonic: () => now }, { count: 150, overMs: 300_000 })
  const taken = (address: string, tries: number) => Array.from({ length: tries }, () => rate.take(address)).filter(Boolean).length
  assert.equal(taken('a', 100), 30)
  assert.equal(taken('b', 1), 1)
  now += 1_900
  assert.equal(taken('a', 1), 0)
  now += 4_100
  assert.equal(taken('a', 100), 3)
  now += 3_600_000
  assert.equal(taken('a', 100), 30)
})
it('what is given back may be asked for again, and no more than that', () => {
  const rate = new AddressRate({ ...systemClock, monotonic: () => 0 }, { count: 30, overMs: 1_000_000 })
  for (let n = 0; n < 100; n++) {
    assert.ok(rate.take('owner'))
    rate.giveBack('owner')
  }
  rate.giveBack('owner')
  const taken = Array.from({ length: 100 }, () => rate.take('owner')).filter(Boolean)
  assert.equal(taken.length, 30)
})
it('of very many addresses the one that asked longest ago is forgotten', () => {
  const rate = new AddressRate({ ...systemClock, monotonic: () => 0 }, { count: 1, overMs: 1_000_000 })
  assert.deepEqual([rate.take('first'), rate.take('first')], [true, false])
  for (let n = 1; n < LIMITS.authRateAddresses.value; n++) rate.take(String(n))
  assert.equal(rate.take('first'), false)
  for (let n = 0; n < LIMITS.authRateAddresses.value; n++) rate.take(`other ${n}`)
  assert.equal(rate.take('first'), true)
})
