import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { ApiError, Client, UnreachableError } from './client.ts'
import { ask } from './http.ts'

let server: Server
let url = ''
let answer: (request: IncomingMessage, response: ServerResponse) => void = () => {}
before(async () => {
  server = createServer((request, response) => answer(request, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
after(() => {
  server.closeAllConnections()
  server.close()
})

test('a body goes with its length, what comes back is read as JSON, and an error is told in its words', async () => {
  const client = new Client(url, 'key', ask)
  answer = (request, response) => {
    const body: Buffer[] = []
    request.on('data', (chunk: Buffer) => body.push(chunk))
    request.on('end', () => {
      const { method, headers } = request
      response.end(JSON.stringify([method, headers.authorization, headers['content-length'] ?? null, Buffer.concat(body).toString()]))
    })
  }
  for (const [method, body, length] of [
    ['POST', 'h\u00e9', '3'],
    ['PUT', new Uint8Array([65]), '1'],
    ['DELETE', null, '0'],
    ['GET', null, null],
  ] as const) {
    const said = await (await client.request(method, '/x', body)).json()
    assert.deepEqual(said, [method, 'Bearer key', length, body === null ? '' : String(Buffer.from(body))])
  }
  answer = (_, response) => response.writeHead(409, { 'content-type': 'application/json' }).end('{"code":"busy","message":"not now","hint":"wait"}')
  await assert.rejects(client.request('GET', '/x'), (error: ApiError) => error instanceof ApiError && error.code === 'busy' && error.status === 409)
})

test('a connection that the node has closed meanwhile is no failure', async () => {
  answer = (_, response) => response.end('one')
  assert.equal(await (await ask(`${url}/`, { method: 'GET', headers: {} })).text(), 'one')
  let asked = 0
  answer = (request, response) => {
    asked++
    if (asked === 1) request.socket.resetAndDestroy()
    else response.end('two')
  }
  assert.equal(await (await ask(`${url}/`, { method: 'POST', headers: {}, body: 'x' })).text(), 'two')
  // One that was opened for this very request is.
  server.closeAllConnections()
  answer = (request) => request.socket.resetAndDestroy()
  await assert.rejects(ask(`${url}/`, { method: 'POST', headers: {}, body: 'x' }), { code: 'ECONNRESET' })
})

test('nobody there is told as such, and who leaves hears why', async () => {
  await assert.rejects(new Client('http://127.0.0.1:1', 'key', ask).request('GET', '/'), UnreachableError)
  const leaving = new AbortController()
  answer = () => leaving.abort(new Error('gone'))
  await assert.rejects(ask(url, { method: 'GET', headers: {}, signal: leaving.signal }), { message: 'gone' })
})

test('what nobody reads keeps nobody from ending: it flows off', async () => {
  const written = Promise.withResolvers<boolean>()
  answer = (_, response) => {
    response.once('close', () => written.resolve(response.writableFinished))
    response.end(Buffer.alloc(16 * 1024 * 1024))
  }
  assert.equal((await ask(url, { method: 'DELETE', headers: {} })).status, 200)
  assert.equal(await written.promise, true)
})

test('a node that is not reached says what was met, but where nobody listens', () => {
  const met = (cause: unknown) => new UnreachableError('https://a', cause).message
  assert.match(met(new Error('certificate has expired')), /^no node answers at https:\/\/a \(certificate has expired\)\. Is it/)
  for (const [code, why] of [
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'self-signed certificate'],
    ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'unable to get local issuer certificate'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'unable to verify the first certificate'],
  ] as const)
    assert.equal(
      met(Object.assign(new Error(`${why}; if the root CA is installed locally, try running Node.js with --use-system-ca`), { code })),
      `no node answers at https://a (${why}). This machine knows nobody who signed its certificate; where it is one of your own, NODE_EXTRA_CA_CERTS names the file of who did.`,
    )
  for (const cause of [new Error('connect ECONNREFUSED 127.0.0.1:1'), new TypeError('fetch failed'), null])
    assert.match(met(cause), /^no node answers at https:\/\/a\. Is it/)
})
