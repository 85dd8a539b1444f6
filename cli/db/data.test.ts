import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inOrder } from './data.ts'

const table = (name: string, root = name) => ({ name, root, columns: '' })
const namesOf = (...given: Parameters<typeof inOrder>) => inOrder(...given).ordered.map(({ name }) => name)

describe('the order of a dump', () => {
  it('puts tables behind those that they refer to, themselves and what is not dumped aside', () => {
    const tables = ['a', 'b', 'c', 'd'].map((name) => table(name))
    const references: [string, string][] = [['a', 'c'], ['c', 'd'], ['b', 'b'], ['b', 'users']] // biome-ignore format: pairs
    assert.deepEqual(namesOf(tables, references), ['b', 'd', 'c', 'a'])
    assert.deepEqual(inOrder(tables, references).circular, [])
  })
  it('keeps partitions together', () => {
    assert.deepEqual(namesOf([table('lines', 'lines'), table('p1', 'p'), table('p2', 'p')], [['lines', 'p']]), ['p1', 'p2', 'lines'])
  })
  it('tells a circle, and dumps it all the same', () => {
    const { ordered, circular } = inOrder([table('a'), table('b'), table('c'), table('d')], [['a', 'b'], ['b', 'a'], ['d', 'a']]) // biome-ignore format: pairs
    assert.deepEqual(ordered.map(({ name }) => name), ['c', 'a', 'b', 'd']) // biome-ignore format: one line
    assert.deepEqual(circular, ['a', 'b', 'd'])
  })
})
