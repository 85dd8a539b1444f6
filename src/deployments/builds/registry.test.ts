import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { duplexPair, type Duplex } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import { Registry } from './registry.ts'

describe('the way to the registry', () => {
  const asked: { method: string | undefined; url: string | undefined; headers: NodeJS.Dict<string | string[]> }[] = []
  const server = createServer((incoming, response) => {
    asked.push({ method: incoming.method, url: incoming.url, headers: incoming.headers })
    if (incoming.url?.includes('moved')) return void response.writeHead(302, { location: 'http://169.254.169.254/' }).end()
    response.writeHead(200, { 'content-type': 'application/json', 'set-cookie': 'a=1' }).end('{"name":"x"}')
  })
  let port = 0
  before(async () => {
    await once(server.listen(0, '127.0.0.1'), 'listening')
    port = (server.address() as AddressInfo).port
  })
  after(() => {
    server.closeAllConnections()
    server.close()
  })

  const ask = async (registry: Registry, path: string, how: { method?: string; headers?: Record<string, string> } = {}) => {
    const [inside, outside] = duplexPair() as [Duplex, Duplex]
    registry.accept(outside)
    const sent = request({ path, ...how, createConnection: () => inside as never })
    sent.end()
    const [answer] = (await once(sent, 'response')) as [import('node:http').IncomingMessage]
    let text = ''
    for await (const chunk of answer) text += chunk
    return { status: answer.statusCode, headers: answer.headers, text }
  }
  const at = (path: string, token: string | null = null) => new Registry({ url: `http://127.0.0.1:${port}${path}`, token })

  it('reads packages with a token that stays outside, and takes over nothing else', async () => {
    asked.length = 0
    const answer = await ask(at('/npm/', 'secret'), '/npm/@a%2fb', {
      headers: { accept: 'application/json', cookie: 'c', authorization: 'Bearer mine', 'x-any': '1' },
    })
    assert.equal(answer.status, 200)
    assert.equal(answer.text, '{"name":"x"}')
    assert.equal(answer.headers['set-cookie'], undefined)
    assert.equal(asked[0]?.url, '/npm/@a%2fb')
    assert.equal(asked[0]?.headers.authorization, 'Bearer secret')
    assert.equal(asked[0]?.headers.cookie, undefined)
    assert.equal(asked[0]?.headers['x-any'], undefined)
  })

  it('finds what a lockfile names by the path of another registry', async () => {
    asked.length = 0
    await ask(at('/npm'), '/x/-/x-1.0.0.tgz')
    assert.equal(asked[0]?.url, '/npm/x/-/x-1.0.0.tgz')
  })

  it('leads to no other host, no other path, and writes nothing', async () => {
    asked.length = 0
    for (const path of [
      '//127.0.0.1:1/x',
      'http://127.0.0.1:1/x',
      '/npm/../admin',
      '/npm/%2e%2e/admin',
      '/npm/./../../admin',
      '/@127.0.0.1:1/x',
      '/\\127.0.0.1:1',
    ])
      await ask(at('/npm/'), path)
    assert.ok(
      asked.every(({ url }) => url?.startsWith('/npm/') && !url.includes('..') && !url.toLowerCase().includes('%2e')),
      JSON.stringify(asked.map(({ url }) => url)),
    )
    asked.length = 0
    for (const method of ['PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS']) assert.equal((await ask(at('/'), '/x', { method })).status, 403)
    assert.equal(asked.length, 0)
  })

  it('follows nobody elsewhere', async () => {
    const answer = await ask(at('/'), '/moved')
    assert.equal(answer.status, 502)
    assert.equal(answer.headers.location, undefined)
  })
})
