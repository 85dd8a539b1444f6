import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { duplexPair, type Duplex } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import { isOfUnknownIssuer } from '../../../client/unknown-issuer.ts'
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
    return { status: answer.statusCode, statusMessage: answer.statusMessage, headers: answer.headers, text }
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

  it('says why a registry cannot be reached, in words that npm and pnpm pass on', async () => {
    const failing = (message: string, code: string) =>
      new Registry({
        url: 'https://registry.invalid/',
        token: null,
        trust: { isUnknown: isOfUnknownIssuer, more: async () => false },
        fetch: () => Promise.reject(new TypeError('fetch failed', { cause: Object.assign(new Error(message), { code }) })),
      })
    const strange = failing('self-signed certificate in certificate chain', 'SELF_SIGNED_CERT_IN_CHAIN')
    const npm = await ask(strange, '/x', { headers: { 'user-agent': 'npm/11.0.0 node/v24.0.0' } })
    assert.deepEqual([npm.status, npm.statusMessage], [502, 'Bad Gateway'])
    assert.match(npm.text, /cannot be reached: self-signed certificate in certificate chain; start the node with NODE_EXTRA_CA_CERTS/)
    const pnpm = await ask(strange, '/x', { headers: { 'user-agent': 'pnpm/10.0.0 npm/? node/v24.0.0' } })
    assert.match(String(pnpm.statusMessage), /cannot be reached: self-signed certificate .* NODE_EXTRA_CA_CERTS/)
    const hostile = await ask(failing('no\r\nset-cookie: a=1\u{1f600}', 'ENOTFOUND'), '/x', { headers: { 'user-agent': 'pnpm/10.0.0' } })
    assert.equal(hostile.statusMessage, 'The registry cannot be reached: no set-cookie: a=1 ')
    assert.equal(hostile.headers['set-cookie'], undefined)
    assert.doesNotMatch(hostile.text, /NODE_EXTRA_CA_CERTS/)
  })

  it('is asked again where more is trusted by then, and once', async () => {
    let tries = 0
    const unknown = () => Promise.reject(new TypeError('fetch failed', { cause: Object.assign(new Error('unknown'), { code: 'SELF_SIGNED_CERT_IN_CHAIN' }) }))
    const registry = (trustMore: () => Promise<boolean>, answer: () => Promise<Response>) =>
      new Registry({
        url: 'https://registry.invalid/',
        token: null,
        trust: { isUnknown: isOfUnknownIssuer, more: trustMore },
        fetch: () => (++tries === 1 ? unknown() : answer()),
      })
    const read = await ask(
      registry(
        async () => true,
        async () => new Response('{}'),
      ),
      '/x',
    )
    assert.deepEqual([read.status, tries], [200, 2])
    for (const [more, most] of [
      [true, 2],
      [false, 1],
    ] as const) {
      tries = 0
      assert.equal(
        (
          await ask(
            registry(async () => more, unknown),
            '/x',
          )
        ).status,
        502,
      )
      assert.equal(tries, most)
    }
  })

  it('reads packages of a scope where an app says, each with its own key', async () => {
    const origin = `http://127.0.0.1:${port}`
    const main = new Registry({ url: `${origin}/npm/`, token: 'operator', allowed: [origin] })
    const named = main.withNamed([
      { scope: '@shop', url: `${origin}/shop/`, authorization: 'Bearer shop' },
      { scope: '@own', url: `${origin}/npm/`, authorization: null },
    ])
    const cases: [string, string, string | undefined][] = [
      ['/npm/express', '/npm/express', 'Bearer operator'],
      ['/npm/@shop%2fa', '/shop/@shop%2fa', 'Bearer shop'],
      ['/npm/@shop%2Fa', '/shop/@shop%2Fa', 'Bearer shop'],
      ['/npm/@shop/a/-/a-1.0.0.tgz', '/shop/@shop/a/-/a-1.0.0.tgz', 'Bearer shop'],
      ['/shop/@shop/a/-/a-1.0.0.tgz', '/shop/@shop/a/-/a-1.0.0.tgz', 'Bearer shop'],
      ['/npm/@shopping/a', '/npm/@shopping/a', 'Bearer operator'],
      ['/npm/@own/a', '/npm/@own/a', 'Bearer operator'],
    ]
    for (const [path, url, authorization] of cases) {
      asked.length = 0
      assert.equal((await ask(named, path)).status, 200)
      assert.deepEqual([asked[0]?.url, asked[0]?.headers.authorization], [url, authorization], path)
    }
    // No key of one is ever sent to another, wherever a path leads.
    for (const path of ['/npm/@shop/../../npm/x', '/npm/@shop%2f..%2f..%2fnpm', '/@shop/..%2f../x', '/npm/x/@shop/..']) {
      asked.length = 0
      await ask(named, path)
      for (const { url, headers } of asked) assert.equal(headers.authorization, url?.startsWith('/shop/') ? 'Bearer shop' : 'Bearer operator', path)
      assert.ok(asked.every(({ url }) => !url?.includes('/../')))
    }
    const whole = main.withNamed([{ scope: null, url: `${origin}/all/`, authorization: null }])
    asked.length = 0
    await ask(whole, `${whole.path}express`)
    assert.deepEqual(
      [asked[0]?.url, asked[0]?.headers.authorization],
      ['/all/express', undefined],
      'the token of the operator is for the registry of the operator',
    )
  })

  it('reads none that is not public, unless the operator allows it', async () => {
    asked.length = 0
    const origin = `http://127.0.0.1:${port}`
    const named = new Registry({ url: 'http://registry.invalid/', token: null }).withNamed([{ scope: null, url: `${origin}/`, authorization: 'Bearer t' }])
    const answer = await ask(named, '/x')
    assert.equal(answer.status, 502)
    assert.match(answer.text, /127\.0\.0\.1 is no public address; the operator of the node may allow it \(--npm-registries/)
    assert.equal(asked.length, 0)
  })
})
