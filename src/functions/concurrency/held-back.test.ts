import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { heldBack } from './held-back.ts'

test('a project alone holds back what it reserves, up to nine tenths', () => {
  assert.deepEqual([heldBack([50], 1, 200), heldBack([900], 1, 200)], [50, 180])
})

test('who writes down a large number holds back no more than an equal share', () => {
  assert.equal(heldBack([900], 4, 200), 45)
  assert.equal(heldBack([900, 10], 4, 200), 55)
})

test('all together never hold back more than nine tenths, and nobody more than was reserved', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(1_000), { maxLength: 50 }), fc.nat(50), fc.integer({ min: 1, max: 2_000 }), (reserved, idle, slots) => {
      const held = heldBack(reserved, reserved.length + idle, slots)
      assert.ok(held <= slots * 0.9)
      assert.ok(held <= reserved.reduce((sum, own) => sum + own, 0))
    }),
  )
})
