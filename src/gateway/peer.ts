import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { MayflyError } from '../core/errors.ts'
import type { Clock } from '../lib/clock.ts'
import { Agent, request as open, STATUS_CODES } from '../lib/http-server.ts'
import type { RelayIdentity } from '../sandbox/index.ts'
import { hasBody } from './body.ts'
import { endWith } from './refusals.ts'

/** The keys that stand for a function on its relay, as the process that gave them out knows them. */
export interface RelayHandle {
  readonly key: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** What one process of the node says to another of a request that it hands on. */
export interface Hop {
  /** The address of who sent it. */
  readonly remote: string
  /** The function that it came out of; `handle` is null when that one's keys are valid no more. */
  readonly relay: { readonly identity: RelayIdentity; readonly depth: number; readonly handle: RelayHandle | null } | null
  /** It came by a port that is a project's own. */
  readonly own?: boolean
  /** Headers that are only of the way between the processes. */
  readonly added: readonly string[]
}

/** Where it stands. Only what comes in by the socket between the processes is believed; there it is always of our own making. */
const HOP = 'mayfly-hop'
/**
 * Of an answer to a request whose body was not read to its end: instead of closing the connection between the processes,
 * which would break the answer off for who still sends.
 */
const LEFT = 'mayfly-left'
/** What is said of one connection, and begins anew on the next. */
const OF_A_CONNECTION = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', HOP, LEFT])
const MAX_IDLE = 256

/** What a request is handed to. */
export interface Hands {
  /** @returns whether it was answered: false when the other process was not reached, and has read nothing. @throws MayflyError process_lost */
  hand(request: IncomingMessage, response: ServerResponse, of: Omit<Hop, 'added'>): Promise<boolean>
}

/** Another process of this node, reached by a socket in a folder that only the node's own user can enter. */
export class Peer implements Hands, Disposable {
  readonly #path: string
  /** Connections that became WebSockets, and are carried. */
  #sockets = 0
  readonly #agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, maxFreeSockets: MAX_IDLE })

  constructor(path: string) {
    this.#path = path
  }

  [Symbol.dispose](): void {
    this.#agent.destroy()
  }

  /**
   * Hands a request on and its answer back, with back-pressure both ways; a client that leaves is left there too.
   * @returns false when that process was not reached: nothing was read of the request, and it may be served elsewhere
   * @throws MayflyError process_lost
   */
  async hand(request: IncomingMessage, response: ServerResponse, of: Omit<Hop, 'added'>): Promise<boolean> {
    const { headers, added } = headersOf(request)
    const onward = this.#open(request, headers, { ...of, added })
    const reached = await connected(onward)
    if (!reached) return false
    const leave = () => {
      if (!response.writableFinished) onward.destroy()
    }
    response.once('close', leave)
    request.once('error', () => onward.destroy())
    // A sender that waits for the answer before it sends its body gets one.
    if (!request.complete) onward.flushHeaders()
    if (hasBody(request)) request.pipe(onward)
    else onward.end()
    const answer = await new Promise<IncomingMessage | null>((resolve) => {
      onward.once('response', resolve)
      // A client that still sends is told nothing by this: there is no answer to give it.
      onward.on('error', () => resolve(null))
    })
    if (answer === null) {
      response.removeListener('close', leave)
      if (response.destroyed) return true
      // Whether the work was done nobody knows.
      throw new MayflyError('process_lost', 'the process of the node that served this ended before it answered')
    }
    await passBack(request, response, answer)
    if (!request.complete) onward.destroy()
    return true
  }

  /** The same of a request that may become a WebSocket. What the client sends behind it waits until it is one. */
  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, of: Omit<Hop, 'added'>): Promise<void> {
    const { headers, added } = headersOf(request)
    headers.push('connection', 'upgrade', 'upgrade', String(request.headers.upgrade))
    const onward = this.#open(request, headers, { ...of, added })
    socket.on('error', () => socket.destroy())
    socket.once('close', () => onward.destroy())
    onward.once('error', () => endWith(socket, '503 Service Unavailable', 'shutting_down', 'the process that keeps the sockets of this node is away'))
    onward.once('upgrade', (answer: IncomingMessage, other: Duplex, begun: Buffer) => {
      socket.write(headOf(answer, true))
      this.#sockets++
      socket.once('close', () => this.#sockets--)
      for (const [from, to, first] of [
        [socket, other, head],
        [other, socket, begun],
      ] as const) {
        from.on('error', () => to.destroy())
        from.once('close', () => to.destroy())
        if (first.length > 0) to.write(first)
        from.pipe(to)
      }
    })
    onward.once('response', (answer: IncomingMessage) => {
      socket.write(headOf(answer, false))
      answer.pipe(socket)
    })
    onward.end()
  }

  /** Resolves when no WebSocket is carried any more, or after `ms`. */
  async quiet(clock: Pick<Clock, 'sleep' | 'monotonic'>, ms: number): Promise<void> {
    const until = clock.monotonic() + ms
    while (this.#sockets > 0 && clock.monotonic() < until) await clock.sleep(20)
  }

  #open(request: IncomingMessage, headers: string[], hop: Hop): ClientRequest {
    return open({
      agent: this.#agent,
      socketPath: this.#path,
      method: request.method ?? 'GET',
      path: request.url ?? '/',
      headers: [...headers, HOP, JSON.stringify(hop)],
    })
  }
}

/** How the answer to a request says that the rest of it is not read. */
export const leftHeader = (isHanded: boolean): Record<string, string> => (isHanded ? { [LEFT]: '1' } : { connection: 'close' })

/** What came by the socket between the processes, and what was said of it; the request looks as it did when it arrived. Null when nothing was said. */
export function takeHop(request: IncomingMessage): Hop | null {
  const text = request.headers[HOP]
  if (typeof text !== 'string') return null
  const hop = JSON.parse(text) as Hop
  const hidden = new Set([HOP, ...hop.added])
  for (const name of hidden) delete request.headers[name]
  const raw: string[] = []
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    const name = request.rawHeaders[i] as string
    if (!hidden.has(name.toLowerCase())) raw.push(name, request.rawHeaders[i + 1] as string)
  }
  request.rawHeaders = raw
  return hop
}

function headersOf(request: IncomingMessage): { headers: string[]; added: string[] } {
  const headers: string[] = []
  const { rawHeaders } = request
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase()
    // It was answered here already.
    const isAnswered = name === 'expect' && rawHeaders[i + 1]?.toLowerCase() === '100-continue'
    if (!OF_A_CONNECTION.has(name) && !isAnswered) headers.push(rawHeaders[i] as string, rawHeaders[i + 1] as string)
  }
  const added = ['connection', 'host']
  if (request.headers.host !== undefined) added.pop()
  else headers.push('host', 'localhost')
  headers.push('connection', 'keep-alive')
  if (request.headers['transfer-encoding'] !== undefined) headers.push('transfer-encoding', 'chunked')
  // Without either the client would begin a chunked body of its own.
  else if (request.headers['content-length'] === undefined) {
    headers.push('content-length', '0')
    added.push('content-length')
  }
  return { headers, added }
}

/** Resolves when there is a connection to send it on. */
function connected(onward: ClientRequest): Promise<boolean> {
  return new Promise((resolve) => {
    onward.once('error', () => resolve(false))
    onward.once('socket', (socket) => {
      if (socket.connecting) socket.once('connect', () => resolve(true))
      else resolve(true)
    })
  })
}

async function passBack(request: IncomingMessage, response: ServerResponse, answer: IncomingMessage): Promise<void> {
  const headers: string[] = []
  for (let i = 0; i + 1 < answer.rawHeaders.length; i += 2) {
    const name = (answer.rawHeaders[i] as string).toLowerCase()
    if (!OF_A_CONNECTION.has(name)) headers.push(answer.rawHeaders[i] as string, answer.rawHeaders[i + 1] as string)
  }
  // The other process has read as much of it as it wants.
  const isLeft = answer.headers[LEFT] !== undefined
  if (isLeft) headers.push('connection', 'close')
  response.sendDate = false
  response.writeHead(answer.statusCode ?? 502, answer.statusMessage, headers)
  response.flushHeaders()
  await new Promise<void>((resolve) => {
    response.once('close', resolve)
    answer.once('error', () => response.destroy())
    // Half an answer must not pass for the whole.
    answer.once('close', () => {
      if (!answer.complete) response.destroy()
    })
    if (isLeft) response.once('finish', () => request.socket.destroySoon())
    answer.pipe(response)
  })
}

function headOf(answer: IncomingMessage, isUpgrade: boolean): string {
  const status = answer.statusCode ?? 502
  const lines = [`HTTP/1.1 ${status} ${answer.statusMessage || (STATUS_CODES[status] ?? '')}`]
  for (let i = 0; i + 1 < answer.rawHeaders.length; i += 2) {
    const name = (answer.rawHeaders[i] as string).toLowerCase()
    if (isUpgrade || !OF_A_CONNECTION.has(name)) lines.push(`${answer.rawHeaders[i]}: ${answer.rawHeaders[i + 1]}`)
  }
  if (!isUpgrade) lines.push('connection: close')
  return `${lines.join('\r\n')}\r\n\r\n`
}
