import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BACKOFF_MAX_MS, backoffMs } from './backoff.ts'

describe('backoffMs', () => {
  it('doubles from a second to five minutes', () => {
    assert.deepEqual(
      [1, 2, 3, 9, 10, 1000].map((failures) => backoffMs(failures, () => 1)),
      [1_000, 2_000, 4_000, 256_000, BACKOFF_MAX_MS, BACKOFF_MAX_MS],
    )
  })
  it('spreads those that failed together, and lets none come back at once', () => {
    assert.equal(
      backoffMs(3, () => 0),
      2_000,
    )
    assert.equal(
      backoffMs(3, () => 0.5),
      3_000,
    )
  })
  it('takes no failure that was none', () => assert.throws(() => backoffMs(0, Math.random), RangeError))
})
