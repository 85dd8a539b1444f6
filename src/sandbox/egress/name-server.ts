import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Server, type Socket as Connection } from 'node:net'
import { type AllowedHost, type EgressPolicy, portsOf } from '../../core/egress.ts'
import { KiB } from '../../lib/bytes.ts'
import { addressesIn, answerOf, packetSizeOf, questionOf, type Resolved } from './answers.ts'
import { framed, type Upstream } from './upstream.ts'

/** How many questions of one sandbox wait for their answers; further ones are not heard, and their clients ask again. */
const MAX_WAITING = 64
/** Each holds a socket of the node: where so many of all sandboxes wait, one may have fewer. */
const BUSY_WAITING = 1_024
const MAX_WAITING_BUSY = 8
const MAX_CONNECTIONS = 8
const CONNECTION_IDLE_MS = 10_000
/** A name has 255 bytes at most; beside it clients say how they want to be answered. */
const MAX_QUERY = 1_024
/** So many questions of one sandbox are heard in a second: all sandboxes share the node's thread. */
const MAX_A_SECOND = 512
/** Who leaves so much unread of what is answered on a connection loses that. */
const MAX_UNREAD = 64 * KiB
const BIND_TRIES = 16

/** One who asks, known by the address that its packets come from: it has no way to send from another. */
export interface Asker {
  /** Resolves when its policy is in force. */
  readonly granted: Promise<EgressPolicy>
  readonly allowed: readonly AllowedHost[]
  /** Opens what a listed name was resolved to, at these ports; resolves when it is open. */
  open(resolved: readonly Resolved[], ports: readonly (number | null)[]): Promise<void>
}

/** Where questions are heard: both of one address and port. */
export interface NameSockets {
  readonly udp: Socket
  readonly tcp: Server
}

/** Sockets at an address of this machine, and at a port that nobody has. @throws Error */
export async function socketsAt(address: string): Promise<NameSockets> {
  for (let tries = 1; ; tries++) {
    const udp = createSocket('udp4')
    udp.bind(0, address)
    await once(udp, 'listening')
    const tcp = createServer()
    try {
      tcp.listen(udp.address().port, address)
      await once(tcp, 'listening')
      return { udp, tcp }
    } catch (error) {
      udp.close()
      if (tries === BIND_TRIES) throw error
    }
  }
}

interface State {
  readonly asker: Asker
  waiting: number
  connections: number
  second: number
  askedInIt: number
}

/** Whether one more question of it is heard. */
function isHeard(state: State): boolean {
  const second = Math.floor(performance.now() / 1_000)
  if (state.second !== second) Object.assign(state, { second, askedInIt: 0 })
  return ++state.askedInIt <= MAX_A_SECOND
}

/**
 * Resolves names for sandboxes. Under an allow-list it answers for listed names alone, and opens what they are resolved
 * to before it says so; what is asked of nobody carries nothing out by its name either.
 */
export class NameServer implements AsyncDisposable {
  readonly #udp: Socket
  readonly #tcp: Server
  readonly #upstream: Upstream
  readonly #askers = new Map<string, State>()
  readonly #connections = new Set<Connection>()
  #waiting = 0
  #closing: Promise<void> | null = null

  constructor({ udp, tcp }: NameSockets, upstream: Upstream) {
    this.#udp = udp
    this.#tcp = tcp
    this.#upstream = upstream
    udp.on('message', (query, { address, port }) => void this.#heard(query, address, port))
    udp.on('error', () => {})
    tcp.on('connection', (connection: Connection) => this.#serve(connection))
    tcp.on('error', () => {})
  }

  know(address: string, asker: Asker): void {
    this.#askers.set(address, { asker, waiting: 0, connections: 0, second: 0, askedInIt: 0 })
  }
  forget(address: string): void {
    this.#askers.delete(address)
  }

  /** Idempotent, as is the end of what it belongs to. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    for (const connection of this.#connections) connection.destroy()
    this.#udp.close()
    await new Promise((resolve) => this.#tcp.close(resolve))
  }

  get #mostWaiting(): number {
    return this.#waiting < BUSY_WAITING ? MAX_WAITING : MAX_WAITING_BUSY
  }

  async #heard(query: Buffer, address: string, port: number): Promise<void> {
    const state = this.#askers.get(address)
    if (!state || state.waiting >= this.#mostWaiting || !isHeard(state)) return
    const answer = await this.#answer(state, query, 'udp')
    if (answer === null) return
    const fits = answer.length <= packetSizeOf(query)
    // It may be closed by now.
    try {
      this.#udp.send(fits ? answer : answerOf(query, 'CUT'), port, address, () => {})
    } catch {}
  }

  #serve(connection: Connection): void {
    connection.on('error', () => {})
    const state = this.#askers.get(connection.remoteAddress ?? '')
    if (!state || state.connections >= MAX_CONNECTIONS) return void connection.destroy()
    state.connections++
    this.#connections.add(connection)
    connection.setTimeout(CONNECTION_IDLE_MS, () => connection.destroy())
    connection.on('close', () => {
      state.connections--
      this.#connections.delete(connection)
    })
    let heard: Buffer = Buffer.alloc(0)
    connection.on('data', (chunk: Buffer) => {
      heard = Buffer.concat([heard, chunk])
      while (heard.length >= 2) {
        const length = heard.readUInt16BE(0)
        const isTooMuch = state.waiting >= this.#mostWaiting || connection.writableLength > MAX_UNREAD
        if (length > MAX_QUERY || isTooMuch) return void connection.destroy()
        if (heard.length < 2 + length) return
        if (!isHeard(state)) return void connection.destroy()
        const query = Buffer.from(heard.subarray(2, 2 + length))
        heard = heard.subarray(2 + length)
        void this.#answer(state, query, 'tcp').then((answer) => (answer === null ? connection.destroy() : connection.write(framed(answer))))
      }
    })
  }

  /** Null where nothing is answered. Never throws. */
  async #answer(state: State, query: Buffer, over: 'udp' | 'tcp'): Promise<Buffer | null> {
    const question = query.length > MAX_QUERY ? null : questionOf(query)
    if (question === null) return null
    state.waiting++
    this.#waiting++
    try {
      const { asker } = state
      const policy = await asker.granted
      const ports = policy.mode === 'internet' ? [null] : policy.mode === 'none' ? null : portsOf(asker.allowed, question.name)
      if (ports === null) return answerOf(query, 'NXDOMAIN')
      // There is no way to any address of IPv6, and a client that hears of none does not try it first.
      if (question.type === 'AAAA') return answerOf(query, 'NOERROR')
      const answer = await this.#upstream.ask(query, over)
      const resolved = addressesIn(answer, question)
      if (resolved === null) return answerOf(query, 'NXDOMAIN')
      if (policy.mode === 'hosts' && resolved.length > 0) await asker.open(resolved, ports)
      return answer
    } catch {
      return answerOf(query, 'SERVFAIL')
    } finally {
      state.waiting--
      this.#waiting--
    }
  }
}
