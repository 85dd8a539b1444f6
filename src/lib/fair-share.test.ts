import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { mostOf, type Use, Uses } from './fair-share.ts'
import { VirtualClock } from './virtual-clock.ts'

const uses = (all: Record<string, [used: number, wanted: number, weight?: number]>): Map<string, Use> =>
  new Map(Object.entries(all).map(([party, [used, wanted, weight = 1]]) => [party, { used, wanted, weight }]))

test('who is alone may have all of it, and nine tenths where others could come', () => {
  assert.equal(mostOf('a', uses({}), 100, false), 100)
  assert.equal(mostOf('a', uses({ a: [50, 50] }), 100, true), 90)
})

test('what another used lately is kept for it, up to its share', () => {
  assert.equal(mostOf('a', uses({ a: [40, 40], b: [10, 30] }), 100, false), 70)
  assert.equal(mostOf('a', uses({ a: [10, 10], b: [0, 80] }), 100, false), 50)
})

test('who has more weight has more of it', () => {
  const both = uses({ a: [0, 100, 3], b: [0, 100, 1] })
  assert.deepEqual([mostOf('a', both, 100, false), mostOf('b', both, 100, false)], [75, 25])
})

test('each may have its share, whatever the others have; one that comes back finds what it had, up to its share', () => {
  const party = fc.tuple(fc.nat(100), fc.nat(100), fc.integer({ min: 1, max: 5 }))
  fc.assert(
    fc.property(fc.array(party, { minLength: 1, maxLength: 8 }), fc.boolean(), (parties, newcomers) => {
      const all = uses(Object.fromEntries(parties.map(([used, wanted, weight], n) => [`p${n}`, [used, Math.max(used, wanted), weight]])))
      const total = 1_000
      const weights = [...all.values()].reduce((sum, { weight, wanted }) => sum + (wanted > 0 ? weight : 0), newcomers ? 1 : 0)
      for (const [name, { wanted, weight }] of all) {
        const most = mostOf(name, all, total, newcomers)
        if (wanted > 0) assert.ok(most >= (total * weight) / weights - 1e-9)
        assert.ok(most <= total)
        for (const [other, use] of all) {
          const share = (total * weight) / weights
          if (other !== name && most > share + 1e-9 && wanted > 0) assert.ok(total - most >= Math.min(use.wanted, (total * use.weight) / weights) - 1e-9)
        }
      }
    }),
  )
})

test('what was used is remembered for one to two minutes', async () => {
  const clock = new VirtualClock()
  const all = new Uses(clock)
  all.set('a', 5)
  all.set('a', 1)
  const wanted = () => all.all(() => 1).get('a')?.wanted
  assert.deepEqual([all.of('a'), wanted()], [1, 5])
  await clock.pass(61_000)
  assert.equal(wanted(), 5)
  await clock.pass(61_000)
  assert.equal(wanted(), 1)
  all.set('a', 0)
  await clock.pass(61_000)
  assert.deepEqual([all.parties, wanted()], [1, 1])
  await clock.pass(61_000)
  assert.equal(all.parties, 0)
})
