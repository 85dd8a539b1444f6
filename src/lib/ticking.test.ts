import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Ticking } from './ticking.ts'

describe('Ticking', () => {
  it('looks until there is nothing to look at, and is armed only meanwhile', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    let left = 0
    let looks = 0
    using ticking = new Ticking(50, () => {
      looks++
      left = Math.max(0, left - 1)
      return left > 0
    })
    t.mock.timers.tick(10_000)
    assert.deepEqual([ticking.isArmed, looks], [false, 0])
    left = 3
    for (let n = 0; n < 100; n++) ticking.wake()
    assert.equal(ticking.isArmed, true)
    t.mock.timers.tick(100)
    assert.deepEqual([ticking.isArmed, looks], [true, 2])
    t.mock.timers.tick(10_000)
    assert.deepEqual([ticking.isArmed, looks], [false, 3])
    left = 1
    ticking.wake()
    t.mock.timers.tick(50)
    assert.deepEqual([ticking.isArmed, looks], [false, 4])
  })
  it('looks no more when it is disposed of', (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    let looks = 0
    const ticking = new Ticking(50, () => ++looks > 0)
    ticking.wake()
    t.mock.timers.tick(50)
    ticking[Symbol.dispose]()
    t.mock.timers.tick(1_000)
    assert.deepEqual([ticking.isArmed, looks], [false, 1])
  })
})
