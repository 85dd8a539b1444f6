import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { AlignedRows, expanded, shown, widthOf } from './rows.ts'

describe('rows on a terminal', () => {
  it('line up, whatever is written in them', () => {
    assert.deepEqual(['abc', '한글', '日本', '😀', '👨‍👩‍👧', 'é', 'ｱ', '❤️'].map(widthOf), [3, 4, 4, 2, 2, 1, 1, 2])
    const rows = new AlignedRows([
      { name: 'n', type: 23 },
      { name: '이름', type: 25 },
      { name: 'x', type: 25 },
    ])
    assert.equal(
      rows.part([
        ['1', '한글 이름', 'a'],
        ['200', '😀', null],
      ]),
      [' n   | 이름      | x', '-----+-----------+------', '   1 | 한글 이름 | a', ' 200 | 😀        | NULL'].join('\n'),
    )
    assert.equal(rows.part([['3', 'b', 'c']]), '   3 | b         | c')
    const columns = [
      { name: 'id', type: 23 },
      { name: '값', type: 25 },
    ]
    assert.equal(expanded(columns, ['1', null], 1), '-[ RECORD 1 ]\nid | 1\n값 | NULL')
  })
  it('move no cursor', () => {
    assert.equal(shown('a\nb\tc\u001b[2J\u202e'), 'a\\nb\\tc\\x1b[2J\\x202e')
  })
})
