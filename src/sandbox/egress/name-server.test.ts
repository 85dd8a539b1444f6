import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, before, describe, it } from 'node:test'
import dns from 'dns-packet'
import type { EgressPolicy } from '../../core/egress.ts'
import { NameServer, socketsAt } from './name-server.ts'
import { framed, type Upstream } from './upstream.ts'

const SELF = '127.0.0.1'
const query = (name: string, more: dns.Packet = {}) =>
  Buffer.from(dns.encode({ type: 'query', id: 7, flags: dns.RECURSION_DESIRED, questions: [{ name, type: 'A' }], ...more }))
/** Of 60 KB, as whoever has a zone of his own may answer. */
const LARGE = Buffer.from(
  dns.encode({
    type: 'response',
    id: 7,
    questions: [{ name: 'large.example', type: 'TXT' }],
    answers: Array.from({ length: 240 }, () => ({ type: 'TXT' as const, name: 'large.example', data: 'x'.repeat(240) })),
  }),
)
const text = Buffer.from(dns.encode({ type: 'query', id: 7, questions: [{ name: 'large.example', type: 'TXT' }] }))

describe('who resolves names for a hostile sandbox', () => {
  let names: NameServer
  let port = 0
  let asked = 0
  const silence = Promise.withResolvers<Buffer>()
  const upstream = {
    ask: (packet: Buffer) => {
      asked++
      const { id = 0, questions } = dns.decode(packet)
      if (questions?.[0]?.name === 'silent.example') return silence.promise
      if (questions?.[0]?.type === 'TXT') return Promise.resolve(LARGE)
      return Promise.resolve(Buffer.from(dns.encode({ type: 'response', id, questions, answers: [] })))
    },
  } as unknown as Upstream
  /** Another sandbox each time. */
  const be = (policy: EgressPolicy) =>
    names.know(SELF, { granted: Promise.resolve(policy), allowed: [{ host: 'large.example', kind: 'name', port: null }], open: () => Promise.resolve() })

  before(async () => {
    const sockets = await socketsAt(SELF)
    port = sockets.udp.address().port
    names = new NameServer(sockets, upstream)
  })
  after(() => names[Symbol.asyncDispose]())

  it('closes once, however often it is told to', async () => {
    const other = new NameServer(await socketsAt(SELF), upstream)
    await Promise.all([other[Symbol.asyncDispose](), other[Symbol.asyncDispose]()])
    await other[Symbol.asyncDispose]()
  })

  it('holds little of what is never read, and closes', async () => {
    be({ mode: 'internet' })
    const connection = connect(port, SELF).pause()
    connection.on('error', () => {})
    await once(connection, 'connect')
    const closed = new Promise((resolve) => connection.once('close', resolve))
    const before = asked
    const packet = Buffer.concat(Array.from({ length: 32 }, () => framed(text)))
    for (let i = 0; i < 15 && !connection.destroyed; i++) {
      connection.write(packet)
      await new Promise((later) => setTimeout(later, 10))
    }
    const heard = asked - before
    connection.resume()
    await closed
    // The kernel holds the most of it.
    assert.ok(heard < 15 * 32, `${heard} were answered to nobody`)
  })

  it('hears so many questions of one in a second', async () => {
    for (const policy of [{ mode: 'internet' }, { mode: 'hosts', hosts: ['large.example'] }] as const) {
      be(policy)
      const socket = createSocket('udp4')
      let answers = 0
      socket.on('message', () => answers++)
      const began = performance.now()
      for (let i = 0; i < 3_000; i++) {
        socket.send(query(`n${i}.example`), port, SELF)
        if (i % 20 === 19) await new Promise((later) => setTimeout(later, 1))
      }
      await new Promise((later) => setTimeout(later, 50))
      const seconds = Math.ceil((performance.now() - began) / 1_000) + 1
      assert.ok(answers > 100 && answers <= 512 * seconds, `${answers} answers in at most ${seconds} seconds`)
      socket.close()
    }
  })

  it('lets few questions of one wait where very many of all do: each holds a socket of the node', async () => {
    const before = asked
    const sockets = Array.from({ length: 20 }, (_, n) => ({ socket: createSocket('udp4'), address: `127.0.1.${n + 1}` }))
    for (const [n, { socket, address }] of sockets.entries()) {
      names.know(address, { granted: Promise.resolve({ mode: 'internet' }), allowed: [], open: () => Promise.resolve() })
      socket.bind(0, address)
      await once(socket, 'listening')
      const most = asked + (n < 16 ? 64 : 8)
      for (let sent = 0; sent < 100; sent++) await new Promise((done) => socket.send(query('silent.example'), port, SELF, done))
      while (asked < most) await new Promise((later) => setTimeout(later, 1))
    }
    // Those that are heard later are none.
    await new Promise((later) => setTimeout(later, 50))
    assert.equal(asked - before, 1_024 + 32)
    silence.reject(new Error('nobody answers'))
    for (const { socket, address } of sockets) {
      names.forget(address)
      socket.close()
    }
  })

  it('takes no question with records beside it, in which long names are cheap to send and dear to read', async () => {
    be({ mode: 'internet' })
    const extra = { type: 'A' as const, name: 'a.example', data: '1.2.3.4' }
    const before = asked
    const socket = createSocket('udp4')
    const answers: number[] = []
    socket.on('message', (answer) => answers.push(answer.readUInt16BE(0)))
    const withOptions = { additionals: [{ type: 'OPT', name: '.', udpPayloadSize: 1232, flags: 0, options: [] }] as unknown as dns.Answer[] }
    for (const [id, more] of [{ answers: [extra] }, { authorities: [extra] }, { additionals: [extra, extra] }, withOptions, {}].entries())
      socket.send(query('a.example', { id, ...more }), port, SELF)
    while (answers.length < 2) await once(socket, 'message')
    assert.deepEqual([answers.toSorted(), asked - before], [[3, 4], 2])
    socket.close()
  })
})
