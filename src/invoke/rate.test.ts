import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Rates } from './rate.ts'

describe('Rates', () => {
  const FUNCTION = 'f'
  const run = (perSecond: number, steps: readonly number[]) => {
    let now = 0
    const rates = new Rates(() => now)
    const began: number[] = []
    for (const step of steps) {
      now += step
      while (rates.left(FUNCTION, perSecond) > 0) {
        rates.began(FUNCTION)
        began.push(now)
      }
    }
    return began
  }
  it('lets no more begin in any stretch of a second than it says, whenever it is asked', () => {
    const steps = Array.from({ length: 500 }, (_, n) => (n * 37) % 61)
    for (const perSecond of [1, 2, 2.5, 10, 1000]) {
      const began = run(perSecond, steps)
      for (const [n, at] of began.entries()) {
        const inStretch = began.filter((one) => one > at - 1_000 && one <= at).length
        assert.ok(inStretch <= Math.ceil(perSecond), `${inStretch} of ${perSecond} in the second before ${at} (${n})`)
      }
      const spanS = steps.reduce((sum, step) => sum + step, 0) / 1_000
      assert.ok(began.length >= Math.floor(perSecond) * Math.floor(spanS / 1.2), `${began.length} of ${perSecond} in ${spanS} s`)
    }
  })
  it('lets one begin in several seconds, and says how long it is until the next', () => {
    let now = 0
    const rates = new Rates(() => now)
    assert.equal(rates.waitMs(FUNCTION, 0.2), 0)
    rates.began(FUNCTION)
    assert.equal(rates.left(FUNCTION, 0.2), 0)
    assert.equal(rates.waitMs(FUNCTION, 0.2), 5_000)
    now = 4_999
    assert.equal(rates.waitMs(FUNCTION, 0.2), 1)
    now = 5_000
    assert.equal(rates.left(FUNCTION, 0.2), 1)
    assert.equal(rates.left('another', 0.2), 1)
  })
})
