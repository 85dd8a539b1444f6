import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { BodyBudget } from './body-budget.ts'

test('bodies of one project are held up to a bound (heldBodiesOfProject), those of all up to another (heldBodies)', () => {
  const budget = new BodyBudget()
  const [most, all] = [LIMITS.heldBodiesOfProject.value, LIMITS.heldBodies.value]
  const [one, two, three] = [budget.open(), budget.open(), budget.open()]
  one.belongsTo('a')
  two.belongsTo('a')
  one.hold(most)
  assert.throws(() => two.hold(1), { code: 'too_many_bytes' })
  three.belongsTo('b')
  three.hold(all - most)
  const four = budget.open()
  four.belongsTo('c')
  assert.throws(() => four.hold(1), { code: 'node_busy' })
  one[Symbol.dispose]()
  two.hold(1)
  four.hold(1)
  assert.equal(budget.bytes, all - most + 2)
})

test('what is not known to be anybody’s has a share of its own, until it is', () => {
  const budget = new BodyBudget({ node: 100, project: 30 })
  const [first, second] = [budget.open(), budget.open()]
  first.hold(20)
  assert.throws(() => second.hold(11), { code: 'too_many_bytes' })
  first.belongsTo('a')
  second.hold(30)
  assert.throws(() => first.hold(11), { code: 'too_many_bytes' })
  first.hold(10)
  for (const held of [first, second, first]) held[Symbol.dispose]()
  assert.equal(budget.bytes, 0)
})
