import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIMITS } from '../core/limits.ts'
import { ColdReasons } from './cold-reasons.ts'
import type { SandboxSpec } from './types.ts'

/** A build of a function, $LATEST unless a version is named. */
const spec = (key: string, changes: { functionVersion?: string; functionName?: string; reuse?: 'never' } = {}) =>
  ({
    key,
    reuse: changes.reuse ?? 'function',
    identity: { project: 'demo', functionName: changes.functionName ?? 'hello' },
    context: { functionVersion: changes.functionVersion ?? '$LATEST' },
  }) as SandboxSpec

test('the first call, the first of this life of the node, and those that come while others serve', () => {
  const reasons = new ColdReasons((key) => key === 'older')
  assert.equal(reasons.why(spec('a'), false), 'first-call')
  assert.equal(reasons.why(spec('older'), false), 'node-restart')
  assert.equal(reasons.why(spec('a'), true), 'scale-out')
  assert.equal(reasons.why(spec('a', { reuse: 'never' }), true), 'reuse-never')
})

test('how the last sandbox ended is the reason of the next call, until the code has loaded again', () => {
  const reasons = new ColdReasons(() => false)
  for (const why of ['idle-drop', 'sandbox-lost', 'new-version'] as const) {
    reasons.loaded(spec('a'))
    assert.equal(reasons.why(spec('a'), false), 'scale-out')
    reasons.ended(spec('a'), why, true)
    reasons.gone(spec('a'), true)
    assert.equal(reasons.why(spec('a'), false), why)
  }
  reasons.loaded(spec('a'))
  reasons.gone(spec('a'), true)
  assert.equal(reasons.why(spec('a'), false), 'sandbox-lost', 'nobody has said that it would end')
})

test('a build of the same function is a new version; what becomes of the former one says nothing of it', () => {
  const reasons = new ColdReasons(() => false)
  reasons.loaded(spec('a'))
  assert.equal(reasons.why(spec('b'), false), 'new-version')
  assert.deepEqual([reasons.hasLoaded(spec('a')), reasons.hasLoaded(spec('b'))], [true, false])
  reasons.loaded(spec('b'))
  reasons.ended(spec('a'), 'idle-drop', true)
  reasons.gone(spec('a'), true)
  assert.equal(reasons.why(spec('b'), false), 'scale-out')
  assert.equal(reasons.why(spec('c', { functionVersion: '7' }), false), 'first-call', 'a published version is none of the builds')
})

test('what was loaded ahead and ended before any call leaves the first call its reason', () => {
  const reasons = new ColdReasons((key) => key === 'older')
  for (const [key, first] of [
    ['a', 'first-call'],
    ['b', 'new-version'],
  ] as const) {
    for (const why of ['idle-drop', 'sandbox-lost'] as const) {
      reasons.loaded(spec(key))
      reasons.ended(spec(key), why, false)
      reasons.gone(spec(key), false)
      assert.equal(reasons.why(spec(key), false), first)
    }
    // Loaded for that call, which ended it.
    reasons.loaded(spec(key))
    reasons.gone(spec(key), true)
    assert.equal(reasons.why(spec(key), false), 'sandbox-lost')
  }
  reasons.loaded(spec('older', { functionName: 'another' }))
  reasons.gone(spec('older', { functionName: 'another' }), false)
  assert.equal(reasons.why(spec('older', { functionName: 'another' }), false), 'node-restart')
})

test('rememberedVersions: what was loaded longest ago is forgotten first', () => {
  const reasons = new ColdReasons(() => false)
  const most = LIMITS.rememberedVersions.value
  for (let n = 0; n < most; n++) reasons.loaded(spec('key', { functionName: `f${n}` }))
  reasons.loaded(spec('key', { functionName: 'f0' }))
  reasons.loaded(spec('key', { functionName: 'another' }))
  assert.deepEqual(
    ['f0', 'f1', 'f2'].map((functionName) => reasons.hasLoaded(spec('key', { functionName }))),
    [true, false, true],
  )
})
