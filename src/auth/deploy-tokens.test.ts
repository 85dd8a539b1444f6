import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import type { Database } from '../backends/database/database.ts'
import { LIMITS } from '../core/limits.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import { Sealer } from '../core/seal.ts'
import { deleteProject, insertProject, updateProjectState } from '../core/store.ts'
import { systemClock } from '../lib/clock.ts'
import { uuidv7 } from '../lib/ids.ts'
import { Auth } from './service.ts'

describe('DeployTokens', () => {
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  let control: Database
  let auth: Auth
  const sealer = new Sealer(randomBytes(32))
  before(async () => {
    opened = await openTestDatabases()
    control = opened.databases.control
    auth = new Auth(control, sealer, systemClock, () => true)
  })
  after(async () => {
    await opened.close()
  })
  const make = async (name: string): Promise<Project> => {
    const ref = name as ProjectRef
    const id = uuidv7(Date.now())
    await control.transaction(async (tx) => void (await insertProject(tx, { id, ref, name, dataKey: sealer.makeDataKey(id) })))
    await updateProjectState(control.sql, ref, 'active')
    return { id, ref, name, state: 'active' }
  }
  const end = (project: Project, name: string) =>
    control.sql`update mayfly.deploy_token set expires_at = clock_timestamp() where project_id = ${project.id} and name = ${name}`
  const refuses = (work: Promise<unknown>, code: string) => assert.rejects(work, (error: { code?: string }) => error.code === code)

  it('speaks for its project, until it is revoked; nobody else knows it', async () => {
    const shop = await make('shop')
    const { token, row } = await auth.tokens.create(shop, 'ci', 24)
    assert.match(token, /^mayfly_token_shop_[\w-]{43}$/)
    assert.equal(row.expiresAt.getTime() - row.createdAt.getTime() >= 24 * 3_600_000, true)
    assert.deepEqual(await auth.verifyKey(token), { kind: 'deployer', project: 'shop', keyId: row.id })
    const [listed] = await auth.tokens.list(shop)
    assert.equal(listed?.name, 'ci')
    assert.notEqual(listed?.lastUsedAt, null)
    for (const wrong of [
      token.slice(0, -1),
      `${token}A`,
      token.replace('shop', 'other'),
      token.toUpperCase(),
      'mayfly_token_',
      `mayfly_token_shop_${'A'.repeat(43)}`,
    ])
      assert.equal(await auth.verifyKey(wrong), null, wrong)
    await auth.tokens.revoke(shop, 'ci')
    assert.equal(await auth.verifyKey(token), null)
    await refuses(auth.tokens.revoke(shop, 'ci'), 'deploy_token_not_found')
  })

  it('is kept as a hash alone', async () => {
    const project = await make('hashed')
    const { token } = await auth.tokens.create(project, 'ci', 1)
    const [row] = await control.sql<{
      text: string
    }>`select row_to_json(token)::text as text from mayfly.deploy_token as token where project_id = ${project.id}`
    assert.ok(row && !row.text.includes(token.slice(-20)))
  })

  it('says that it has ended, and what ended makes room', async () => {
    const project = await make('ended')
    const { token } = await auth.tokens.create(project, 'ci', 1)
    await end(project, 'ci')
    await assert.rejects(auth.verifyKey(token), { code: 'deploy_token_invalid', message: 'this deploy token has ended' })
    assert.equal((await auth.tokens.list(project))[0]?.hasEnded, true)
    for (let at = 1; at < LIMITS.deployTokens.value; at++) await auth.tokens.create(project, `t${at}`, 1)
    await auth.tokens.create(project, 'one-more', 1)
    assert.equal(await auth.verifyKey(token), null)
    await refuses(auth.tokens.create(project, 'too-many', 1), 'deploy_tokens_full')
    assert.equal((await auth.tokens.list(project)).length, LIMITS.deployTokens.value)
  })

  it('goes with its project, and a project does not touch those of another', async () => {
    const [one, two] = [await make('left'), await make('right')]
    const { token } = await auth.tokens.create(one, 'ci', 1)
    await auth.tokens.create(two, 'ci', 1)
    await refuses(auth.tokens.create(two, 'ci', 1), 'deploy_token_exists')
    await auth.tokens.revoke(two, 'ci')
    assert.notEqual(await auth.verifyKey(token), null)
    await updateProjectState(control.sql, one.ref, 'deleting')
    assert.equal(await auth.verifyKey(token), null)
    await deleteProject(control.sql, one.ref)
    assert.equal(await auth.verifyKey(token), null)
  })

  it('refuses names and times that are none', async () => {
    const project = await make('wrong')
    const most = LIMITS.deployTokenTime.value / 3_600_000
    for (const [name, hours] of [
      ['', 1],
      ['a b', 1],
      ['a'.repeat(65), 1],
      ['ok', 0],
      ['ok', 1.5],
      ['ok', most + 1],
      ['ok', Number.NaN],
    ] as const)
      await refuses(auth.tokens.create(project, name, hours), 'bad_request')
    await auth.tokens.create(project, 'longest', most)
  })
})
