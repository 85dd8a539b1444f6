import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import pg from 'pg'
import { deployFiles, send } from './door-fixture.ts'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

describe("the console's door", () => {
  let folder = ''
  let node: RunningMayfly
  const door = () => node.ready.console
  const own = () => ({ origin: new URL(door()).origin, 'sec-fetch-site': 'same-origin', 'content-type': 'application/json' })
  const ofData = () => ['--data', node.data]
  const login = (code: string) => send(`${door()}/session`, 'POST', own(), JSON.stringify({ code }))
  const freshCode = () => {
    const { code, stdout, stderr } = mayfly(['console', ...ofData()])
    assert.equal(code, 0, stderr)
    const url = new URL(stdout.trim())
    assert.equal(url.origin, new URL(door()).origin)
    assert.deepEqual([url.pathname, url.search], ['/', ''])
    return /^#code=([\w-]{22})$/.exec(url.hash)?.[1] ?? assert.fail(stdout)
  }
  const signIn = async () => {
    const reply = await login(freshCode())
    assert.equal(reply.status, 204)
    return (reply.headers['set-cookie'] as string[])[0]?.split(';')[0] as string
  }

  before(async () => {
    folder = makeFolder()
    node = await startMayfly(path.join(folder, 'data'))
    await deployFiles(node.ready, 'cookies', {
      'index.mjs': `export default { fetch(request) {
        console.log('a line')
        return new Response(JSON.stringify([...request.headers]), { headers: [['set-cookie', 'mayfly_console=tossed; Path=/session'], ['set-cookie', 'mine=1'], ['clear-site-data', '"cookies"']] })
      } }`,
    })
  })
  after(async () => {
    await node?.stop()
    removeFolder(folder)
  })

  it('a printed address signs in once', async () => {
    const code = freshCode()
    assert.equal((await login(code)).status, 204)
    const again = await login(code)
    assert.deepEqual([again.status, again.code], [401, 'login_code_invalid'])
  })
  it('has a name that no other server of this machine has; by its address it answers too, with a session of its own', async () => {
    const { port, hostname } = new URL(door())
    assert.equal(hostname, 'console.localhost')
    const plain = `http://127.0.0.1:${port}`
    assert.match((await send(plain, 'GET')).text, /<title>Mayfly console<\/title>/)
    const reply = await send(`${plain}/session`, 'POST', { ...own(), origin: plain }, JSON.stringify({ code: freshCode() }))
    assert.equal(reply.status, 204)
    const cookie = (reply.headers['set-cookie'] as string[])[0] as string
    assert.doesNotMatch(cookie, /domain/i)
    assert.equal((await send(`${plain}/session`, 'GET', { cookie: cookie.split(';')[0] as string })).status, 200)
    // A page of one is no page of the other.
    assert.equal((await send(`${plain}/session`, 'POST', own(), JSON.stringify({ code: freshCode() }))).code, 'cross_origin')
    assert.equal((await send(plain, 'GET', { host: `photo-app.demo.localhost:${port}` })).code, 'misdirected_request')
  })
  it('says who is there: nobody, then the operator', async () => {
    const nobody = await send(`${door()}/session`, 'GET')
    assert.deepEqual([nobody.status, nobody.code], [401, 'session_missing'])
    const reply = await send(`${door()}/session`, 'GET', { cookie: await signIn() })
    const { projects, ...rest } = JSON.parse(reply.text) as { projects: { ref: string }[] }
    assert.deepEqual([projects.map((one) => one.ref), rest], [['demo'], { defaultProject: 'demo', apiUrl: node.ready.url }])
  })
  it('signed in, the management API answers there, and nothing but it and storage', async () => {
    const cookie = await signIn()
    const functions = await send(`${door()}/api/v1/projects/demo/functions`, 'GET', { cookie })
    assert.match(functions.text, /"cookies"/)
    const made = await send(`${door()}/api/v1/projects`, 'POST', { ...own(), cookie }, '{"ref":"made-there"}')
    assert.equal(made.status, 201)
    assert.equal((await send(`${door()}/api/v1/projects/made-there`, 'DELETE', { ...own(), cookie })).status, 204)
    const invoked = await send(`${door()}/api/v1/projects/demo/functions/cookies/invoke`, 'POST', { ...own(), cookie }, '{}')
    assert.equal(invoked.status, 200)
    for (const at of ['/functions/v1/cookies', '/p/demo/functions/v1/cookies', '/health', '/metrics', '/2015-03-31/functions', '/p/demo/storage/v1/s3/b/k'])
      assert.equal((await send(door() + at, 'GET', { cookie })).status, 404, at)
    const shut = await send(`${door()}/api/v1/projects`, 'GET', {
      authorization: `Bearer ${readFileSync(path.join(node.data, 'operator.token'), 'utf8').trim()}`,
    })
    assert.equal(shut.code, 'session_missing', 'not even by the operator token')
  })
  it('what lies in storage is written, listed, read and removed there, and none of it runs', async () => {
    const cookie = await signIn()
    const at = `${door()}/p/demo/storage/v1`
    const inert = (reply: { headers: Record<string, unknown> }) => [
      reply.headers['content-security-policy'],
      String(reply.headers['content-disposition']).split(';')[0],
      reply.headers['x-content-type-options'],
      reply.headers['access-control-allow-origin'],
      reply.headers['cache-control'],
    ]
    const asIs = ["sandbox; default-src 'none'", 'attachment', 'nosniff', undefined, 'no-store']
    const bucket = await send(`${at}/bucket`, 'POST', { ...own(), cookie }, '{"id":"pages","name":"pages","public":true}')
    assert.equal(bucket.status, 200, bucket.text)
    const page = '<script>document.title = "ran"</script>'
    const stored = await send(`${at}/object/pages/a%20b.html`, 'POST', { ...own(), cookie, 'content-type': 'text/html' }, page)
    assert.equal(stored.status, 200, stored.text)
    for (const form of ['object', 'object/authenticated', 'object/public']) {
      const read = await send(`${at}/${form}/pages/a%20b.html`, 'GET', { cookie, 'sec-fetch-site': 'same-origin' })
      assert.deepEqual([read.status, read.text, read.headers['content-type']], [200, page, 'text/html'], form)
      assert.deepEqual(inert(read), asIs, form)
    }
    const missing = await send(`${at}/object/pages/none.html`, 'GET', { cookie })
    assert.deepEqual([missing.status, ...inert(missing)], [400, ...asIs])
    assert.match((await send(`${at}/object/list/pages`, 'POST', { ...own(), cookie }, '{"prefix":""}')).text, /"a b.html"/)
    for (const headers of [{}, { apikey: node.ready.project.secretKey }, { cookie: `${cookie}x` }])
      assert.equal((await send(`${at}/object/public/pages/a%20b.html`, 'GET', headers as Record<string, string>)).code, 'session_missing')
    assert.equal((await send(`${at}/object/pages/a%20b.html`, 'DELETE', { cookie, origin: 'http://evil.example' })).code, 'cross_origin')
    assert.equal((await send(`${at}/object/pages/a%20b.html`, 'DELETE', { ...own(), cookie })).status, 200)
  })
  it('a log is followed there, until its session ends', async () => {
    const cookie = await signIn()
    const { host, port } = new URL(door())
    const lines = await new Promise<{ first: string; ended: Promise<void> }>((resolve, reject) => {
      const request = httpRequest(
        { hostname: '127.0.0.1', port, path: '/api/v1/projects/demo/functions/cookies/logs?follow=1', headers: { host, cookie } },
        (response) => {
          const ended = new Promise<void>((done) => response.once('close', done))
          response.on('error', () => {})
          response.once('data', (chunk: Buffer) => resolve({ first: chunk.toString(), ended }))
        },
      )
      request.on('error', reject)
      request.end()
    })
    assert.match(lines.first, /^\{"seq":/)
    assert.equal((await send(`${door()}/session`, 'DELETE', { ...own(), cookie })).status, 204)
    await lines.ended
    assert.equal((await send(`${door()}/api/v1/projects`, 'GET', { cookie })).code, 'session_missing')
  })
  it("the API's origin knows no cookie: it opens nothing, no function hears of it, and none sets it", async () => {
    const cookie = await signIn()
    assert.equal((await send(`${node.ready.url}/api/v1/projects`, 'GET', { cookie })).code, 'key_missing')
    const reply = await send(`${node.ready.project.url}/functions/v1/cookies`, 'GET', { apikey: node.ready.project.publishableKey, cookie: `a=1; ${cookie}` })
    assert.equal(reply.status, 200)
    assert.ok(!reply.text.includes(cookie.split('=')[1] as string), reply.text)
    assert.ok(reply.text.includes('["cookie","a=1"]'), reply.text)
    assert.deepEqual([reply.headers['set-cookie'], reply.headers['clear-site-data']], [['mine=1'], undefined])
  })
  it('a page of another origin changes nothing, by whichever way it tries', async () => {
    const cookie = await signIn()
    for (const [origin, site] of [
      ['http://evil.example', 'cross-site'],
      [new URL(node.ready.url).origin, 'same-site'],
      ['null', 'cross-site'],
    ] as const)
      for (const at of ['/session', '/api/v1/projects', '/api/v1/console-logins']) {
        const reply = await send(door() + at, 'POST', { cookie, origin, 'sec-fetch-site': site, 'content-type': 'application/json' }, '{"ref":"stolen"}')
        assert.deepEqual([reply.status, reply.code], [403, 'cross_origin'])
      }
    assert.equal((await send(`${door()}/session`, 'GET', { cookie, host: 'evil.example' })).status, 421)
    assert.equal((await send(`${door()}/session`, 'GET', { cookie, host: `photo-app.demo.localhost:${new URL(door()).port}` })).status, 421)
    assert.equal((await send(`${door()}/session`, 'GET', { cookie })).status, 200)
  })
  it('sessions live on when the node is killed and starts anew; the codes of before do too, once', async () => {
    const cookie = await signIn()
    const code = freshCode()
    await node.kill()
    node = await startMayfly(path.join(folder, 'data'))
    assert.equal((await send(`${door()}/session`, 'GET', { cookie })).status, 200)
    assert.equal((await login(code)).status, 204)
    assert.equal((await login(code)).code, 'login_code_invalid')
  })
  it('`mayfly console --sign-out` ends every session and every code', async () => {
    const cookies = [await signIn(), await signIn()]
    const code = freshCode()
    const { stdout } = mayfly(['console', '--sign-out', '--json', ...ofData()])
    assert.ok((JSON.parse(stdout) as { ended: number }).ended >= 2)
    for (const cookie of cookies) assert.equal((await send(`${door()}/session`, 'GET', { cookie })).code, 'session_missing')
    assert.equal((await login(code)).code, 'login_code_invalid')
  })
  it('asks for a pause from who guesses on', async () => {
    const codes = new Set<unknown>()
    for (let n = 0; n < 12; n++) codes.add((await login('A'.repeat(22))).code)
    assert.deepEqual([...codes], ['login_code_invalid', 'too_many_attempts'])
  })
})

const OPENSSL = '/usr/bin/openssl'
it('over TLS the console speaks TLS too, its cookie is bound to its host, and clients of PostgreSQL are offered it by the same certificate', {
  skip: existsSync(OPENSSL) ? false : 'needs the package openssl',
}, async () => {
  const folder = makeFolder()
  const [cert, key] = [path.join(folder, 'cert.pem'), path.join(folder, 'key.pem')]
  const made = [
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
    '-subj',
    '/CN=localhost',
    '-addext',
    'subjectAltName=IP:127.0.0.1',
  ]
  execFileSync(OPENSSL, ['req', ...made, '-keyout', key, '-out', cert], { stdio: 'ignore' })
  const node = await startMayfly(path.join(folder, 'data'), ['--empty', '--tls-cert', cert, '--tls-key', key])
  try {
    assert.match(node.ready.console, /^https:/)
    const operator = readFileSync(path.join(node.data, 'operator.token'), 'utf8').trim()
    const login = await send(`${node.ready.url}/api/v1/console-logins`, 'POST', { authorization: `Bearer ${operator}` })
    const code = new URL((JSON.parse(login.text) as { url: string }).url).hash.slice('#code='.length)
    const headers = { origin: node.ready.console, 'content-type': 'application/json' }
    const reply = await send(`${node.ready.console}/session`, 'POST', headers, JSON.stringify({ code }))
    assert.equal(reply.status, 204)
    const line = (reply.headers['set-cookie'] as string[])[0] as string
    assert.match(line, /^__Host-mayfly_console=[\w-]{43}; Path=\/; .*HttpOnly; SameSite=Strict; Secure$/)
    assert.equal((await send(`${node.ready.console}/session`, 'GET', { cookie: line.split(';')[0] as string })).status, 200)

    const ca = readFileSync(cert, 'utf8')
    const { stdout, stderr } = mayfly(['db', 'url', '--data', node.data], { NODE_EXTRA_CA_CERTS: cert })
    assert.match(stdout, /\?sslmode=require$/m, stderr)
    const place = stdout.trim().replace('?sslmode=require', '')
    const asked = async (ssl: object | false) => {
      const client = new pg.Client({ connectionString: place, ssl })
      await client.connect()
      const { stream } = (client as unknown as { connection: { stream: { getProtocol?(): string } } }).connection
      const { rows } = await client.query('select 1 as n')
      const protocol = stream.getProtocol?.() ?? 'clear'
      await client.end()
      return [rows, protocol]
    }
    assert.deepEqual(await asked({ ca }), [[{ n: 1 }], 'TLSv1.3'])
    // Of this machine alone, a session may begin in the clear.
    assert.deepEqual(await asked(false), [[{ n: 1 }], 'clear'])
    await assert.rejects(asked({ ca: [] }), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
    await assert.rejects(asked({ ca, maxVersion: 'TLSv1.1' }))
  } finally {
    await node.stop()
    removeFolder(folder)
  }
})
