import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { silentLog } from '../core/log.ts'
import { SimulatedClock } from '../lib/simulated-clock.ts'
import { openSandboxes } from './open.ts'
import { PoolFixture, silent } from './pool-fixture.ts'
import { SimulatedDriver } from './simulated/driver.ts'
import { Steps } from './simulated/steps.ts'

const fixture = new PoolFixture('process', { plain: '' })
after(() => fixture[Symbol.asyncDispose]())
const spec = fixture.specOf('plain')
const never = new AbortController().signal

/** A pool on a machine that waits for the test, and all that goes on by itself or goes well. */
async function open(poolSize: number) {
  const data = mkdtempSync(path.join(tmpdir(), 'leaving-'))
  after(() => rmSync(data, { recursive: true, force: true }))
  const [steps, clock] = [new Steps(), new SimulatedClock()]
  const driver = new SimulatedDriver(steps, () => {})
  const config = {
    sandbox: 'process',
    poolSize,
    poolMost: poolSize,
    readyMost: 0,
    refills: 1,
    starts: 1,
    freezeMs: 50,
    idleMs: 60_000,
    memoryMb: 4_096,
  } as const
  const pool = await openSandboxes({
    config,
    driver,
    data,
    clock,
    log: silentLog,
    knownBefore: () => false,
    shares: { projects: () => 1, weightOf: () => 1 },
    machineMemory: async () => ({ totalMb: 8_192, availableMb: 8_192, stalledPercent: 0 }),
  })
  const settle = async () => {
    for (let idle = 0; idle < 3; idle++) {
      await turn()
      if (process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq'))) idle = -1
    }
  }
  const well = async () => {
    await settle()
    while (steps.take(0, 'well') !== null) await settle()
  }
  const close = async () => {
    const closed = pool[Symbol.asyncDispose]()
    await well()
    await closed
    assert.deepEqual([driver.faults, driver.alive.size, driver.open], [[], 0, []])
  }
  return { pool, driver, steps, settle, well, close }
}

test('who leaves in the moment in which it gets a sandbox that can become anything leaves it to the others', async () => {
  const { pool, driver, well, close } = await open(1)
  await well()
  assert.equal(pool.status().generic, 1)
  const leaves = new AbortController()
  const acquired = pool.acquire(spec, silent, leaves.signal)
  leaves.abort(new Error('left'))
  await assert.rejects(acquired, /left/)
  await well()
  assert.deepEqual([pool.status().generic, driver.alive.size], [1, 1])
  await close()
})

test('who leaves in the moment in which it gets one of its version that became free leaves it to the others', async () => {
  const { pool, driver, settle, well, close } = await open(0)
  const first = pool.acquire(spec, silent, never)
  await well()
  const lease = await first
  const leaves = new AbortController()
  const second = pool.acquire(spec, silent, leaves.signal)
  await settle()
  lease[Symbol.dispose]()
  leaves.abort(new Error('left'))
  await assert.rejects(second, /left/)
  await settle()
  assert.deepEqual(
    pool.status().sandboxes.map(({ busy }) => busy),
    [0],
  )
  assert.equal(driver.faults.length, 0)
  await close()
})
