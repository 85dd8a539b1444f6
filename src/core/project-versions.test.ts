import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Database } from '../backends/database/database.ts'
import { systemClock } from '../lib/clock.ts'
import { silentLog } from './log.ts'
import { ProjectVersions } from './project-versions.ts'

describe('ProjectVersions', () => {
  const open = () => {
    const state = { rows: [{ ref: 'a', version: '1' }] as { ref: string; version: string }[], elapsed: 0, fails: false }
    const changed: string[] = []
    const database = {
      sql: async () => {
        if (state.fails) throw new Error('gone')
        return state.rows
      },
    } as unknown as Database
    const clock = { ...systemClock, monotonic: () => state.elapsed }
    const versions = new ProjectVersions({ database, clock, log: silentLog, onChange: (ref) => void changed.push(ref) })
    return { state, changed, versions }
  }
  it('tells of each project that was changed, came or went, and of no other', async () => {
    const { state, changed, versions } = open()
    await versions.beat()
    await versions.beat()
    assert.deepEqual(changed, [])
    state.rows = [
      { ref: 'a', version: '2' },
      { ref: 'b', version: '1' },
    ]
    await versions.beat()
    assert.deepEqual(changed.splice(0), ['a', 'b'])
    state.rows = [{ ref: 'b', version: '1' }]
    await versions.beat()
    assert.deepEqual(changed, ['a'])
  })
  it('lets nothing be believed before the first beat, nor 30 s after the last', async () => {
    const { state, versions } = open()
    assert.equal(versions.believable, false)
    await versions.beat()
    state.elapsed = 29_999
    assert.equal(versions.believable, true)
    state.fails = true
    await assert.rejects(versions.beat())
    state.elapsed = 30_000
    assert.equal(versions.believable, false)
    state.fails = false
    await versions.beat()
    assert.equal(versions.believable, true)
  })
})
