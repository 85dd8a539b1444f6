import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SimulatedClock } from '../lib/simulated-clock.ts'
import { BusyShares } from './busy-shares.ts'

test('who runs alone has all of the time, who runs beside another half of it', () => {
  const clock = new SimulatedClock()
  const shares = new BusyShares(clock)
  const first = shares.begin()
  clock.advance(100)
  const second = shares.begin()
  clock.advance(100)
  assert.equal(first(), 150)
  clock.advance(100)
  assert.equal(second(), 150)
  clock.advance(1_000) // nobody runs
  const third = shares.begin()
  clock.advance(10)
  assert.equal(third(), 10)
})

test('the shares of all calls are the time in which any ran', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ begins: fc.boolean(), ms: fc.nat({ max: 1_000 }) }), { maxLength: 60 }), (steps) => {
      const clock = new SimulatedClock()
      const shares = new BusyShares(clock)
      const running: (() => number)[] = []
      let [busyMs, shared] = [0, 0]
      for (const { begins, ms } of steps) {
        if (begins) running.push(shares.begin())
        else shared += running.shift()?.() ?? 0
        if (running.length > 0) busyMs += ms
        clock.advance(ms)
      }
      for (const end of running) shared += end()
      assert.ok(Math.abs(busyMs - shared) < 1e-6, `${busyMs} ms of work, ${shared} ms told`)
    }),
  )
})
