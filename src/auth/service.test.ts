import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import type { EmbeddedDatabases } from '../backends/database/embedded.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import type { Database } from '../backends/database/database.ts'
import { LIMITS } from '../core/limits.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import { SealError, Sealer } from '../core/seal.ts'
import { deleteProject, insertProject, updateProjectState } from '../core/store.ts'
import { systemClock } from '../lib/clock.ts'
import { uuidv7 } from '../lib/ids.ts'
import { Auth } from './service.ts'

describe('Auth', () => {
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  let databases: EmbeddedDatabases
  let control: Database
  let believable = true
  let asked = 0
  const sealer = new Sealer(randomBytes(32))
  let auth: Auth
  before(async () => {
    opened = await openTestDatabases()
    databases = opened.databases
    const inner = databases.control
    control = {
      sql: (strings, ...values) => {
        asked++
        return inner.sql(strings, ...values)
      },
      transaction: (work) => inner.transaction(work),
      flight: (work) => inner.flight(work),
      script: (text) => inner.script(text),
      [Symbol.asyncDispose]: async () => {},
    }
    auth = new Auth(control, sealer, systemClock, () => believable)
  })
  after(async () => {
    await opened.close()
  })
  const make = async (name: string): Promise<Project> => {
    const ref = name as ProjectRef
    const id = uuidv7(Date.now())
    const dataKey = sealer.makeDataKey(id)
    sealer.useDataKey(id, dataKey)
    await control.transaction(async (tx) => {
      await insertProject(tx, { id, ref, name, dataKey })
      await auth.issueProjectKeys(tx, { id, ref, name, state: 'creating' })
    })
    await updateProjectState(control.sql, ref, 'active')
    return { id, ref, name, state: 'active' }
  }

  it('gives a project keys of the known forms, that speak for it and no other', async () => {
    const one = await make('one')
    const keys = await auth.revealProjectKeys(one)
    const others = await auth.revealProjectKeys(await make('two'))
    assert.match(keys.publishableKey, /^sb_publishable_[\w-]{22}_[\w-]{8}$/)
    assert.match(keys.secretKey, /^sb_secret_[\w-]{22}_[\w-]{8}$/)
    assert.match(keys.accessKey.id, /^AKIA[A-Z2-7]{16}$/)
    assert.equal(keys.accessKey.secret.length, 40)
    assert.equal(new Set([keys.publishableKey, keys.secretKey, others.publishableKey, others.secretKey]).size, 4)
    const anon = await auth.verifyKey(keys.publishableKey)
    const service = await auth.verifyKey(keys.secretKey)
    assert.deepEqual(
      [anon?.kind, anon && 'project' in anon && anon.project, service?.kind, service && 'project' in service && service.project],
      ['anon', 'one', 'service', 'one'],
    )
    assert.deepEqual(await auth.accessKey(keys.accessKey.id), { id: keys.accessKey.id, project: 'one', secret: keys.accessKey.secret })
  })
  it('knows no key that differs anywhere, and none of another form', async () => {
    const { secretKey, accessKey } = await auth.revealProjectKeys(await make('three'))
    for (let at = 0; at < secretKey.length; at++)
      assert.equal(await auth.verifyKey(`${secretKey.slice(0, at)}${secretKey[at] === 'A' ? 'B' : 'A'}${secretKey.slice(at + 1)}`), null)
    for (const key of [
      '',
      'sb_',
      'sb_secret_',
      `${secretKey} `,
      ` ${secretKey}`,
      secretKey.toUpperCase(),
      `${secretKey}\0`,
      "sb_' or true --",
      'sb_'.padEnd(10_000, 'x'),
      'mayfly_operator_',
      'mayfly_operator_x',
    ])
      assert.equal(await auth.verifyKey(key), null)
    for (const id of ['', 'AKIA', accessKey.id.toLowerCase(), `${accessKey.id}A`, `AKIA${'A'.repeat(16)}`, "AKIA' or true"])
      assert.equal(await auth.accessKey(id), null)
  })
  it('keeps no key in clear, and opens none that was moved to another row', async () => {
    const project = await make('sealed')
    const keys = await auth.revealProjectKeys(project)
    const stored = JSON.stringify([
      await control.sql`select encode(value, 'escape') as a, encode(hash, 'escape') as b from mayfly.api_key`,
      await control.sql`select encode(secret, 'escape') as a from mayfly.access_key`,
    ])
    for (const secret of [keys.secretKey, keys.publishableKey, keys.accessKey.secret]) assert.ok(!stored.includes(secret.slice(10)))
    await control.sql`update mayfly.api_key as key set value = other.value from mayfly.api_key as other where key.project_id = ${project.id} and other.project_id = ${project.id} and key.id <> other.id`
    await assert.rejects(auth.revealProjectKeys(project), SealError)
  })
  it('does not ask again while answers may be believed, about unknown keys neither', async () => {
    const { secretKey } = await auth.revealProjectKeys(await make('cached'))
    for (const key of [secretKey, 'sb_secret_unknown']) {
      asked = 0
      await auth.verifyKey(key)
      await auth.verifyKey(key)
      assert.equal(asked, 1)
      believable = false
      await auth.verifyKey(key)
      assert.equal(asked, 2)
      believable = true
    }
  })
  it('believes no key of a project that is gone once it was told to forget, and none that may not be believed', async () => {
    for (const [name, act] of [
      ['gone', () => auth.forget()],
      [
        'left',
        () => {
          believable = false
        },
      ],
    ] as const) {
      const project = await make(name)
      const { secretKey, accessKey } = await auth.revealProjectKeys(project)
      assert.ok(await auth.verifyKey(secretKey))
      assert.ok(await auth.accessKey(accessKey.id))
      await updateProjectState(control.sql, project.ref, 'deleting')
      act()
      assert.equal(await auth.verifyKey(secretKey), null)
      assert.equal(await auth.accessKey(accessKey.id), null)
      believable = true
      await deleteProject(control.sql, project.ref)
      assert.deepEqual(await control.sql`select id from mayfly.api_key where project_id = ${project.id}`, [])
    }
  })
  it('remembers at most LIMITS.believedKeys keys', { timeout: 60_000 }, async () => {
    const stub: Database = {
      ...control,
      sql: async () => {
        asked++
        return []
      },
    }
    const flooded = new Auth(stub, sealer, systemClock, () => true)
    await flooded.verifyKey('sb_first')
    for (let n = 1; n < LIMITS.believedKeys.value; n++) await flooded.verifyKey(`sb_${n}`)
    asked = 0
    await flooded.verifyKey('sb_first')
    assert.equal(asked, 0, 'at the edge it is still known')
    await flooded.verifyKey('sb_one_more')
    await flooded.verifyKey('sb_first')
    assert.equal(asked, 2, 'past it the oldest was forgotten')
  })
  it('takes the operator token of this life and none of a former one', async () => {
    assert.equal(await auth.verifyKey('mayfly_operator_'.padEnd(59, 'A')), null)
    const former = auth.issueOperatorToken()
    assert.match(former, /^mayfly_operator_[\w-]{43}$/)
    assert.equal((await auth.verifyKey(former))?.kind, 'operator')
    const token = auth.issueOperatorToken()
    assert.equal(await auth.verifyKey(former), null)
    assert.equal((await auth.verifyKey(token))?.kind, 'operator')
  })
  it('gives handles that open nothing outside, and nothing once they are revoked', async () => {
    const owner = { project: 'one', functionName: 'f', version: '1', role: 'service_role' as const }
    const handle = auth.issueHandle(owner)
    const other = auth.issueHandle({ ...owner, functionName: 'g' })
    assert.match(handle.key, /^sb_secret_[\w-]{22}_[\w-]{8}$/)
    assert.equal(await auth.verifyKey(handle.key), null)
    assert.equal(await auth.accessKey(handle.accessKeyId), null)
    assert.deepEqual(auth.verifyHandle(handle.key), owner)
    assert.equal(auth.verifyHandle(other.key)?.functionName, 'g')
    assert.deepEqual(auth.handleAccessKey(handle.accessKeyId), { secret: handle.secretAccessKey, owner })
    handle.revoke()
    assert.equal(auth.verifyHandle(handle.key), null)
    assert.equal(auth.handleAccessKey(handle.accessKeyId), null)
    assert.ok(auth.verifyHandle(other.key))
  })
  it('knows the handles of another process of the node for as long as that one says', async () => {
    const owner = { project: 'one', functionName: 'f', version: 'adopted', role: 'service_role' as const }
    const elsewhere = new Auth(control, sealer, systemClock, () => believable)
    const [first, second] = [elsewhere.issueHandle(owner), auth.issueHandle(owner)]
    assert.equal(auth.verifyHandle(first.key), null)
    auth.adoptHandle(owner, elsewhere.handleOf(owner))
    assert.deepEqual(auth.verifyHandle(first.key), owner)
    assert.deepEqual(auth.handleAccessKey(first.accessKeyId), { secret: first.secretAccessKey, owner })
    assert.equal(await auth.verifyKey(first.key), null)
    first.revoke()
    assert.equal(elsewhere.handleOf(owner), null)
    auth.adoptHandle(owner, null)
    assert.deepEqual([auth.verifyHandle(first.key), auth.handleAccessKey(first.accessKeyId)], [null, null])
    assert.deepEqual([auth.verifyHandle(second.key), auth.handleOf(owner)?.key], [owner, second.key])
    for (let i = 0; i <= LIMITS.believedKeys.value; i++)
      auth.adoptHandle({ ...owner, version: `v${i}` }, { key: `sb_secret_${i}`, accessKeyId: `ASIA${i}`, secretAccessKey: 's' })
    assert.equal(auth.verifyHandle('sb_secret_0'), null)
    assert.ok(auth.verifyHandle('sb_secret_1') && auth.verifyHandle(second.key))
  })
  it('believes the token of the operator that another process of the node has issued', async () => {
    const main = new Auth(control, sealer, systemClock, () => believable)
    const token = main.issueOperatorToken()
    const worker = new Auth(control, sealer, systemClock, () => believable)
    assert.equal(await worker.verifyKey(token), null)
    worker.believeOperator(main.operatorHash as Uint8Array)
    assert.deepEqual(await worker.verifyKey(token), { kind: 'operator', id: 'local' })
    assert.equal(await worker.verifyKey(`${token}x`), null)
  })
  it('takes no real key for a handle', async () => {
    const { secretKey, accessKey } = await auth.revealProjectKeys(await make('real'))
    assert.equal(auth.verifyHandle(secretKey), null)
    assert.equal(auth.handleAccessKey(accessKey.id), null)
  })
})
