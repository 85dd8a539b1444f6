import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PoolFixture, refusalOf, silent, until } from './pool-fixture.ts'

/** Bare Node of 24 keeps 8 MB, `fetch` with what it is made of 6 more; the rest is the runtime and what the kernel holds for it. */
const MOST_MB = 19

test('a frozen sandbox is charged little more than Node with fetch loaded', { skip: (await refusalOf('runc')) ?? false, timeout: 60_000 }, async () => {
  await using fixture = new PoolFixture('runc', {
    hello: `exports.handler = async () => [typeof gc, typeof globalThis.gc, process.execArgv.includes('--expose-gc')]`,
  })
  await using pool = await fixture.open({ poolSize: 1 })
  await until(() => pool.status().generic === 1)
  const { id, value } = await fixture.call(fixture.specOf('hello'), {}, silent, pool)
  assert.deepEqual(value, ['undefined', 'undefined', false])
  await until(() => fixture.stateOf(id, pool) === 'frozen')
  const [frozen] = pool.status().sandboxes
  assert.ok(frozen && frozen.memoryMb <= MOST_MB, `${frozen?.memoryMb} MB`)
})
