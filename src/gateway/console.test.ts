import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ConsoleSessions } from '../auth/index.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Route } from '../core/route.ts'
import { type Clock, systemClock } from '../lib/clock.ts'
import { Attempts } from './attempts.ts'
import { ConsoleListener } from './console.ts'
import { HostNames, isConsoleName, TrustedProxies } from './doors.ts'
import { Gateway } from './listener.ts'
import { json } from '../core/json-reply.ts'

const demo: Project = { id: '1', ref: 'demo' as ProjectRef, name: 'demo', state: 'active' }
const route = (method: string, at: string, more: Partial<Route>): Route => ({
  method,
  path: at,
  access: 'manage',
  plane: 'management',
  doc: '',
  handle: async ({ principal, headers, rawHeaders, origin }) => json(200, { principal, headers, rawHeaders, origin }),
  ...more,
})
let streaming = 0
let poured = 0
const routes: Route[] = [
  route('GET', '/health', { access: 'open', plane: 'node' }),
  route('GET', '/metrics', { access: 'operator', plane: 'node' }),
  route('GET', '/api/v1/projects', { access: 'operator' }),
  route('POST', '/api/v1/projects', { access: 'operator', handle: async (context) => json(201, { got: (await context.body(1000)).toString() }) }),
  route('GET', '/api/v1/projects/:ref/follow', {
    handle: async ({ signal }) => ({
      status: 200,
      headers: { 'content-type': 'application/x-ndjson' },
      body: (async function* () {
        streaming++
        try {
          for (let n = 0; !signal.aborted; n++) {
            yield Buffer.from(`{"n":${n}}\n`)
            await systemClock.sleep(10)
          }
        } finally {
          streaming--
        }
      })(),
    }),
  }),
  route('GET', '/api/v1/projects/:ref/flood', {
    handle: async () => ({
      status: 200,
      body: (async function* () {
        for (; poured < 400; poured++) yield Buffer.alloc(256 * 1024)
      })(),
    }),
  }),
  route('*', '/functions/v1/:name', { access: 'project', plane: 'data-plane' }),
  route('GET', '/storage/v1/object/:bucket/*', {
    access: 'project',
    plane: 'data-plane',
    handle: async ({ principal }) => ({
      status: 200,
      headers: {
        'content-type': 'text/html',
        'content-disposition': 'inline; filename="a.html"',
        'cache-control': 'public, max-age=3600',
        'set-cookie': ['mayfly_console=x', 'other=y'],
        'access-control-allow-origin': '*',
        'Clear-Site-Data': '"cookies"',
        etag: '"1"',
      },
      body: `<script>${principal.kind}</script>`,
    }),
  }),
  route('*', '/storage/v1/s3/*', { access: 'aws', plane: 'data-plane' }),
]

interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
  readonly code: unknown
}

describe("the console's door", () => {
  let opened: Awaited<ReturnType<typeof openTestDatabases>>
  let sessions: ConsoleSessions
  let gateway: Gateway
  let door: ConsoleListener
  let proxied: ConsoleListener
  let folder = ''
  let port = 0
  let proxiedPort = 0
  let apiPort = 0

  before(async () => {
    opened = await openTestDatabases()
    sessions = new ConsoleSessions({ database: opened.databases.control, clock: systemClock, sessionHours: 168, idleHours: 12 })
    folder = mkdtempSync(path.join(tmpdir(), 'mayfly-console-'))
    mkdirSync(path.join(folder, 'dist', 'assets'), { recursive: true })
    writeFileSync(path.join(folder, 'secret.txt'), 'secret')
    writeFileSync(path.join(folder, 'dist', 'index.html'), '<!doctype html><title>pages</title>')
    writeFileSync(path.join(folder, 'dist', 'assets', 'index-4f2a.js'), 'export {}')
    writeFileSync(path.join(folder, 'dist', 'assets', 'unknown.exe'), 'x')
    symlinkSync(path.join(folder, 'secret.txt'), path.join(folder, 'dist', 'link.txt'))
    gateway = new Gateway({
      routes,
      credentials: {
        verifyKey: async (key) => (key === 'sb_secret_demo' ? { kind: 'service', project: demo.ref, keyId: 'd' } : null),
        verifyToken: () => Promise.reject(new MayflyError('token_invalid', 'none is believed here')),
        verifyHandle: () => null,
      },
      verifyAws: async () => ({ kind: 'nobody' }),
      project: (ref) => (ref === demo.ref ? demo : null),
      upgrades: [],
      defaultProject: demo.ref,
      mayLoop: async () => false,
      admitSpace: () => {},
      content: null,
      hosts: new HostNames([]),
      proxies: new TrustedProxies([]),
      clock: systemClock,
      log: silentLog,
      tls: null,
    })
    apiPort = await gateway.listen('127.0.0.1', 0)
    const open = (proxies: TrustedProxies) =>
      new ConsoleListener({
        files: path.join(folder, 'dist'),
        logins: sessions,
        describe: () => ({ projects: [{ ref: 'demo' }], defaultProject: 'demo', apiUrl: 'http://api.example' }),
        serve: (request, response, principal) => gateway.serveVisitor(request, response, principal),
        hosts: new HostNames(['console.example.com'], isConsoleName),
        proxies,
        clock: systemClock,
        log: silentLog,
        tls: null,
      })
    door = open(new TrustedProxies([]))
    proxied = open(new TrustedProxies(['127.0.0.1']))
    port = await door.listen('127.0.0.1', 0)
    proxiedPort = await proxied.listen('127.0.0.1', 0)
  })
  after(async () => {
    await door?.[Symbol.asyncDispose]()
    await proxied?.[Symbol.asyncDispose]()
    await gateway?.[Symbol.asyncDispose]()
    await opened?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const send = (method: string, at: string, headers: Record<string, string> = {}, body: string | null = null, to = port): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const request = httpRequest({ host: '127.0.0.1', port: to, method, path: at, headers: { host: `127.0.0.1:${to}`, ...headers } }, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          const code = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>).code : undefined
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, code })
        })
      })
      request.on('error', reject)
      request.end(body ?? undefined)
    })
  const own = () => ({ origin: `http://127.0.0.1:${port}`, 'sec-fetch-site': 'same-origin' })
  const login = (code: string, headers: Record<string, string> = own()) =>
    send('POST', '/session', { 'content-type': 'application/json', ...headers }, JSON.stringify({ code }))
  const signIn = async (): Promise<string> => {
    const reply = await login(await sessions.issueCode())
    assert.equal(reply.status, 204)
    return ((reply.headers['set-cookie'] as string[])[0] as string).split(';')[0] as string
  }

  describe('pages', () => {
    it('gives the page at its paths and each file with its type, under a policy that runs only what the build holds', async () => {
      for (const at of ['/', '/functions/resize', '/buckets', '/?a=b']) {
        const reply = await send('GET', at)
        assert.deepEqual([reply.status, reply.headers['content-type'], reply.text], [200, 'text/html; charset=utf-8', '<!doctype html><title>pages</title>'])
        assert.equal(reply.headers['cache-control'], 'no-cache')
        const policy = reply.headers['content-security-policy'] as string
        assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self';/)
        assert.doesNotMatch(policy, /unsafe|\*/)
        for (const [name, value] of [
          ['x-content-type-options', 'nosniff'],
          ['referrer-policy', 'no-referrer'],
          ['cross-origin-opener-policy', 'same-origin'],
          ['cross-origin-resource-policy', 'same-origin'],
          ['access-control-allow-origin', undefined],
        ] as const)
          assert.equal(reply.headers[name], value)
        assert.match(reply.headers['permissions-policy'] as string, /camera=\(\)/)
      }
      const script = await send('GET', '/assets/index-4f2a.js')
      assert.deepEqual(
        [script.status, script.headers['content-type'], script.headers['cache-control'], script.text],
        [200, 'text/javascript; charset=utf-8', 'public, max-age=31536000, immutable', 'export {}'],
      )
    })
    it('answers HEAD without a body, and who has the file already', async () => {
      const head = await send('HEAD', '/')
      assert.deepEqual([head.status, head.text, head.headers['content-length']], [200, '', '35'])
      assert.equal((await send('GET', '/', { 'if-none-match': head.headers.etag as string })).status, 304)
      assert.equal((await send('GET', '/', { 'if-none-match': '"other"' })).status, 200)
    })
    for (const at of [
      '/../secret.txt',
      '/%2e%2e/secret.txt',
      '/..%2fsecret.txt',
      '/assets/../../secret.txt',
      '/assets/..%5c..%5csecret.txt',
      '//etc/passwd.txt',
      '/link.txt',
      '/assets/unknown.exe',
      '/index.html%00.js',
      '/.env',
      '/%252e%252e/secret.txt',
    ])
      it(`does not leave its folder by ${at}`, async () => {
        const reply = await send('GET', at)
        assert.deepEqual([reply.status, reply.code], [404, 'not_found'])
      })
    it('refuses other methods, broken paths and what is no path in the words of the catalogue', async () => {
      const post = await send('POST', '/', own())
      assert.deepEqual([post.status, post.code, post.headers.allow], [405, 'method_not_allowed', 'GET, HEAD'])
      assert.equal((await send('GET', '/%zz')).code, 'uri_invalid')
      assert.equal((await send('GET', `http://127.0.0.1:${port}/`)).code, 'bad_request')
      assert.equal((await send('TRACE', '/')).code, 'method_not_allowed')
    })
    it('sees a new build, and says what to do where there is none', async () => {
      const dist = path.join(folder, 'dist')
      writeFileSync(path.join(dist, 'assets', 'index-new.js'), 'export const a = 1')
      writeFileSync(path.join(dist, 'index.html'), '<!doctype html><title>newer pages</title>')
      assert.match((await send('GET', '/')).text, /newer/)
      assert.equal((await send('GET', '/assets/index-new.js')).status, 200)
      rmSync(path.join(dist, 'index.html'))
      const missing = await send('GET', '/')
      assert.deepEqual([missing.status, missing.headers['content-type']], [503, 'text/html; charset=utf-8'])
      assert.match(missing.text, /npm run setup/)
      assert.equal((await send('GET', '/assets/index-new.js')).status, 404)
      writeFileSync(path.join(dist, 'index.html'), '<!doctype html><title>pages</title>')
      assert.equal((await send('GET', '/')).status, 200)
    })
  })

  describe('host names', () => {
    for (const host of ['127.0.0.1', 'localhost', 'console.localhost', '[::1]', 'console.example.com', 'CONSOLE.example.com:443'])
      it(`answers on ${host}`, async () => assert.equal((await send('GET', '/', { host })).status, 200))
    for (const host of ['evil.example', 'photo-app.demo.localhost', 'a.lambda-url.localhost', 'x.console.localhost', 'localhost.evil.example', 'a b'])
      it(`does not answer on ${JSON.stringify(host)}`, async () => {
        for (const at of ['/', '/session', '/api/v1/projects']) {
          const reply = await send('GET', at, { host })
          assert.deepEqual([reply.status, reply.code], [421, 'misdirected_request'])
        }
      })
    it('refuses two hosts, and is no proxy', async () => {
      const raw = (text: string) =>
        new Promise<string>((resolve) => {
          const socket = connect(port, '127.0.0.1', () => socket.write(text))
          let all = ''
          socket.on('data', (chunk) => {
            all += chunk
          })
          socket.on('error', () => {})
          socket.on('close', () => resolve(all))
        })
      assert.match(await raw('GET /session HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\nconnection: close\r\n\r\n'), /^HTTP\/1.1 400/)
      assert.match(await raw('GET /session HTTP/1.1\r\nconnection: close\r\n\r\n'), /^HTTP\/1.1 421/)
      assert.match(await raw('CONNECT a:80 HTTP/1.1\r\nhost: localhost\r\n\r\n'), /^HTTP\/1.1 405/)
      assert.match(await raw('nonsense\r\n\r\n'), /^HTTP\/1.1 400/)
    })
  })

  describe('signing in', () => {
    it('takes a code once and sets a cookie that no script reads and no other site sends', async () => {
      const code = await sessions.issueCode()
      const reply = await login(code)
      assert.equal(reply.status, 204)
      assert.match((reply.headers['set-cookie'] as string[]).join(), /^mayfly_console=[\w-]{43}; Path=\/; Max-Age=604800; HttpOnly; SameSite=Strict$/)
      const again = await login(code)
      assert.deepEqual([again.status, again.code, again.headers['set-cookie']], [401, 'login_code_invalid', undefined])
    })
    it('says where it is to who is signed in, and to nobody else', async () => {
      const cookie = await signIn()
      const reply = await send('GET', '/session', { cookie, 'sec-fetch-site': 'same-origin' })
      assert.deepEqual(JSON.parse(reply.text), { projects: [{ ref: 'demo' }], defaultProject: 'demo', apiUrl: 'http://api.example' })
      assert.equal(reply.headers['cache-control'], 'no-store')
      for (const none of [{}, { cookie: 'mayfly_console=' }, { cookie: `mayfly_console=${'A'.repeat(43)}` }, { cookie: `other=${cookie.split('=')[1]}` }])
        assert.equal((await send('GET', '/session', none as Record<string, string>)).code, 'session_missing')
    })
    it('finds its own cookie among some that another page of the host has set', async () => {
      const cookie = await signIn()
      const tossed = Array.from({ length: 5 }, () => `mayfly_console=${'B'.repeat(43)}`).join('; ')
      assert.equal((await send('GET', '/session', { cookie: `${tossed}; ${cookie}; a=b` })).status, 200)
    })
    it('signs out: the cookie is taken away, and opens nothing if it was kept', async () => {
      const cookie = await signIn()
      const out = await send('DELETE', '/session', { ...own(), cookie })
      assert.equal(out.status, 204)
      assert.match((out.headers['set-cookie'] as string[]).join(), /^mayfly_console=; Path=\/; Max-Age=0; /)
      for (const at of ['/session', '/api/v1/projects']) assert.equal((await send('GET', at, { cookie })).code, 'session_missing')
      assert.equal((await send('DELETE', '/session', own())).status, 204, 'and once more does no harm')
    })
    it('ends the session before when somebody signs in anew', async () => {
      const before = await signIn()
      assert.equal((await login(await sessions.issueCode(), { ...own(), cookie: before })).status, 204)
      assert.equal((await send('GET', '/session', { cookie: before })).code, 'session_missing')
    })
    it('refuses bodies of another form', async () => {
      const as = { ...own(), 'content-type': 'application/json' }
      assert.equal((await send('POST', '/session', own(), 'code=x')).code, 'bad_request')
      assert.equal((await send('POST', '/session', { ...own(), 'content-type': 'text/plain' }, '{"code":"x"}')).code, 'bad_request')
      assert.equal((await send('POST', '/session', as, '{')).code, 'body_not_json')
      for (const body of ['{}', '[]', 'null', '{"code":1}', '{"code":null}']) assert.equal((await send('POST', '/session', as, body)).code, 'bad_request')
      const put = await send('PUT', '/session', as, '{}')
      assert.deepEqual([put.code, put.headers.allow], ['method_not_allowed', 'GET, HEAD, POST, DELETE'])
    })
    it('takes no code from the query', async () => {
      const code = await sessions.issueCode()
      assert.equal((await send('GET', `/session?code=${code}`)).code, 'session_missing')
      assert.equal((await login(code)).status, 204, 'nor has that spent it')
    })
    it('behind a trusted proxy that says https the cookie is bound to this host by its name', async () => {
      const headers = { host: 'console.example.com', origin: 'https://console.example.com', 'x-forwarded-proto': 'https', 'content-type': 'application/json' }
      const reply = await send('POST', '/session', headers, JSON.stringify({ code: await sessions.issueCode() }), proxiedPort)
      const line = (reply.headers['set-cookie'] as string[])[0] as string
      assert.match(line, /^__Host-mayfly_console=[\w-]{43}; Path=\/; Max-Age=604800; HttpOnly; SameSite=Strict; Secure$/)
      const cookie = line.split(';')[0] as string
      assert.equal((await send('GET', '/session', { ...headers, cookie }, null, proxiedPort)).status, 200)
      const plain = cookie.replace('__Host-', '')
      assert.equal((await send('GET', '/session', { ...headers, cookie: plain }, null, proxiedPort)).code, 'session_missing')
      assert.equal((await send('POST', '/session', { ...headers, origin: 'http://console.example.com' }, '{}', proxiedPort)).code, 'cross_origin')
    })
    it(`hears wrongLoginCodes (${LIMITS.wrongLoginCodes.value}) wrong codes of an address a minute and no more, not even the right one`, async () => {
      const from = (address: string, code: string) =>
        send(
          'POST',
          '/session',
          { origin: `http://127.0.0.1:${proxiedPort}`, 'x-forwarded-for': address, 'content-type': 'application/json' },
          JSON.stringify({ code }),
          proxiedPort,
        )
      const code = await sessions.issueCode()
      const answers = await Promise.all(Array.from({ length: LIMITS.wrongLoginCodes.value }, () => from('192.0.2.1', 'x')))
      assert.deepEqual([...new Set(answers.map((one) => one.code))], ['login_code_invalid'])
      const refused = await from('192.0.2.1', code)
      assert.deepEqual([refused.status, refused.code], [429, 'too_many_attempts'])
      assert.equal((await from('192.0.2.2', code)).status, 204, 'another address is not held back')
    })
  })

  describe('requests from elsewhere', () => {
    const cases: [what: string, method: string, headers: () => Record<string, string>][] = [
      ['a POST of another origin', 'POST', () => ({ origin: 'http://evil.example', 'sec-fetch-site': 'cross-site' })],
      ['a POST of another port of this host', 'POST', () => ({ origin: `http://127.0.0.1:${apiPort}`, 'sec-fetch-site': 'same-site' })],
      ['a POST of an old browser on another port', 'POST', () => ({ origin: `http://127.0.0.1:${apiPort}` })],
      ['a POST of an opaque origin', 'POST', () => ({ origin: 'null', 'sec-fetch-site': 'cross-site' })],
      ['a POST of an opaque origin of an old browser', 'POST', () => ({ origin: 'null' })],
      ['a POST whose origin is ours but not its site', 'POST', () => ({ ...own(), 'sec-fetch-site': 'same-site' })],
      ['a POST that says nothing of its origin', 'POST', () => ({})],
      ['a POST from the address bar', 'POST', () => ({ 'sec-fetch-site': 'none' })],
      ['a POST over another scheme', 'POST', () => ({ origin: `https://127.0.0.1:${port}` })],
      ['a POST of a name that only begins as ours', 'POST', () => ({ origin: `http://127.0.0.1:${port}.evil.example` })],
      ['a DELETE of another origin', 'DELETE', () => ({ origin: 'http://evil.example' })],
      ['a GET of another site', 'GET', () => ({ 'sec-fetch-site': 'cross-site' })],
      ['a GET of another port of this host', 'GET', () => ({ 'sec-fetch-site': 'same-site' })],
      ['a GET of a page that asks to read it', 'GET', () => ({ origin: `http://127.0.0.1:${apiPort}` })],
      ['an OPTIONS before a POST', 'OPTIONS', () => ({ origin: 'http://evil.example', 'access-control-request-method': 'POST' })],
    ]
    for (const [what, method, headers] of cases) {
      it(`refuses ${what}, whoever is signed in, and sends no permission to read it`, async () => {
        const cookie = await signIn()
        for (const at of ['/session', '/api/v1/projects', '/p/demo/storage/v1/object/b/k']) {
          const reply = await send(method, at, { ...headers(), cookie, 'content-type': 'application/json' })
          assert.deepEqual([reply.status, reply.code], [403, 'cross_origin'])
          assert.equal(Object.keys(reply.headers).filter((name) => name.startsWith('access-control-')).length, 0)
        }
        assert.equal((await send('GET', '/session', { cookie })).status, 200, 'and the session is still there')
      })
    }
    it('takes a POST of its own page, told by either header', async () => {
      const cookie = await signIn()
      for (const headers of [own(), { origin: own().origin }, { 'sec-fetch-site': 'same-origin' }])
        assert.equal((await send('POST', '/api/v1/projects', { ...headers, cookie } as Record<string, string>, '{"a":1}')).text, '{"got":"{\\"a\\":1}"}')
    })
  })

  describe('the API for who is signed in', () => {
    it('is served as the operator; keys that are sent along count for nothing and are not handed on', async () => {
      const cookie = await signIn()
      const reply = await send('GET', '/api/v1/projects', { cookie, authorization: 'Bearer sb_secret_demo', apikey: 'sb_secret_wrong', 'x-kept': '1' })
      assert.equal(reply.status, 200)
      const seen = JSON.parse(reply.text) as { principal: { kind: string; id: string }; headers: Record<string, string>; rawHeaders: string[] }
      assert.equal(seen.principal.kind, 'operator')
      assert.match(seen.principal.id, /^console:[0-9a-f-]{36}$/)
      assert.equal(seen.headers['x-kept'], '1')
      assert.doesNotMatch(reply.text, /sb_secret|mayfly_console/)
      assert.equal(reply.headers['content-security-policy'], "sandbox; default-src 'none'")
      assert.equal(reply.headers['cache-control'], 'no-store')
    })
    it('is shut to nobody, and to keys', async () => {
      for (const headers of [{}, { authorization: 'Bearer sb_secret_demo' }, { apikey: 'sb_secret_demo' }])
        for (const at of ['/api/v1/projects', '/api/v1/none', '/p/demo/storage/v1/object/b/k'])
          assert.equal((await send('GET', at, headers as Record<string, string>)).code, 'session_missing')
    })
    for (const at of [
      '/functions/v1/f',
      '/p/demo/functions/v1/f',
      '/p/demo/api/v1/projects',
      '/storage/v1/object/b/k',
      '/p/demo/storage/v1/s3/b/k',
      '/p/demo/rest/v1/t',
      '/health',
      '/metrics',
      '/2015-03-31/functions',
      '/api/v2/projects',
      '/api/v1',
      '/api/v1/none',
      '/api/v1/../../functions/v1/f',
      '/p/demo/storage/v1/../../functions/v1/f',
      '/p/demo/storage/v1/%2e%2e/%2e%2e/functions/v1/f',
      '/p/demo%2fstorage/storage/v1/object/b/k',
      '/p//storage/v1/object/b/k',
      '/session/x',
    ]) {
      it(`does not reach ${at}`, async () => {
        const cookie = await signIn()
        for (const method of ['GET', 'POST']) {
          const reply = await send(method, at, { ...own(), cookie })
          assert.equal(reply.status, 404, `${method} ${reply.text}`)
          assert.equal(reply.headers['access-control-allow-origin'], undefined)
        }
      })
    }
    it('says which methods a row takes', async () => {
      const reply = await send('PATCH', '/api/v1/projects', { ...own(), cookie: await signIn() })
      assert.deepEqual([reply.code, reply.headers.allow], ['method_not_allowed', 'GET, POST'])
    })
    it('what lies in storage comes as a file to keep, not to run', async () => {
      const reply = await send('GET', '/p/demo/storage/v1/object/b/k', { cookie: await signIn(), 'sec-fetch-site': 'same-origin' })
      assert.deepEqual([reply.status, reply.text], [200, '<script>operator</script>'])
      for (const [name, value] of [
        ['content-security-policy', "sandbox; default-src 'none'"],
        ['content-disposition', 'attachment; filename="a.html"'],
        ['x-content-type-options', 'nosniff'],
        ['cross-origin-resource-policy', 'same-origin'],
        ['cache-control', 'no-store'],
        ['etag', '"1"'],
        ['set-cookie', undefined],
        ['clear-site-data', undefined],
        ['access-control-allow-origin', undefined],
        ['access-control-expose-headers', undefined],
      ] as const)
        assert.equal(reply.headers[name], value, name)
      const none = await send('GET', '/p/none/storage/v1/object/b/k', { cookie: await signIn() })
      assert.deepEqual([none.code, none.headers['content-disposition']], ['project_not_found', 'attachment'])
    })
    const follow = (cookie: string) =>
      new Promise<{ first: string; ended: Promise<void>; leave: () => void; pause: () => void }>((resolve, reject) => {
        const request = httpRequest({ host: '127.0.0.1', port, path: '/api/v1/projects/demo/follow', headers: { cookie } }, (response) => {
          const ended = new Promise<void>((done) => response.once('close', done))
          response.on('error', () => {})
          response.once('data', (chunk: Buffer) => resolve({ first: chunk.toString(), ended, leave: () => request.destroy(), pause: () => response.pause() }))
        })
        request.on('error', reject)
        request.end()
      })
    const until = async (what: () => boolean) => {
      for (let n = 0; n < 500 && !what(); n++) await systemClock.sleep(10)
      assert.ok(what())
    }
    it('streams go on as they come and end when the page leaves', async () => {
      const stream = await follow(await signIn())
      assert.match(stream.first, /^\{"n":0\}\n/)
      assert.equal(streaming, 1)
      stream.leave()
      await until(() => streaming === 0)
    })
    it('a stream waits for a page that does not read on', async () => {
      const cookie = await signIn()
      const all = await new Promise<number>((resolve, reject) => {
        const request = httpRequest({ host: '127.0.0.1', port, path: '/api/v1/projects/demo/flood', headers: { cookie } }, (response) => {
          let bytes = 0
          response.on('data', (chunk: Buffer) => {
            bytes += chunk.length
          })
          response.on('end', () => resolve(bytes))
          response.pause()
          void (async () => {
            await systemClock.sleep(300)
            const soFar = poured
            await systemClock.sleep(300)
            assert.equal(poured, soFar)
            assert.ok(soFar < 200, `${soFar} of 400 pieces were made for nobody`)
            response.resume()
          })().catch(reject)
        })
        request.on('error', reject)
        request.end()
      })
      assert.equal(all, 400 * 256 * 1024)
    })
    it('streams end with their session, those of others do not', async () => {
      const cookie = await signIn()
      const mine = await follow(cookie)
      const other = await follow(await signIn())
      assert.equal((await send('DELETE', '/session', { ...own(), cookie })).status, 204)
      await mine.ended
      await until(() => streaming === 1)
      door.cut(null)
      await other.ended
      await until(() => streaming === 0)
    })
  })

  describe("the API's door beside it", () => {
    it('reads no cookie: a session opens nothing there, and nothing behind it hears of it', async () => {
      const cookie = await signIn()
      assert.equal((await send('GET', '/api/v1/projects', { cookie }, null, apiPort)).code, 'key_missing')
      assert.equal((await send('GET', '/session', { cookie }, null, apiPort)).code, 'not_found')
      const token = cookie.split('=')[1] as string
      for (const sent of [cookie, `a=1; ${cookie}; b=2`, `${cookie};${cookie}`, ` ${cookie}`, cookie.replace('mayfly', '__Host-mayfly')]) {
        const reply = await send('GET', '/functions/v1/f', { cookie: sent }, null, apiPort)
        assert.equal(reply.status, 200)
        assert.ok(!reply.text.includes(token), reply.text)
      }
      const mixed = await send('GET', '/functions/v1/f', { cookie: `a=1; ${cookie}; b="2=3"` }, null, apiPort)
      assert.equal((JSON.parse(mixed.text) as { headers: { cookie: string } }).headers.cookie, 'a=1; b="2=3"', 'the cookies of others are theirs')
    })
    it('lets no answer set or clear what the console keeps', async () => {
      const reply = await send('GET', '/storage/v1/object/b/k', { apikey: 'sb_secret_demo' }, null, apiPort)
      assert.deepEqual(reply.headers['set-cookie'], ['other=y'])
      assert.equal(reply.headers['clear-site-data'], undefined)
      assert.equal(reply.headers['access-control-allow-origin'], '*')
    })
  })
})

it(`wrong codes are forgotten after a minute, and of at most loginAddresses (${LIMITS.loginAddresses.value}) addresses remembered`, () => {
  let now = 0
  const clock: Clock = { ...systemClock, monotonic: () => now }
  const attempts = new Attempts(clock)
  const admitted = (address: string) => {
    try {
      attempts.admit(address)
      return true
    } catch {
      return false
    }
  }
  for (let n = 0; n < LIMITS.wrongLoginCodes.value; n++) assert.ok(admitted('a'))
  assert.ok(!admitted('a'))
  now = 59_999
  assert.ok(!admitted('a'))
  now = 60_000
  for (let n = 0; n < LIMITS.wrongLoginCodes.value; n++) assert.ok(admitted('a'))
  assert.ok(!admitted('a'))
  for (let n = 1; n < LIMITS.loginAddresses.value; n++) assert.ok(admitted(`address ${n}`))
  assert.ok(!admitted('a'), 'at the edge it is still known')
  assert.ok(admitted('one more'))
  assert.ok(admitted('a'), 'past it the oldest was forgotten')
  attempts.forgive('one more')
})
