import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import pg from 'pg'
import { createWebSocketStream, WebSocketServer } from 'ws'
import { UnreachableError } from '../../client/client.ts'
import { DatabaseSession, type Taker } from './session.ts'

const packet = (type: string, body: Buffer | string) => {
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(Buffer.byteLength(body) + 4, 1)
  return Buffer.concat([head, Buffer.from(body)])
}
const error = (severity: string, code: string) => packet('E', `S${severity}\0V${severity}\0C${code}\0Mno\0\0`)
const ready = (state: string) => packet('Z', state)
const taker: Taker = { columns: () => {}, row: () => {}, copied: () => {}, full: () => null }

/** A server that says to each statement what the test wants, each packet by itself. */
describe('a session of the prompt', () => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  let answers: (readonly Buffer[])[] = []
  let url = ''
  before(async () => {
    await once(server, 'listening')
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    server.on('connection', (ws) => {
      const stream = createWebSocketStream(ws)
      stream.on('error', () => {})
      let greeted = false
      stream.on('data', async () => {
        if (!greeted) {
          greeted = true
          stream.write(Buffer.concat([packet('R', Buffer.alloc(4)), ready('T')]))
          return
        }
        for (const part of answers.shift() ?? []) {
          stream.write(part)
          // A turn of the client's lies between two packets.
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
        if (answers.length === 0) stream.end()
      })
    })
  })
  after(() => {
    for (const client of server.clients) client.terminate()
    server.close()
  })
  const open = () => DatabaseSession.open({ url, key: 'k', project: 'demo' }, () => {})

  it('knows after an error how the transaction stands, though that is said in a packet of its own', async () => {
    answers = [[error('ERROR', '42601'), ready('E')], [packet('C', 'ROLLBACK\0'), ready('I')], [error('ERROR', '42P01'), ready('E')], []]
    await using session = await open()
    assert.equal(session.state, 'T')
    await assert.rejects(session.run('selekt', null, taker), { code: '42601' })
    assert.equal(session.state, 'E')
    await session.run('rollback', null, taker)
    assert.equal(session.state, 'I')
    await assert.rejects(session.ask('select 1 from nothing'), { code: '42P01' })
    assert.equal(session.state, 'E')
  })
  it('tells the error that ends it, and then that it is gone', async () => {
    answers = [[error('FATAL', '57P01')]]
    await using session = await open()
    await assert.rejects(session.run('select 1', null, taker), (told) => told instanceof pg.DatabaseError && told.code === '57P01')
    await assert.rejects(session.run('select 1', null, taker), UnreachableError)
  })
})
