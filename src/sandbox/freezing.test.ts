import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../lib/clock.ts'
import { FreezeTimer } from './freezing.ts'

/** A clock that the test moves. */
class ManualClock implements Clock {
  #now = 0
  readonly #timers = new Set<{ at: number; fire: () => void }>()
  made = 0
  now = () => this.#now
  monotonic = () => this.#now
  sleep = () => Promise.resolve()
  timer = (ms: number, fire: () => void) => {
    const timer = { at: this.#now + ms, fire }
    this.#timers.add(timer)
    this.made++
    return { [Symbol.dispose]: () => void this.#timers.delete(timer) }
  }
  get pending(): number {
    return this.#timers.size
  }
  to(ms: number): void {
    for (;;) {
      const [next] = [...this.#timers].filter(({ at }) => at <= ms).toSorted((a, b) => a.at - b.at)
      if (!next) break
      this.#timers.delete(next)
      this.#now = next.at
      next.fire()
    }
    this.#now = ms
  }
}

class Idler {
  readonly #clock: Clock
  idleSinceMs: number | null = null
  frozenAt: number | null = null
  constructor(clock: Clock) {
    this.#clock = clock
  }
  rest(timer: FreezeTimer<Idler>): void {
    this.idleSinceMs = this.#clock.monotonic()
    timer.watch(this)
  }
  async freeze(): Promise<void> {
    this.frozenAt = this.#clock.monotonic()
    this.idleSinceMs = null
  }
}

test('each is frozen when it has stood idle for so long, to the millisecond', () => {
  const clock = new ManualClock()
  using timer = new FreezeTimer<Idler>(50, clock)
  const [a, b, c] = [new Idler(clock), new Idler(clock), new Idler(clock)]
  a.rest(timer)
  clock.to(20)
  b.rest(timer)
  c.rest(timer)
  clock.to(30)
  c.idleSinceMs = null // busy, and never idle again
  clock.to(1_000)
  assert.deepEqual([a.frozenAt, b.frozenAt, c.frozenAt, clock.pending], [50, 70, null, 0])
})

test('one that is used meanwhile is frozen so long after its last call', () => {
  const clock = new ManualClock()
  using timer = new FreezeTimer<Idler>(50, clock)
  const a = new Idler(clock)
  for (const at of [0, 40, 45]) {
    clock.to(at)
    a.rest(timer)
  }
  clock.to(94)
  assert.equal(a.frozenAt, null)
  clock.to(95)
  assert.equal(a.frozenAt, 95)
})

test('a thousand calls make a timer in each span, not one each', () => {
  const clock = new ManualClock()
  using timer = new FreezeTimer<Idler>(50, clock)
  const a = new Idler(clock)
  for (let call = 0; call < 1_000; call++) {
    clock.to(call / 10)
    a.rest(timer)
  }
  assert.ok(clock.made <= 4, `${clock.made} timers in 100 ms`)
})

test('it leaves no timer behind', () => {
  const clock = new ManualClock()
  {
    using timer = new FreezeTimer<Idler>(50, clock)
    new Idler(clock).rest(timer)
    assert.equal(clock.pending, 1)
    timer[Symbol.dispose]()
    new Idler(clock).rest(timer) // a call that ends behind the close
    assert.equal(clock.pending, 0)
  }
  assert.equal(clock.pending, 0)
})
