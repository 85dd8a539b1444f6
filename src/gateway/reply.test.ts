import assert from 'node:assert/strict'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { after, before, it } from 'node:test'
import type { Reply } from '../core/route.ts'
import { createServer } from '../lib/http-server.ts'
import { LazyAbort } from '../lib/leaving.ts'
import { writeReply } from './reply.ts'

let reply: Reply = { status: 200 }
const server = createServer((request, response) => {
  response.sendDate = false
  void writeReply(response, reply, { 'x-request-id': 'id', allow: 'GET' }, request.method === 'HEAD', new LazyAbort())
})
before(() => new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening)))
after(() => server.close())

/** The pieces in which an answer comes, byte for byte. */
async function answered(one: Reply, method = 'GET'): Promise<{ head: string[]; body: Buffer; text: string }> {
  reply = one
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.write(`${method} / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`)
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  const all = Buffer.concat(chunks)
  const end = all.indexOf('\r\n\r\n')
  const head = all.toString('latin1', 0, end).split('\r\n')
  return { head: head.filter((line) => !/^connection/i.test(line)), body: all.subarray(end + 4), text: all.toString('latin1') }
}

it('writes texts and bytes as they are, whatever stands in the head', async () => {
  const every = Buffer.from(Array.from({ length: 256 }, (_, n) => n))
  const rows: (string | Uint8Array)[] = [
    '',
    'plain',
    'größer → 東京',
    every,
    new Uint8Array(every),
    Buffer.alloc(100_000, 200),
    every.subarray(7, 9),
    'é'.repeat(20_000),
    Buffer.alloc(3_000_001, 'abc'),
    'ü'.repeat(400_000),
  ]
  for (const body of rows) {
    // A header may hold Latin-1, which must not come to be another encoding beside such a body.
    const { head, body: came } = await answered({ status: 201, headers: { 'x-name': 'Zoë' }, body })
    assert.deepEqual(came, Buffer.from(body as string))
    assert.deepEqual(head, ['HTTP/1.1 201 Created', 'x-name: Zoë', 'x-request-id: id', 'allow: GET', `content-length: ${came.length}`])
  }
})

it('ends with a client that takes a part of a large body and leaves', async () => {
  const { promise, resolve } = Promise.withResolvers<string>()
  const other = createServer((_request, response) => {
    const writing = writeReply(response, { status: 200, body: Buffer.alloc(50_000_000) }, {}, false, new LazyAbort())
    void writing?.then(() => resolve(response.destroyed ? 'gone' : 'written'))
  })
  await new Promise<void>((listening) => other.listen(0, '127.0.0.1', listening))
  const socket = connect((other.address() as AddressInfo).port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  socket.once('data', () => socket.destroy())
  assert.equal(await promise, 'gone')
  other.close()
})

it('says a header once: what the reply says itself, in whatever letters, stands in place of what all have', async () => {
  const { head } = await answered({
    status: 200,
    headers: { 'X-Request-Id': 'own', Allow: 'PUT', 'Content-Length': '7', 'set-cookie': ['a=1', 'b=2'], constructor: 'c' },
    body: 'four',
  })
  assert.deepEqual(head, ['HTTP/1.1 200 OK', 'X-Request-Id: own', 'Allow: PUT', 'set-cookie: a=1', 'set-cookie: b=2', 'constructor: c', 'content-length: 4'])
})

it('has no body where there is none, and its length where HEAD asks for it', async () => {
  assert.deepEqual((await answered({ status: 200, body: null })).head.at(-1), 'content-length: 0')
  assert.deepEqual((await answered({ status: 204, body: 'not sent' })).head, ['HTTP/1.1 204 No Content', 'x-request-id: id', 'allow: GET'])
  assert.deepEqual((await answered({ status: 200, headers: { 'content-length': '9' } }, 'HEAD')).head.at(1), 'content-length: 9')
  const head = await answered({ status: 200, body: 'four' }, 'HEAD')
  assert.deepEqual([head.head.at(-1), head.body.length], ['content-length: 4', 0])
})

it('refuses a header that would begin another line', async () => {
  const written: unknown[] = []
  const other = createServer((_request, response) => {
    try {
      writeReply(response, { status: 200, headers: { 'x-a': 'b\r\nx-c: d' }, body: 'e' }, {}, false, new LazyAbort())
    } catch (error) {
      written.push((error as NodeJS.ErrnoException).code)
      response.destroy()
    }
  })
  await new Promise<void>((listening) => other.listen(0, '127.0.0.1', listening))
  const socket = connect((other.address() as AddressInfo).port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  for await (const chunk of socket) written.push(chunk)
  other.close()
  assert.deepEqual(written, ['ERR_INVALID_CHAR'])
})
