import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, describe, it } from 'node:test'
import { WebSocket } from 'ws'
import { LIMITS } from '../core/limits.ts'
import { silentLog } from '../core/log.ts'
import { MayflyError } from '../core/errors.ts'
import type { Principal } from '../core/principal.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Socket, UpgradeContext } from '../core/route.ts'
import { systemClock } from '../lib/clock.ts'
import { HostNames, TrustedProxies } from './doors.ts'
import { Gateway } from './listener.ts'
import { errorReply } from './reply.ts'

const ref = (text: string) => text as ProjectRef
const demo: Project = { id: '1', ref: ref('demo'), name: 'demo', state: 'active' }
const shop: Project = { id: '2', ref: ref('shop'), name: 'shop', state: 'active' }
const keys: Record<string, Principal> = {
  sb_secret_demo: { kind: 'service', project: ref('demo'), keyId: 'd' },
  sb_publishable_demo: { kind: 'anon', project: ref('demo'), keyId: 'p' },
  sb_secret_shop: { kind: 'service', project: ref('shop'), keyId: 's' },
}

describe('upgrades', () => {
  let gateway: Gateway
  let base = ''
  const arrived: { context: UpgradeContext; socket: Socket }[] = []
  before(async () => {
    gateway = new Gateway({
      routes: [],
      upgrades: [
        {
          path: '/live',
          access: 'project',
          doc: '',
          frameBytes: LIMITS.realtimeFrame.value,
          fail: (error, { id }) => errorReply(error, id),
          admit: () => {},
          accept: (context, socket) => {
            arrived.push({ context, socket })
            socket.onFrame((frame) => socket.send(String(frame.length)))
          },
        },
      ],
      credentials: {
        verifyKey: async (key) => keys[key] ?? null,
        verifyToken: () => Promise.reject(new MayflyError('token_invalid', 'none is believed here')),
        verifyHandle: () => null,
      },
      verifyAws: async () => ({ kind: 'nobody' }),
      project: (wanted) => [demo, shop].find((project) => project.ref === wanted) ?? null,
      defaultProject: ref('demo'),
      mayLoop: async () => false,
      content: null,
      admitSpace: () => {},
      hosts: new HostNames([]),
      proxies: new TrustedProxies([]),
      clock: systemClock,
      log: silentLog,
      tls: null,
    })
    base = `ws://127.0.0.1:${await gateway.listen('127.0.0.1', 0)}`
  })
  after(() => gateway[Symbol.asyncDispose]())

  const attempt = (at: string, headers: Record<string, string> = {}): Promise<number | WebSocket> =>
    new Promise((resolve) => {
      const socket = new WebSocket(base + at, { headers })
      socket.on('error', () => {})
      socket.on('open', () => resolve(socket))
      socket.on('unexpected-response', (request, response) => {
        resolve(response.statusCode ?? 0)
        request.destroy()
      })
    })
  const refused: [what: string, at: string, headers: Record<string, string>, status: number][] = [
    ['no key', '/live', {}, 401],
    ['an unknown key', '/live?apikey=sb_secret_no', {}, 401],
    ["another project's key", '/live?apikey=sb_secret_shop', {}, 401],
    ["another project's key in the other's path", '/p/shop/live?apikey=sb_secret_demo', {}, 401],
    ['two keys', '/live?apikey=sb_publishable_demo', { apikey: 'sb_secret_demo' }, 401],
    ['a cookie', '/live', { cookie: 'apikey=sb_secret_demo' }, 401],
    ['a project that is not there', '/p/none/live?apikey=sb_secret_demo', {}, 404],
    ['another host', '/live?apikey=sb_secret_demo', { host: 'evil.example' }, 421],
    ['another path', '/elsewhere?apikey=sb_secret_demo', {}, 404],
  ]
  for (const [what, at, headers, status] of refused) it(`${what} is refused in plain HTTP`, async () => assert.equal(await attempt(at, headers), status))

  it('a key in the query, in either header, as Bearer; any origin', async () => {
    for (const [at, headers, project] of [
      ['/live?apikey=sb_publishable_demo', { origin: 'https://evil.example' }, 'demo'],
      ['/live', { 'x-api-key': 'sb_secret_demo' }, 'demo'],
      ['/live', { apikey: 'sb_secret_demo' }, 'demo'],
      ['/live', { authorization: 'Bearer sb_secret_demo' }, 'demo'],
      ['/p/shop/live?apikey=sb_secret_shop', {}, 'shop'],
    ] as const) {
      const socket = await attempt(at, headers as Record<string, string>)
      assert.ok(socket instanceof WebSocket, at)
      assert.equal(arrived.at(-1)?.context.project.ref, project)
      socket.terminate()
    }
  })
  it('realtimeFrame: a message goes up to it, and no byte past it', async () => {
    const socket = (await attempt('/live?apikey=sb_secret_demo')) as WebSocket
    socket.send('x'.repeat(LIMITS.realtimeFrame.value))
    const [length] = await once(socket, 'message')
    assert.equal(Number(length), LIMITS.realtimeFrame.value)
    socket.send('x'.repeat(LIMITS.realtimeFrame.value + 1))
    const [code] = await once(socket, 'close')
    assert.equal(code, 1009)
  })
  it('a node that stops says so to who is connected, and cuts who does not answer', async () => {
    const polite = (await attempt('/live?apikey=sb_secret_demo')) as WebSocket
    const rude = (await attempt('/live?apikey=sb_secret_demo')) as WebSocket
    rude.pause()
    const from = performance.now()
    const [[code]] = await Promise.all([once(polite, 'close'), gateway.drain(100)])
    assert.equal(code, 1001)
    assert.ok(performance.now() - from < 5_000)
    rude.terminate()
  })
})
