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
  ]
  for (const body of rows) {
    // A header may hold Latin-1, which must not come to be another encoding beside such a body.
    const { head, body: came } = await answered({ status: 201, headers: { 'x-name': 'Zoë' }, body })
    assert.deepEqual(came, Buffer.from(body as string))
    assert.deepEqual(head, ['HTTP/1.1 201 Created', 'x-name: Zoë', 'x-request-id: id', 'allow: GET', `content-length: ${came.length}`])
  }
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
    writeReply(response, { status: 200, headers: { 'x-a': 'b\r\nx-c: d' }, body: 'e' }, {}, false, new LazyAbort()).catch((error) => {
      written.push(error.code)
      response.destroy()
    })
  })
  await new Promise<void>((listening) => other.listen(0, '127.0.0.1', listening))
  const socket = connect((other.address() as AddressInfo).port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  for await (const chunk of socket) written.push(chunk)
  other.close()
  assert.deepEqual(written, ['ERR_INVALID_CHAR'])
})

/** The sizes of the chunks of an answer, the last one left out. */
function chunksOf(body: Buffer): number[] {
  const sizes: number[] = []
  for (let at = 0; ; ) {
    const end = body.indexOf('\r\n', at)
    const size = Number.parseInt(body.toString('latin1', at, end), 16)
    if (size === 0) return sizes
    sizes.push(size)
    at = end + 2 + size + 2
  }
}

it('writes what comes in one turn in one piece, and each turn by itself', async () => {
  const nextTurn = () => new Promise((resolve) => setImmediate(resolve))
  async function* body() {
    yield Buffer.alloc(100, 1)
    yield Buffer.alloc(12, 2)
    yield Buffer.alloc(65_524, 3)
    await nextTurn()
    await nextTurn()
    yield Buffer.alloc(7, 4)
  }
  const { body: came } = await answered({ status: 200, body: body() })
  assert.deepEqual(chunksOf(came), [100 + 12 + 65_524, 7])
})

it('gives what came before a body broke off, and cuts the connection behind it', async () => {
  async function* body() {
    yield Buffer.from('begun')
    throw new Error('broken')
  }
  const { text } = await answered({ status: 200, body: body() })
  assert.match(text, /\r\n\r\n5\r\nbegun\r\n$/)
})

it('takes no more of a body than its reader does, and goes on when it reads again', async () => {
  const total = 64 * 1024 * 1024
  let taken = 0
  async function* body() {
    for (; taken < total; taken += 65_536) yield Buffer.alloc(65_536, 120)
  }
  reply = { status: 200, headers: { 'content-length': String(total) }, body: body() }
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.pause()
  socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
  for (let before = -1; before !== taken || taken === 0; await new Promise((resolve) => setTimeout(resolve, 100))) before = taken
  assert.ok(taken < total / 2, `${taken} bytes were taken, though nobody reads`)
  let came = 0
  for await (const chunk of socket) came += (chunk as Buffer).length
  assert.ok(came > total, `${came} bytes came`)
})

it('leaves the connection to the next answer as it was', async () => {
  async function* body() {
    yield Buffer.from('one')
    yield Buffer.from('two')
  }
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  let text = ''
  socket.on('data', (chunk) => {
    text += String(chunk)
  })
  const ended = new Promise((resolve) => socket.on('close', resolve))
  for (const last of ['', '', 'connection: close\r\n']) {
    reply = { status: 200, body: body() }
    const before = text.length
    socket.write(`GET / HTTP/1.1\r\nhost: x\r\n${last}\r\n`)
    while (!text.slice(before).includes('0\r\n\r\n')) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await ended
  assert.deepEqual(text.match(/6\r\nonetwo\r\n0\r\n\r\n/g)?.length, 3)
})
