import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { untilAborted } from './or-aborted.ts'

describe('untilAborted', () => {
  it('gives all there is, and closes what is left early', async () => {
    let closed = 0
    async function* source() {
      try {
        yield 1
        yield 2
      } finally {
        closed++
      }
    }
    const { signal } = new AbortController()
    const seen: number[] = []
    for await (const one of untilAborted(source(), signal)) seen.push(one)
    for await (const one of untilAborted(source(), signal)) if (one === 1) break
    assert.deepEqual([seen, closed], [[1, 2], 2])
  })
  it('ends with the reason of the signal while it waits for one that does not come', async () => {
    async function* source() {
      yield 1
      await new Promise(() => {})
    }
    const controller = new AbortController()
    const reading = (async () => {
      for await (const _ of untilAborted(source(), controller.signal)) setImmediate(() => controller.abort(new Error('gone')))
    })()
    await assert.rejects(reading, /gone/)
  })
})
