import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLog } from '../core/log.ts'
import { Endings } from './endings.ts'

test('a close waits for what was pending, for what came meanwhile, and past what failed', async () => {
  const told: unknown[] = []
  const endings = new Endings({ ...silentLog, error: (fields) => void told.push(fields) })
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  endings.track(first.promise)
  let over = false
  const closing = endings.over().then(() => {
    over = true
  })
  endings.track(second.promise)
  first.reject(new Error('its folder is busy'))
  await new Promise(setImmediate)
  assert.deepEqual([over, told], [false, [{ error: 'its folder is busy' }]])
  second.resolve()
  await closing
})
