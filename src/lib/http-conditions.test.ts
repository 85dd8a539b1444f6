import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { codingOf, isHeld, rangeOf } from './http-conditions.ts'

describe('what a request says of what it has and takes', () => {
  it('tags', () => {
    for (const tags of ['"a"', 'W/"a"', '"b", W/"a"', '*']) assert.ok(isHeld(tags, '"a"'), tags)
    for (const tags of ['a', '"b"', '', '"a-br"']) assert.ok(!isHeld(tags, '"a"'), tags)
  })
  it('ranges', () => {
    const of = (range: string | undefined, ifRange?: string) => rangeOf({ range, ifRange }, '"a"', 10)
    assert.deepEqual(of('bytes=0-3'), { first: 0, last: 3 })
    assert.deepEqual(of('bytes=7-'), { first: 7, last: 9 })
    assert.deepEqual(of('bytes=-4'), { first: 6, last: 9 })
    assert.deepEqual(of('bytes=-40'), { first: 0, last: 9 })
    assert.deepEqual(of('bytes=0-999999999999'), { first: 0, last: 9 })
    assert.deepEqual(of('bytes=0-3', '"a"'), { first: 0, last: 3 })
    for (const outside of ['bytes=10-', 'bytes=10-12', 'bytes=-0', 'bytes=5-2']) assert.equal(of(outside), 'outside', outside)
    for (const all of [undefined, '', 'bytes=', 'bytes=-', 'bytes=0-1,3-4', 'lines=0-1', 'bytes=a-b', 'bytes=0-9999999999999999'])
      assert.equal(of(all), null, all)
    for (const other of ['"b"', 'W/"a"', 'Thu, 01 Jan 2026 00:00:00 GMT']) assert.equal(of('bytes=0-3', other), null, other)
    assert.equal(rangeOf({ range: 'bytes=0-', ifRange: undefined }, '"a"', 0), 'outside')
  })
  it('codings', () => {
    const of = (accept: string | undefined) => codingOf(accept, ['br', 'gzip'])
    for (const accept of ['gzip, deflate, br, zstd', 'br', '*', 'gzip;q=0.5, br;q=0.5', 'BR;q=1.0']) assert.equal(of(accept), 'br', accept)
    for (const accept of ['gzip', 'gzip, br;q=0', 'br;q=0.5, gzip', '*, br;q=0', 'x-unknown, gzip ; q=0.001']) assert.equal(of(accept), 'gzip', accept)
    for (const accept of [undefined, '', 'identity', 'gzip;q=0', '*;q=0', 'identity;q=1, *;q=0', 'gzip;q=2', 'gzipp', ';,;q=1'])
      assert.equal(of(accept), null, accept)
  })
})
