import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import { finder } from './text-search.ts'

it('finds what indexOf finds, short or long', () => {
  const part = fc.stringMatching(/^[ab]{0,6}$/)
  fc.assert(
    fc.property(part, part, fc.integer({ min: 1, max: 12 }), fc.array(part, { maxLength: 20 }), fc.nat(40), (one, other, times, around, from) => {
      const wanted = one.repeat(times) + other
      const text = around.join('') + (around.length % 2 === 0 ? wanted : '') + around.join('b')
      if (wanted !== '') assert.equal(finder(wanted)(text, from), text.indexOf(wanted, from))
    }),
    { numRuns: 1_000 },
  )
})
