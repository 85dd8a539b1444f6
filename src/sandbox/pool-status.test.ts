import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { SandboxConfig } from './config.ts'
import { PoolFixture, silent, until } from './pool-fixture.ts'
import { noneEnded } from './state.ts'
import type { Ending, Sandboxes } from './types.ts'

const CODE = {
  hello: `exports.handler = async () => 'fine'`,
  sleeps: `exports.handler = async ({ ms }) => { await new Promise((resolve) => setTimeout(resolve, ms)) }`,
  exits: `exports.handler = async () => process.exit(3)`,
}

describe('what is told of the sandboxes of a pool', { timeout: 60_000 }, () => {
  let fixture: PoolFixture
  before(() => {
    fixture = new PoolFixture('process', CODE)
  })
  after(async () => {
    await fixture[Symbol.asyncDispose]()
  })
  const call = (pool: Sandboxes, code: keyof typeof CODE, changes: object = {}, event: object = {}) =>
    fixture.call(fixture.specOf(code, changes), event, silent, pool)

  const rows: { why: Ending; config?: Partial<SandboxConfig>; come: (pool: Sandboxes) => Promise<unknown> }[] = [
    { why: 'idle-drop', config: { idleMs: 200 }, come: (pool) => call(pool, 'hello') },
    {
      why: 'memory',
      config: { memoryMb: 200, freezeMs: 60_000 },
      come: async (pool) => {
        await call(pool, 'hello')
        await call(pool, 'hello', { key: 'another' })
      },
    },
    { why: 'retired', come: async (pool) => void (await call(pool, 'hello'), pool.retire('hello-1')) },
    {
      why: 'retired',
      come: async (pool) => {
        const busy = call(pool, 'sleeps', {}, { ms: 300 })
        await until(() => pool.status().sandboxes.some((one) => one.busy === 1))
        pool.retire('sleeps-1')
        assert.deepEqual(pool.status().ended, noneEnded(), 'not before its call is over')
        await busy
      },
    },
    { why: 'used', come: (pool) => call(pool, 'hello', { reuse: 'never' }) },
    { why: 'timeout', come: (pool) => call(pool, 'sleeps', { timeoutMs: 100 }, { ms: 60_000 }) },
    { why: 'timeout', come: (pool) => call(pool, 'sleeps', { timeoutMs: 100, concurrency: 4 }, { ms: 60_000 }) },
    { why: 'lost', come: (pool) => call(pool, 'exits') },
  ]
  for (const { why, config, come } of rows)
    test(`each that ends is counted once, by why: ${why}`, async () => {
      await using pool = await fixture.open({ poolSize: 0, ...config })
      await come(pool)
      await until(() => pool.status().ended[why] === 1)
      assert.deepEqual(pool.status().ended, { ...noneEnded(), [why]: 1 })
    })

  test('those that serve are told with function, state, calls and memory; those that wait by runtime', async () => {
    await using pool = await fixture.open({ poolSize: 1, memoryMb: 1_000, freezeMs: 60_000 })
    await until(() => pool.status().generic === 1)
    assert.deepEqual(pool.status().waiting, [{ runtime: 'nodejs24.x', booted: 1, wanted: 1 }])
    assert.deepEqual({ ...pool.status().memory, machine: null }, { usedMb: 0, budgetMb: 1_000, machine: null })
    await until(() => pool.status().memory.machine?.isShort === false)
    assert.deepEqual(pool.problems(), [])
    await call(pool, 'sleeps', {}, { ms: 0 })
    const running = call(pool, 'sleeps', {}, { ms: 500 })
    await until(() => pool.status().sandboxes[0]?.calls === 2)
    const [busy] = pool.status().sandboxes
    assert.ok(busy && (busy.usedMb === null || (busy.usedMb > 0 && busy.usedMb <= 128)), `${busy?.usedMb}`)
    assert.deepEqual(
      { ...busy, id: '', usedMb: null },
      {
        ...{ id: '', key: 'sleeps-1', project: 'demo', functionName: 'sleeps', version: '1', runtime: 'nodejs24.x', driver: 'process', provisioned: false },
        ...{ state: 'busy', busy: 1, calls: 2, idleMs: null, memoryMb: 128, usedMb: null, limitMb: 128 },
      },
    )
    await running
    const [idle] = pool.status().sandboxes
    assert.deepEqual([idle?.state, idle?.busy, idle?.calls], ['ready', 0, 2])
    assert.ok(idle?.idleMs !== null && idle !== undefined && idle.idleMs >= 0)
    assert.equal(pool.status().memory.usedMb, 128)
  })
})
