import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FairOrder, NestedOrder } from './fair-order.ts'

interface Waits {
  readonly project: string
  readonly name: string
}

/** Serves all that wait, one after the other. */
function serveAll(order: NestedOrder, waiting: Waits[], weightOf: (project: string) => number = () => 1): string[] {
  const served: string[] = []
  for (const { project, name } of waiting) order.enter(project, name)
  while (waiting.length > 0) {
    const next = order.next(waiting) as Waits
    order.serve(next.project, next.name, weightOf(next.project))
    order.leave(next.project, next.name)
    waiting.splice(waiting.indexOf(next), 1)
    served.push(`${next.project}${next.name}`)
  }
  return served
}
const many = (project: string, name: string, times: number): Waits[] => Array.from({ length: times }, () => ({ project, name }))

test('projects take turns, and within a project its functions', () => {
  const served = serveAll(new NestedOrder(), [...many('a', '1', 4), ...many('a', '2', 2), ...many('b', '1', 2)])
  assert.deepEqual(served, ['a1', 'b1', 'a2', 'b1', 'a1', 'a2', 'a1', 'a1'])
})

test('who has a larger weight has more of the turns', () => {
  const served = serveAll(new NestedOrder(), [...many('a', '', 9), ...many('b', '', 9)], (project) => (project === 'a' ? 3 : 1))
  assert.deepEqual(served.slice(0, 8).filter((one) => one === 'a').length, 6)
})

test('who comes late is next, and has saved nothing up', () => {
  const order = new FairOrder()
  order.enter('a')
  for (let n = 0; n < 100; n++) order.serve('a')
  order.enter('b')
  assert.ok(order.turnOf('b') < order.turnOf('a'))
  for (let n = 0; n < 3; n++) order.serve('b')
  assert.ok(order.turnOf('b') > order.turnOf('a'))
})

test('what is on its way for a project counts', () => {
  const order = new NestedOrder()
  const waiting = [...many('a', '', 1), ...many('b', '', 1)]
  for (const { project, name } of waiting) order.enter(project, name)
  assert.equal(order.next(waiting)?.project, 'a')
  assert.equal(order.next(waiting, (project) => (project === 'a' ? 1 : 0))?.project, 'b')
  assert.equal(order.next([]), undefined)
})

test('of two that always wait neither is ever two turns ahead', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 200 }), (a, b) => {
      const served = serveAll(new NestedOrder(), [...many('a', '', a), ...many('b', '', b)]).slice(0, 2 * Math.min(a, b))
      let ahead = 0
      for (const one of served) {
        ahead += one === 'a' ? 1 : -1
        assert.ok(Math.abs(ahead) <= 1)
      }
    }),
  )
})
