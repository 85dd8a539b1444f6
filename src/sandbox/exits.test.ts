import assert from 'node:assert/strict'
import { test } from 'node:test'
import { howItEnded, messageIn } from './exits.ts'

test('ends are told in Lambda’s words', () => {
  assert.equal(howItEnded({ code: 0, signal: 0 }, false), 'Runtime exited without providing a reason')
  assert.equal(howItEnded({ code: 127, signal: 0 }, false), 'Runtime exited with error: exit status 127')
  assert.equal(howItEnded({ code: 0, signal: 11 }, false), 'Runtime exited with error: signal: segmentation fault')
  assert.equal(howItEnded({ code: 0, signal: 35 }, false), 'Runtime exited with error: signal: signal 35')
  for (const exit of [null, { code: 0, signal: 9 }]) assert.equal(howItEnded(exit, false), 'Runtime exited with error: signal: killed')
  assert.equal(howItEnded({ code: 1, signal: 0 }, true), 'Runtime exited with error: signal: killed')
})

test('what an error says is read from whatever it holds', () => {
  for (const [payload, message] of [
    ['{"errorMessage":"m"}', 'm'],
    ['{"errorMessage":5}', ''],
    ['null', ''],
    ['no JSON', ''],
    ['', ''],
  ] as const) {
    assert.equal(messageIn(Buffer.from(payload)), message)
  }
})
