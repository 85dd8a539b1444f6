import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import type { Principal } from '../core/principal.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { RequestContext, Route } from '../core/route.ts'
import { systemClock } from '../lib/clock.ts'
import type { RelayIdentity } from '../sandbox/index.ts'
import { BodyBudget } from './body-budget.ts'
import { HostNames, TrustedProxies } from './doors.ts'
import { Gateway } from './listener.ts'
import { json } from '../core/json-reply.ts'

const ref = (text: string) => text as ProjectRef
const demo: Project = { id: '1', ref: ref('demo'), name: 'demo', state: 'active' }
const shop: Project = { id: '2', ref: ref('shop'), name: 'shop', state: 'active' }
const keys: Record<string, Principal> = {
  sb_secret_demo: { kind: 'service', project: ref('demo'), keyId: 'd' },
  sb_publishable_demo: { kind: 'anon', project: ref('demo'), keyId: 'p' },
  sb_secret_shop: { kind: 'service', project: ref('shop'), keyId: 's' },
  mayfly_operator_x: { kind: 'operator', id: 'local' },
}
const identity: RelayIdentity = { project: 'demo', functionName: 'f', version: '1', role: 'service_role' }
const who = async (context: RequestContext) =>
  json(200, { principal: context.principal, project: context.project?.ref ?? null, depth: context.depth, from: context.remoteAddress })
const route = (method: string, path: string, more: Partial<Route>): Route => ({ method, path, access: 'open', plane: 'node', doc: '', handle: who, ...more })
const routes: Route[] = [
  route('GET', '/health', {}),
  route('*', '/functions/v1/:name', { access: 'project', plane: 'data-plane' }),
  route('POST', '/echo', { access: 'project', plane: 'data-plane', handle: async (context) => ({ status: 200, body: await context.body(1000) }) }),
  route('POST', '/pieces', {
    plane: 'data-plane',
    handle: async (context) => json(200, { pieces: (await Array.fromAsync(context.stream(1000))).length }),
  }),
  route('GET', '/api/v1/projects', { access: 'operator', plane: 'management' }),
  route('GET', '/api/v1/projects/:ref/functions', { access: 'manage', plane: 'management' }),
  route('POST', '/keep', { access: 'project', plane: 'data-plane', adds: 'data' }),
  route('POST', '/run', { access: 'project', plane: 'data-plane', adds: 'records' }),
  route('*', '/headers', { plane: 'data-plane', handle: async ({ headers, rawHeaders }) => json(200, { headers, rawHeaders }) }),
  route('GET', '/breaks', {
    handle: async () => {
      throw new Error('secret detail')
    },
  }),
  route('GET', '/half', {
    handle: async () => ({
      status: 200,
      body: (async function* () {
        yield Buffer.from('half')
        throw new Error('broke off')
      })(),
    }),
  }),
]

describe('Gateway', () => {
  const bodies = new BodyBudget({ node: 4_000, project: 1_500 })
  let gateway: Gateway
  let port = 0
  let mayLoop = false
  before(async () => {
    gateway = new Gateway({
      routes,
      upgrades: [],
      credentials: {
        verifyKey: async (key) => keys[key] ?? null,
        verifyToken: () => Promise.reject(new MayflyError('token_invalid', 'none is believed here')),
        verifyHandle: (key) => (key === 'sb_secret_handle' ? identity : null),
      },
      verifyAws: async () => ({ kind: 'nobody' }),
      project: (wanted) => [demo, shop].find((project) => project.ref === wanted) ?? null,
      defaultProject: ref('demo'),
      mayLoop: async () => mayLoop,
      admitSpace: (adds) => {
        if (adds === 'data') throw new MayflyError('storage_full', 'the disk has 1 MiB free')
      },
      content: null,
      hosts: new HostNames([]),
      proxies: new TrustedProxies([]),
      clock: systemClock,
      log: silentLog,
      tls: null,
      bodies,
    })
    port = await gateway.listen('127.0.0.1', 0)
  })
  after(() => gateway[Symbol.asyncDispose]())

  it('asks for space where a route adds to the disk, and only there, once it is known who asks', async () => {
    const post = async (path: string, key: string) => {
      const { status, body } = await get(path, { apikey: key }, { method: 'POST' })
      return [status, body.code]
    }
    assert.deepEqual(await post('/keep', 'sb_secret_demo'), [507, 'storage_full'])
    assert.deepEqual(await post('/keep', 'sb_secret_wrong'), [401, 'key_invalid'])
    assert.deepEqual(await post('/run', 'sb_secret_demo'), [200, undefined])
    assert.equal((await get('/keep', { origin: 'http://a.example', 'access-control-request-method': 'POST' }, { method: 'OPTIONS' })).status, 204)
  })

  it('holds bodies of one project up to a bound, and gives their room back with the reply', async () => {
    const sending = (key: string) => {
      const socket = connect(port, '127.0.0.1')
      let said = ''
      socket.on('data', (chunk: Buffer) => (said += chunk.toString()))
      const ended = new Promise<string>((resolve) => socket.once('close', () => resolve(said)))
      socket.write(
        `POST ${key === 'sb_secret_shop' ? '/p/shop' : ''}/echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\napikey: ${key}\r\ncontent-length: 1000\r\n\r\n${'x'.repeat(900)}`,
      )
      return { end: () => socket.write('y'.repeat(100)), ended }
    }
    const first = sending('sb_secret_demo')
    while (bodies.bytes < 900) await new Promise((resolve) => setImmediate(resolve))
    const second = sending('sb_secret_demo')
    const refused = await second.ended
    assert.match(refused, /^HTTP\/1\.1 429 .*retry-after: .*too_many_bytes/is)
    const other = sending('sb_secret_shop')
    other.end()
    assert.match(await other.ended, /^HTTP\/1\.1 200 /)
    first.end()
    assert.match(await first.ended, /^HTTP\/1\.1 200 /)
    while (bodies.bytes > 0) await new Promise((resolve) => setImmediate(resolve))
  })

  const get = async (path: string, headers: Record<string, string> = {}, init: RequestInit = {}) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers, ...init })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, body: text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {} }
  }

  const rows: [string, string, Record<string, string>, number, string | null][] = [
    ['a guest sees health', '/health', {}, 200, null],
    ['a guest reaches a function route, which decides', '/functions/v1/f', {}, 200, null],
    ['an unknown key is refused', '/functions/v1/f', { apikey: 'sb_secret_none' }, 401, 'key_invalid'],
    ['a key of another project is refused', '/functions/v1/f', { apikey: 'sb_secret_shop' }, 401, 'key_invalid'],
    ['its own prefix is right', '/p/shop/functions/v1/f', { apikey: 'sb_secret_shop' }, 200, null],
    ['the prefix of another project is refused', '/p/shop/functions/v1/f', { apikey: 'sb_secret_demo' }, 401, 'key_invalid'],
    [
      'keys of two projects in one request are refused',
      '/functions/v1/f',
      { apikey: 'sb_secret_demo', authorization: 'Bearer sb_secret_shop' },
      401,
      'key_invalid',
    ],
    ['a Bearer that nobody issued is refused', '/functions/v1/f', { apikey: 'sb_secret_demo', authorization: 'Bearer a.b.c' }, 401, 'token_invalid'],
    ['an unknown project is named', '/p/none/functions/v1/f', {}, 404, 'project_not_found'],
    ['a guest is asked for a key', '/api/v1/projects', {}, 401, 'key_missing'],
    ['a secret key is no operator', '/api/v1/projects', { apikey: 'sb_secret_demo' }, 403, 'not_allowed'],
    ['the operator is let in', '/api/v1/projects', { authorization: 'Bearer mayfly_operator_x' }, 200, null],
    ['a secret key manages its project', '/api/v1/projects/demo/functions', { apikey: 'sb_secret_demo' }, 200, null],
    ['a publishable key manages nothing', '/api/v1/projects/demo/functions', { apikey: 'sb_publishable_demo' }, 403, 'not_allowed'],
    ['a secret key manages no other project', '/api/v1/projects/shop/functions', { apikey: 'sb_secret_demo' }, 401, 'key_invalid'],
    ['management does not hide behind a prefix', '/p/demo/api/v1/projects', { authorization: 'Bearer mayfly_operator_x' }, 404, 'not_found'],
    ['what is not there is not found', '/nothing', {}, 404, 'not_found'],
    ['a fault tells no details', '/breaks', {}, 500, 'internal'],
    ['a broken encoding is named', '/functions/v1/%zz', {}, 400, 'uri_invalid'],
  ]
  for (const [name, path, headers, status, code] of rows) {
    it(name, async () => {
      const reply = await get(path, headers)
      assert.equal(reply.status, status)
      assert.ok(reply.headers.get('x-request-id'))
      assert.ok(!reply.text.includes('secret detail'))
      if (code !== null) {
        assert.equal(reply.body.code, code)
        assert.ok(reply.body.hint && reply.body.message && reply.body.requestId)
      }
    })
  }

  it('says which methods a path takes', async () => {
    const reply = await get('/health', {}, { method: 'DELETE' })
    assert.equal(reply.body.code, 'method_not_allowed')
    assert.equal(reply.headers.get('allow'), 'GET')
  })
  it('answers a preflight without a key', async () => {
    const reply = await get(
      '/functions/v1/f',
      { origin: 'http://a', 'access-control-request-method': 'POST', 'access-control-request-headers': 'apikey' },
      { method: 'OPTIONS' },
    )
    assert.equal(reply.status, 204)
    assert.equal(reply.headers.get('access-control-allow-origin'), '*')
    assert.equal(reply.headers.get('access-control-allow-headers'), 'apikey')
    assert.equal(reply.headers.get('access-control-allow-credentials'), null)
  })
  it('takes a body to the edge and refuses one past it', async () => {
    assert.equal((await get('/echo', {}, { method: 'POST', body: 'x'.repeat(1000) })).text.length, 1000)
    assert.equal((await get('/echo', {}, { method: 'POST', body: 'x'.repeat(1001) })).body.code, 'payload_too_large')
    const chunks = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 11; i++) controller.enqueue(Buffer.alloc(100))
        controller.close()
      },
    })
    assert.equal((await get('/echo', {}, { method: 'POST', body: chunks, duplex: 'half' } as RequestInit)).body.code, 'payload_too_large')
  })
  it('lets a sender of far too much read the refusal (refusedBody), and does not wait for one who stops (refusedBodyTime)', async () => {
    for (let i = 0; i < 5; i++) assert.equal((await get('/echo', {}, { method: 'POST', body: Buffer.alloc(8 * 1024 * 1024) })).body.code, 'payload_too_large')
    assert.match(await raw('POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\nabc', 6000), /payload_too_large/)
  })
  it('takes a request that says nothing of a body for one without, whole and as a stream, and keeps its connection, refused or not', async () => {
    const socket = connect(port, '127.0.0.1')
    const head = 'HTTP/1.1\r\nhost: localhost\r\n'
    socket.write(
      `POST /echo ${head}\r\nPOST /pieces ${head}\r\nPOST /pieces ${head}content-length: 2\r\n\r\nabGET /nowhere ${head}\r\nPOST /pieces ${head}content-length: 0\r\n\r\nGET /health ${head}connection: close\r\n\r\n`,
    )
    let said = ''
    for await (const chunk of socket) said += String(chunk)
    assert.deepEqual(said.match(/(?<=HTTP\/1.1 )\d+|(?<=^connection: )\S+|(?<="pieces":)\d/gim), [
      ...['200', 'keep-alive'],
      ...['200', 'keep-alive', '0'],
      ...['200', 'keep-alive', '1'],
      ...['404', 'keep-alive'],
      ...['200', 'keep-alive', '0'],
      ...['200', 'close'],
    ])
  })

  it('cuts the connection when a body breaks off', async () => {
    await assert.rejects(get('/half'))
  })

  const raw = (text: string | Buffer, waitMs = 2000) =>
    new Promise<string>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(text))
      let all = ''
      socket.on('data', (chunk) => {
        all += chunk
      })
      socket.on('error', () => {})
      socket.on('close', () => resolve(all))
      setTimeout(() => socket.destroy(), waitMs).unref()
    })

  it('answers another host name with 421', async () =>
    assert.match(await raw('GET /health HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n'), /^HTTP\/1.1 421/))
  it(`refuses headers past requestHeaders (${LIMITS.requestHeaders.value}) by name`, async () => {
    const reply = await raw(`GET /health HTTP/1.1\r\nhost: localhost\r\nx: ${'y'.repeat(LIMITS.requestHeaders.value)}\r\n\r\n`)
    assert.match(reply, /^HTTP\/1.1 431/)
    assert.match(reply, /bad_request/)
  })
  it('refuses what is not HTTP, and lives on', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
        const reply = await raw(Buffer.concat([Buffer.from(bytes), Buffer.from('\r\n\r\n')]), 300)
        assert.ok(reply === '' || /^HTTP\/1.1 4/.test(reply), reply.slice(0, 100))
      }),
      { numRuns: 30 },
    )
    assert.equal((await get('/health')).status, 200)
  })
  it('does not give way to two lengths or a smuggled body', async () => {
    assert.match(await raw('POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd'), /^HTTP\/1.1 400/)
    assert.match(await raw('POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'), /^HTTP\/1.1 400/)
  })

  for (const [what, request, status, code] of [
    ['a request without a host', 'GET /health HTTP/1.1', 421, 'misdirected_request'],
    ['a request with two hosts', 'GET /health HTTP/1.1\r\nhost: localhost\r\nhost: evil.example', 400, 'bad_request'],
    ['CONNECT', 'CONNECT evil.example:80 HTTP/1.1\r\nhost: localhost', 405, 'method_not_allowed'],
    ['TRACE of a function', 'TRACE /functions/v1/f HTTP/1.1\r\nhost: localhost\r\napikey: sb_secret_demo', 405, 'method_not_allowed'],
    ['a target with a scheme', 'GET http://localhost/health HTTP/1.1\r\nhost: localhost', 400, 'bad_request'],
    ['management behind two slashes', 'GET //api/v1/projects HTTP/1.1\r\nhost: localhost', 404, 'not_found'],
    ['management behind dots', 'GET /functions/v1/../../api/v1/projects HTTP/1.1\r\nhost: localhost', 404, 'not_found'],
  ] as const) {
    it(`refuses ${what} in the words of the catalogue`, async () => {
      const reply = await raw(`${request}\r\nconnection: close\r\n\r\n`)
      assert.match(reply, new RegExp(`^HTTP/1.1 ${status} `))
      const body = JSON.parse(reply.slice(reply.indexOf('\r\n\r\n'))) as Record<string, unknown>
      assert.equal(body.code, code)
      assert.ok(body.message && body.hint)
    })
  }
  it('does not stumble over an expectation that it does not know', async () =>
    assert.match(await raw('GET /health HTTP/1.1\r\nhost: localhost\r\nexpect: banana\r\nconnection: close\r\n\r\n'), /^HTTP\/1.1 200/))
  it('answers as ever who offers another protocol', async () =>
    assert.match(await raw('GET /health HTTP/1.1\r\nhost: localhost\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n'), /^HTTP\/1.1 200/))
  it('hands no forwarding header on that no trusted proxy wrote', async () => {
    const reply = await get('/headers', { forwarded: 'for=9.9.9.9', 'x-forwarded-host': 'h9.example', 'x-real-ip': '9.9.9.9', 'x-other': 'kept' })
    assert.doesNotMatch(reply.text, /9\.9\.9\.9|h9\.example/)
    assert.match(reply.text, /kept/)
  })

  describe('relay of a sandbox', () => {
    const inside = async (text: string, depth = 0) => {
      const { createServer } = await import('node:net')
      const server = createServer((socket) => gateway.acceptRelay(socket, identity, () => depth))
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const relayPort = (server.address() as { port: number }).port
      try {
        return await new Promise<string>((resolve) => {
          const socket = connect(relayPort, '127.0.0.1', () => socket.write(`${text}\r\nhost: anything.example\r\nconnection: close\r\n\r\n`))
          let all = ''
          socket.on('data', (chunk) => {
            all += chunk
          })
          socket.on('close', () => resolve(all))
        })
      } finally {
        server.close()
      }
    }
    it('knows whose it is, counts its depth and believes no forwarding header', async () => {
      const reply = await inside('GET /functions/v1/f HTTP/1.1\r\napikey: sb_secret_handle\r\nx-forwarded-for: 9.9.9.9', 3)
      assert.match(reply, /^HTTP\/1.1 200/)
      assert.match(reply, /"kind":"function","project":"demo","functionName":"f"/)
      assert.match(reply, /"depth":4/)
      assert.doesNotMatch(reply, /9\.9\.9\.9/)
    })
    it('asks for the depth at each request: a connection outlives the call that opened it', async () => {
      const { createServer } = await import('node:net')
      let depth = 1
      const server = createServer((socket) => gateway.acceptRelay(socket, identity, () => depth))
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const socket = connect((server.address() as { port: number }).port, '127.0.0.1')
      const ask = async () => {
        socket.write('GET /functions/v1/f HTTP/1.1\r\nhost: anything.example\r\napikey: sb_secret_handle\r\n\r\n')
        return await new Promise<string>((resolve) => socket.once('data', (chunk) => resolve(String(chunk))))
      }
      try {
        assert.match(await ask(), /"depth":2/)
        depth = LIMITS.callDepth.value - 1
        assert.match(await ask(), new RegExp(`"depth":${LIMITS.callDepth.value}`))
        depth = LIMITS.callDepth.value
        assert.match(await ask(), /recursion_too_deep/)
        mayLoop = true
        assert.match(await ask(), new RegExp(`"depth":${LIMITS.callDepth.value}`), 'a function whose loops are allowed goes on')
      } finally {
        mayLoop = false
        socket.destroy()
        server.close()
      }
    })
    it('hands none on either, and no broken host', async () => {
      const reply = await inside('GET /headers HTTP/1.1\r\nForwarded: for=9.9.9.9\r\nX-Forwarded-Host: h9.example\r\nX-Real-IP: 9.9.9.9\r\nx-other: kept')
      assert.doesNotMatch(reply, /9\.9\.9\.9|h9\.example/)
      assert.match(reply, /kept/)
      assert.match(await inside('GET /headers HTTP/1.1\r\nhost: other.example'), /^HTTP\/1.1 400/)
    })
    it('is no way to another address', async () => {
      assert.match(await inside('CONNECT 127.0.0.1:22 HTTP/1.1'), /^HTTP\/1.1 405/)
      assert.match(await inside('GET http://127.0.0.1:54321/api/v1/projects HTTP/1.1'), /^HTTP\/1.1 400/)
    })
    for (const [what, request] of [
      ['management behind dots', 'GET /functions/v1/../../api/v1/projects HTTP/1.1\r\napikey: sb_secret_handle'],
      ['management behind encoded slashes', 'GET /functions%2f..%2fapi%2fv1%2fprojects HTTP/1.1\r\napikey: sb_secret_handle'],
      ['management behind two slashes', 'GET //api/v1/projects HTTP/1.1\r\napikey: sb_secret_handle'],
      ['management behind a prefix', 'GET /p/demo/api/v1/projects HTTP/1.1\r\napikey: sb_secret_handle'],
      ['management', 'GET /api/v1/projects/demo/functions HTTP/1.1\r\napikey: sb_secret_handle'],
      ['management with the secret key itself', 'GET /api/v1/projects/demo/functions HTTP/1.1\r\napikey: sb_secret_demo'],
      ['the operator routes', 'GET /api/v1/projects HTTP/1.1\r\nauthorization: Bearer mayfly_operator_x'],
      ['health', 'GET /health HTTP/1.1'],
      ['another project', 'GET /p/shop/functions/v1/f HTTP/1.1\r\napikey: sb_secret_handle'],
    ] as const) {
      it(`does not lead to ${what}`, async () => assert.match(await inside(request), /^HTTP\/1.1 404/))
    }
    it('takes no key but its own handle', async () => {
      assert.match(await inside('GET /functions/v1/f HTTP/1.1\r\napikey: sb_secret_shop'), /^HTTP\/1.1 401/)
      assert.match(await inside('GET /functions/v1/f HTTP/1.1\r\napikey: sb_secret_demo'), /^HTTP\/1.1 401/)
    })
    it('is shut to the world: a handle opens nothing outside', async () =>
      assert.equal((await get('/functions/v1/f', { apikey: 'sb_secret_handle' })).status, 401))
    it(`ends at callDepth (${LIMITS.callDepth.value})`, async () => {
      assert.match(await inside('GET /functions/v1/f HTTP/1.1\r\napikey: sb_secret_handle', LIMITS.callDepth.value - 1), /^HTTP\/1.1 200/)
      assert.match(await inside('GET /functions/v1/f HTTP/1.1\r\napikey: sb_secret_handle', LIMITS.callDepth.value), /recursion_too_deep/)
    })
  })
})
