import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { SignJWT } from 'jose'
import { openTestDatabases } from '../../backends/database/embedded-fixture.ts'
import { LIMITS } from '../../core/limits.ts'
import { silentLog } from '../../core/log.ts'
import type { Project, ProjectRef } from '../../core/project.ts'
import { Sealer } from '../../core/seal.ts'
import { insertProject, updateProjectState } from '../../core/store.ts'
import { systemClock } from '../../lib/clock.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { GivenSecret } from './legacy.ts'
import { Tokens } from './service.ts'

describe('legacy keys', () => {
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  let tokens: Tokens
  const sealer = new Sealer(randomBytes(32))
  const secret = 'super-secret-jwt-token-with-at-least-32-characters-long'
  const ends = Math.floor(Date.now() / 1_000) + 3_600
  const sign = (claims: Record<string, unknown>, by: string = secret, exp: number | null = ends) =>
    new SignJWT({ iss: 'supabase', ...(exp === null ? {} : { exp }), ...claims }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(by))
  const make = async (ref: string, given: GivenSecret | null = null): Promise<Project> => {
    const id = uuidv7(Date.now())
    const dataKey = sealer.makeDataKey(id)
    const project: Project = { id, ref: ref as ProjectRef, name: ref, state: 'active' }
    await opened.databases.control.transaction(async (tx) => {
      await insertProject(tx, { ...project, dataKey })
      sealer.useDataKey(id, dataKey)
      if (given) await tokens.legacy.bring(tx, project, given)
    })
    await updateProjectState(opened.databases.control.sql, project.ref, 'active')
    return project
  }
  before(async () => {
    opened = await openTestDatabases()
    tokens = new Tokens({
      database: opened.databases.control,
      sealer,
      clock: systemClock,
      believable: () => true,
      issuerOf: (ref) => `http://here/p/${ref}/auth/v1`,
      fetch: () => Promise.reject(new Error('nowhere')),
      log: silentLog,
    })
  })
  after(() => opened?.close())

  it('are made when they are asked for, are the same each time, and open their project alone until they are revoked', async () => {
    const [one, two] = [await make('one'), await make('two')]
    const [keys, again] = await Promise.all([tokens.legacy.ensure(one), tokens.legacy.ensure(one)])
    assert.deepEqual(again, keys)
    await tokens.legacy.ensure(two)
    assert.equal((await tokens.verify(one.ref, keys.anonKey)).kind, 'anon')
    assert.equal((await tokens.verify(one.ref, keys.serviceRoleKey)).kind, 'service')
    await assert.rejects(tokens.verify(two.ref, keys.serviceRoleKey), { code: 'token_invalid' })
    await tokens.legacy.revoke(one)
    await assert.rejects(tokens.verify(one.ref, keys.serviceRoleKey), { code: 'token_invalid' })
    await assert.rejects(tokens.legacy.revoke(one), { code: 'key_not_found' })
  })

  it('that a project brings along are believed as they are, and so are its users', async () => {
    const given = { secret, anonKey: await sign({ role: 'anon' }), serviceRoleKey: await sign({ role: 'service_role' }) }
    const moved = await make('moved', given)
    assert.deepEqual(await tokens.legacy.reveal(moved), { jwtSecret: secret, anonKey: given.anonKey, serviceRoleKey: given.serviceRoleKey })
    assert.equal((await tokens.verify(moved.ref, given.anonKey)).kind, 'anon')
    const user = await tokens.verify(moved.ref, await sign({ role: 'authenticated', sub: 'u', aud: 'authenticated' }))
    assert.ok(user.kind === 'user' && user.userId === 'u')
    assert.equal(
      (await opened.databases.control.sql<{ n: string }>`select count(*) as n from mayfly.legacy_secret where position(${secret}::bytea in secret) > 0`)[0]?.n,
      '0',
    )
  })

  it('are refused where the secret has not signed them, they have ended or are of another role, or the secret is short', async () => {
    const refuses = async (given: Partial<GivenSecret>, name: RegExp) =>
      await assert.rejects(make(`bad-${randomBytes(4).toString('hex')}`, { secret, anonKey: null, serviceRoleKey: null, ...given }), {
        code: 'bad_request',
        message: name,
      })
    await refuses({ anonKey: await sign({ role: 'anon' }, 'x'.repeat(40)) }, /^anonKey: it is signed by another secret than jwtSecret$/)
    await refuses({ anonKey: await sign({ role: 'service_role' }) }, /^anonKey: it is a key of the role "service_role", not of anon$/)
    await refuses({ anonKey: await sign({}) }, /^anonKey: it is a key of the role none, not of anon$/)
    await refuses({ serviceRoleKey: await sign({ role: 'service_role' }, secret, 1_000) }, /^serviceRoleKey: it ended at 1970-01-01T00:16:40.000Z$/)
    await refuses({ serviceRoleKey: await sign({ role: 'service_role' }, secret, null) }, /^serviceRoleKey: it says no time at which it ends/)
    await refuses({ serviceRoleKey: await sign({ role: 'service_role', sub: 'u' }) }, /^serviceRoleKey: it is the token of a user/)
    await refuses({ anonKey: `${Buffer.from('{"alg":"none"}').toString('base64url')}.e30.` }, /^anonKey: it is not signed with HS256/)
    await refuses({ anonKey: 'a.b.c' }, /^anonKey: it is no JWT$/)
    const { value: most, least } = LIMITS.jwtSecretBytes
    for (const short of ['', 'x'.repeat(least - 1), 'x'.repeat(most + 1), `${'x'.repeat(40)} y`, '한'.repeat(20)])
      await refuses({ secret: short }, /^jwtSecret/)
    await make('edge-least', { secret: 'x'.repeat(least), anonKey: null, serviceRoleKey: null })
    await make('edge-most', { secret: 'y'.repeat(most), anonKey: null, serviceRoleKey: null })
  })
})
