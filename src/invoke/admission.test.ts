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
  })
})
