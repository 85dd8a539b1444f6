import assert from 'node:assert/strict'
import { describe, it, test } from 'node:test'
import { IdleWork } from './idle-work.ts'
import { PoolFixture, refusalOf, until } from './pool-fixture.ts'

describe('work between calls', () => {
  it('is looked for now and then, and seen where it is more than what a runtime has to do', () => {
    let cpuMs: number | null = 0
    let asked = 0
    const work = new IdleWork(() => {
      asked++
      return cpuMs
    })
    const pause = (nowMs: number, ms: number) => {
      work.begin(nowMs)
      if (cpuMs !== null) cpuMs += ms
      work.end()
    }
    for (let nowMs = 0; nowMs < 1_000; nowMs++) pause(nowMs, 0.5)
    assert.ok(asked >= 12 && asked <= 42, `${asked} times in a second`)
    pause(2_000, 10)
    assert.equal(work.isSeen, false)
    pause(3_000, 11)
    assert.equal(work.isSeen, true)
    asked = 0
    pause(4_000, 1)
    assert.equal(asked, 0, 'it needs no more')
  })

  it('is seen nowhere that nobody counts it', () => {
    const work = new IdleWork(() => null)
    work.begin(0)
    work.end()
    assert.equal(work.isSeen, false)
  })
})

const CODE = `const { Worker } = require('node:worker_threads')
let worker
exports.handler = async ({ works }) => { if (works) worker ??= new Worker('for (;;);', { eval: true }); return 'answered' }`

for (const driver of ['runc', 'bwrap'] as const) {
  const refusal = await refusalOf(driver)
  test(`${driver}: who works between its calls is frozen with the end of each, others when they have stood idle`, {
    skip: refusal ?? false,
    timeout: 60_000,
  }, async () => {
    await using fixture = new PoolFixture(driver, { honest: CODE, greedy: CODE })
    const pool = await fixture.open({ freezeMs: 60_000 })
    const call = (name: string) => fixture.call(fixture.specOf(name), { works: name === 'greedy' }, undefined, pool)
    const states = new Map<string, string | undefined>()
    for (let n = 0; n < 200 && states.get('greedy') !== 'frozen'; n++) {
      for (const name of ['honest', 'greedy']) {
        const { id, value } = await call(name)
        assert.equal(value, 'answered')
        await new Promise((later) => setTimeout(later, 60))
        states.set(name, fixture.stateOf(id, pool))
      }
    }
    assert.deepEqual(Object.fromEntries(states), { honest: 'ready', greedy: 'frozen' })
    const { id, value } = await call('greedy')
    assert.equal(value, 'answered')
    await until(() => fixture.stateOf(id, pool) === 'frozen')
    await pool[Symbol.asyncDispose]()
  })
}
