import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Server, Serving } from './serving.ts'
import type { SandboxState } from './state.ts'

/** Sandboxes by their ids, of which some are to be kept. */
function standing(kept: readonly string[] = [], inspected: string | null = null) {
  const serving: Serving<Server & { id: string }> = new Serving({
    wants: (key) => kept.length > 0 && key === 'a',
    holds: ({ id }) => kept.includes(id),
    first: (key) => serving.of(key).find(({ id }) => id === inspected) ?? null,
  })
  const add = (id: string, state: SandboxState, spec: Partial<Server['spec']> = {}) => {
    const sandbox = { id, state, spec: { key: 'a', memoryMb: 100, concurrency: 1, reuse: 'function' as const, identity: { project: 'p' }, ...spec } }
    serving.add(sandbox)
    return sandbox
  }
  return { serving, add }
}
const ready: SandboxState = { state: 'ready', sinceMs: 1 }
const busy: SandboxState = { state: 'busy', calls: 1 }

test('a call gets the sandbox that was used last and can take it', () => {
  const { serving, add } = standing()
  const one = add('one', ready)
  add('two', ready)
  const three = add('three', busy)
  add('four', { state: 'draining', calls: 1 })
  assert.equal(serving.findReady(one.spec)?.id, 'two')
  serving.remove(three)
  assert.equal(serving.findReady({ ...one.spec, concurrency: 2 })?.id, 'two', 'it is the last that was used')
  assert.equal(serving.findReady({ ...one.spec, key: 'other' }), null)
})

test('a busy one is found for as many calls as it takes at once; where each serves one, never', () => {
  const { serving, add } = standing()
  const { spec } = add('one', busy)
  assert.equal(serving.findReady(spec), null)
  assert.equal(serving.findReady({ ...spec, concurrency: 2 })?.id, 'one')
  assert.equal(serving.findReady({ ...spec, concurrency: 2, reuse: 'never' }), null)
})

test('what must stay is found before what was used last, and is not told as idle', () => {
  const { serving, add } = standing(['one'])
  const { spec } = add('one', ready)
  add('two', ready)
  assert.equal(serving.findReady(spec)?.id, 'one')
  assert.deepEqual(
    serving.idle().map(({ sandbox }) => sandbox.id),
    ['two'],
  )
})

test('idle are those that stand ready or frozen, of every version', () => {
  const { serving, add } = standing()
  add('ready', ready)
  add('busy', busy, { key: 'b' })
  add('freezing', { state: 'freezing', sinceMs: 2 }, { key: 'b' })
  add('frozen', { state: 'frozen', sinceMs: 3, chargedMb: 10 }, { key: 'b' })
  assert.deepEqual(
    serving.idle().map(({ sandbox, sinceMs }) => [sandbox.id, sinceMs]),
    [
      ['ready', 1],
      ['frozen', 3],
    ],
  )
})

test('a frozen one counts for what it holds, one that must stay for its limit', () => {
  const { serving, add } = standing(['kept'])
  const frozen: SandboxState = { state: 'frozen', sinceMs: 1, chargedMb: 10 }
  add('one', frozen)
  assert.equal(serving.memoryMb, 10)
  add('kept', frozen)
  assert.equal(serving.memoryMb, 110)
  add('two', busy)
  assert.equal(serving.memoryMb, 210)
})

test('with its last sandbox a version is gone', () => {
  const { serving, add } = standing()
  const [one, two] = [add('one', ready), add('two', ready)]
  const all = serving.of('a')
  serving.remove(one)
  serving.remove(one)
  assert.deepEqual([serving.has('a'), serving.of('a'), all.length], [true, [two], 2])
  serving.remove(two)
  assert.deepEqual([serving.has('a'), serving.all()], [false, []])
})

test('the one that is looked into is found before all others, while it takes calls', () => {
  const { serving, add } = standing(['one', 'two', 'three'], 'one')
  const one = add('one', ready)
  add('two', ready)
  add('three', ready)
  assert.equal(serving.findReady(one.spec)?.id, 'one')
  serving.findReady({ ...one.spec, key: 'other' })
  assert.equal(serving.findReady(one.spec)?.id, 'one')
  const stopped = standing(['one', 'two'], 'one')
  stopped.add('one', busy)
  assert.equal(stopped.serving.findReady(stopped.add('two', ready).spec)?.id, 'two')
})
