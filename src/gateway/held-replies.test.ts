import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { HeldReplies } from './held-replies.ts'

describe('replies that their clients do not take', () => {
  const gone: string[] = []
  const reply = (name: string) => ({ destroy: () => void gone.push(name) }) as unknown as Parameters<HeldReplies['hold']>[0]

  it('are held up to a bound (heldReplies); then that goes which has moved least lately', () => {
    const held = new HeldReplies(100)
    const [a, b, c] = [held.hold(reply('a'), 40), held.hold(reply('b'), 40), held.hold(reply('c'), 20)]
    assert.deepEqual([gone, held.bytes], [[], 100])
    a.moved()
    held.hold(reply('d'), 10)
    assert.deepEqual([gone, held.bytes], [['b'], 70])
    // What was closed and moves all the same is not held again.
    b.moved()
    b[Symbol.dispose]()
    assert.equal(held.bytes, 70)
    held.hold(reply('e'), 60)
    assert.deepEqual([gone, held.bytes], [['b', 'c', 'a'], 70])
    c[Symbol.dispose]()
    a[Symbol.dispose]()
    assert.equal(held.bytes, 70)
  })

  it('one that is larger than all of the bound goes itself', () => {
    gone.length = 0
    const held = new HeldReplies(100)
    const one = held.hold(reply('small'), 50)
    held.hold(reply('huge'), 101)
    assert.deepEqual([gone, held.bytes], [['small', 'huge'], 0])
    one[Symbol.dispose]()
    assert.equal(held.bytes, 0)
  })

  it('take no room when they are written', () => {
    const held = new HeldReplies(100)
    for (let n = 0; n < 1_000; n++) {
      using one = held.hold(reply(String(n)), 90)
      one.moved()
    }
    assert.equal(held.bytes, 0)
  })
})
