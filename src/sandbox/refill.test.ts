import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import { type Clock, systemClock } from '../lib/clock.ts'
import { VirtualClock } from '../lib/virtual-clock.ts'
import { BootHealth } from './boot-health.ts'
import type { Boot } from './booting.ts'
import { Endings } from './endings.ts'
import { PoolFixture, until } from './pool-fixture.ts'
import { Refill } from './refill.ts'
import type { RuntimeName, SandboxSpec } from './types.ts'
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
  assert.deepEqual(refills().slice(0, 2), [500, 25])
  await until(() => pool.status().generic === 2)
})

/** A refill of fake sandboxes, with starts that the test lets succeed or fail, and a clock that it moves. */
function standing(changes: { poolSize?: number; refills?: number; isLoading?: () => boolean } = {}) {
  const starts: { boot: Boot; done: () => void; failed: (error: Error) => void }[] = []
  const clock = new VirtualClock()
  const health = new BootHealth(clock, silentLog)
  const waiting = new Waiting<Boot>({ least: changes.poolSize ?? 1, most: 4, demand: () => 0, hasMemory: () => true })
  const made: string[] = []
  const refill = new Refill<Boot>({
    waiting,
    refills: changes.refills ?? 2,
    clock,
    closing: new AbortController().signal,
    endings: new Endings(silentLog),
    pauseMs: (one) => health.pauseMs(one),
    isLoading: changes.isLoading ?? (() => false),
    start: (boot) => {
      const from = clock.monotonic()
      return new Promise((resolve, reject) => {
        const failed = (error: Error) => {
          health.failed(boot, error.message, from)
          reject(error)
        }
        starts.push({ boot, done: () => resolve(boot), failed })
      })
    },
    started: (booted) => waiting.add(booted),
    makeSpare: async ({ key }, start) => {
      await start()
      made.push(key)
    },
  })
  return { refill, waiting, starts, clock, health, made }
}
const settle = () => new Promise((resolve) => setImmediate(resolve))
const spareOf = (key: string, runtime: RuntimeName = 'nodejs24.x') => ({ key, runtime, tmpMb: 64 }) as SandboxSpec

test('the pool comes before successors, and no more are made at once than may be', async () => {
  const { refill, starts, clock, made } = standing({ poolSize: 2 })
  refill.spare(spareOf('a'), 1)
  await clock.pass(24)
  assert.equal(starts.length, 0, 'the call that took the one before comes first')
  await clock.pass(1)
  assert.deepEqual(
    starts.map(({ boot }) => boot.tmpMb),
    [512, 512],
  )
  starts[0]?.done()
  await settle()
  assert.deepEqual([starts.length, starts[2]?.boot.tmpMb, made], [3, 64, []])
  assert.deepEqual([refill.coming('a'), refill.coming('b')], [1, 0])
  starts[2]?.done()
  await settle()
  assert.deepEqual([made, refill.coming('a')], [['a'], 0])
})

test('what refills waits for the call that took the last one, also when somebody looks meanwhile, and not for ever', async () => {
  let loading = true
  const { refill, starts, clock } = standing({ isLoading: () => loading })
  refill.soon('nodejs24.x')
  refill.look()
  await clock.pass(24)
  assert.equal(starts.length, 0)
  await clock.pass(100)
  refill.look()
  assert.equal(starts.length, 0, 'code is being loaded')
  loading = false
  await clock.pass(30)
  assert.equal(starts.length, 1)
  const stuck = standing({ isLoading: () => true })
  stuck.refill.soon('nodejs24.x')
  await stuck.clock.pass(450)
  assert.equal(stuck.starts.length, 0)
  await stuck.clock.pass(200)
  assert.equal(stuck.starts.length, 1, 'a load may take long')
})

test('versions that want several take turns', async () => {
  const { refill, starts, clock, made } = standing({ poolSize: 0, refills: 1 })
  refill.spare(spareOf('a'), 3)
  refill.spare(spareOf('b'), 2)
  await clock.pass(25)
  assert.deepEqual([refill.coming('a'), refill.coming('b')], [3, 2])
  for (let n = 0; n < 5; n++) {
    starts[n]?.done()
    await settle()
  }
  assert.deepEqual([made, refill.coming('a'), refill.coming('b')], [['a', 'b', 'a', 'b', 'a'], 0, 0])
})

test('starts that fail are tried again after growing pauses, until one succeeds; other runtimes do not wait for that', async () => {
  const { refill, waiting, starts, clock, made } = standing({ refills: 1 })
  refill.now()
  const pauses = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
  for (const [n, pause] of pauses.entries()) {
    starts.at(-1)?.failed(new Error('it does not start'))
    await clock.pass(pause - 1)
    assert.equal(starts.length, n + 1, `nothing before ${pause} ms`)
    await clock.pass(2)
    assert.equal(starts.length, n + 2)
  }
  starts.at(-1)?.failed(new Error('it does not start'))
  await settle()
  refill.spare(spareOf('other', 'python3.x'), 1)
  await clock.pass(25)
  starts.at(-1)?.done()
  await settle()
  assert.deepEqual(made, ['other'])
  await clock.pass(31_000)
  starts.at(-1)?.done()
  await settle()
  assert.equal(waiting.length, 1)
})

test('concurrentInvocations: so many versions want successors at once', () => {
  const { refill } = standing({ poolSize: 0, refills: 0 })
  for (let n = 0; n < LIMITS.concurrentInvocations.value; n++) refill.spare(spareOf(String(n)), 1)
  refill.spare(spareOf('one more'), 1)
  assert.deepEqual([refill.coming('0'), refill.coming('one more')], [1, 0])
})
