import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { VirtualClock } from '../lib/virtual-clock.ts'
import { MemoryBudget } from './memory-budget.ts'
import { type Server, Serving } from './serving.ts'
import type { SandboxState } from './state.ts'

function standing(totalMb: number, projects = 1) {
  const clock = new VirtualClock()
  const waiting = { mb: 0 }
  const dropped: string[] = []
  const serving = new Serving<Server>({ wants: () => false, holds: () => false, first: () => null })
  const budget = new MemoryBudget({
    totalMb,
    serving,
    shares: { projects: () => projects, weightOf: (project) => (project === 'heavy' ? 3 : 1) },
    clock,
    waiting: {
      mb: () => waiting.mb,
      drop: () => {
        if (waiting.mb === 0) return false
        waiting.mb -= 32
        return true
      },
    },
    drop: (sandbox) => {
      dropped.push(sandbox.spec.key)
      serving.remove(sandbox)
    },
  })
  const add = (key: string, state: SandboxState, memoryMb = 100, project = 'p'): Server => {
    const server: Server = { state, spec: { key, memoryMb, concurrency: 1, reuse: 'function', identity: { project } } }
    serving.add(server)
    return server
  }
  return { budget, dropped, add, serving, clock, waiting }
}
const mb = (memoryMb: number, project = 'p') => ({ key: 'new', memoryMb, identity: { project } })
const full = { code: 'too_many_invocations' }

test('what has stood idle longest goes first, and no more than must', () => {
  const { budget, dropped, add } = standing(400)
  add('young', { state: 'ready', sinceMs: 30 })
  add('old', { state: 'ready', sinceMs: 10 })
  add('older', { state: 'frozen', sinceMs: 5, chargedMb: 50 })
  add('busy', { state: 'busy', calls: 1 })
  budget.makeRoom(mb(50))
  assert.deepEqual(dropped, [])
  budget.makeRoom(mb(200))
  assert.deepEqual(dropped, ['older', 'old'])
})

test('what works is never ended: the call is refused with the numbers', () => {
  const { budget, dropped, add } = standing(300)
  add('busy', { state: 'busy', calls: 1 })
  add('freezing', { state: 'freezing', sinceMs: 1 })
  assert.throws(() => budget.makeRoom(mb(101)), {
    ...full,
    message: 'the sandboxes of this node use 200 of 300 MB of memory; another of 101 MB does not fit now',
  })
  budget.makeRoom(mb(100))
  assert.deepEqual(dropped, [])
})

test('those on their way count until they are there, each for itself', () => {
  const { budget } = standing(300)
  const spec = { ...mb(150), key: 'a' }
  const [one, two] = [budget.comes(spec), budget.comes(spec)]
  assert.equal(budget.fits(mb(1)), false)
  assert.throws(() => budget.makeRoom(mb(1)), full)
  one[Symbol.dispose]()
  assert.deepEqual([budget.fits(mb(150)), budget.fits(mb(151)), budget.isComing('a')], [true, false, true])
  two[Symbol.dispose]()
  assert.deepEqual([budget.fits(mb(300)), budget.isComing('a')], [true, false])
})

const busy: SandboxState = { state: 'busy', calls: 1 }
const idle = (sinceMs: number): SandboxState => ({ state: 'ready', sinceMs })

test('a project alone leaves a tenth to others that have functions', () => {
  const { budget, add } = standing(1_000, 2)
  for (let n = 0; n < 9; n++) add(`b${n}`, busy)
  assert.throws(() => budget.makeRoom(mb(100)), { ...full, message: /the project use 900 MB of memory, and 900 MB are its share/ })
  budget.makeRoom(mb(100, 'other'))
})

test('idle sandboxes of who has more than its share go first, then those of the one who wants, oldest first', () => {
  const { budget, dropped, add } = standing(1_000)
  add('small', idle(1), 100, 'small')
  for (let n = 0; n < 7; n++) add(`large${n}`, idle(10 + n), 100, 'large')
  add('own', idle(5), 200, 'wants')
  budget.makeRoom(mb(200, 'wants'))
  assert.deepEqual(dropped, ['large0', 'large1'])
  budget.makeRoom(mb(300, 'wants'))
  assert.deepEqual(dropped, ['large0', 'large1', 'large2'])
})

test('one project evicts no other that is within its share, unless that stood idle for a minute', async () => {
  const { budget, dropped, add, clock } = standing(1_000)
  for (let n = 0; n < 3; n++) add(`quiet${n}`, idle(n), 100, 'quiet')
  for (let n = 0; n < 7; n++) add(`loud${n}`, busy, 100, 'loud')
  assert.throws(() => budget.makeRoom(mb(100, 'loud')), full)
  assert.deepEqual(dropped, [])
  await clock.pass(61_000)
  budget.makeRoom(mb(100, 'loud'))
  assert.deepEqual(dropped, ['quiet0'])
})

test('what ran of another project within the last minute is kept for it, up to its share', async () => {
  const { budget, add, serving, clock } = standing(1_000)
  for (let n = 0; n < 4; n++) add(`quiet${n}`, busy, 100, 'quiet')
  budget.sample()
  for (const sandbox of serving.all()) serving.remove(sandbox)
  budget.sample()
  for (let n = 0; n < 6; n++) add(`loud${n}`, busy, 100, 'loud')
  assert.throws(() => budget.makeRoom(mb(100, 'loud')), { ...full, message: /600 MB are its share/ })
  budget.makeRoom(mb(400, 'quiet'))
  await clock.pass(130_000)
  budget.makeRoom(mb(400, 'loud'))
})

test('a larger weight is a larger share', () => {
  const { budget, add } = standing(1_000)
  for (let n = 0; n < 3; n++) add(`light${n}`, busy, 100, 'light')
  add('heavy', busy, 100, 'heavy')
  const held = budget.comes({ key: 'k', memoryMb: 400, identity: { project: 'heavy' } })
  budget.sample()
  held[Symbol.dispose]()
  assert.throws(() => budget.makeRoom(mb(300, 'light')), full)
  budget.makeRoom(mb(200, 'light'))
  budget.makeRoom(mb(600, 'heavy'))
})

test('nobody is refused within its share while there is room, and there is never more than all, whatever the order', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 1, max: 200 })), { maxLength: 80 }), (calls) => {
      const { budget, add, serving } = standing(900, 3)
      let at = 0
      for (const [project, memoryMb] of calls) {
        const held = serving.all().reduce((sum, one) => sum + (one.spec.identity.project === project ? one.spec.memoryMb : 0), 0)
        try {
          budget.makeRoom(mb(memoryMb, project))
          add(`s${at++}`, busy, memoryMb, project)
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'too_many_invocations')
          // Those that run cannot be ended: who is within its share is refused only where nothing is left.
          assert.ok(held + memoryMb > 300 || budget.usedMb + memoryMb > 900, `${project} has ${held} MB of ${budget.usedMb}, and got no ${memoryMb}`)
        }
        assert.ok(budget.usedMb <= 900)
      }
    }),
  )
})

test('one that stands frozen has room made for its limit before it runs; it is not the one that goes for it', () => {
  const { budget, dropped, add } = standing(250)
  const frozen = add('frozen', { state: 'frozen', sinceMs: 1, chargedMb: 10 })
  add('idle', { state: 'ready', sinceMs: 5 })
  budget.makeRoomToRun(frozen)
  assert.deepEqual(dropped, [])
  add('busy', { state: 'busy', calls: 1 })
  budget.makeRoomToRun(frozen)
  assert.deepEqual(dropped, ['idle'])
  add('more', { state: 'busy', calls: 1 })
  assert.throws(() => budget.makeRoomToRun(frozen), full)
  assert.deepEqual(dropped, ['idle'])
})

test('what waits for any version beyond its least goes before what serves one, and leaves a tenth to calls', () => {
  const { budget, dropped, add, waiting } = standing(1_000)
  for (let n = 0; n < 8; n++) add(`i${n}`, idle(n))
  waiting.mb = 64
  assert.deepEqual([budget.usedMb, budget.hasRoomFor(32), budget.hasRoomFor(64)], [864, true, false])
  budget.makeRoom(mb(150))
  assert.deepEqual([waiting.mb, dropped], [32, []])
  budget.makeRoom(mb(250))
  assert.deepEqual([waiting.mb, dropped], [0, ['i0']])
})
