import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { DatabaseError } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Socket, Upgrade, UpgradeContext } from '../core/route.ts'
import type { Clock } from '../lib/clock.ts'
import { STATUS_CODES } from '../lib/http-server.ts'
import { uuidv7 } from '../lib/ids.ts'
import type { RelayIdentity } from '../sandbox/index.ts'
import { authenticate, authenticateRelay, authorise, type Credentials } from './authenticate.ts'
import { errorReply } from './reply.ts'
import { withoutConsoleCookie } from './cookies.ts'
import { cutProject, hostName, type HostNames } from './doors.ts'

export interface UpgradesDeps {
  readonly upgrades: readonly Upgrade[]
  readonly credentials: Credentials
  readonly project: (ref: ProjectRef) => Project | null
  readonly enter?: (project: ProjectRef) => Disposable | Promise<Disposable>
  readonly defaultProject: ProjectRef
  readonly mayLoop: (of: RelayIdentity) => Promise<boolean>
  readonly hosts: HostNames
  readonly clock: Clock
  readonly log: Log
}
type Relay = { readonly identity: RelayIdentity; readonly depth: number }

/**
 * Requests that become WebSockets. They pass the same doors as every other: the host, the project of the path, the
 * key, which a browser can only put into the query. No cookie is ever looked at, so that any page may come (with a key).
 */
export class Upgrades {
  readonly #deps: UpgradesDeps
  readonly #rows: ReadonlyMap<string, { readonly row: Upgrade; readonly server: WebSocketServer }>
  readonly #open = new Set<OpenSocket>()
  #draining = false

  constructor(deps: UpgradesDeps) {
    this.#deps = deps
    this.#rows = new Map(
      deps.upgrades.map((row) => [
        row.path,
        { row, server: new WebSocketServer({ noServer: true, clientTracking: false, perMessageDeflate: false, maxPayload: row.frameBytes }) },
      ]),
    )
  }

  /**
   * Is it ours to answer? Everything else stays an ordinary request.
   * @param only  rows of other access are none here
   */
  wants(request: IncomingMessage, only?: Upgrade['access']): boolean {
    if (request.method !== 'GET' || !/^websocket$/i.test(request.headers.upgrade ?? '')) return false
    const found = this.#find(request)
    return found !== null && (only === undefined || found.row.access === only)
  }

  async take(request: IncomingMessage, socket: Duplex, head: Buffer, relay: Relay | null): Promise<void> {
    const { clock, log } = this.#deps
    const id = uuidv7(clock.now())
    socket.on('error', () => socket.destroy())
    const found = this.#find(request)
    if (!found) return void socket.destroy()
    const { row, server } = found
    try {
      const closed = new AbortController()
      socket.once('close', () => closed.abort())
      const context = { ...(await this.#resolve(request, row, relay, id)), closed: closed.signal }
      using _visit = (await this.#deps.enter?.(context.project.ref)) ?? null
      await row.admit(context)
      if (socket.destroyed) return
      server.handleUpgrade(request, socket, head, (ws) => {
        const open = new OpenSocket(ws, clock)
        this.#open.add(open)
        open.onClose(() => this.#open.delete(open))
        row.accept(context, open)
        if (this.#draining) open.close(GOING_AWAY, 'the node is stopping')
      })
    } catch (error) {
      if (socket.destroyed) return
      const away = error instanceof DatabaseError && error.isAway
      const cause = away ? new MayflyError('database_unavailable', 'the node does not reach its database', { cause: error }) : error
      if (!(cause instanceof MayflyError))
        log.error({ requestId: id, error: cause instanceof Error ? cause.stack : String(cause) }, 'a socket could not be opened')
      const reply = row.fail?.(cause, { id }) ?? errorReply(cause, id)
      const body = String(reply.body ?? '')
      const lines = Object.entries({ ...reply.headers, connection: 'close', 'content-length': Buffer.byteLength(body), 'x-request-id': id })
      socket.end(`HTTP/1.1 ${reply.status} ${STATUS_CODES[reply.status]}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`)
    }
  }

  /** The function whose sandboxes serve it, and the project that the path names; null where no function does. */
  homeOf(request: IncomingMessage): { readonly ref: ProjectRef; readonly functionName: string } | null {
    if (!this.#find(request)?.row.atHome) return null
    const name = new URLSearchParams((request.url ?? '').split('?')[1] ?? '').get('function')
    return name === null ? null : { ref: cutProject(pathOf(request)).ref ?? this.#deps.defaultProject, functionName: name }
  }

  /** Says to all that the node goes; who does not answer is cut. */
  drain(): void {
    this.#draining = true
    for (const open of this.#open) open.close(GOING_AWAY, 'the node is stopping')
  }

  #find(request: IncomingMessage) {
    try {
      return this.#rows.get(cutProject(pathOf(request)).rest) ?? null
    } catch {
      return null
    }
  }

  async #resolve(request: IncomingMessage, row: Upgrade, relay: Relay | null, id: string): Promise<Omit<UpgradeContext, 'closed'>> {
    const { credentials, defaultProject, hosts } = this.#deps
    if (this.#draining) throw new MayflyError('shutting_down', 'the node is stopping')
    if (relay && row.access === 'manage') throw new MayflyError('not_found', 'this is not reached from inside a function')
    const headers = { ...withoutConsoleCookie(request).headers }
    const url = request.url ?? '/'
    const query = new URLSearchParams(url.includes('?') ? url.slice(url.indexOf('?') + 1) : '')
    if (request.rawHeaders.filter((name, at) => at % 2 === 0 && name.toLowerCase() === 'host').length > 1)
      throw new MayflyError('bad_request', 'the request names more than one host')
    if (!relay) hosts.check(headers.host)
    else if (headers.host !== undefined && hostName(headers.host) === null) throw new MayflyError('bad_request', 'the Host header is malformed')
    else if (relay.depth >= LIMITS.callDepth.value && !(await this.#deps.mayLoop(relay.identity)))
      throw new MayflyError('recursion_too_deep', `the call stands behind ${relay.depth} functions; ${LIMITS.callDepth.value} is the limit`)
    const given = new Set([query.get('apikey'), headers['x-api-key'], headers.apikey].filter((key) => typeof key === 'string' && key !== ''))
    if (given.size > 1) throw new MayflyError('key_invalid', 'the request carries more than one key')
    const [apikey] = given as Set<string>
    const shown = apikey === undefined ? headers : { ...headers, apikey }
    const { ref } = cutProject(pathOf(request))
    const users = row.access === 'project' ? (ref ?? defaultProject) : null
    const principal = await (relay ? authenticateRelay(shown, relay.identity, credentials) : authenticate(shown, credentials, users))
    if (principal.kind === 'nobody') throw new MayflyError('key_missing', 'API key is missing')
    if (relay && ref !== null && ref !== relay.identity.project) throw new MayflyError('not_found', 'another project is not reached from inside a function')
    const project = this.#deps.project(relay ? (relay.identity.project as ProjectRef) : (ref ?? defaultProject))
    if (project?.state !== 'active') throw new MayflyError('project_not_found', 'there is no such project')
    authorise(row.access, principal, project.ref, project.ref, null)
    return { id, principal, project, query, headers }
  }
}

const GOING_AWAY = 1001
const FAREWELL_MS = 1_000
const pathOf = (request: IncomingMessage) => (request.url ?? '/').split('?')[0] as string

class OpenSocket implements Socket {
  readonly #ws: WebSocket
  readonly #clock: Clock

  constructor(ws: WebSocket, clock: Clock) {
    this.#ws = ws
    this.#clock = clock
    // What breaks the protocol or its bounds closes it; there is nobody to tell more to.
    ws.on('error', () => ws.terminate())
  }
  get buffered(): number {
    return this.#ws.bufferedAmount
  }
  send(frame: string | Uint8Array, taken?: () => void): void {
    if (this.#ws.readyState !== this.#ws.OPEN) taken?.()
    else if (taken === undefined) this.#ws.send(frame)
    else this.#ws.send(frame, () => taken())
  }
  listen(on: boolean): void {
    if (on) this.#ws.resume()
    else this.#ws.pause()
  }
  close(code: number, reason: string): void {
    if (this.#ws.readyState >= this.#ws.CLOSING) return
    this.#ws.close(code, reason)
    const farewell = this.#clock.timer(FAREWELL_MS, () => this.#ws.terminate())
    this.#ws.once('close', () => farewell[Symbol.dispose]())
  }
  cut(): void {
    this.#ws.terminate()
  }
  onFrame(take: (frame: string | Buffer) => void): void {
    this.#ws.on('message', (data, isBinary) => take(isBinary ? (data as Buffer) : data.toString()))
  }
  onClose(take: () => void): void {
    if (this.#ws.readyState === this.#ws.CLOSED) take()
    else this.#ws.once('close', take)
  }
}
