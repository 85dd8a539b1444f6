import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, beforeEach, describe, it } from 'node:test'
import { type CryptoKey, exportJWK, exportSPKI, type JWK, SignJWT } from 'jose'
import { openTestDatabases } from '../../backends/database/embedded-fixture.ts'
import { LIMITS } from '../../core/limits.ts'
import { silentLog } from '../../core/log.ts'
import type { Project, ProjectRef } from '../../core/project.ts'
import { publicFetch } from '../../core/public-fetch.ts'
import { Sealer } from '../../core/seal.ts'
import { insertProject, updateProjectState } from '../../core/store.ts'
import { type Clock, systemClock } from '../../lib/clock.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { Tokens } from './service.ts'

const ISSUER = 'https://login.example.com'
const shop = 'shop' as ProjectRef

describe('issuers that a project trusts', () => {
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  let project: Project
  let ahead = 0
  const clock: Clock = { ...systemClock, monotonic: () => systemClock.monotonic() + ahead }
  const pair = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  let keys: JWK[] = []
  let asked = 0
  let answer: RequestListener = () => {}
  const server = createServer((request, response) => {
    asked++
    answer(request, response)
  })
  let origin = ''
  const said: string[] = []
  const log = { ...silentLog, warn: (fields: object) => void said.push(JSON.stringify(fields)) }
  let allowed: readonly string[] = []
  let tokens: Tokens
  const open = () =>
    new Tokens({
      database: opened.databases.control,
      sealer: new Sealer(randomBytes(32)),
      clock,
      believable: () => true,
      issuerOf: (ref) => `http://here/p/${ref}/auth/v1`,
      fetch: (url, how) => publicFetch(url, how, allowed),
      log,
    })
  const sign = (claims: Record<string, unknown> = {}, { kid = 'k1' as string | null, alg = 'RS256', by = pair.privateKey as object } = {}) =>
    new SignJWT({ iss: ISSUER, aud: 'shop-app', sub: 'u1', role: 'authenticated', exp: Math.floor(Date.now() / 1_000) + 600, ...claims })
      .setProtectedHeader({ alg, ...(kid === null ? {} : { kid }) })
      .sign(by as CryptoKey)
  const verify = async (token: Promise<string> | string) => await tokens.verify(shop, await token)
  const refused = { code: 'token_invalid' }

  before(async () => {
    opened = await openTestDatabases()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    allowed = [origin]
    const id = uuidv7(Date.now())
    project = { id, ref: shop, name: 'shop', state: 'active' }
    await insertProject(opened.databases.control.sql, { ...project, dataKey: randomBytes(60) })
    await updateProjectState(opened.databases.control.sql, shop, 'active')
  })
  after(async () => {
    server.closeAllConnections()
    server.close()
    await opened?.close()
  })
  beforeEach(async () => {
    keys = [{ ...(await exportJWK(pair.publicKey)), kid: 'k1', alg: 'RS256', use: 'sig' }]
    answer = (_request, response) => response.end(JSON.stringify({ keys }))
    tokens = open()
    asked = 0
    ahead = 0
    said.length = 0
    await tokens.issuers.put(project, { issuer: ISSUER, audience: 'shop-app', jwksUrl: `${origin}/jwks` })
  })

  it('have their users taken for those of the project, and their keys read once', async () => {
    for (let n = 0; n < 5; n++) {
      const principal = await verify(sign({ sub: `u${n}` }))
      assert.ok(principal.kind === 'user' && principal.userId === `u${n}` && principal.role === 'authenticated')
    }
    assert.equal(asked, 1)
    await tokens.issuers.remove(project, ISSUER)
    await assert.rejects(verify(sign({ sub: 'u1' })), refused)
    await assert.rejects(tokens.issuers.remove(project, ISSUER), { code: 'issuer_not_found' })
  })

  it('are pinned: another issuer, audience, role or algorithm, and no algorithm by a public key', async () => {
    await assert.rejects(verify(sign({ iss: 'https://evil.example.com' })), refused)
    assert.equal(asked, 0, 'who is not trusted has nobody asked')
    await assert.rejects(verify(sign({ aud: 'other-app' })), { code: 'token_refused' })
    for (const role of ['service_role', undefined]) await assert.rejects(verify(sign({ role })), { code: 'token_refused' })
    await assert.rejects(verify(sign({ role: 'postgres' })), { code: 'token_role_unknown' })
    const pem = Buffer.from(await exportSPKI(pair.publicKey as never))
    await assert.rejects(verify(sign({}, { alg: 'HS256', by: pem })), refused)
    await assert.rejects(verify(sign({}, { alg: 'ES256', by: other.privateKey })), refused)
    const [, payload] = (await sign()).split('.')
    const none = `${Buffer.from('{"alg":"none","kid":"k1"}').toString('base64url')}.${payload}.`
    await assert.rejects(verify(none), refused)
    // A set that holds a secret makes nobody a maker of tokens.
    keys = [{ kty: 'oct', k: Buffer.from('x'.repeat(64)).toString('base64url'), kid: 'k1', alg: 'HS256' }]
    tokens = open()
    await assert.rejects(verify(sign({}, { alg: 'HS256', by: Buffer.from('x'.repeat(64)) })), refused)
  })

  it('are asked once for any number of keys that nobody knows, and find a new one a little later', async () => {
    await verify(sign())
    await Promise.all(Array.from({ length: 50 }, async (_, n) => await assert.rejects(verify(sign({}, { kid: `flood-${n}` })), refused)))
    assert.equal(asked, 1)
    keys = [...keys, { ...(await exportJWK(other.publicKey)), kid: 'k2' }]
    ahead = 31_000
    await Promise.all(Array.from({ length: 50 }, async (_, n) => await assert.rejects(verify(sign({}, { kid: `flood-${n}` })), refused)))
    assert.equal((await verify(sign({}, { kid: 'k2', alg: 'ES256', by: other.privateKey }))).kind, 'user')
    assert.equal(asked, 2)
    await verify(sign({ n: 2 }))
  })

  it('say at once whether there are keys at their address, and why not, and are asked no more often for that', async () => {
    assert.equal(await tokens.issuers.unread(`${origin}/jwks`), null)
    answer = (_request, response) => response.writeHead(404).end()
    assert.equal(await tokens.issuers.unread(`${origin}/mistyped`), 'it answers 404')
    assert.equal(await tokens.issuers.unread(`${origin}/mistyped`), 'it answers 404')
    assert.equal(asked, 2)
    answer = (_request, response) => response.end(JSON.stringify({ keys }))
    ahead = 1_001
    assert.equal(await tokens.issuers.unread(`${origin}/mistyped`), null)
    answer = (_request, response) => response.end('{"keys":[{"kty":"oct","k":"eHh4"}]}')
    assert.equal(await tokens.issuers.unread(`${origin}/secret`), 'it answers no key that could be believed')
    assert.equal(asked, 4)
  })

  it('whose keys cannot be read are asked no more often; what was read holds for an hour', async () => {
    await verify(sign())
    answer = (_request, response) => response.writeHead(500).end()
    ahead = 700_000
    assert.equal((await verify(sign({ n: 1 }))).kind, 'user')
    assert.equal((await verify(sign({ n: 2 }))).kind, 'user')
    assert.equal(asked, 2)
    ahead = 3_700_000
    await assert.rejects(verify(sign({ n: 3 })), refused)
  })

  it('that answer too much, nonsense, slowly or from elsewhere are believed nothing', async (context) => {
    const whole = JSON.stringify({ keys })
    for (const [name, how] of Object.entries<RequestListener>({
      huge: (_request, response) => response.end(whole.padEnd(LIMITS.jwksBytes.value + 1)),
      nonsense: (_request, response) => response.end('<html>'),
      empty: (_request, response) => response.end('null'),
      loop: (_request, response) => response.writeHead(302, { location: `${origin}/again` }).end(),
      inside: (_request, response) => response.writeHead(302, { location: 'http://169.254.169.254/latest' }).end(),
      'a file': (_request, response) => response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
    })) {
      answer = how
      tokens = open()
      await assert.rejects(verify(sign()), refused, name)
    }
    // As long as it may be is read.
    answer = (_request, response) => response.end(whole.padEnd(LIMITS.jwksBytes.value))
    tokens = open()
    await verify(sign())
    answer = () => {}
    tokens = open()
    let ended: AbortSignal | null = null
    const aborts = AbortSignal.timeout
    context.mock.method(AbortSignal, 'timeout', (ms: number) => {
      assert.equal(ms, LIMITS.jwksTime.value)
      ended = aborts.call(AbortSignal, 20)
      return ended
    })
    await assert.rejects(verify(sign()), refused)
    assert.ok((ended as AbortSignal | null)?.aborted)
  })

  it('on an address that is not public are not asked, but where the operator lists the origin', async () => {
    allowed = []
    tokens = open()
    await assert.rejects(verify(sign()), refused)
    assert.equal(asked, 0)
    assert.match(said.join(), /no public address/)
    assert.match(String(await tokens.issuers.unread(`${origin}/jwks`)), /no public address/)
    allowed = [origin]
  })

  it('are told where what is said of them is wrong, and are LIMITS.trustedIssuers at most', async () => {
    for (const jwksUrl of ['', 'file:///etc/passwd', 'https://u:p@example.com/', 'javascript:1'])
      await assert.rejects(tokens.issuers.put(project, { issuer: 'https://a', audience: 'b', jwksUrl }), { code: 'bad_request' })
    await assert.rejects(tokens.issuers.put(project, { issuer: '', audience: 'b', jwksUrl: origin }), { code: 'bad_request' })
    await assert.rejects(tokens.issuers.put(project, { issuer: 'https://a', audience: '', jwksUrl: origin }), { code: 'bad_request' })
    for (let n = 1; n < LIMITS.trustedIssuers.value; n++) await tokens.issuers.put(project, { issuer: `https://i${n}`, audience: 'a', jwksUrl: origin })
    await assert.rejects(tokens.issuers.put(project, { issuer: 'https://more', audience: 'a', jwksUrl: origin }), { code: 'bad_request' })
    assert.equal((await tokens.issuers.list(project)).length, LIMITS.trustedIssuers.value)
  })
})
