import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { orderKeyOf, storableKey } from './order-key.ts'

const of = (event: unknown, path: string) => orderKeyOf(Buffer.from(JSON.stringify(event)), path)

describe('orderKeyOf', () => {
  it('finds what stands at a path, in lists too', () => {
    assert.equal(of({ detail: { customer: 7 } }, 'detail.customer'), '7')
    assert.equal(of({ Records: [{ s3: { object: { key: 'a/b.png' } } }] }, 'Records.0.s3.object.key'), 'a/b.png')
    assert.equal(of({ on: false }, 'on'), 'false')
  })
  it('finds nothing where nothing stands that can be a key', () => {
    for (const path of ['b', 'a.b.c', 'a.b', 'list.length', '__proto__', 'constructor.name', 'none'])
      assert.equal(of({ a: { b: {} }, list: [], none: null }, path), null, path)
    assert.equal(orderKeyOf(Buffer.from('no JSON'), 'a'), null)
  })
  it('makes a short one of what is long, or what PostgreSQL holds in no text', () => {
    assert.equal(storableKey('x'.repeat(256)), 'x'.repeat(256))
    assert.match(storableKey('x'.repeat(257)), /^sha256:[0-9a-f]{64}$/)
    assert.match(storableKey('a\0'), /^sha256:/)
    assert.notEqual(storableKey('x'.repeat(257)), storableKey('x'.repeat(258)))
  })
})
