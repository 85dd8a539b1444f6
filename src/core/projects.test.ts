import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import type { Databases } from '../backends/database/database.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { systemClock } from '../lib/clock.ts'
import { StartError } from './data-directory.ts'
import { silentLog } from './log.ts'
import type { ProjectRef } from './project.ts'
import { Projects } from './projects.ts'
import { Sealer } from './seal.ts'

const projectsOn = (databases: Databases) =>
  new Projects({
    databases,
    sealer: new Sealer(randomBytes(32)),
    clock: systemClock,
    log: silentLog,
    onCreate: async () => {},
    onClone: async () => {},
    onDelete: async () => {},
  })

describe('Projects', () => {
  it('does not start with another instance key than the one that sealed', async () => {
    const dataKey = new Sealer(randomBytes(32)).makeDataKey('1')
    const databases = { control: { sql: async () => [{ id: '1', ref: 'demo', name: 'demo', state: 'active', dataKey }] } } as unknown as Databases
    const projects = projectsOn(databases)
    await assert.rejects(projects.start(), (error) => error instanceof StartError && /instance key/.test(error.message))
  })

  it('ends a project that is deleted while it is made, whichever step comes first', async () => {
    const { databases: embedded, close } = await openTestDatabases()
    try {
      const making = Promise.withResolvers<void>()
      const reached = Promise.withResolvers<void>()
      const dropped: string[] = []
      const databases = {
        control: embedded.control,
        ensureProject: async () => {
          reached.resolve()
          await making.promise
        },
        dropProject: async (ref: string) => void dropped.push(ref),
      } as unknown as Databases
      const projects = projectsOn(databases)
      const made = assert.rejects(projects.create('shop', 'Shop'), { code: 'project_not_found' })
      await reached.promise
      const deleted = projects.delete('shop')
      // The deletion is written down before the database is there.
      while ((await embedded.control.sql<{ state: string }>`select state from mayfly.project where ref = 'shop'`)[0]?.state !== 'deleting') await setTimeout(5)
      making.resolve()
      await Promise.all([made, deleted])
      assert.deepEqual(dropped, ['shop'])
      assert.equal(projects.find('shop' as ProjectRef), null)
      assert.deepEqual(await embedded.control.sql`select ref from mayfly.project`, [])
    } finally {
      await close()
    }
  })

  for (const ref of ['', '\0', 'UPPER', 'a'.repeat(5000)]) {
    it(`knows no project ${JSON.stringify(ref.slice(0, 10))} to delete, and does not ask for it`, async () => {
      const databases = {} as Databases
      const projects = projectsOn(databases)
      await assert.rejects(projects.delete(ref), { code: 'project_not_found' })
    })
  }
})
