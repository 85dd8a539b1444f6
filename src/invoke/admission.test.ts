import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { systemClock } from '../lib/clock.ts'
import { VirtualClock } from '../lib/virtual-clock.ts'
import { Admission, type AdmissionLimits, type Reservations } from './admission.ts'

const of = (functionId: string, project = 'p') => ({ functionId, project })
const nothing: Reservations = { of: () => null, total: 0, projects: 1, weightOf: () => 1, mostWeight: 1, mostOf: () => null }
const open = (limits: { node: number } & Partial<AdmissionLimits>, reservations: Partial<Reservations> = {}, clock = systemClock) =>
  new Admission({ perFunction: limits.node, perProject: limits.node, ...limits }, clock, { ...nothing, ...reservations })

describe('Admission', () => {
  it('gives a slot to the edge of the function and refuses one past it, by name and number', () => {
    const admission = open({ node: 10, perFunction: 2 })
    admission.enter(of('a'))
    const second = admission.enter(of('a'))
    assert.throws(() => admission.enter(of('a')), { code: 'too_many_invocations', message: /2 at once is the limit/ })
    assert.deepEqual(admission.refused, { node: 0, share: 0, project: 0, function: 1, reserved: 0 })
    admission.enter(of('b'))
    second[Symbol.dispose]()
    admission.enter(of('a'))
  })
  it('holds the limit of the node (concurrentInvocations)', () => {
    const node = LIMITS.concurrentInvocations.value
    const admission = open({ node })
    for (let i = 0; i < node; i++) admission.enter(of(`f${i}`))
    assert.throws(() => admission.enter(of('g')), { code: 'too_many_invocations', message: new RegExp(`${node} at once`) })
    assert.equal(admission.running, node)
  })
  it('counts a slot that is given back twice once', () => {
    const admission = open({ node: 1 })
    const slot = admission.enter(of('a'))
    slot[Symbol.dispose]()
    slot[Symbol.dispose]()
    assert.equal(admission.running, 0)
    admission.enter(of('a'))
    assert.throws(() => admission.enter(of('b')), { code: 'too_many_invocations' })
    assert.deepEqual(admission.refused, { node: 1, share: 0, project: 0, function: 0, reserved: 0 })
  })
})

describe('reserved concurrency', () => {
  const reserving = (node: number, reserved: Record<string, number>) =>
    open({ node }, { of: (id) => reserved[id] ?? null, total: Object.values(reserved).reduce((sum, n) => sum + n, 0) })
  const enterAll = (admission: Admission, id: string, times: number) => Array.from({ length: times }, () => admission.enter(of(id)))

  it('is the most that a function runs: a call past it is refused by its own name, 0 refuses all', () => {
    const admission = reserving(100, { a: 2, none: 0 })
    const [first] = enterAll(admission, 'a', 2)
    assert.throws(() => admission.enter(of('a')), { code: 'function_concurrency_reached', message: /2 are reserved/ })
    first?.[Symbol.dispose]()
    admission.enter(of('a'))
    assert.throws(() => admission.enter(of('none')), { code: 'function_concurrency_reached' })
    assert.deepEqual(admission.refused, { node: 0, share: 0, project: 0, function: 0, reserved: 2 })
  })
  it('is there for its function however much others run', () => {
    const admission = reserving(10, { a: 4 })
    enterAll(admission, 'b', 6)
    assert.throws(() => admission.enter(of('c')), { code: 'too_many_invocations', message: /6 of the node's 10 are not reserved/ })
    enterAll(admission, 'a', 4)
    assert.equal(admission.running, 10)
  })
  it('leaves a tenth of the node to the others, however much is reserved', () => {
    const admission = reserving(10, { a: 900 })
    admission.enter(of('b'))
    assert.throws(() => admission.enter(of('b')), { code: 'too_many_invocations' })
    enterAll(admission, 'a', 9)
    assert.throws(() => admission.enter(of('a')), { code: 'too_many_invocations', message: /node/ })
  })
  it('leaves that tenth also where those with a reservation came first', () => {
    const admission = reserving(20, { a: 900 })
    enterAll(admission, 'a', 18)
    assert.throws(() => admission.enter(of('a')), { code: 'too_many_invocations', message: /18 of the node's 20 are for them/ })
    enterAll(admission, 'b', 2)
    const small = reserving(1, { a: 5 })
    small.enter(of('a'))
  })
  it('counts a slot where it was taken, when the reservation changes meanwhile', () => {
    const reserved: Record<string, number> = {}
    const admission = open({ node: 10 }, { of: (id) => reserved[id] ?? null, total: 5 })
    const slots = enterAll(admission, 'a', 5)
    reserved.a = 5
    for (const slot of slots) slot[Symbol.dispose]()
    enterAll(admission, 'b', 5)
    assert.throws(() => admission.enter(of('b')), { code: 'too_many_invocations' })
  })
  it('says how many more may run, where that is known', () => {
    const admission = reserving(10, { a: 2, none: 0 })
    assert.deepEqual([admission.freeOf('a'), admission.freeOf('none'), admission.freeOf('b')], [2, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY])
    enterAll(admission, 'a', 2)
    assert.equal(admission.freeOf('a'), 0)
  })
})

describe('projects', () => {
  const enterAll = (admission: Admission, project: string, times: number) => Array.from({ length: times }, () => admission.enter(of(`${project}f`, project)))
  const full = { code: 'too_many_invocations' }

  it('have a number of their own, or that of the node', () => {
    const admission = open({ node: 10, perProject: 3 }, { mostOf: (project) => (project === 'b' ? 1 : null) })
    enterAll(admission, 'a', 3)
    assert.throws(() => admission.enter(of('other', 'a')), { ...full, message: /the project runs 3 invocations already; 3 at once/ })
    enterAll(admission, 'b', 1)
    assert.throws(() => admission.enter(of('x', 'b')), full)
    assert.equal(admission.refused.project, 2)
  })

  it('leave a tenth of the node to others that have functions, and to who ran calls lately what it had, up to its share', () => {
    const admission = open({ node: 100 }, { projects: 2 })
    const loud = enterAll(admission, 'loud', 90)
    assert.throws(() => admission.enter(of('f', 'loud')), { ...full, message: /90 of the node's 100 are its share/ })
    enterAll(admission, 'quiet', 10)
    assert.throws(() => admission.enter(of('f', 'quiet')), { ...full, message: /node runs 100/ })
    for (const slot of loud) slot[Symbol.dispose]()
    const quiet = enterAll(admission, 'quiet', 30)
    for (const slot of quiet) slot[Symbol.dispose]()
    enterAll(admission, 'loud', 60)
    assert.throws(() => admission.enter(of('f', 'loud')), full)
    enterAll(admission, 'quiet', 30)
    assert.equal(admission.refused.share, 2)
  })

  it('have more of a full node with a larger weight', () => {
    const weights: Record<string, number> = { a: 3, b: 1 }
    const admission = open({ node: 100 }, { projects: 2, weightOf: (project) => weights[project] ?? 1, mostWeight: 3 })
    for (const slot of enterAll(admission, 'a', 80)) slot[Symbol.dispose]()
    enterAll(admission, 'b', 25)
    assert.throws(() => admission.enter(of('f', 'b')), full)
    enterAll(admission, 'a', 75)
  })

  it('may have all of it when nobody else has functions', () => {
    enterAll(open({ node: 100 }, { projects: 1 }), 'a', 100)
  })
})

describe('calls that may wait', () => {
  const never = new AbortController().signal

  it('get a slot in turns of the projects when one is free, and are refused when their time is over', async () => {
    const clock = new VirtualClock()
    const admission = open({ node: 2 }, {}, clock)
    const held = [admission.enter(of('a', 'loud')), admission.enter(of('a', 'loud'))]
    const served: string[] = []
    const wait = (functionId: string, project: string) =>
      admission.wait(of(functionId, project), 1_000, never).then(
        (slot) => (served.push(`${project} ${functionId}`), slot),
        (error: Error) => (served.push(`${project} ${functionId} refused`), assert.match(error.message, /node runs 2/), null),
      )
    const waiting = [wait('a', 'loud'), wait('a', 'loud'), wait('b', 'loud'), wait('c', 'quiet')]
    await clock.pass(10)
    assert.deepEqual([admission.waiting, served], [4, []])
    held[0]?.[Symbol.dispose]()
    await clock.pass(10)
    held[1]?.[Symbol.dispose]()
    await clock.pass(10)
    assert.deepEqual(served, ['loud a', 'quiet c'])
    await clock.pass(1_000)
    assert.deepEqual([served.slice(2), admission.waiting, admission.refused.node], [['loud a refused', 'loud b refused'], 0, 2])
    for (const slot of await Promise.all(waiting)) slot?.[Symbol.dispose]()
    assert.equal(admission.running, 0)
  })

  it('stand behind those of their function that wait, and are refused at once where waiting changes nothing', async () => {
    const clock = new VirtualClock()
    const reserved: Record<string, number> = { none: 0, one: 1 }
    const admission = open({ node: 10 }, { of: (id) => reserved[id] ?? null, total: 1 }, clock)
    await assert.rejects(admission.wait(of('none'), 1_000, never), { code: 'function_concurrency_reached' })
    const [first, order] = [await admission.wait(of('one'), 1_000, never), [] as number[]]
    await assert.rejects(admission.wait(of('one'), 0, never), { code: 'function_concurrency_reached' })
    const both = [1, 2].map((n) =>
      admission.wait(of('one'), 1_000, never).then((slot) => {
        order.push(n)
        slot[Symbol.dispose]()
      }),
    )
    await clock.pass(1)
    first[Symbol.dispose]()
    await Promise.all(both)
    assert.deepEqual([order, admission.running], [[1, 2], 0])
  })

  it('leave the queue with their client, and the slot that came in the same moment is given back', async () => {
    const clock = new VirtualClock()
    const admission = open({ node: 1 }, {}, clock)
    const held = admission.enter(of('a'))
    const leaving = new AbortController()
    const left = admission.wait(of('a'), 1_000, leaving.signal)
    await clock.pass(1)
    leaving.abort(new Error('left'))
    await assert.rejects(left, /left/)
    assert.equal(admission.waiting, 0)
    held[Symbol.dispose]()
    assert.equal(admission.running, 0)
  })
})
