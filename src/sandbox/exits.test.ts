import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exitOf, howItEnded, messageIn, placeIn, shellTold, whyItEnded } from './exits.ts'

test('ends are told in Lambda’s words', () => {
  assert.equal(howItEnded({ code: 0, signal: 0 }), 'Runtime exited without providing a reason')
  assert.equal(howItEnded({ code: 127, signal: 0 }), 'Runtime exited with error: exit status 127')
  assert.equal(howItEnded({ code: 0, signal: 11 }), 'Runtime exited with error: signal: segmentation fault')
  assert.equal(howItEnded({ code: 0, signal: 35 }), 'Runtime exited with error: signal: signal 35')
  for (const exit of [null, { code: 0, signal: 9 }]) assert.equal(howItEnded(exit), 'Runtime exited with error: signal: killed')
})

test('of one that said nothing it is told what the kernel or its first process tells', () => {
  const words = (status: number | null) => howItEnded(exitOf(shellTold(status)))
  assert.equal(words(134), 'Runtime exited with error: signal: aborted')
  assert.equal(words(139), 'Runtime exited with error: signal: segmentation fault')
  assert.equal(words(137), 'Runtime exited with error: signal: killed')
  assert.equal(words(null), 'Runtime exited with error: signal: killed')
  assert.equal(words(9), 'Runtime exited with error: exit status 9')
  assert.equal(words(255), 'Runtime exited with error: exit status 255')
  assert.equal(words(0), 'Runtime exited without providing a reason')
  assert.equal(exitOf(null), null)
  assert.equal(exitOf({ code: null, signal: 'SIGNOTHING' }), null)
})

test('its owner is told of the memory, behind those words', () => {
  for (const exit of [null, { code: 0, signal: 9 }]) {
    assert.equal(whyItEnded(exit, { outOfMemory: true, outOfProcesses: true }, 512), ', for want of more than its 512 MB of memory; it gets more by `memory`')
    assert.equal(
      whyItEnded(exit, { outOfMemory: false, outOfProcesses: true }, 512),
      ', as it began more than the 128 processes and threads that a sandbox may have',
    )
    for (const how of [{ outOfMemory: false }, { outOfMemory: false, outOfProcesses: false }, null]) assert.equal(whyItEnded(exit, how, 512), '')
  }
  // What ended of itself after a program of it was killed.
  for (const how of [{ outOfMemory: true }, { outOfMemory: false, outOfProcesses: true }]) {
    assert.equal(whyItEnded({ code: 1, signal: 0 }, how, 128), '')
    assert.equal(whyItEnded({ code: 0, signal: 11 }, how, 128), '')
  }
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

test('where code of one’s own failed is the first frame that is neither the runtime’s nor Node’s', () => {
  const own = '    at file:///var/task/index.mjs:2:9'
  const others = ['    at node:internal/modules/esm:1:1', '    at load (file:///var/runtime/node/bootstrap.mjs:5:1)']
  for (const [trace, place] of [
    [['TypeError: at', ...others, own, `${own}1`], own],
    [['TypeError: at', ...others], ''],
    [[5, null, `    at ${'x'.repeat(1_000)}`], `    at ${'x'.repeat(293)}`],
    ['no list', ''],
  ] as const) {
    assert.equal(placeIn(Buffer.from(JSON.stringify({ trace }))), place)
  }
  assert.equal(placeIn(Buffer.from('no JSON')), '')
})
