import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { toJson } from './values.ts'

describe('values of row changes', () => {
  const int2 = { base: 'int2', category: 'N', delimiter: ',' }
  it('of arrays are read by their braces, with bounds before them too', () => {
    assert.equal(toJson('{1,NULL,3}', { base: '_int2', category: 'A', element: int2 }), '[1,null,3]')
    assert.equal(toJson('[0:1]={1,2}', { base: '_int2', category: 'A', element: int2 }), '[1,2]')
  })
  it('of arrays that are written without braces are told as their text, and end no stream', () => {
    for (const base of ['int2vector', 'oidvector']) {
      assert.equal(toJson('1 2 3', { base, category: 'A', element: int2 }), '"1 2 3"')
      assert.equal(toJson('', { base, category: 'A', element: int2 }), '""')
    }
  })
})
