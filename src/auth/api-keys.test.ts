import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { LIMITS } from '../core/limits.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import { Sealer } from '../core/seal.ts'
import { insertProject, selectProjectVersions, updateProjectState } from '../core/store.ts'
import { type Clock, systemClock } from '../lib/clock.ts'
import { uuidv7 } from '../lib/ids.ts'
import { Auth } from './service.ts'

describe('the keys of a project', () => {
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  let auth: Auth
  let ahead = 0
  const clock: Clock = { ...systemClock, monotonic: () => systemClock.monotonic() + ahead }
  const sealer = new Sealer(randomBytes(32))
  const make = async (ref: string, given: Parameters<Auth['issueProjectKeys']>[2] = {}): Promise<Project> => {
    const id = uuidv7(clock.now())
    const dataKey = sealer.makeDataKey(id)
    const project: Project = { id, ref: ref as ProjectRef, name: ref, state: 'active' }
    await opened.databases.control.transaction(async (tx) => {
      await insertProject(tx, { ...project, dataKey })
      sealer.useDataKey(id, dataKey)
      await auth.issueProjectKeys(tx, project, given)
    })
    await updateProjectState(opened.databases.control.sql, project.ref, 'active')
    return project
  }
  const kindOf = async (key: string) => (await auth.verifyKey(key))?.kind ?? null
  before(async () => {
    opened = await openTestDatabases()
    auth = new Auth(opened.databases.control, sealer, clock, () => true)
  })
  after(() => opened?.close())

  it('are one of each kind, and more when they are made; what is shown of a secret one opens nothing', async () => {
    const project = await make('first')
    const { publishableKey, secretKey } = await auth.revealProjectKeys(project)
    const more = await auth.keys.make(project, 'secret')
    assert.deepEqual([await kindOf(publishableKey), await kindOf(secretKey), await kindOf(more.key)], ['anon', 'service', 'service'])
    for (const { kind, shown, id } of await auth.keys.list(project)) {
      const clear = (await auth.keys.reveal(project)).get(id) as string
      assert.equal(kind === 'publishable' ? shown === clear : clear.startsWith(shown.slice(0, -1)) && shown.length < clear.length - 8, true, shown)
    }
  })

  it('that are rotated hold for as long as was said, known ones too, and no longer than they were to', async () => {
    const project = await make('rotated')
    const { secretKey: old, publishableKey } = await auth.revealProjectKeys(project)
    assert.equal(await kindOf(old), 'service')
    const [before] = (await selectProjectVersions(opened.databases.control.sql)).filter(({ ref }) => ref === project.ref)
    const { key: second } = await auth.keys.rotate(project, 'secret', 2)
    const [then] = (await selectProjectVersions(opened.databases.control.sql)).filter(({ ref }) => ref === project.ref)
    assert.notEqual(before?.version, then?.version, 'other processes hear of it')
    const { key: third } = await auth.keys.rotate(project, 'secret', 5)
    assert.deepEqual([await kindOf(old), await kindOf(second), await kindOf(third)], ['service', 'service', 'service'])
    assert.equal((await auth.revealProjectKeys(project)).secretKey, third)
    ahead = 2.5 * 3_600_000
    // By this process's clock they end when the database said so.
    assert.deepEqual([await kindOf(old), await kindOf(second)], [null, 'service'])
    ahead = 0
    const { key: fourth } = await auth.keys.rotate(project, 'secret', 0)
    assert.deepEqual([await kindOf(old), await kindOf(second), await kindOf(third), await kindOf(fourth)], [null, null, null, 'service'])
    assert.equal(await kindOf(publishableKey), 'anon')
    assert.equal((await auth.keys.list(project)).length, 2)
  })

  it('that are revoked open nothing from then on; the last of its kind is replaced instead', async () => {
    const project = await make('revoked')
    const { secretKey } = await auth.revealProjectKeys(project)
    const [secret] = (await auth.keys.list(project)).filter(({ kind }) => kind === 'secret')
    assert.equal(await kindOf(secretKey), 'service')
    await assert.rejects(auth.keys.revoke(project, secret?.id as string), { code: 'key_last' })
    await auth.keys.make(project, 'secret')
    await auth.keys.revoke(project, secret?.id as string)
    assert.equal(await kindOf(secretKey), null)
    for (const id of [secret?.id as string, 'nothing', "' or true --"]) await assert.rejects(auth.keys.revoke(project, id), { code: 'key_not_found' })
    // One of another project is none of this one.
    const other = await make('other')
    await auth.keys.make(other, 'secret')
    const [foreign] = await auth.keys.list(other)
    await assert.rejects(auth.keys.revoke(project, foreign?.id as string), { code: 'key_not_found' })
  })

  it('are those that it brings along, of which no other project has any', async () => {
    const given = { publishable: `sb_publishable_${'a'.repeat(22)}_12345678`, secret: `sb_secret_${'b'.repeat(22)}_12345678` }
    const project = await make('moved', given)
    assert.deepEqual([await kindOf(given.publishable), await kindOf(given.secret)], ['anon', 'service'])
    assert.equal((await auth.revealProjectKeys(project)).secretKey, given.secret)
    await assert.rejects(make('again', { secret: given.secret }), { code: 'key_taken' })
  })

  it('are no more than LIMITS.projectKeys, and hold on for no longer than LIMITS.keyOverlap', async () => {
    const project = await make('full')
    for (let n = 2; n < LIMITS.projectKeys.value; n++) await auth.keys.make(project, 'publishable')
    await assert.rejects(auth.keys.make(project, 'secret'), { code: 'keys_full' })
    // What a rotation ends makes room for what it makes.
    await auth.keys.rotate(project, 'publishable', 0)
    const most = LIMITS.keyOverlap.value / 3_600_000
    const roomy = await make('roomy')
    await auth.keys.rotate(roomy, 'secret', most)
    for (const hours of [most + 1, -1, Number.NaN]) await assert.rejects(auth.keys.rotate(roomy, 'secret', hours), { code: 'bad_request' })
  })
})
