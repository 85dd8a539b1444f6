import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { CRASH_POINTS, crashAt } from './crash.ts'

describe('crash points', () => {
  it('end the process at the named point alone, the n-th time that it comes by', () => {
    let killed = 0
    const crash = crashAt('afterLease:2', () => void killed++)
    for (const point of CRASH_POINTS) crash(point)
    assert.equal(killed, 0)
    crash('afterLease')
    assert.equal(killed, 1)
    crash('afterLease')
    assert.equal(killed, 1)
  })
  it('do nothing when nobody asked, and refuse a name that is none', () => {
    for (const asked of [undefined, '']) crashAt(asked, () => assert.fail('killed'))('duringRun')
    for (const asked of ['elsewhere', 'duringRun:0', 'duringRun:x']) assert.throws(() => crashAt(asked, () => {}), RangeError)
  })
})
