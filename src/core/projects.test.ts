import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import type { Databases } from '../backends/database/database.ts'
import { systemClock } from '../lib/clock.ts'
import { StartError } from './data-directory.ts'
import { silentLog } from './log.ts'
import { Projects } from './projects.ts'
import { Sealer } from './seal.ts'

describe('Projects', () => {
  it('does not start with another instance key than the one that sealed', async () => {
    const dataKey = new Sealer(randomBytes(32)).makeDataKey('1')
    const databases = { control: { sql: async () => [{ id: '1', ref: 'demo', name: 'demo', state: 'active', dataKey }] } } as unknown as Databases
    const projects = new Projects({
      databases,
      sealer: new Sealer(randomBytes(32)),
      clock: systemClock,
      log: silentLog,
      onCreate: async () => {},
      onDelete: async () => {},
    })
    await assert.rejects(projects.start(), (error) => error instanceof StartError && /instance key/.test(error.message))
  })
})
