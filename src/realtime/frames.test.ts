import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type Broadcast, broadcastAsText, decodePush, decodeText, encodeBroadcast, encodeText, type Version } from './frames.ts'

const text = (max: number) => fc.string({ unit: 'grapheme', maxLength: max }).filter((value) => Buffer.byteLength(value) <= 255)
const nullable = fc.option(text(20), { nil: null })
const json = fc.jsonValue().filter((value) => value !== null)

describe('frames', () => {
  it('text that is written is read as it was, in both forms', () => {
    fc.assert(
      fc.property(fc.constantFrom<Version>('1.0.0', '2.0.0'), nullable, nullable, text(60), text(40), json, (version, joinRef, ref, topic, event, payload) => {
        const message = { joinRef, ref, topic, event, payload }
        assert.deepEqual(decodeText(version, encodeText(version, message)), JSON.parse(JSON.stringify(message)))
      }),
    )
  })
  it('text that is no frame is null, whatever it is', () => {
    for (const version of ['1.0.0', '2.0.0'] as const) {
      for (const bad of ['', '{', 'null', '7', '"x"', '[]', '[1,2,3,4,5]', '{"topic":1,"event":"x"}', '[null,null,"t",7,{}]', '[null,null,"t","e",{},1]'])
        assert.equal(decodeText(version, bad), null, `${version} ${bad}`)
      fc.assert(fc.property(fc.string(), (any) => void decodeText(version, any)))
      fc.assert(fc.property(fc.json(), (any) => void decodeText(version, any)))
    }
  })
  it('a push is read as clients write it, lengths in bytes of UTF-8', () => {
    fc.assert(
      fc.property(
        nullable,
        nullable,
        text(60),
        text(40),
        text(10),
        fc.boolean(),
        fc.uint8Array({ maxLength: 500 }),
        (joinRef, ref, topic, event, meta, isJson, bytes) => {
          const fields = [joinRef ?? '', ref ?? '', topic, event, meta].map((field) => Buffer.from(field))
          const frame = Buffer.concat([Buffer.from([3, ...fields.map((field) => field.length), isJson ? 1 : 0]), ...fields, bytes])
          assert.deepEqual(decodePush(frame), {
            joinRef: joinRef || null,
            ref: ref || null,
            topic,
            event,
            encoding: isJson ? 'json' : 'binary',
            payload: Buffer.from(bytes),
          })
          // Cut anywhere in its fields, it is none.
          const fieldBytes = frame.length - bytes.length
          for (const length of [0, 1, 6, fieldBytes - 1]) if (length < fieldBytes) assert.equal(decodePush(frame.subarray(0, length)), null)
        },
      ),
    )
  })
  it('bytes that are no push are null, whatever they are', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => void decodePush(Buffer.from(bytes))))
    assert.equal(decodePush(Buffer.from([4, 0, 0, 0, 0, 0, 0])), null)
    assert.equal(decodePush(Buffer.from([3, 0, 0, 0, 0, 0, 2])), null)
  })
  it('a broadcast has the bytes that clients decode', () => {
    const broadcast: Broadcast = { topic: 'realtime:한', event: 'é', meta: { id: '1' }, encoding: 'binary', payload: Buffer.from([0, 255]) }
    const frame = encodeBroadcast(broadcast) as Buffer
    assert.deepEqual([...frame.subarray(0, 5)], [4, 12, 2, 10, 0])
    assert.equal(frame.subarray(5).toString('latin1', 24), '\x00ÿ')
    assert.equal(encodeBroadcast({ ...broadcast, topic: 'x'.repeat(256) }), null)
  })
  it('a broadcast of JSON is text for old clients, bytes are not', () => {
    const broadcast: Broadcast = { topic: 't', event: 'x"y', meta: null, encoding: 'json', payload: Buffer.from('{"a":1}') }
    const payload = { type: 'broadcast', event: 'x"y', payload: { a: 1 } }
    assert.deepEqual(JSON.parse(broadcastAsText('1.0.0', broadcast) as string), { topic: 't', event: 'broadcast', payload, ref: null, join_ref: null })
    assert.deepEqual(JSON.parse(broadcastAsText('2.0.0', { ...broadcast, meta: { id: 1 } }) as string), [
      null,
      null,
      't',
      'broadcast',
      { ...payload, meta: { id: 1 } },
    ])
    assert.equal(broadcastAsText('1.0.0', { ...broadcast, encoding: 'binary' }), null)
  })
})
