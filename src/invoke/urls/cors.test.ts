import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { preflightOf, withCors } from './cors.ts'

const ask = (origin: string, method = 'PUT') => ({ origin, 'access-control-request-method': method })

describe('what browsers are told of other origins', () => {
  it('takes patterns of host names, and nothing that only looks like them', () => {
    const rows: [pattern: string, origin: string, told: string | null][] = [
      ['*', 'https://a.example', '*'],
      ['https://a.example', 'https://a.example', 'https://a.example'],
      ['https://A.example', 'https://a.example', 'https://a.example'],
      ['https://a.example', 'http://a.example', null],
      ['https://a.example', 'https://a.example:8443', null],
      ['https://a.example', 'https://a.example.evil', null],
      ['https://*.example.com', 'https://www.example.com', 'https://www.example.com'],
      ['https://*.example.com', 'https://a.b.example.com', 'https://a.b.example.com'],
      ['https://*.example.com', 'https://example.com', null],
      ['https://*.example.com', 'https://evil.com#.example.com', null],
      ['https://*.example.com', 'https://evil.com/.example.com', null],
      ['https://*.example.com', 'https://.example.com', null],
      ['https://app-*.example.com', 'https://app-1.example.com', 'https://app-1.example.com'],
      ['http://localhost:*', 'http://localhost:3000', 'http://localhost:3000'],
      ['*.example.com', 'https://www.example.com', null],
      ['https://*.a.*', 'https://x.a.y', 'https://x.a.y'],
      ['https://a.example', 'null', null],
    ]
    for (const [pattern, origin, told] of rows) {
      const reply = withCors({ allowOrigins: [pattern] }, { status: 200 }, { origin })
      assert.equal(reply.headers?.['access-control-allow-origin'] ?? null, told, `${pattern} ${origin}`)
    }
  })

  it('answers a preflight of an origin and method that are allowed, and says nothing to others', () => {
    const cors = { allowOrigins: ['https://a.example'], allowMethods: ['PUT', 'GET'], allowHeaders: ['x-a', 'x-b'], maxAge: 60, allowCredentials: true }
    const yes = preflightOf(cors, 'OPTIONS', ask('https://a.example'))
    assert.equal(yes?.status, 200)
    assert.deepEqual(yes?.headers, {
      vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
      'access-control-allow-origin': 'https://a.example',
      'access-control-allow-methods': 'PUT,GET',
      'access-control-allow-headers': 'x-a,x-b',
      'access-control-max-age': '60',
      'access-control-allow-credentials': 'true',
    })
    for (const no of [ask('https://b.example'), ask('https://a.example', 'DELETE')])
      assert.deepEqual(Object.keys(preflightOf(cors, 'OPTIONS', no)?.headers ?? {}), ['vary'])
    assert.equal(
      preflightOf({ allowOrigins: ['*'], allowMethods: ['*'] }, 'OPTIONS', ask('https://x.example', 'DELETE'))?.headers?.['access-control-allow-methods'],
      '*',
    )
    for (const none of [preflightOf(cors, 'OPTIONS', { origin: 'https://a.example' }), preflightOf(cors, 'PUT', ask('https://a.example'))])
      assert.equal(none, null)
  })

  it('replaces what the function says of it, and keeps its own Vary', () => {
    const own = { status: 200, headers: { 'access-control-allow-origin': '*', 'access-control-allow-methods': 'GET', vary: ['Accept', 'Cookie'], 'x-a': '1' } }
    const cors = { allowOrigins: ['https://a.example'], exposeHeaders: ['x-a'], allowCredentials: true }
    assert.deepEqual(withCors(cors, own, { origin: 'https://a.example' }).headers, {
      'x-a': '1',
      vary: 'Accept, Cookie, Origin',
      'access-control-allow-origin': 'https://a.example',
      'access-control-expose-headers': 'x-a',
      'access-control-allow-credentials': 'true',
    })
    assert.deepEqual(withCors(cors, own, { origin: 'https://b.example' }).headers, { 'x-a': '1', vary: 'Accept, Cookie, Origin' })
  })
})
