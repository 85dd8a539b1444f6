import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryBudget } from './memory-budget.ts'
import { type Server, Serving } from './serving.ts'
import type { SandboxState } from './state.ts'

function standing(totalMb: number) {
  const dropped: string[] = []
  const serving = new Serving<Server>({ wants: () => false, holds: () => false })
  const budget = new MemoryBudget({
    totalMb,
    serving,
    drop: (sandbox) => {
      dropped.push(sandbox.spec.key)
      serving.remove(sandbox)
    },
  })
  const add = (key: string, state: SandboxState, memoryMb = 100): Server => {
    const server: Server = { state, spec: { key, memoryMb, concurrency: 1, reuse: 'function' } }
    serving.add(server)
    return server
  }
  return { budget, dropped, add }
}
const full = { code: 'too_many_invocations' }

test('what has stood idle longest goes first, and no more than must', () => {
  const { budget, dropped, add } = standing(400)
  add('young', { state: 'ready', sinceMs: 30 })
  add('old', { state: 'ready', sinceMs: 10 })
  add('older', { state: 'frozen', sinceMs: 5, chargedMb: 50 })
  add('busy', { state: 'busy', calls: 1 })
  budget.makeRoom(50)
  assert.deepEqual(dropped, [])
  budget.makeRoom(200)
  assert.deepEqual(dropped, ['older', 'old'])
})

test('what works is never ended: the call is refused with the numbers', () => {
  const { budget, dropped, add } = standing(300)
  add('busy', { state: 'busy', calls: 1 })
  add('freezing', { state: 'freezing', sinceMs: 1 })
  assert.throws(() => budget.makeRoom(101), { ...full, message: 'the sandboxes of this node use 200 of 300 MB of memory; another of 101 MB does not fit now' })
  budget.makeRoom(100)
  assert.deepEqual(dropped, [])
})

test('those on their way count until they are there, each for itself', () => {
  const { budget } = standing(300)
  const spec = { key: 'a', memoryMb: 150 }
  const [one, two] = [budget.comes(spec), budget.comes(spec)]
  assert.equal(budget.fits(1), false)
  assert.throws(() => budget.makeRoom(1), full)
  one[Symbol.dispose]()
  assert.deepEqual([budget.fits(150), budget.fits(151), budget.isComing('a')], [true, false, true])
  two[Symbol.dispose]()
  assert.deepEqual([budget.fits(300), budget.isComing('a')], [true, false])
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
