import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Blobs } from '../backends/blobs/blobs.ts'
import type { Garbage } from './garbage.ts'
import type { Sessions } from './sessions.ts'
import { Sweeper } from './sweeper.ts'
import { systemClock } from '../lib/clock.ts'

describe('the sweeper', () => {
  it('looks again after a look that failed, and says that it failed', async () => {
    let looks = 0
    const said: string[] = []
    const again = Promise.withResolvers<void>()
    const blobs: Pick<Blobs, 'places'> = {
      places: async () => {
        looks++
        if (looks === 2) again.resolve()
        if (looks === 1) throw new Error('EMFILE: too many open files')
        return []
      },
    }
    const hear = (_fields: object, message: string) => void said.push(message)
    await using sweeper = new Sweeper({
      blobs: blobs as Blobs,
      // No project is there: neither is asked.
      sessions: {} as Sessions,
      garbage: {} as Garbage,
      rests: () => false,
      projects: () => [],
      clock: { ...systemClock, timer: (_ms, work) => systemClock.timer(1, work) },
      log: { debug: hear, info: hear, warn: hear, error: hear },
    })
    sweeper.start()
    await again.promise
    assert.deepEqual(said.slice(0, 1), ['bytes that no object has could not be looked for'])
  })
})
