import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { Admission } from './admission.ts'

describe('Admission', () => {
  it('gives a slot to the edge of the function and refuses one past it, by name and number', () => {
    const admission = new Admission({ node: 10, perFunction: 2 })
    admission.enter('a')
    const second = admission.enter('a')
    assert.throws(() => admission.enter('a'), { code: 'too_many_invocations', message: /2 at once is the limit/ })
    assert.deepEqual(admission.refused, { node: 0, function: 1, reserved: 0 })
    admission.enter('b')
    second[Symbol.dispose]()
    admission.enter('a')
  })
  it('holds the limit of the node (concurrentInvocations)', () => {
    const node = LIMITS.concurrentInvocations.value
    const admission = new Admission({ node, perFunction: node })
    for (let i = 0; i < node; i++) admission.enter(`f${i}`)
    assert.throws(() => admission.enter('g'), { code: 'too_many_invocations', message: new RegExp(`${node} at once`) })
    assert.equal(admission.running, node)
  })
  it('counts a slot that is given back twice once', () => {
    const admission = new Admission({ node: 1, perFunction: 1 })
    const slot = admission.enter('a')
    slot[Symbol.dispose]()
    slot[Symbol.dispose]()
    assert.equal(admission.running, 0)
    admission.enter('a')
    assert.throws(() => admission.enter('b'), { code: 'too_many_invocations' })
    assert.deepEqual(admission.refused, { node: 1, function: 0, reserved: 0 })
  })
})

describe('reserved concurrency', () => {
  const reserving = (node: number, reserved: Record<string, number>) =>
    new Admission({ node, perFunction: node }, { of: (id) => reserved[id] ?? null, total: Object.values(reserved).reduce((sum, n) => sum + n, 0) })
  const enterAll = (admission: Admission, id: string, times: number) => Array.from({ length: times }, () => admission.enter(id))

  it('is the most that a function runs: a call past it is refused by its own name, 0 refuses all', () => {
    const admission = reserving(100, { a: 2, none: 0 })
    const [first] = enterAll(admission, 'a', 2)
    assert.throws(() => admission.enter('a'), { code: 'function_concurrency_reached', message: /2 are reserved/ })
    first?.[Symbol.dispose]()
    admission.enter('a')
    assert.throws(() => admission.enter('none'), { code: 'function_concurrency_reached' })
    assert.deepEqual(admission.refused, { node: 0, function: 0, reserved: 2 })
  })
  it('is there for its function however much others run', () => {
    const admission = reserving(10, { a: 4 })
    enterAll(admission, 'b', 6)
    assert.throws(() => admission.enter('c'), { code: 'too_many_invocations', message: /6 of the node's 10 are not reserved/ })
    enterAll(admission, 'a', 4)
    assert.equal(admission.running, 10)
  })
  it('leaves a tenth of the node to the others, however much is reserved', () => {
    const admission = reserving(10, { a: 900 })
    admission.enter('b')
    assert.throws(() => admission.enter('b'), { code: 'too_many_invocations' })
    enterAll(admission, 'a', 9)
    assert.throws(() => admission.enter('a'), { code: 'too_many_invocations', message: /node/ })
  })
  it('leaves that tenth also where those with a reservation came first', () => {
    const admission = reserving(20, { a: 900 })
    enterAll(admission, 'a', 18)
    assert.throws(() => admission.enter('a'), { code: 'too_many_invocations', message: /18 of the node's 20 are for them/ })
    enterAll(admission, 'b', 2)
    const small = reserving(1, { a: 5 })
    small.enter('a')
  })
  it('counts a slot where it was taken, when the reservation changes meanwhile', () => {
    const reserved: Record<string, number> = {}
    const admission = new Admission({ node: 10, perFunction: 10 }, { of: (id) => reserved[id] ?? null, total: 5 })
    const slots = enterAll(admission, 'a', 5)
    reserved.a = 5
    for (const slot of slots) slot[Symbol.dispose]()
    enterAll(admission, 'b', 5)
    assert.throws(() => admission.enter('b'), { code: 'too_many_invocations' })
  })
  it('says how many more may run, where that is known', () => {
    const admission = reserving(10, { a: 2, none: 0 })
    assert.deepEqual([admission.freeOf('a'), admission.freeOf('none'), admission.freeOf('b')], [2, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY])
    enterAll(admission, 'a', 2)
    assert.equal(admission.freeOf('a'), 0)
  })
})
