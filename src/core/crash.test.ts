import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { CRASH_POINTS, crashAt } from './crash.ts'

describe('crash points', () => {
  it('end the process at the named point alone, the n-th time that it comes by', () => {
    let killed = 0
    const crash = crashAt(
      'afterLease:2',
      () => void killed++,
      () => null,
    )
    for (const point of CRASH_POINTS) crash(point)
    assert.equal(killed, 0)
    crash('afterLease')
    assert.equal(killed, 1)
    crash('afterLease')
    assert.equal(killed, 1)
  })
  it('do nothing when nobody asked, and refuse a name that is none', () => {
    for (const asked of [undefined, ''])
      crashAt(
        asked,
        () => assert.fail('killed'),
        () => null,
      )('duringRun')
    for (const asked of ['elsewhere', 'duringRun:0', 'duringRun:x'])
      assert.throws(
        () =>
          crashAt(
            asked,
            () => {},
            () => null,
          ),
        RangeError,
      )
  })
  it('are what a file says from when it is written, and counted from there', () => {
    const killed: string[] = []
    let says: string | null = null
    const crash = crashAt(
      '/crash',
      (point) => void killed.push(point),
      () => says,
    )
    crash('afterLease')
    says = 'afterLease:2'
    crash('afterLease')
    assert.deepEqual(killed, [])
    crash('afterLease')
    says = 'duringRun'
    crash('afterLease')
    crash('duringRun')
    says = null
    crash('duringRun')
    assert.deepEqual(killed, ['afterLease', 'duringRun'])
  })
})
