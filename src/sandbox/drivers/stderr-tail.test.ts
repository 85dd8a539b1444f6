import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { LIMITS } from '../../core/limits.ts'
import { END_MARK, StderrTail } from './stderr-tail.ts'

test('the last that a process wrote is kept; one that floods is read in bursts with pauses between them', async () => {
  const stream = new PassThrough({ highWaterMark: 4 * LIMITS.pastRuntime.value })
  const tail = new StderrTail(stream)
  stream.write('first\n')
  await turn()
  assert.deepEqual([tail.text(), stream.isPaused()], ['first\n', false])
  for (let i = 0; i < 8; i++) stream.write('x'.repeat(LIMITS.pastRuntime.value / 4))
  stream.write('last\n')
  await turn()
  assert.ok(stream.isPaused() && !tail.text().includes('last'), 'what is beyond the burst waits')
  for (let tries = 0; tries < 1_000 && !tail.text().endsWith('last\n'); tries++) await new Promise((resolve) => setTimeout(resolve, 10))
  assert.ok(tail.text().endsWith('last\n'))
  assert.equal(tail.text().length, 8_192)
})

test('pieces are told as they come; how the program ended stands behind them, and is none of them', async () => {
  const [out, err] = [new PassThrough(), new PassThrough()]
  const tail = new StderrTail(out, null, err)
  const heard: string[] = []
  out.write('before')
  await turn()
  tail.take = (bytes) => void heard.push(Buffer.from(bytes).toString())
  out.write(`${END_MARK}134 is text`)
  err.write('\u00001')
  await turn()
  assert.equal(tail.status, null)
  err.write(`last words${END_MARK}134`)
  await turn()
  assert.deepEqual([heard, tail.status], [[`${END_MARK}134 is text`, '\u00001', 'last words'], 134])
  let over = false
  void tail.over.then(() => {
    over = true
  })
  out.end()
  await turn()
  assert.equal(over, false)
  err.destroy()
  await tail.over
})
