import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { uuidv7 } from '../lib/ids.ts'
import { KnownProjects } from './known-projects.ts'
import type { ProjectRef } from './project.ts'
import { Sealer } from './seal.ts'
import { deleteProject, insertProject, updateProjectState } from './store.ts'

describe('KnownProjects', () => {
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  before(async () => {
    opened = await openTestDatabases()
  })
  after(() => opened.close())

  it('are those of the last look, with what opens their secrets', async () => {
    const { control } = opened.databases
    const key = randomBytes(32)
    const [main, worker] = [new Sealer(key), new Sealer(key)]
    const known = new KnownProjects(control, worker)
    const ref = 'fresh' as ProjectRef
    const id = uuidv7(Date.now())
    const place = { project: id, table: 't', column: 'c', row: 'r' }
    const dataKey = main.makeDataKey(id)
    await insertProject(control.sql, { id, ref, name: 'fresh', dataKey })
    main.useDataKey(id, dataKey)
    const sealed = main.seal(place, Buffer.from('secret'))
    assert.equal(known.find(ref), null)
    await known.refresh()
    assert.equal(known.find(ref)?.state, 'creating')
    assert.equal(worker.open(place, sealed).toString(), 'secret')
    await updateProjectState(control.sql, ref, 'active')
    assert.equal(known.find(ref)?.state, 'creating')
    await known.refresh()
    assert.equal(known.find(ref)?.state, 'active')
    await updateProjectState(control.sql, ref, 'deleting')
    await deleteProject(control.sql, ref)
    await known.refresh()
    assert.equal(known.find(ref), null)
    assert.throws(() => worker.open(place, sealed))
  })
})
