import assert from 'node:assert/strict'
import { it } from 'node:test'
import { fewAtOnce } from './few-at-once.ts'

/** Works that end when they are told to. */
function works(most: number, list: readonly string[]) {
  const begun: string[] = []
  const open = new Map<string, PromiseWithResolvers<void>>()
  const all = fewAtOnce(list, most, async (one) => {
    begun.push(one)
    const end = Promise.withResolvers<void>()
    open.set(one, end)
    await end.promise
  })
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  return {
    begun,
    all,
    end: async (one: string, error?: Error) => {
      const work = open.get(one)
      assert.ok(work, `${one} is under way`)
      if (error) work.reject(error)
      else work.resolve()
      await turn()
    },
  }
}

it('has so many under way and no more, in their order', async () => {
  const { begun, all, end } = works(2, ['a', 'b', 'c', 'd'])
  assert.deepEqual(begun, ['a', 'b'])
  await end('b')
  assert.deepEqual(begun, ['a', 'b', 'c'])
  await end('a')
  await end('c')
  await end('d')
  await all
  await fewAtOnce([], 2, async () => assert.fail('there is none'))
})

it('begins none after one that failed, waits for the others, and tells the first of the list', async () => {
  const { begun, all, end } = works(3, ['a', 'b', 'c', 'd', 'e'])
  let isOver = false
  const told = all.finally(() => {
    isOver = true
  })
  told.catch(() => {})
  await end('c', new Error('of c'))
  await end('a')
  assert.equal(isOver, false, 'b is under way')
  await end('b', new Error('of b'))
  await assert.rejects(told, /of b/)
  assert.deepEqual(begun, ['a', 'b', 'c'])
})
