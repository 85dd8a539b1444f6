import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Stock } from './stock.ts'

function open() {
  const asked: number[] = []
  const failed: string[] = []
  const done: PromiseWithResolvers<void>[] = []
  let made = 0
  const stock = new Stock<number>({
    make: async (count) => {
      asked.push(count)
      const waits = Promise.withResolvers<void>()
      done.push(waits)
      await waits.promise
      return Array.from({ length: count }, () => ++made)
    },
    failed: (error) => failed.push(error.message),
  })
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
  const end = async (error?: Error) => {
    const waits = done.shift()
    if (error) waits?.reject(error)
    else waits?.resolve()
    await turn()
  }
  return { stock, asked, failed, end, turn }
}

test('several are made for the first who takes one, and again whenever fewer than two stand ready', async () => {
  const { stock, asked, end } = open()
  const first = stock.take()
  await end()
  assert.equal(await first, 1)
  // Three are left: the next two find one, and the second of them has more made.
  assert.deepEqual([await stock.take(), asked], [2, [4]])
  assert.deepEqual([await stock.take(), asked], [3, [4, 4]])
  await end()
  for (let taken = 4; taken <= 40; taken++) {
    assert.equal(await stock.take(), taken)
    await end()
  }
  assert.deepEqual(new Set(asked), new Set([4]))
})

test('who finds none waits for what is being made, in the order they came, and more are made at once', async () => {
  const { stock, asked, end } = open()
  const got: number[] = []
  const takers = Array.from({ length: 30 }, async () => got.push(await stock.take()))
  for (let n = 0; n < 4; n++) await end()
  await Promise.all(takers)
  assert.deepEqual(
    got,
    Array.from({ length: 30 }, (_, n) => n + 1),
  )
  assert.deepEqual(asked, [4, 8, 16, 16])
})

test('where none can be made each who waits is told, and the next who takes one has it tried again', async () => {
  const { stock, asked, failed, end } = open()
  const takers = [stock.take(), stock.take()].map((taker) => taker.catch((error: Error) => error.message))
  await end(new Error('no'))
  assert.deepEqual([await Promise.all(takers), failed], [['no', 'no'], ['no']])
  const again = stock.take()
  await end()
  assert.equal(await again, 1)
  assert.deepEqual(asked, [4, 4])
})

test('a close waits for what is being made; who comes later, or waits still, is refused', async () => {
  const { stock, end, turn } = open()
  const takers = Array.from({ length: 6 }, () => stock.take().catch((error: Error) => error.message))
  let isClosed = false
  const closing = stock.close().then(() => {
    isClosed = true
  })
  await turn()
  assert.equal(isClosed, false)
  await end()
  await closing
  assert.deepEqual(await Promise.all(takers), [1, 2, 3, 4, 'no more are made', 'no more are made'])
  await assert.rejects(stock.take(), /no more are made/)
})
