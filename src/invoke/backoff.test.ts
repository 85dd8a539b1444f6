import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BACKOFF_MAX_MS, backoffMs, retryAfterMs } from './backoff.ts'

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

describe('retryAfterMs', () => {
  it('is always as long, at random up to a tenth longer, or doubles within its bounds, at random by a fifth', () => {
    assert.deepEqual(
      [1, 2, 50].map((failures) => retryAfterMs(7, failures, () => 0)),
      [7_000, 7_000, 7_000],
    )
    assert.deepEqual(
      [0, 0.5, 1].map((random) => retryAfterMs(7, 1, () => random)),
      [7_000, 7_350, 7_700],
    )
    assert.equal(
      retryAfterMs(0, 1, () => 1),
      0,
    )
    const between = { least: 2, most: 60 }
    assert.deepEqual(
      [1, 2, 3, 6, 1000].map((failures) => retryAfterMs(between, failures, () => 0.5)),
      [2_000, 4_000, 8_000, 60_000, 60_000],
    )
    assert.deepEqual(
      [0, 1].map((random) => retryAfterMs(between, 3, () => random)),
      [6_400, 9_600],
    )
    assert.equal(
      retryAfterMs(between, 1, () => 0),
      2_000,
    )
  })
})
