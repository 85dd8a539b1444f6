import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Clock, systemClock } from '../lib/clock.ts'
import { PoolFixture, until } from './pool-fixture.ts'

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
