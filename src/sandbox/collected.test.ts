import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { it } from 'node:test'
import { CallSide } from './call-side.ts'
import { Collected } from './collected.ts'
import { FLAG, FrameWriter, TYPE } from './frames.ts'
import type { CallResult } from './types.ts'

it('answers that are not whole are held up to a bound of all, and past it by each sandbox as far as its own goes', () => {
  const all = new Collected(100, 10)
  const [greedy, modest] = [all.open(), all.open()]
  assert.ok(greedy.take(60) && greedy.take(40))
  assert.equal(greedy.take(1), false)
  assert.ok(modest.take(10), 'who holds little is not refused for others')
  assert.equal(modest.take(1), false)
  assert.equal(all.bytes, 110)
  greedy.give(100)
  assert.ok(modest.take(85))
  assert.equal(modest.take(10), false)
  modest.give(95)
  assert.equal(all.bytes, 0)
})

it('what is refused is told to its caller, and whatever comes of an answer gives its room back', () => {
  const all = new Collected(300_000, 100_000)
  const calls = new CallSide(new FrameWriter(new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() })), all)
  const results: (CallResult | Error | null)[] = []
  const begin = () => {
    const at = results.push(null) - 1
    const context = { invocationId: 'i', traceId: 't', clientContext: null, depth: 0, invokedArn: 'a' }
    const set = (result: CallResult | Error | null) => {
      results[at] ??= result
    }
    const id = calls.call(
      { kind: 'event', context, payload: Buffer.from('{}') },
      1_000,
      { write: () => {}, lost: () => {} },
      { result: set, broke: () => {}, over: set },
    )
    const say = (type: number, flags: number, payload: Uint8Array = Buffer.alloc(0)) => calls.take({ type, flags, stream: id, payload: Buffer.from(payload) })
    say(TYPE.result, 0)
    const piece = () => say(TYPE.data, 0, Buffer.alloc(50_000, 'x'))
    return { at, say, piece }
  }
  const [whole, fails, refused, lost] = [begin(), begin(), begin(), begin()] as const
  for (const { piece } of [whole, whole, fails, fails, refused, lost]) piece()
  assert.equal(all.bytes, 300_000)
  for (let n = 0; n < 3; n++) refused.piece()
  assert.equal(all.bytes, 250_000, 'nothing of it is kept')
  refused.say(TYPE.end, FLAG.fin | FLAG.done)
  whole.say(TYPE.end, FLAG.fin | FLAG.done)
  fails.say(TYPE.callError, FLAG.done, Buffer.from('{"errorType":"Mine"}'))
  assert.equal(all.bytes, 50_000)
  calls.end(new Error('the sandbox ended'))
  assert.equal(all.bytes, 0)
  const told = results.map((one) =>
    one instanceof Error || one === null ? String(one) : one.kind === 'error' ? one.errorType : one.kind === 'event' ? one.payload.byteLength : 0,
  )
  assert.deepEqual(told, [100_000, 'Mine', 'Function.ResponseSizeTooLarge', 'Error: the sandbox ended'])
})
