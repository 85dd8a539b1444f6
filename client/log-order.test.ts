import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { LogLine } from './client.ts'
import { byTime, inOrderOfTime } from './log-order.ts'

const line = (seq: number, ms: number, invocation: string): LogLine => ({
  seq: String(seq),
  at: new Date(1_000 + ms).toISOString(),
  invocation,
  version: 'v',
  source: 'stdout',
  text: `${invocation}${ms}`,
})
const together = [line(1, 0, 'a'), line(2, 20, 'a'), line(3, 5, 'b'), line(4, 20, 'b'), line(5, 10, 'c')]
const inTime = ['a0', 'b5', 'c10', 'a20', 'b20']
const texts = (lines: readonly LogLine[]) => lines.map(({ text }) => text)

describe('lines of calls beside one another', () => {
  it('are in the order in which they were written, and those of one moment as they came', () => {
    assert.deepEqual(texts(byTime(together)), inTime)
  })

  it('are told so while they come, and none waits for one that does not', async () => {
    const later = Promise.withResolvers<void>()
    async function* coming() {
      yield* together
      await later.promise
      yield line(6, 1, 'late')
    }
    const seen: string[] = []
    for await (const { text } of inOrderOfTime(coming())) {
      seen.push(text)
      if (seen.length === together.length) later.resolve()
    }
    assert.deepEqual(seen, [...inTime, 'late1'])
  })

  it('that came before the stream broke are told, then that it broke', async () => {
    async function* breaking() {
      yield* together
      throw new Error('gone')
    }
    const seen: string[] = []
    await assert.rejects(async () => {
      for await (const { text } of inOrderOfTime(breaking(), 60_000)) seen.push(text)
    }, /gone/)
    assert.deepEqual(seen, inTime)
  })

  it('leave who stops reading at once, though no other comes', async () => {
    async function* endless() {
      yield line(1, 0, 'a')
      await new Promise(() => {})
    }
    for await (const { text } of inOrderOfTime(endless(), 1)) {
      assert.equal(text, 'a0')
      break
    }
  })
})
