import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { BURST_BYTES, StderrTail } from './stderr-tail.ts'

test('the last that a process wrote is kept; one that floods is read in bursts with pauses between them', async () => {
  const stream = new PassThrough({ highWaterMark: 4 * BURST_BYTES })
  const tail = new StderrTail(stream)
  stream.write('first\n')
  await turn()
  assert.deepEqual([tail.text(), stream.isPaused()], ['first\n', false])
  for (let i = 0; i < 8; i++) stream.write('x'.repeat(BURST_BYTES / 4))
  stream.write('last\n')
  await turn()
  assert.ok(stream.isPaused() && !tail.text().includes('last'), 'what is beyond the burst waits')
  for (let tries = 0; tries < 1_000 && !tail.text().endsWith('last\n'); tries++) await new Promise((resolve) => setTimeout(resolve, 10))
  assert.ok(tail.text().endsWith('last\n'))
  assert.equal(tail.text().length, 8_192)
})
