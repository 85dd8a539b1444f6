import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { request as open } from 'node:http'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Duplex, Readable } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import { WebSocket } from 'ws'
import { MayflyError } from '../core/errors.ts'
import { json } from '../core/json-reply.ts'
import { silentLog } from '../core/log.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { RequestContext, Route, Upgrade } from '../core/route.ts'
import { systemClock } from '../lib/clock.ts'
import type { RelayIdentity } from '../sandbox/index.ts'
import { HostNames, TrustedProxies } from './doors.ts'
import { HandOver } from './hand-over.ts'
import { Gateway, type GatewayDeps } from './listener.ts'
import { Peer, type RelayHandle } from './peer.ts'

const demo: Project = { id: '1', ref: 'demo' as ProjectRef, name: 'demo', state: 'active' }
const identity: RelayIdentity = { project: 'demo', functionName: 'f', version: '1', role: 'service_role' }
const handle: RelayHandle = { key: 'sb_secret_handle', accessKeyId: 'ASIA', secretAccessKey: 's' }
const LARGE = randomBytes(3 * 1024 * 1024)

/** Two processes of one node: `front` serves calls, `main` all else. */
async function openNode() {
  const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-peer-'))
  const socket = path.join(folder, 'main.sock')
  const said: string[] = []
  let settle = Promise.withResolvers<void>()
  let whole = Promise.withResolvers<void>()
  const adopted: (RelayHandle | null)[] = []
  let known: RelayHandle | null = handle
  const routesOf = (name: string): Route[] => {
    const row = (method: string, at: string, more: Partial<Route>): Route => ({
      method,
      path: at,
      access: 'open',
      plane: 'data-plane',
      doc: '',
      handle: async (context) => json(200, who(name, context)),
      ...more,
    })
    return [
      row('*', '/functions/v1/:name', { access: 'project', runs: (headers) => headers['x-queued'] === undefined }),
      row('*', '/who', { access: 'project' }),
      row('POST', '/echo', { handle: async (context) => ({ status: 200, body: context.stream(1 << 30) }) }),
      row('POST', '/small', { handle: async (context) => ({ status: 200, body: await context.body(10) }) }),
      row('GET', '/never', { handle: async () => await new Promise(() => {}) }),
      row('GET', '/left', {
        handle: async ({ signal }) => {
          said.push('begun')
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
          said.push('left')
          throw signal.reason
        },
      }),
      row('GET', '/half', {
        handle: async () => ({
          status: 200,
          body: (async function* () {
            yield Buffer.from('half')
            await whole.promise
            throw new Error('broke off')
          })(),
        }),
      }),
      row('POST', '/api/v1/change', { plane: 'management' }),
    ]
  }
  const upgrades: Upgrade[] = [
    {
      path: '/socket',
      access: 'project',
      doc: '',
      frameBytes: 1 << 20,
      fail: () => json(403, { refused: true }),
      admit: () => {},
      accept: (context, ws) => {
        ws.send(JSON.stringify(context.principal))
        ws.onFrame((frame) => ws.send(frame))
      },
    },
  ]
  const common = (name: string): Omit<GatewayDeps, 'processes'> => ({
    routes: routesOf(name),
    upgrades: name === 'main' ? upgrades : [],
    credentials: {
      verifyKey: async (key) => (key === 'sb_secret_demo' ? { kind: 'service', project: demo.ref, keyId: 'd' } : null),
      verifyToken: () => Promise.reject(new MayflyError('token_invalid', 'none is believed here')),
      verifyHandle: (key) => (key === adopted.at(-1)?.key || (name === 'front' && key === known?.key) ? identity : null),
    },
    verifyAws: async () => ({ kind: 'nobody' }),
    project: () => demo,
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
  const rest = new Peer(socket)
  const homeSocket = path.join(folder, 'home.sock')
  const home = new Peer(homeSocket)
  const processes = (to: Peer | null) => ({
    handOver: new HandOver({ routes: routesOf(''), content: null, rest: to, of: ({ params }) => (params.name === 'dies' ? home : null) }),
    handleOf: () => known,
    adoptHandle: (_: RelayIdentity, given: RelayHandle | null) => void adopted.push(given),
    settled: () => settle.promise,
    homeOf: () => null,
  })
  const main = new Gateway({ ...common('main'), processes: processes(null) })
  const front = new Gateway({ ...common('front'), processes: processes(rest) })
  await main.listenForPeers(socket)
  const port = await front.listen('127.0.0.1', 0, true)
  settle.resolve()
  return {
    main,
    front,
    port,
    socket,
    homeSocket,
    said,
    url: `http://127.0.0.1:${port}`,
    holdSettling: () => {
      settle = Promise.withResolvers()
      return settle
    },
    holdBody: () => {
      whole = Promise.withResolvers()
      return whole
    },
    retire: () => {
      known = null
    },
    [Symbol.asyncDispose]: async () => {
      await front[Symbol.asyncDispose]()
      await main[Symbol.asyncDispose]()
      rest[Symbol.dispose]()
      home[Symbol.dispose]()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

const who = (name: string, { principal, depth, remoteAddress, rawHeaders, headers, rawPath, rawQuery }: RequestContext) => ({
  at: name,
  principal,
  depth,
  from: remoteAddress,
  rawHeaders,
  headers,
  rawPath,
  rawQuery,
})
type Who = ReturnType<typeof who>
const key = { apikey: 'sb_secret_demo' }

describe('a request that another process serves', () => {
  let node: Awaited<ReturnType<typeof openNode>>
  before(async () => {
    node = await openNode()
  })
  after(() => node[Symbol.asyncDispose]())
  const ask = async (at: string, init: RequestInit = {}) => await fetch(`${node.url}${at}`, init)
  const whoIs = async (at: string, init: RequestInit = {}) => (await (await ask(at, init)).json()) as Who
  /** What a client sends byte for byte, and all that comes back. */
  const raw = (text: string) =>
    new Promise<string>((resolve) => {
      const socket = connect(node.port, '127.0.0.1', () => socket.write(text))
      let out = ''
      socket.on('data', (chunk: Buffer) => {
        out += chunk.toString()
      })
      socket.on('close', () => resolve(out))
      socket.on('error', () => {})
    })

  it('is a call where it came in, and all else in the main process', async () => {
    assert.equal((await whoIs('/functions/v1/f', { headers: key })).at, 'front')
    assert.equal((await whoIs('/functions/v1/f', { headers: { ...key, 'x-queued': '1' } })).at, 'main')
    assert.equal((await whoIs('/who', { headers: key })).at, 'main')
    assert.equal((await ask('/nowhere')).status, 404)
  })
  it('looks as it did: address, path, and headers in their order and case', async () => {
    const lines = ['Host: 127.0.0.1', 'ApiKey: sb_secret_demo', 'X-Two: 1', 'x-two: 2', 'Connection: close']
    const answer = await raw(`GET /who?a=%20b&a HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`)
    const seen = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)) as Who
    assert.deepEqual([seen.at, seen.from, seen.rawPath, seen.rawQuery], ['main', '127.0.0.1', '/who', 'a=%20b&a'])
    assert.deepEqual(seen.rawHeaders, ['Host', '127.0.0.1', 'ApiKey', 'sb_secret_demo', 'X-Two', '1', 'x-two', '2'])
    assert.equal(seen.headers['x-two'], '1, 2')
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/)
    assert.equal(answer.match(/\r\ndate: /gi)?.length, 1)
    assert.match(answer, /\r\nx-request-id: /i)
  })
  it('is believed to be from where its own process says, whatever the client writes', async () => {
    const forged = JSON.stringify({ remote: '6.6.6.6', relay: { identity, depth: 0, handle }, added: [] })
    for (const at of ['/who', '/functions/v1/f']) {
      const seen = await whoIs(at, { headers: { ...key, 'mayfly-hop': forged } })
      assert.deepEqual([seen.from, seen.principal.kind], ['127.0.0.1', 'service'], at)
    }
    const bare = await fetch(`${node.url}/who`, { headers: { 'mayfly-hop': forged, apikey: handle.key } })
    assert.equal(bare.status, 401)
  })
  it('is no request at all when it comes to the inner door without a word of that', async () => {
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(node.socket, () => socket.write('GET /who HTTP/1.1\r\nhost: localhost\r\n\r\n'))
      let out = ''
      socket.on('data', (chunk: Buffer) => {
        out += chunk.toString()
      })
      socket.on('close', () => resolve(out))
    })
    assert.equal(answer, '')
  })
  it('carries bodies both ways', async () => {
    for (const body of [LARGE, Readable.toWeb(Readable.from([LARGE])) as ReadableStream]) {
      const reply = await ask('/echo', { method: 'POST', body, duplex: 'half' } as RequestInit)
      const bytes = new Uint8Array(await reply.arrayBuffer())
      assert.equal(createHash('sha256').update(bytes).digest('hex'), createHash('sha256').update(LARGE).digest('hex'))
    }
  })
  it('is refused on its way as it would be at once', async () => {
    const reply = await ask('/small', { method: 'POST', body: LARGE })
    assert.deepEqual([reply.status, ((await reply.json()) as { code: string }).code], [413, 'payload_too_large'])
    const head = await ask('/who', { method: 'HEAD', headers: key })
    assert.deepEqual([head.status, await head.text()], [200, ''])
    assert.ok(Number(head.headers.get('content-length')) > 0)
  })
  it('is refused before its body comes, where that is declared too long', async () => {
    const answer = await raw(`POST /small HTTP/1.1\r\nHost: localhost\r\ncontent-length: 1000\r\n\r\n`)
    assert.match(answer, /^HTTP\/1\.1 413[\s\S]*payload_too_large/)
    assert.match(answer, /connection: close/i)
    assert.ok(!answer.includes('mayfly-'))
  })
  it('does not go through for a whole when its answer broke off', async () => {
    const broken = node.holdBody()
    const reply = await ask('/half')
    const reader = (reply.body as ReadableStream<Uint8Array>).getReader()
    assert.equal(Buffer.from((await reader.read()).value as Uint8Array).toString(), 'half') // at once, not at the end
    broken.resolve()
    await assert.rejects(reader.read())
  })
  it('is given up when its client leaves', async () => {
    const leaving = new AbortController()
    const asked = ask('/left', { signal: leaving.signal })
    asked.catch(() => {})
    while (!node.said.includes('begun')) await new Promise((resolve) => setTimeout(resolve, 5))
    leaving.abort()
    while (!node.said.includes('left')) await new Promise((resolve) => setTimeout(resolve, 5))
  })
  it('that changes something is answered when all processes know', async () => {
    const settle = node.holdSettling()
    let answered = false
    const asked = ask('/api/v1/change', { method: 'POST' }).then(() => {
      answered = true
    })
    await new Promise((resolve) => setTimeout(resolve, 60))
    assert.equal(answered, false)
    settle.resolve()
    await asked
  })

  it('comes out of a sandbox as what it is, in the other process too', async () => {
    const over = (headers: Record<string, string>, at = '/who') =>
      new Promise<{ status: number; body: Who }>((resolve, reject) => {
        // A relay's connection: the sandbox's end of it is the client's.
        const [inner, outer] = duplexPair()
        node.front.acceptRelay(outer, identity, () => 3)
        const sent = open({ createConnection: () => inner as never, path: at, headers: { host: 'x', connection: 'close', ...headers } }, (answer) => {
          let text = ''
          answer.on('data', (chunk: Buffer) => {
            text += chunk.toString()
          })
          answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: JSON.parse(text) as Who }))
        })
        sent.on('error', reject)
        sent.end()
      })
    const seen = await over({ apikey: handle.key })
    assert.deepEqual([seen.body.at, seen.body.principal.kind, seen.body.depth, seen.body.from], ['main', 'function', 4, 'sandbox'])
    assert.equal((await over({ apikey: 'sb_secret_demo' })).status, 401)
    assert.equal((await over({ apikey: handle.key }, '/api/v1/change')).status, 404)
    node.retire()
    assert.equal((await over({ apikey: handle.key })).status, 401)
  })

  it('becomes a WebSocket through the process that took it', async () => {
    const ws = new WebSocket(`ws://127.0.0.1:${node.port}/socket?apikey=sb_secret_demo`)
    const frames: string[] = []
    ws.on('message', (data) => frames.push(String(data)))
    await new Promise((resolve) => ws.once('open', resolve))
    ws.send('x'.repeat(100_000))
    while (frames.length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
    assert.deepEqual([(JSON.parse(frames[0] as string) as { kind: string }).kind, frames[1]?.length], ['service', 100_000])
    const closed = new Promise((resolve) => ws.once('close', resolve))
    ws.close()
    await closed
  })
  it('that is refused as a WebSocket carries nothing more on its connection', async () => {
    const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n'
    const forged = JSON.stringify({ remote: '6.6.6.6', relay: { identity, depth: 0, handle }, added: [] })
    const second = `GET /who HTTP/1.1\r\nHost: localhost\r\nmayfly-hop: ${forged}\r\napikey: ${handle.key}\r\n\r\n`
    for (const at of ['/socket?apikey=sb_secret_wrong', '/who', '/nowhere']) {
      const answer = await raw(`GET ${at} HTTP/1.1\r\nHost: localhost\r\n${upgrade}\r\n${second}`)
      assert.match(answer, /^HTTP\/1\.1 (401|403|404|200) /, at)
      assert.equal(answer.match(/HTTP\/1\.1 /g)?.length, 1, at)
      assert.ok(!answer.includes('6.6.6.6'), at)
    }
  })
})

describe('a process that is gone', () => {
  it('is told as such: before it was reached, and when it ended under a request', async () => {
    await using node = await openNode()
    await node.main[Symbol.asyncDispose]()
    const away = await fetch(`${node.url}/who`)
    assert.deepEqual([away.status, ((await away.json()) as { code: string }).code], [503, 'shutting_down'])

    const dying: Server = createServer((socket) => {
      socket.once('data', () => socket.destroy())
      socket.on('error', () => {})
    })
    await new Promise<void>((resolve) => dying.listen(node.socket, resolve))
    try {
      // As of a node of one process: with the main process the node is gone.
      await assert.rejects(fetch(`${node.url}/never`), /fetch failed/)
    } finally {
      dying.close()
    }
  })

  it('is told as such of another worker, which may have done the work; where it was not reached the call is served', async () => {
    await using node = await openNode()
    const call = () => fetch(`${node.url}/functions/v1/dies`, { headers: { apikey: 'sb_secret_demo' } })
    assert.equal((await call()).status, 200)
    const dying: Server = createServer((socket) => {
      socket.once('data', () => socket.destroy())
      socket.on('error', () => {})
    })
    await new Promise<void>((resolve) => dying.listen(node.homeSocket, resolve))
    try {
      const lost = await call()
      assert.deepEqual([lost.status, ((await lost.json()) as { code: string }).code], [502, 'process_lost'])
    } finally {
      dying.close()
    }
  })
})

function duplexPair(): [Duplex, Duplex] {
  const make = (): Duplex & { other?: Duplex } =>
    new Duplex({
      read() {},
      write(this: Duplex & { other?: Duplex }, chunk: Buffer, _encoding, done) {
        this.other?.push(chunk)
        done()
      },
      final(this: Duplex & { other?: Duplex }, done) {
        this.other?.push(null)
        done()
      },
    })
  const one = make()
  const other = make()
  one.other = other
  other.other = one
  return [one, other]
}
