import assert from 'node:assert/strict'
import { test } from 'node:test'
import { depthOf, withDepth } from './lineage.ts'

test('a message knows how many functions stand before it, whatever its sender says', () => {
  assert.equal(withDepth('Root=1-2', 0), 'Root=1-2')
  assert.equal(withDepth(null, 0), null)
  assert.equal(depthOf(null), 0)
  for (const header of [
    null,
    'Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1',
    'Lineage=1:6d617966:0',
    'Root=1-2;Lineage=1:6d617966:1;Self=x',
    'Lineage=a87bd80c:0',
  ])
    for (const depth of [1, 16]) assert.equal(depthOf(withDepth(header, depth)), depth, `${header} ${depth}`)
  assert.equal(withDepth('Root=1-2;Lineage=1:6d617966:1', 3), 'Root=1-2;Lineage=1:6d617966:3')
  assert.equal(depthOf('Root=1-2;Lineage=a87bd80c:7'), 0)
})
