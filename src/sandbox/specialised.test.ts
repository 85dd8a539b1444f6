import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'node:test'
import { SimulatedClock } from '../lib/simulated-clock.ts'
import { Channel } from './channel.ts'
import { Depths } from './depths.ts'
import { SimulatedDriver } from './simulated/driver.ts'
import { Steps } from './simulated/steps.ts'
import { Specialised } from './specialised.ts'
import { SandboxLife } from './state.ts'
import type { SandboxSpec, StartOptions } from './types.ts'

const SPEC = { key: 'f', memoryMb: 128, timeoutMs: 3_000, concurrency: 2, reuse: 'function' } as SandboxSpec

/** One that serves, with a machine that waits for the test; `free` counts how often it said that it can take a call. */
async function open() {
  const [steps, clock, life] = [new Steps(), new SimulatedClock(), new SandboxLife()]
  const driver = new SimulatedDriver(steps, () => {})
  const starting = driver.start({ id: 's-1' } as StartOptions)
  steps.take(0, 'well')
  const process = await starting
  life.tell('greeted', null)
  life.tell('given', null)
  let free = 0
  const sandbox = new Specialised({
    spec: SPEC,
    handlerKind: 'lambda',
    process,
    channel: new Channel(process, () => {}),
    life,
    clock,
    depths: new Depths(0),
    printed: null,
    onFree: () => free++,
    onGone: () => {},
  })
  return { sandbox, steps, driver, free: () => free }
}

test('what is at work is not frozen, nor what somebody looks into; what stands idle is, once', async () => {
  const { sandbox, steps, driver } = await open()
  assert.equal(sandbox.begin(), true)
  await sandbox.freeze()
  assert.deepEqual([sandbox.state.state, steps.all], ['busy', []])
  sandbox.finish()
  const looking = sandbox.inspect()
  await sandbox.freeze()
  assert.deepEqual([sandbox.state.state, steps.all], ['ready', []])
  void looking
  const { sandbox: other, steps: own } = await open()
  const both = [other.freeze(), other.freeze()]
  assert.deepEqual([other.state.state, own.all], ['freezing', ['freeze s-1']])
  own.take(0, 'well')
  await Promise.all(both)
  assert.equal(other.state.state, 'frozen')
  assert.deepEqual(driver.faults, [])
})

test('the right to a call is given back once, however often', async () => {
  const { sandbox, free } = await open()
  const [one, another] = [
    sandbox.begin() && sandbox.lease({ cold: null, waitMs: 0, initMs: 0 }),
    sandbox.begin() && sandbox.lease({ cold: null, waitMs: 0, initMs: 0 }),
  ]
  assert.ok(one && another)
  one[Symbol.dispose]()
  one[Symbol.dispose]()
  await turn()
  assert.deepEqual([sandbox.state, free()], [{ state: 'busy', calls: 1 }, 1])
  another[Symbol.dispose]()
  assert.deepEqual([sandbox.state.state, free()], ['ready', 2])
})
