import assert from 'node:assert/strict'
import { test } from 'node:test'
import { never, PoolFixture, silent, until } from './pool-fixture.ts'
import type { Driver } from './types.ts'

const CODE = {
  hello: `exports.handler = async () => 'fine'`,
  sleep: `exports.handler = async ({ ms }) => { await new Promise((done) => setTimeout(done, ms)); return ms }`,
}

test('cold calls that come often let more wait than do in any case', { timeout: 60_000 }, async () => {
  await using fixture = new PoolFixture('process', CODE)
  await using pool = await fixture.open({ poolSize: 1, poolMost: 4 })
  const wanted = () => pool.status().waiting[0]?.wanted
  assert.equal(wanted(), 1)
  for (let n = 0; n < 24; n++) (await pool.acquire(fixture.specOf('hello', { key: `k${n}` }), silent, never))[Symbol.dispose]()
  assert.ok((wanted() ?? 0) > 1, `${wanted()} are wanted`)
  await until(() => pool.status().generic > 1)
})

test('a version whose calls find all its sandboxes busy has one loaded ahead of the next', { timeout: 60_000 }, async () => {
  await using fixture = new PoolFixture('process', CODE)
  await using pool = await fixture.open({ poolSize: 2, readyMost: 2 })
  const spec = fixture.specOf('sleep')
  const calls = [1, 2, 3].map(() => fixture.call(spec, { ms: 3_000 }, silent, pool))
  const idle = () => pool.status().sandboxes.filter(({ state, calls: count }) => state !== 'busy' && count === 0).length
  await until(() => pool.status().sandboxes.length > 3 && idle() === 1)
  const next = await fixture.call(spec, { ms: 0 }, silent, pool)
  assert.equal(next.cold, null, 'it was there before the call')
  await Promise.all(calls)
  // One that is called seldom has none.
  const quiet = fixture.specOf('sleep', { key: 'quiet', identity: { ...spec.identity, functionName: 'quiet' } })
  await fixture.call(quiet, { ms: 0 }, silent, pool)
  assert.equal(pool.status().sandboxes.filter(({ key }) => key === 'quiet').length, 1)
})

test('of reuse: never more are loaded ahead the more often it is called', { timeout: 60_000 }, async () => {
  await using fixture = new PoolFixture('process', CODE)
  await using pool = await fixture.open({ poolSize: 2, readyMost: 4, refills: 2 })
  const spec = fixture.specOf('hello', { reuse: 'never' })
  const standing = () => pool.status().sandboxes.filter(({ state }) => state === 'ready' || state === 'frozen')
  const ready = () => standing().length
  // A deploy's own work is done once.
  const work = fixture.specOf('hello', { key: 'work', reuse: 'never', identity: { ...spec.identity, project: '' } })
  await fixture.call(work, {}, silent, pool)
  await fixture.call(spec, {}, silent, pool)
  await until(() => ready() === 1)
  assert.equal(standing()[0]?.key, spec.key)
  for (let n = 0; n < 30; n++) await fixture.call(spec, {}, silent, pool)
  await until(() => ready() >= 2)
})

test('a runtime that does not start is not started for each call; it is a problem until it starts again, by itself', { timeout: 60_000 }, async () => {
  let starts = 0
  let fails = true
  const around = (driver: Driver): Partial<Driver> => ({
    start: (options) => {
      starts++
      return fails ? Promise.reject(new Error('no such program')) : driver.start(options)
    },
  })
  await using fixture = new PoolFixture('process', CODE)
  await using pool = await fixture.open({ poolSize: 0 }, { around })
  const call = () => fixture.call(fixture.specOf('hello'), {}, silent, pool)
  for (let n = 0; n < 3; n++) await assert.rejects(call(), { code: 'sandbox_unavailable', message: /could not be started/ })
  for (let n = 0; n < 20; n++) await assert.rejects(call(), { code: 'sandbox_unavailable', message: /nodejs24\.x do not start; it is tried again in 2 s/ })
  assert.equal(starts, 3)
  assert.deepEqual(
    pool.problems().map(({ what, why }) => [what, why]),
    [['runtime nodejs24.x', 'its sandboxes do not start: no such program']],
  )
  fails = false
  let works = false
  await until(() => {
    void call().then(
      () => (works = true),
      () => {},
    )
    return works
  })
  assert.deepEqual(pool.problems(), [])
})
