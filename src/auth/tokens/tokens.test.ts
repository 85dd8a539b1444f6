import assert from 'node:assert/strict'
import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { type CryptoKey, decodeProtectedHeader, exportSPKI, importJWK, type JWK, SignJWT } from 'jose'
import { openTestDatabases } from '../../backends/database/embedded-fixture.ts'
import { type ErrorCode, MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { silentLog } from '../../core/log.ts'
import type { ProjectRef } from '../../core/project.ts'
import { Sealer } from '../../core/seal.ts'
import { insertProject, updateProjectState } from '../../core/store.ts'
import { type Clock, systemClock } from '../../lib/clock.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { Tokens } from './service.ts'
import type { TrustedKey } from './trusted.ts'

/** Nobody comes to these by a token, whoever signs it: roles of the node, of PostgreSQL, and what only looks like one that is served. */
const OF_THE_DATABASE =
  'postgres owner mayfly authenticator auth_authenticator supabase_auth_admin supabase_storage_admin pg_read_all_data pg_monitor none public shop_admin Anon'
    .split(' ')
    .concat('anon ', 'anon\0', '"anon"', "anon'; reset role; --", 'x'.repeat(1_000))
const nowhere = { fetch: () => Promise.reject(new Error('nowhere')), log: silentLog }
const one = 'one' as ProjectRef
const two = 'two' as ProjectRef

describe('tokens', () => {
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  let now = Date.now()
  const clock: Clock = { ...systemClock, now: () => now }
  const sealer = new Sealer(randomBytes(32))
  const secret = randomBytes(32)
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  let believes: readonly TrustedKey[] = []
  let asked = 0
  let tokens: Tokens
  const seconds = () => Math.floor(now / 1_000)
  const sign = (project: ProjectRef, claims: Record<string, unknown> = {}, lasts = 3_600) =>
    tokens.signing.sign(project, { sub: 'u', role: 'authenticated', ...claims }, { issuedAt: seconds(), expiresAt: seconds() + lasts })
  const refuses = async (token: string, code: ErrorCode, message?: RegExp, project = one) =>
    await assert.rejects(tokens.verify(project, token), (error) => {
      assert.ok(error instanceof MayflyError)
      assert.equal(error.code, code, error.message)
      if (message) assert.match(error.message, message)
      return true
    })
  before(async () => {
    opened = await openTestDatabases()
    const { control } = opened.databases
    for (const ref of [one, two]) {
      const id = uuidv7(now)
      const dataKey = sealer.makeDataKey(id)
      sealer.useDataKey(id, dataKey)
      await insertProject(control.sql, { id, ref, name: ref, dataKey })
      await updateProjectState(control.sql, ref, 'active')
    }
    const deps = { database: control, sealer, clock, believable: () => true, issuerOf: (ref: ProjectRef) => `http://here/p/${ref}/auth/v1`, ...nowhere }
    tokens = new Tokens(deps, [
      async () => {
        asked++
        return believes
      },
    ])
  })
  after(async () => await opened.close())

  it('are of the user whom they name, with all that they say of him', async () => {
    const principal = await tokens.verify(one, await sign(one, { email: 'a@example.com', app_metadata: { plan: 'pro' } }))
    assert.ok(principal.kind === 'user')
    assert.deepEqual([principal.project, principal.role, principal.userId], [one, 'authenticated', 'u'])
    const { iss, aud, email, app_metadata } = principal.claims
    assert.deepEqual(
      { iss, aud, email, app_metadata },
      { iss: 'http://here/p/one/auth/v1', aud: 'authenticated', email: 'a@example.com', app_metadata: { plan: 'pro' } },
    )
  })
  it('are signed with one key a project, whoever asks first, that anybody can check and nobody read', async () => {
    const fresh = new Tokens({ database: opened.databases.control, sealer, clock, believable: () => true, issuerOf: () => 'i', ...nowhere })
    const sets = await Promise.all([tokens.signing.jwks(two), fresh.signing.jwks(two), fresh.signing.jwks(two)])
    assert.deepEqual(sets[1], sets[0])
    assert.equal(sets[0]?.length, 1)
    const [key] = sets[0] as [JWK]
    assert.deepEqual(Object.keys(key).sort(), ['alg', 'crv', 'ext', 'key_ops', 'kid', 'kty', 'use', 'x', 'y'])
    assert.equal(decodeProtectedHeader(await sign(two)).kid, key.kid)
    const rows = await opened.databases.control.sql<{ private: Buffer }>`select private from mayfly.signing_key`
    for (const row of rows) assert.throws(() => createPrivateKey({ key: row.private, format: 'der', type: 'pkcs8' }))
    assert.equal(rows.length, 2)
  })
  it('hold until they end, and half a minute for clocks that differ', async () => {
    const token = await sign(one, {}, 60)
    const start = now
    now = start + 89_000
    await tokens.verify(one, token)
    now = start + 91_000
    await refuses(token, 'token_expired', /^JWT expired$/)
    tokens.forget()
    await refuses(token, 'token_expired', /^JWT expired$/)
    now = start
  })
  it('are good in the project that signed them alone', async () => {
    await refuses(await sign(two), 'token_invalid')
    await refuses(await sign(one), 'token_invalid', undefined, two)
  })

  const head = (header: object) => Buffer.from(JSON.stringify(header)).toString('base64url')
  it('are refused when they are changed, unsigned, or name a key in their own way', async () => {
    const token = await sign(one)
    const [, payload, signature] = token.split('.') as [string, string, string]
    const { kid } = decodeProtectedHeader(token)
    const forged = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(payload, 'base64url').toString()), role: 'service_role' })).toString('base64url')
    for (const bad of [
      `${head({ alg: 'ES256', kid })}.${forged}.${signature}`,
      `${head({ alg: 'none', kid })}.${payload}.`,
      `${head({ alg: 'none' })}.${payload}.${signature}`,
      `${head({ alg: 'nOnE', kid })}.${payload}.`,
      `${head({ alg: 'ES256', kid: '../../x' })}.${payload}.${signature}`,
      `${head({ alg: 'ES256', kid: `${kid}' or true --` })}.${payload}.${signature}`,
      `${head({ alg: 'ES256' })}.${payload}.${signature}`,
      `${head({ alg: 'ES256', kid, crit: ['x'], x: 1 })}.${payload}.${signature}`,
      `${token.slice(0, -4)}AAAA`,
      `${token}.`,
      'a.b.c',
      '..',
      'x'.padEnd(LIMITS.tokenBytes.value + 1, 'x'),
    ])
      await refuses(bad, 'token_invalid')
    // What is exactly as long as it may be is looked at.
    await refuses('x'.padEnd(LIMITS.tokenBytes.value, 'x'), 'token_invalid', /3 parts/)
  })
  it('are not believed for a key that they bring along, nor for a public key taken as a secret', async () => {
    const [jwk] = (await tokens.signing.jwks(one)) as [JWK]
    const { kid } = jwk
    const claims = { sub: 'u', role: 'authenticated' }
    const issued = (jwt: SignJWT) =>
      jwt
        .setIssuer('http://here/p/one/auth/v1')
        .setAudience('authenticated')
        .setIssuedAt(seconds())
        .setExpirationTime(seconds() + 60)
    const own = stranger.publicKey.export({ format: 'jwk' }) as JWK
    await refuses(
      await issued(new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: kid as string, jwk: own, jku: 'http://evil/keys' })).sign(stranger.privateKey),
      'token_invalid',
    )
    const pem = await exportSPKI((await importJWK({ ...jwk, ext: true }, 'ES256', { extractable: true })) as CryptoKey)
    for (const as of [pem, JSON.stringify(jwk), `${jwk.x}${jwk.y}`])
      await refuses(await issued(new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: kid as string })).sign(Buffer.from(as)), 'token_invalid')
  })
  it('are pinned to issuer, audience and algorithm of the key that fits', async () => {
    const key: TrustedKey = { kid: null, algorithm: 'HS256', key: secret, issuers: ['https://a', 'https://b'], audience: 'app', kind: 'external' }
    believes = [key]
    const made = (claims: Record<string, unknown>) =>
      new SignJWT({ role: 'authenticated', exp: seconds() + 60, ...claims }).setProtectedHeader({ alg: 'HS256' }).sign(secret)
    assert.equal((await tokens.verify(one, await made({ iss: 'https://b', aud: ['x', 'app'], sub: 's' }))).kind, 'user')
    await refuses(await made({ iss: 'https://c', aud: 'app' }), 'token_refused', /issuer/)
    await refuses(await made({ aud: 'app' }), 'token_refused')
    await refuses(await made({ iss: 'https://a', aud: 'other' }), 'token_refused', /audience/)
    await refuses(await made({ iss: 'https://a', aud: 'app', exp: undefined }), 'token_refused', /exp/)
    await refuses(await made({ iss: 'https://a', aud: 'app', nbf: seconds() + 120 }), 'token_refused', /not yet/)
    const bound = await new SignJWT({ role: 'authenticated', iss: 'https://a', aud: 'app', exp: seconds() + 60 })
      .setProtectedHeader({ alg: 'HS512' })
      .sign(randomBytes(64))
    await refuses(bound, 'token_invalid')
    for (const role of ['service_role', '', null, undefined, ['anon']])
      await refuses(await made({ iss: 'https://a', aud: 'app', role, sub: 's' }), 'token_refused', /role/)
    for (const role of OF_THE_DATABASE)
      await refuses(await made({ iss: 'https://a', aud: 'app', role, sub: 's' }), 'token_role_unknown', /^role ".+" does not exist$/s)
    believes = []
  })
  it('of a secret that a project brought along are its keys, where they name nobody', async () => {
    believes = [{ kid: null, algorithm: 'HS256', key: secret, issuers: null, audience: null, kind: 'legacy' }]
    const made = (claims: Record<string, unknown>) => new SignJWT({ exp: seconds() + 60, ...claims }).setProtectedHeader({ alg: 'HS256' }).sign(secret)
    const kinds = await Promise.all(
      [{ role: 'anon' }, { role: 'service_role' }, { role: 'authenticated', sub: 's' }].map(
        async (claims) => (await tokens.verify(one, await made(claims))).kind,
      ),
    )
    assert.deepEqual(kinds, ['anon', 'service', 'user'])
    for (const role of OF_THE_DATABASE) await refuses(await made({ role }), 'token_role_unknown')
    believes = []
  })
  it('never say service_role of a user, whoever signs them', async () => {
    await refuses(await sign(one, { role: 'service_role' }), 'token_refused', /service_role/)
    await refuses(await sign(one, { role: 'service_role', sub: undefined }), 'token_refused', /service_role/)
  })
  it('are read once, and the oldest of many is forgotten', async () => {
    tokens.forget()
    const token = await sign(one, { n: 'first' })
    await tokens.verify(one, token)
    const before = asked
    await tokens.verify(one, token)
    assert.equal(asked, before)
    // Failures are not remembered: they would push out what holds.
    await refuses('a.b.c', 'token_invalid')
    believes = [{ kid: null, algorithm: 'HS256', key: secret, issuers: null, audience: null, kind: 'legacy' }]
    for (let n = 0; n < LIMITS.believedTokens.value; n++) {
      const other = await new SignJWT({ exp: seconds() + 60, role: 'anon', n }).setProtectedHeader({ alg: 'HS256' }).sign(secret)
      await tokens.verify(one, other)
    }
    const full = asked
    await tokens.verify(one, token)
    assert.equal(asked, full + 1)
    believes = []
  })
})
