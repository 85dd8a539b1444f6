import assert from 'node:assert/strict'
import { it } from 'node:test'
import { LazyAbort, signalOf } from './leaving.ts'

it('fires once, to those who listen then, with a reason that is kept', () => {
  const leaving = new LazyAbort()
  const heard: string[] = []
  const gone = () => heard.push('gone')
  leaving.addEventListener('abort', () => heard.push('first'))
  leaving.addEventListener('abort', gone)
  leaving.removeEventListener('abort', gone)
  leaving.throwIfAborted()
  const reason = new Error('left')
  leaving.abort(reason)
  leaving.abort(new Error('again'))
  leaving.addEventListener('abort', () => heard.push('late'))
  assert.deepEqual([heard, leaving.aborted, leaving.reason], [['first'], true, reason])
  assert.throws(() => leaving.throwIfAborted(), reason)
})

it('has an AbortSignal for who asks, before or after', () => {
  for (const early of [true, false]) {
    const leaving = new LazyAbort()
    const reason = new Error('left')
    const before = early ? signalOf(leaving) : null
    assert.equal(before?.aborted ?? false, false)
    leaving.abort(reason)
    const signal = signalOf(leaving)
    assert.ok(signal instanceof AbortSignal && signal.aborted)
    assert.equal(signal.reason, reason)
    if (early) assert.equal(signal, before)
  }
  const own = new AbortController().signal
  assert.equal(signalOf(own), own)
})
