import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import { type Clock, systemClock } from '../lib/clock.ts'
import type { Boot } from './booting.ts'
import { Endings } from './endings.ts'
import { PoolFixture, until } from './pool-fixture.ts'
import { Refill } from './refill.ts'
import type { SandboxSpec } from './types.ts'
import { Waiting } from './waiting.ts'

test('a pool that was emptied is refilled behind the call; while another still waits, the call has the processors first', { timeout: 60_000 }, async () => {
  const asked: number[] = []
  const clock: Clock = {
    ...systemClock,
    timer: (ms, ring) => {
      asked.push(ms)
      return systemClock.timer(ms, ring)
    },
  }
  await using fixture = new PoolFixture('process', { hello: `exports.handler = async () => 'fine'` })
  await using pool = await fixture.open({ poolSize: 2, idleMs: 600_000, freezeMs: 60_000 }, { clock })
  const refills = () => asked.filter((ms) => ms === 25 || ms === 500)
  await until(() => pool.status().generic === 2)
  await fixture.call(fixture.specOf('hello', { key: 'one' }), {}, undefined, pool)
  assert.deepEqual(refills(), [500])
  await fixture.call(fixture.specOf('hello', { key: 'two' }), {}, undefined, pool)
  assert.deepEqual(refills(), [500, 25])
  await until(() => pool.status().generic === 2)
})

/** A refill of fake sandboxes, with starts that the test lets succeed or fail, and a clock that does not wait. */
function standing(changes: { poolSize?: number; refills?: number } = {}) {
  const starts: { boot: Boot; done: () => void; failed: (error: Error) => void }[] = []
  const sleeps: number[] = []
  const waiting = new Waiting<Boot>(changes.poolSize ?? 1)
  const made: string[] = []
  const refill = new Refill<Boot>({
    waiting,
    refills: changes.refills ?? 2,
    clock: { ...systemClock, sleep: async (ms) => void sleeps.push(ms) },
    closing: new AbortController().signal,
    endings: new Endings(silentLog),
    start: (boot) => new Promise((resolve, reject) => void starts.push({ boot, done: () => resolve(boot), failed: reject })),
    started: (booted) => waiting.add(booted),
    makeSpare: async ({ key }, start) => {
      await start()
      made.push(key)
    },
  })
  return { refill, waiting, starts, sleeps, made }
}
const settle = () => new Promise((resolve) => setImmediate(resolve))
const spareOf = (key: string) => ({ key, runtime: 'nodejs24.x', tmpMb: 64 }) as SandboxSpec

test('the pool comes before successors, and no more are made at once than may be', async () => {
  const { refill, starts, made } = standing({ poolSize: 2 })
  refill.spare(spareOf('a'))
  assert.deepEqual(
    starts.map(({ boot }) => boot.tmpMb),
    [512, 512],
  )
  starts[0]?.done()
  await settle()
  assert.deepEqual([starts.length, starts[2]?.boot.tmpMb, made], [3, 64, []])
  assert.deepEqual([refill.takesSpare('a'), refill.takesSpare('b')], [false, true])
  starts[2]?.done()
  await settle()
  assert.deepEqual([made, refill.takesSpare('a')], [['a'], true])
})

test('starts that fail are tried again after growing pauses, until one succeeds', async () => {
  const { refill, waiting, starts, sleeps } = standing({ refills: 1 })
  refill.now()
  for (let n = 0; n < 9; n++) {
    starts.at(-1)?.failed(new Error('it does not start'))
    await settle()
  }
  assert.deepEqual(sleeps, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
  starts.at(-1)?.done()
  await settle()
  assert.equal(waiting.length, 1)
  waiting.take('nodejs24.x')
  refill.now()
  assert.deepEqual([starts.length, sleeps.length], [11, 9], 'without a pause')
})

test('concurrentInvocations: so many successors are wanted at once', () => {
  const { refill } = standing({ poolSize: 0, refills: 0 })
  for (let n = 0; n < LIMITS.concurrentInvocations.value; n++) {
    assert.equal(refill.takesSpare(String(n)), true)
    refill.spare(spareOf(String(n)))
  }
  assert.equal(refill.takesSpare('one more'), false)
})
