import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { LIMITS } from '../core/limits.ts'
import { Notices } from './notices.ts'

const ID = '00000000-0000-4000-8000-000000000001'
const OTHER = '00000000-0000-4000-8000-000000000002'
const contentOf = (payload: string, head: unknown = { topic: 'room', event: 'said', private: true }) => Buffer.from(`${JSON.stringify(head)}\n${payload}`)
/** As PostgreSQL writes them: base64 in lines. */
const noticesOf = (content: Buffer, bytes: number, id = ID) => {
  const parts = Math.ceil(content.length / bytes)
  return Array.from({ length: parts }, (_, at) => {
    const text = content.subarray(at * bytes, (at + 1) * bytes).toString('base64')
    return `${id} ${at + 1} ${parts} ${text.replace(/.{76}(?=.)/g, '$&\n')}`
  })
}
const taken = (notices: Notices, all: readonly string[]) => all.map((one) => notices.take(one)).filter((said) => said !== null)

describe('what SQL says in channels', () => {
  it('is put together from its parts, as it was said', () => {
    fc.assert(
      fc.property(fc.json(), fc.string({ unit: 'grapheme' }), fc.boolean(), fc.integer({ min: 1, max: 300 }), (payload, event, isPrivate, bytes) => {
        const all = taken(new Notices(), noticesOf(contentOf(payload, { topic: '방 1', event, private: isPrivate }), bytes))
        assert.deepEqual(all, [{ isPrivate, broadcast: { topic: 'realtime:방 1', event, meta: { id: ID }, encoding: 'json', payload: Buffer.from(payload) } }])
      }),
    )
  })
  it('follows what was cut off, and is none of two that are mixed', () => {
    const notices = new Notices()
    const [first = '', second = ''] = noticesOf(contentOf('{"a":1}'), 40)
    const [of = '', other = ''] = noticesOf(contentOf('{"b":2}'), 40, OTHER)
    assert.deepEqual(taken(notices, [first, of, second, first, second]).length, 1)
    assert.deepEqual(taken(notices, [second, other, first, first, second]).length, 1)
    assert.equal(taken(notices, [first, 'x', second]).length, 0)
  })
  it('is nothing where anybody notifies of anything', () => {
    const notices = new Notices()
    for (const content of [
      contentOf('{"a":'),
      contentOf(''),
      contentOf('{}', { topic: 1, event: 'e', private: true }),
      contentOf('{}', { topic: 't', event: 'e', private: 'yes' }),
      contentOf('{}', null),
      Buffer.from('no line'),
      Buffer.concat([contentOf('"'), Buffer.from([0xff, 0x22])]),
    ])
      assert.equal(taken(notices, noticesOf(content, 5_600)).length, 0, content.toString())
    fc.assert(fc.property(fc.string(), (text) => assert.equal(notices.take(text), null)))
    for (const text of [`${ID} 0 1 AA==`, `${ID} 2 1 AA==`, `${ID} 1 9999999 AA==`, `${ID} 1 1 `, `${ID}  1 1 AA==`]) assert.equal(notices.take(text), null)
    assert.equal(taken(notices, noticesOf(contentOf('1'), 5_600)).length, 1)
  })
  it('realtimePayload: is not held beyond that', () => {
    const notices = new Notices()
    const large = contentOf(JSON.stringify('x'.repeat(LIMITS.realtimePayload.value)))
    assert.equal(taken(notices, noticesOf(large, 5_600)).length, 0)
    const fits = contentOf(JSON.stringify('x'.repeat(LIMITS.realtimePayload.value - 100)))
    assert.equal(taken(notices, noticesOf(fits, 5_600)).length, 1)
  })
})
