import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { DatabaseError } from '../backends/database/database.ts'
import { LIMITS } from '../core/limits.ts'
import { QuickReads } from './quick.ts'

describe('reads that are known to be quick', () => {
  const quickly = { ms: 1, bytes: 100 }
  const seen = (times: number, reads = new QuickReads()) => {
    for (let n = 0; n < times; n++) reads.saw('a', quickly)
    return reads
  }
  it('have been so ten times in a row, each text by itself', () => {
    assert.equal(seen(9).isQuick('a'), false)
    assert.equal(seen(10).isQuick('a'), true)
    assert.equal(seen(10).isQuick('b'), false)
  })
  it('are no more once one took longer, or was large', () => {
    for (const slow of [
      { ms: LIMITS.dataQuick.value + 1, bytes: 100 },
      { ms: 1, bytes: 200_000 },
    ]) {
      const reads = seen(100)
      reads.saw('a', slow)
      assert.equal(reads.isQuick('a'), false)
      assert.equal(seen(10, reads).isQuick('a'), true)
    }
  })
  it('have to earn it long, once one was really slow', () => {
    const reads = seen(100)
    reads.saw('a', { ms: 3_000, bytes: 100 })
    reads.saw('a', { ms: LIMITS.dataQuick.value + 1, bytes: 100 })
    assert.equal(seen(499, reads).isQuick('a'), false)
    assert.equal(seen(1, reads).isQuick('a'), true)
  })
  it('have to earn it as long, once one was ended before its answer; other faults say nothing', () => {
    const reads = seen(100)
    reads.failed('a', new DatabaseError('42501', 'permission denied'))
    assert.equal(reads.isQuick('a'), true)
    reads.failed('a', new DatabaseError('57014', 'canceling statement due to statement timeout'))
    assert.equal(reads.isQuick('a'), false)
    assert.equal(seen(499, reads).isQuick('a'), false)
    assert.equal(seen(1, reads).isQuick('a'), true)
  })
  it('are forgotten when many others came since', () => {
    const reads = seen(10)
    for (let n = 0; n < 600; n++) reads.saw(`other ${n}`, quickly)
    assert.equal(reads.isQuick('a'), false)
  })
})
