import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Fifo } from './fifo.ts'

describe('Fifo', () => {
  it('gives what an array gives', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.nat(), { nil: null })), (steps) => {
        const [fifo, array] = [new Fifo<number>(), [] as number[]]
        for (const step of steps) {
          if (step === null) assert.equal(fifo.shift(), array.shift())
          else {
            fifo.push(step)
            array.push(step)
          }
          assert.equal(fifo.length, array.length)
          assert.equal(fifo.first, array[0])
          assert.deepEqual(fifo.toArray(), array)
        }
        assert.deepEqual(fifo.takeAll(), array)
        assert.equal(fifo.length, 0)
      }),
    )
  })
})
