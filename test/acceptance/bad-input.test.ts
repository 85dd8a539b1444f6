import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import { makeFolder, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

let folder = ''
let node: RunningMayfly

describe('bad input', () => {
  before(async () => {
    folder = makeFolder()
    node = await startMayfly(`${folder}/data`)
  })
  after(async () => {
    await node?.stop()
    removeFolder(folder)
  })

  const routes = [
    '/health',
    '/ready',
    '/metrics',
    '/api/v1/status',
    '/api/v1/projects',
    '/api/v1/projects/demo/functions',
    '/api/v1/projects/demo/functions/x',
    '/api/v1/projects/demo/functions/x/invoke',
    '/api/v1/projects/demo/functions/x/logs',
    '/api/v1/projects/demo/functions/x/invocations',
    '/api/v1/projects/demo/usage',
    '/api/v1/prices',
    '/api/v1/projects/demo/keys',
    '/api/v1/projects/demo/artefacts/0',
    '/functions/v1/x',
    '/functions/v1/x/y',
    '/p/demo/functions/v1/x',
    '/2015-03-31/functions',
    '/2015-03-31/functions/x',
    '/2015-03-31/functions/x/invocations',
    '/2021-11-15/functions/x/response-streaming-invocations',
    '/2014-11-13/functions/x/invoke-async',
    '/2017-03-31/tags/x',
    '/2021-10-31/functions/x/url',
    '/api/v1/projects/demo/secrets',
    '/api/v1/projects/demo/functions/x/url',
    '/lambda-url/x',
    '/storage/v1/bucket',
    '/storage/v1/bucket/x',
    '/storage/v1/bucket/x/empty',
    '/storage/v1/object/x',
    '/storage/v1/object/x/y',
    '/storage/v1/object/public/x/y',
    '/storage/v1/object/authenticated/x/y',
    '/storage/v1/object/info/x/y',
    '/storage/v1/object/list/x',
    '/storage/v1/object/move',
    '/storage/v1/object/copy',
    '/rest/v1/',
    '/',
  ]
  const text = fc.oneof(
    fc.string({ maxLength: 40 }),
    fc.constantFrom('%', '%00', '..', '%2e%2e', '\u0000', '한', '0', '-1', 'null', '{}', '[', `${'9'.repeat(30)}`, '$LATEST', 'arn:aws:lambda'),
  )

  it('never gets a 5xx, a stack or silence from any route, with and without a key', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...routes),
        fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'),
        text,
        text,
        fc.oneof(text, fc.json()),
        fc.boolean(),
        async (route, method, tail, query, body, withKey) => {
          const path = `${route}${tail === '' ? '' : `/${encodeURIComponent(tail)}`}?${encodeURIComponent(query)}=${encodeURIComponent(tail)}`
          const headers: Record<string, string> = withKey ? { apikey: node.ready.project.secretKey } : { authorization: `Bearer ${encodeURIComponent(query)}` }
          const url = new URL(node.ready.url + path)
          const reply = await fetch(url, { method, headers, signal: AbortSignal.timeout(10_000), ...(method === 'GET' ? {} : { body }) })
          const said = await reply.text()
          assert.ok(reply.status < 500, `${method} ${path}: ${reply.status} ${said}`)
          assert.doesNotMatch(said, /\n\s+at .*\.ts:/)
          if (reply.status >= 400) {
            // Where the services of AWS are that speak by form: `/health/..` is that address too.
            if (url.pathname === '/' && said.startsWith('<?xml')) return assert.match(said, /<Code>[^<]+<\/Code><Message>/)
            const error = JSON.parse(said) as Record<string, unknown>
            // Of an address that is not there nothing is said. What is sent may be another path: `..` is folded before.
            if (url.pathname.startsWith('/lambda-url/x')) return assert.deepEqual(error, { Message: null })
            assert.ok(error.message ?? error.Message, said)
            // In the words of PostgREST, whose gateway says no code when it refuses a key.
            if (url.pathname.startsWith('/rest/')) return assert.ok(error.code ?? error.hint, said)
            if (url.pathname.startsWith('/storage/')) assert.ok(error.code, said)
            else if (!/^\/20\d\d-/.test(url.pathname)) assert.ok(error.code && error.hint && error.requestId, said)
          }
        },
      ),
      { numRuns: 400 },
    )
  })

  it('never gets a 5xx for what a deploy says, whatever its texts hold', async () => {
    const zip = await zipOf({ 'index.mjs': 'export const handler = async () => 1' })
    const sha256 = createHash('sha256').update(zip).digest('hex')
    const headers = { apikey: node.ready.project.secretKey }
    const at = `${node.ready.url}/api/v1/projects/demo`
    assert.equal((await fetch(`${at}/artefacts/${sha256}`, { method: 'PUT', headers, body: new Uint8Array(zip) })).status, 201)
    // Code units, not characters: halves of pairs too.
    const units = fc.array(fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.constantFrom(0, 0x1b, 0xd800, 0xdfff, 0x41)), { maxLength: 4 })
    const any = units.map((all) => String.fromCharCode(...all))
    await fc.assert(
      fc.asyncProperty(any, any, any, async (description, handler, value) => {
        const body = JSON.stringify({ artefact: sha256, description, handler: `index.${handler}`, environment: { A: value } })
        const reply = await fetch(`${at}/functions/x`, { method: 'PUT', headers, body })
        assert.ok(reply.status < 500, `${body}: ${reply.status} ${await reply.text()}`)
      }),
      { numRuns: 40 },
    )
    assert.ok((await fetch(`${at}/functions/x`, { method: 'DELETE', headers })).status < 500)
  })

  it('lives through broken HTTP', async () => {
    const url = new URL(node.ready.url)
    const send = (bytes: Uint8Array) =>
      new Promise<string>((resolve) => {
        const socket = connect(Number(url.port), url.hostname, () => socket.end(bytes))
        let all = ''
        socket.on('data', (chunk) => {
          all += chunk
        })
        socket.on('error', () => resolve(all))
        socket.on('close', () => resolve(all))
        setTimeout(() => socket.destroy(), 2000).unref()
      })
    const head = 'POST /functions/v1/x HTTP/1.1\r\nhost: localhost\r\n'
    const broken = [
      `${head}content-length: -1\r\n\r\n`,
      `${head}content-length: 5\r\n\r\nab`,
      `${head}transfer-encoding: chunked\r\n\r\nzz\r\n`,
      `${head}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
      'GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\n\r\n',
      'GET //evil HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'GET / HTTP/1.1\r\n\r\n',
      'CONNECT evil.example:80 HTTP/1.1\r\nhost: localhost\r\n\r\n',
      'GET / HTTP/1.1\r\nhost: localhost\r\nexpect: banana\r\nconnection: close\r\n\r\n',
      `${head}x: \u0001\r\n\r\n`,
    ]
    for (const one of broken) {
      const reply = await send(Buffer.from(one, 'latin1'))
      assert.ok(reply === '' || /^HTTP\/1\.1 4\d\d/.test(reply), `${JSON.stringify(one)} → ${reply.slice(0, 200)}`)
    }
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        const reply = await send(bytes)
        assert.ok(reply === '' || /^HTTP\/1\.1 4\d\d/.test(reply), reply.slice(0, 200))
      }),
      { numRuns: 50 },
    )
    assert.equal((await fetch(`${node.ready.url}/health`)).status, 200)
  })

  it('keeps another host name out', async () => {
    const reply = await new Promise<string>((resolve) => {
      const url = new URL(node.ready.url)
      // Who ends its side has left: an answer that takes a moment finds nobody.
      const socket = connect(Number(url.port), url.hostname, () => socket.write('GET /health HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n'))
      let text = ''
      socket.on('data', (chunk) => {
        text += chunk.toString()
      })
      socket.on('error', () => {})
      socket.on('close', () => resolve(text))
    })
    assert.match(reply, /^HTTP\/1\.1 421/)
    assert.match(reply, /misdirected_request/)
  })
})
