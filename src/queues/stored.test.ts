import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Stored } from './stored.ts'

const QUEUE = { id: 'q', project: 'p' }
const of = (messages: number, bytes: number) => [{ ...QUEUE, messages, bytes }]

describe('what queues hold', () => {
  it('is what was counted, what came since and what went', async () => {
    const stored = new Stored()
    await stored.recount(async () => of(2, 200))
    stored.add(QUEUE, 1, 50)
    stored.add(QUEUE, -2, -100)
    const failed = stored.sending({ ...QUEUE, messages: 1, bytes: 10 })
    assert.equal(stored.bytesOf('p'), 160)
    failed.over(false)
    assert.deepEqual([stored.isSure, stored.of('q'), stored.bytesOf('p')], [true, { messages: 1, bytes: 150 }, 150])
  })
  it('is never less than what is there: a count that may have missed something is one in doubt', async () => {
    const stored = new Stored()
    const counted = async (from: () => void) => {
      await stored.recount(async () => {
        from()
        return of(0, 0)
      })
      return [stored.isSure, stored.of('q').messages, stored.bytesOf('p')]
    }
    const sending = stored.sending({ ...QUEUE, messages: 1, bytes: 700 })
    assert.deepEqual(await counted(() => {}), [false, 1, 700], 'what is on its way')
    assert.deepEqual(await counted(() => sending.over(true)), [false, 1, 700], 'what came to its end meanwhile')
    assert.deepEqual(await counted(() => stored.add(QUEUE, 2, 20)), [false, 2, 20], 'what came meanwhile')
    assert.deepEqual(await counted(() => stored.add(QUEUE, -1, -10)), [false, 0, 0], 'what went meanwhile')
    assert.deepEqual(await counted(() => stored.doubt()), [false, 0, 0], 'what nobody knows')
    assert.deepEqual(await counted(() => {}), [true, 0, 0])
  })
})
