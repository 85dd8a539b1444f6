import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FLAG, type Frame, ProtocolError, STREAM_WINDOW } from './frames.ts'
import { creditIn, errorIn, exitIn, headIn, helloIn, loadedIn, lostIn, streamIn } from './guest-frames.ts'

const frame = (payload: Uint8Array, flags = 0): Frame => ({ type: 0, flags, stream: 1, payload: Buffer.from(payload) })
const json = (value: unknown, flags = 0) => frame(Buffer.from(JSON.stringify(value)), flags)
const bytes = (...all: number[]) => frame(Buffer.from(all))
/** An error of any bytes behind a head. */
const raw = (headBytes: number, rest: Uint8Array, more = 0) => {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(headBytes)
  return frame(Buffer.concat([length, rest]), FLAG.raw | more)
}
const count = (of: number) => {
  const four = Buffer.alloc(4)
  four.writeUInt32LE(of)
  return frame(four)
}

test('what an honest guest says is understood', () => {
  assert.deepEqual(helloIn(json({ version: 1, more: true })), { version: 1, more: true })
  assert.deepEqual(exitIn(bytes(3, 11, 0, 0)), { code: 3, signal: 11 })
  assert.deepEqual(loadedIn(json({ kind: 'fetch' })), { kind: 'fetch', shutdownMs: 0 })
  assert.deepEqual(loadedIn(json({ kind: 'lambda', shutdownMs: null })), { kind: 'lambda', shutdownMs: 0 })
  assert.deepEqual(loadedIn(json({ kind: 'lambda', shutdownMs: 2_000 })), { kind: 'lambda', shutdownMs: 2_000 })
  assert.equal(errorIn(json({ errorType: 'Mine' })).errorType, 'Mine')
  assert.deepEqual(errorIn(raw(20, Buffer.from('{"errorType":"Mine"}\xff', 'latin1'))), { errorType: 'Mine', payload: Buffer.from([0xff]) })
  assert.equal(errorIn(json({ errorType: 'x'.repeat(300) })).errorType.length, 256)
  assert.equal(errorIn(json({ errorType: 'A\nB\r\u2028\u0000' })).errorType, 'A B   ')
  assert.equal(streamIn(json({ contentType: 'text/plain' })), 'text/plain')
  assert.deepEqual(headIn(json({ status: 599, headers: [['a', 'b']] })), { status: 599, headers: [['a', 'b']], body: null })
  const whole = raw(27, Buffer.from('{"status":200,"headers":[]}\xff', 'latin1'), FLAG.fin)
  assert.deepEqual(headIn(whole), { status: 200, headers: [], body: Buffer.from([0xff]) })
  assert.deepEqual([creditIn(count(STREAM_WINDOW)), lostIn(count(7))], [STREAM_WINDOW, 7])
})

const ANYTHING = [bytes(), bytes(0xff, 0xfe), json(null), json([]), json('text'), json(7)]
const hostile: Record<string, [read: (frame: Frame) => unknown, frames: Frame[]]> = {
  hello: [helloIn, [...ANYTHING, json({}), json({ version: 2 }), json({ version: '1' })]],
  exit: [exitIn, [bytes(), bytes(1), bytes(1, 2, 3, 4, 5)]],
  loaded: [
    loadedIn,
    [...ANYTHING, json({ kind: 'other' }), json({ kind: ['lambda'] }), ...[-1, 2_001, '1', [], true].map((shutdownMs) => json({ kind: 'lambda', shutdownMs }))],
  ],
  error: [
    errorIn,
    [
      ...ANYTHING,
      json({}),
      json({ errorType: 1 }),
      frame(Buffer.from([1]), FLAG.raw),
      raw(9, Buffer.from('{}')),
      raw(2, Buffer.from('{}')),
      raw(0xffffffff, Buffer.from('{}')),
    ],
  ],
  stream: [streamIn, [...ANYTHING, json({}), json({ contentType: 1 })]],
  head: [
    headIn,
    [
      ...ANYTHING,
      ...[199, 600, 200.5, '200', null].map((status) => json({ status, headers: [] })),
      json({ status: 200 }),
      json({ status: 200, headers: {} }),
      raw(27, Buffer.from('{"status":200,"headers":[]}and a body that is not whole')),
      ...[0, 26, 28, 0xffffffff].map((length) => raw(length, Buffer.from('{"status":200,"headers":[]}'), FLAG.fin)),
      frame(Buffer.from([1]), FLAG.raw | FLAG.fin),
      ...[['a'], ['a', 1], [1, 'b'], ['a', 'b', 'c'], 'ab', null].map((pair) => json({ status: 200, headers: [pair] })),
    ],
  ],
  credit: [creditIn, [bytes(), bytes(1, 0, 0), count(STREAM_WINDOW + 1)]],
  lost: [lostIn, [bytes(), bytes(1, 0, 0, 0, 0)]],
}
for (const [name, [read, frames]] of Object.entries(hostile)) {
  test(`nothing else is believed: ${name}`, () => {
    for (const one of frames) assert.throws(() => read(one), ProtocolError, one.payload.toString())
  })
}
