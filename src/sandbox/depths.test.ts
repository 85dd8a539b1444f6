import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Depths } from './depths.ts'

describe('Depths', () => {
  it('is the deepest of what runs, and stays that of the last call when none does', () => {
    const depths = new Depths(3)
    assert.equal(depths.now(), 3)
    depths.began(2)
    depths.began(5)
    depths.began(2)
    assert.equal(depths.now(), 5)
    depths.ended(5)
    assert.equal(depths.now(), 2)
    depths.ended(2)
    depths.ended(2)
    assert.equal(depths.now(), 2)
    depths.began(0)
    assert.equal(depths.now(), 0)
  })
})
