import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from './simulated-clock.ts'

test('what is due fires in its order, what is set on the way and falls due included', () => {
  const clock = new SimulatedClock()
  const fired: [string, number][] = []
  const tell = (name: string) => () => fired.push([name, clock.monotonic()])
  clock.timer(20, tell('later'))
  clock.timer(10, () => {
    tell('first')()
    clock.timer(5, tell('on the way'))
  })
  clock.timer(10, tell('second'))
  clock.timer(12, tell('disposed'))[Symbol.dispose]()
  clock.advance(15)
  assert.deepEqual(fired, [
    ['first', 10],
    ['second', 10],
    ['on the way', 15],
  ])
  assert.deepEqual([clock.waiting.length, clock.nextAt, clock.monotonic()], [1, 20, 15])
})

test('a sleep that is aborted rejects with the reason and waits no more', async () => {
  const clock = new SimulatedClock()
  const stop = new AbortController()
  const sleeping = clock.sleep(50, stop.signal)
  stop.abort(new Error('enough'))
  await assert.rejects(sleeping, /enough/)
  await assert.rejects(clock.sleep(1, stop.signal), /enough/)
  assert.deepEqual(clock.waiting, [])
  const slept = clock.sleep(50)
  clock.advance(50)
  await slept
})
