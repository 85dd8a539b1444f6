import { rm } from 'node:fs/promises'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, ListenOptions } from 'node:net'
import type { Duplex } from 'node:stream'
import { DatabaseError } from '../backends/database/database.ts'
import { type ErrorCode, MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Principal } from '../core/principal.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { Adds, Reply, RequestContext, Route, Upgrade } from '../core/route.ts'
import type { Clock } from '../lib/clock.ts'
import { createServer } from '../lib/http-server.ts'
import { uuidv7 } from '../lib/ids.ts'
import { LazyAbort } from '../lib/leaving.ts'
import type { RelayIdentity } from '../sandbox/index.ts'
import { Arrived, type Known } from './arrived.ts'
import { authenticate, authenticateRelay, authorise, type Credentials, relayPrincipal, showsAnything } from './authenticate.ts'
import { discardBody, readBody } from './body.ts'
import { BodyBudget, type HeldBody } from './body-budget.ts'
import { sparingTheConsole, withoutConsoleCookie, withoutCredentials } from './cookies.ts'
import { CORS_HEADERS, isPreflight, preflightReply } from './cors.ts'
import { type Content, FUNCTION_URLS } from './content.ts'
import { cutProject, hostName, type HostNames, type TrustedProxies } from './doors.ts'
import type { HandOver } from './hand-over.ts'
import { type Hop, leftHeader, type Peer, type RelayHandle, takeHop } from './peer.ts'
import { checkRequestLine, endWith, refuseMalformed } from './refusals.ts'
import { errorReply, writeReply } from './reply.ts'
import { Router } from './router.ts'
import { Upgrades } from './upgrade.ts'
import { forVisitors, isForVisitors } from './visits.ts'

/** What an AWS route needs: who signed these bytes. The relay hands its identity, so that only its own handle is valid. */
export type VerifyAws = (request: AwsRequest, relay: RelayIdentity | null, service: 'lambda' | 'sqs') => Promise<Principal>
export interface AwsRequest {
  readonly method: string
  readonly rawPath: string
  readonly rawQuery: string
  readonly headers: IncomingMessage['headers']
  readonly rawHeaders: readonly string[]
  /** Read when it is asked for. */
  readonly body: () => Promise<Uint8Array>
}

export interface GatewayDeps {
  readonly routes: readonly Route[]
  readonly upgrades: readonly Upgrade[]
  readonly credentials: Credentials
  readonly verifyAws: VerifyAws
  readonly project: (ref: ProjectRef) => Project | null
  /** The project is in use until what this gives is disposed of; absent where none ever rests. */
  readonly enter?: (project: ProjectRef) => Disposable | Promise<Disposable>
  readonly defaultProject: ProjectRef
  /** Where the API is, for who comes by another door. */
  readonly apiOrigin?: () => string
  /** Whether a function may go on where others are taken for a loop. */
  readonly mayLoop: (of: RelayIdentity) => Promise<boolean>
  /** Is there space for this? @throws MayflyError storage_full */
  readonly admitSpace: (adds: Adds) => void
  /** Host names that are no API: the sites. */
  readonly content: Content | null
  readonly hosts: HostNames
  readonly proxies: TrustedProxies
  readonly clock: Clock
  readonly log: Log
  readonly tls: { cert: string; key: string } | null
  /** Absent where the node is one process. */
  readonly processes?: Processes
  /** What bodies may take together; with the bounds of the catalogue when absent. */
  readonly bodies?: BodyBudget
}

/** What the door of one process asks about the others of its node. */
export interface Processes {
  readonly handOver: HandOver
  /** The keys of a function that this process gave to its sandboxes; null when they are valid no more. */
  readonly handleOf: (identity: RelayIdentity) => RelayHandle | null
  /** What another process gave to its own; null takes it back. */
  readonly adoptHandle: (identity: RelayIdentity, handle: RelayHandle | null) => void
  /** A request of the management API may have changed something: resolves when no process serves what was before it. */
  readonly settled: () => Promise<void>
  /** Asked in the main process: who has the sandboxes of a function. Null for itself. */
  readonly homeOf: (project: ProjectRef, functionName: string) => Peer | null
}

interface Arrival {
  readonly relay: { identity: RelayIdentity; depth: number } | null
  /** Who is signed in to the console, whose door it came by. */
  readonly visitor?: Principal
  /** Another process of the node took it in. */
  readonly hop?: Hop
  /** It came by a port that is a project's own. */
  readonly own?: boolean
}

const OUTSIDE: Arrival = { relay: null }

export const SERVER_OPTIONS = {
  requireHostHeader: false, // the doors say in the catalogue's words what is missing
  maxHeaderSize: LIMITS.requestHeaders.value,
  headersTimeout: LIMITS.requestHeadTime.value,
  requestTimeout: 0, // bodies are held by the stall limit instead: a long upload is no fault
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 5_000,
  // A request without a body is no stream: that was a tenth of a call. Who wants a body asks `hasBody` first, for such a one tells of no end.
  optimizeEmptyRequests: true,
}

/**
 * The API door: the network's listener and, for connections that come out of sandboxes, a server
 * that listens nowhere. Every request ends in exactly one reply, whatever happens in between.
 */
export class Gateway implements AsyncDisposable {
  readonly #deps: GatewayDeps
  readonly #router: Router
  readonly #upgrades: Upgrades
  readonly #server: Server
  readonly #relayServer: Server
  /** For the other processes of the node. */
  readonly #peerServer: Server
  readonly #relayed = new WeakMap<object, { identity: RelayIdentity; depth: () => number }>()
  readonly #handed = new WeakMap<IncomingMessage, Arrival>()
  /** What came by a project's own port, and has its name in the path by now. */
  readonly #owned = new WeakSet<IncomingMessage>()
  readonly #bodies: BodyBudget
  /** Of each request that is being served: who waits for its answer. */
  readonly #leaving = new Set<LazyAbort>()
  #isLeaving = false
  #isStopping = false

  constructor(deps: GatewayDeps) {
    this.#deps = deps
    this.#bodies = deps.bodies ?? new BodyBudget()
    this.#router = new Router(deps.routes)
    this.#upgrades = new Upgrades(deps)
    // Whoever offers another protocol, or this one elsewhere, is answered in ours; sites have no sockets.
    const options = {
      ...SERVER_OPTIONS,
      shouldUpgradeCallback: (request: IncomingMessage) =>
        !this.#contentOf(request) && this.#functionAt(request) === null && (this.#upgrades.wants(request) || this.#isForOthers(request)),
    }
    const serve = (request: IncomingMessage, response: ServerResponse) => void this.#serve(request, response, OUTSIDE)
    this.#server = deps.tls ? (createTlsServer({ ...options, ...deps.tls }, serve) as unknown as Server) : createServer(options, serve)
    const serveRelayed = (request: IncomingMessage, response: ServerResponse) => {
      const relay = this.#relayOf(request.socket)
      if (relay) void this.#serve(request, response, { relay })
      else request.socket.destroy()
    }
    this.#relayServer = createServer(options, serveRelayed)
    const serveHanded = (request: IncomingMessage, response: ServerResponse) => {
      const arrival = this.#handedOn(request)
      if (arrival) void this.#serve(request, response, arrival)
      else request.socket.destroy()
    }
    this.#peerServer = createServer(
      {
        ...options,
        maxHeaderSize: 2 * SERVER_OPTIONS.maxHeaderSize, // what came, and what is said of it
        headersTimeout: 0, // a process of the node that is starved of processors is no attacker
        keepAliveTimeout: 0, // whoever closes an idle connection that is about to be used breaks a request: only the other side does
        shouldUpgradeCallback: (request) => this.#handedOn(request) !== null && options.shouldUpgradeCallback(request),
      },
      serveHanded,
    )
    for (const [server, take] of [
      [this.#server, serve],
      [this.#relayServer, serveRelayed],
      [this.#peerServer, serveHanded],
    ] as const) {
      server.on('clientError', refuseMalformed)
      server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
        const arrival: Arrival = this.#handed.get(request) ?? { relay: this.#relayOf(request.socket) }
        const others = this.#upgradeTo(request, arrival)
        if (others) void others.upgrade(request, socket, head, this.#hopOf(request, arrival))
        else void this.#upgrades.take(request, socket, head, arrival.relay)
      })
      // An expectation that nobody knows is no reason to answer past the catalogue (RFC 9110, 10.1.1).
      server.on('checkExpectation', take)
      server.on('connect', (_request, socket: Duplex) => {
        socket.on('error', () => socket.destroy())
        endWith(socket, '405 Method Not Allowed', 'method_not_allowed', 'this is no proxy: CONNECT leads nowhere')
      })
    }
  }

  /**
   * @param shared  other processes of the node listen on it too: the kernel deals the connections out
   * @returns the port. @throws Error with code EADDRINUSE or EACCES
   */
  async listen(host: string, port: number, shared = false): Promise<number> {
    await listening(this.#server, { host, port, backlog: 511, reusePort: shared })
    this.#server.on('error', (error) => this.#deps.log.error({ error: error.message }, 'the listener reported an error'))
    return (this.#server.address() as AddressInfo).port
  }

  /** Takes requests from the other processes of the node, by a socket in a folder of its own user's. */
  async listenForPeers(path: string): Promise<void> {
    await rm(path, { force: true }) // a process that was killed leaves its name
    await listening(this.#peerServer, { path, backlog: 511 })
  }

  /** Of a connection that a sandbox opened, with its depth at this moment: it is kept open from one call to the next. */
  #relayOf(socket: object): Arrival['relay'] {
    const relay = this.#relayed.get(socket)
    return relay ? { identity: relay.identity, depth: relay.depth() } : null
  }

  /** What another process handed on; null when it says nothing of that, as no process of the node does. */
  #handedOn(request: IncomingMessage): Arrival | null {
    const known = this.#handed.get(request)
    if (known) return known
    const hop = takeHop(request)
    if (hop === null) return null
    if (hop.relay) this.#deps.processes?.adoptHandle(hop.relay.identity, hop.relay.handle)
    const arrival: Arrival = { relay: hop.relay, hop, own: hop.own === true }
    this.#handed.set(request, arrival)
    return arrival
  }

  /** Who takes what may become a WebSocket; null for this process. What the main process hands on has come where it belongs. */
  #upgradeTo(request: IncomingMessage, { relay, hop }: Arrival): Peer | null {
    const { processes } = this.#deps
    if (!processes) return null
    const { rest } = processes.handOver
    if (rest) return hop ? null : rest
    const home = relay ? null : this.#upgrades.homeOf(request)
    return home && processes.homeOf(home.ref, home.functionName)
  }

  #hopOf(request: IncomingMessage, { relay, hop, own }: Arrival): Omit<Hop, 'added'> {
    const handle = relay ? (this.#deps.processes?.handleOf(relay.identity) ?? null) : null
    return { remote: hop?.remote ?? request.socket.remoteAddress ?? 'sandbox', relay: relay && { ...relay, handle }, ...(own && { own }) }
  }

  /** Would become a WebSocket in another process. */
  #isForOthers(request: IncomingMessage): boolean {
    const rest = this.#deps.processes?.handOver.rest ?? null
    return rest !== null && request.method === 'GET' && /^websocket$/i.test(request.headers.upgrade ?? '')
  }

  /** Takes a connection that a sandbox opened to the platform. `depth` is asked for each request on it. */
  acceptRelay(connection: Duplex, identity: RelayIdentity, depth: () => number): void {
    this.#relayed.set(connection, { identity, depth })
    connection.on('error', () => connection.destroy())
    this.#relayServer.emit('connection', connection)
  }

  /** Serves a request that came by the console's door, which has looked at its host, its origin and its session. */
  serveVisitor(request: IncomingMessage, response: ServerResponse, visitor: Principal): Promise<void> {
    return this.#serve(request, response, { relay: null, visitor })
  }

  /** Serves a request that came by a project's own port, where its API stands at the root. */
  serveOwn(ref: ProjectRef, request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#enterBy(ref, request)
    return this.#serve(request, response, { relay: null, own: true })
  }

  /** Whether such a request may become a WebSocket. What is for whoever manages the project does not there. */
  wantsOwn(ref: ProjectRef, request: IncomingMessage): boolean {
    this.#enterBy(ref, request)
    return !this.#namesContent(request) && this.#upgrades.wants(request, 'project')
  }

  upgradeOwn(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    return this.#upgrades.take(request, socket, head, null)
  }

  /** From here on it looks as if it had named the project: whatever else it names stands below that, where nothing is. */
  #enterBy(ref: ProjectRef, request: IncomingMessage): void {
    if (this.#owned.has(request)) return
    this.#owned.add(request)
    if (request.url?.startsWith('/')) request.url = `/p/${ref}${request.url}`
  }

  /** A host name of a site or a function: neither is reached by a project's own port. */
  #namesContent({ headers: { host } }: IncomingMessage): boolean {
    const { content } = this.#deps
    return content !== null && (content.owns(host) || content.functionAt(host) !== null)
  }

  /** Requests that are being served. */
  get running(): number {
    return this.#leaving.size
  }

  /** Takes no more connections from the network, and lets its WebSockets go; the other processes are served on. */
  leave(): void {
    this.#isLeaving = true
    this.#server.close()
    this.#server.closeIdleConnections()
    this.#upgrades.drain()
  }

  /** Stops taking requests, lets those that run end within `graceMs`, then cuts them. */
  async drain(graceMs: number): Promise<void> {
    this.#isLeaving = true
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#peerServer.close()
    this.#server.closeIdleConnections()
    this.#upgrades.drain()
    const deadline = this.#deps.clock.monotonic() + graceMs
    while (this.running > 0 && this.#deps.clock.monotonic() < deadline) await this.#deps.clock.sleep(20)
    this.#isStopping = true
    for (const leaving of this.#leaving) leaving.abort(new MayflyError('shutting_down', 'the node is stopping'))
    await this.#deps.clock.sleep(this.running > 0 ? 50 : 0)
    this.#server.closeAllConnections()
    this.#relayServer.closeAllConnections()
    this.#peerServer.closeAllConnections()
    if (this.#server.listening) await closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain(0)
  }

  async #serve(request: IncomingMessage, response: ServerResponse, arrival: Arrival): Promise<void> {
    const { clock, log } = this.#deps
    const startedAt = clock.monotonic()
    const id = uuidv7(clock.now())
    const leaving = new LazyAbort()
    const onClose = () => {
      if (!response.writableFinished) leaving.abort(new ClientLeft())
    }
    response.on('close', onClose)
    request.on('error', unheard)
    response.on('error', unheard)
    this.#leaving.add(leaving)
    using held = this.#bodies.open()
    const headOnly = request.method === 'HEAD'
    const content = arrival.visitor || arrival.own ? null : this.#contentOf(request)
    const { processes } = this.#deps
    let route: Route | null = null
    let failure: unknown = null
    let allow: Record<string, string> = {}
    const visit: Visit = { use: null }
    try {
      let reply: Reply
      try {
        if (arrival.own && this.#namesContent(request)) throw new MayflyError('misdirected_request', 'this port is that of one project, and of no host name')
        if (processes && !arrival.visitor && !arrival.hop && (await this.#handOn(request, response, arrival, processes))) return
        if (content) reply = await this.#serveContent(request, content)
        else {
          const found = await this.#resolve(request, arrival, { id, leaving, held, visit })
          route = found.route
          reply = found.preflight ?? (await (processes ? this.#settling(found, processes) : found.route.handle(found.context)))
        }
      } catch (error) {
        failure = error
        const cause = causeOf(error)
        if (cause instanceof ClientLeft) return void response.destroy()
        if (cause instanceof WrongMethod) allow = { allow: cause.allow }
        reply = (errorRoute(error) ?? route)?.fail?.(cause, { id, headers: request.headers }) ?? errorReply(cause, id)
        // A dialect's refusal is no fault of ours, whatever class it has.
        if (!(cause instanceof MayflyError) && reply.status >= 500)
          log.error({ requestId: id, path: pathForLog(request), error: describe(error) }, 'a request failed by a fault of this node')
      }
      if (reply.status >= 400) await discardBody(request)
      const close: Record<string, string> = request.complete ? {} : leftHeader(arrival.hop !== undefined)
      const shown = arrival.visitor ? forVisitors(reply, route ?? errorRoute(failure)) : sparingTheConsole(reply)
      const cors = arrival.visitor || content || (route ?? errorRoute(failure))?.answersCors ? {} : CORS_HEADERS
      const writing = writeReply(response, shown, { 'x-request-id': id, ...cors, ...close, ...allow }, headOnly, leaving)
      if (writing !== null) await writing
      // What was not read of a refused body is not waited for.
      if (!request.complete && !arrival.hop) response.once('finish', () => request.socket.destroySoon())
      log.debug(
        { requestId: id, method: request.method, path: pathForLog(request), status: reply.status, ms: Math.round(clock.monotonic() - startedAt) },
        'request',
      )
    } catch (error) {
      log.error({ requestId: id, path: pathForLog(request), error: describe(error) }, 'a reply could not be written')
      response.destroy()
    } finally {
      visit.use?.[Symbol.dispose]()
      this.#leaving.delete(leaving)
    }
  }

  /** @returns whether another process has answered it. @throws MayflyError process_lost */
  async #handOn(request: IncomingMessage, response: ServerResponse, arrival: Arrival, processes: Processes): Promise<boolean> {
    if (this.#isStopping) return false // said in our own words
    const to = processes.handOver.to(request, arrival.relay?.identity ?? null)
    const peer = to instanceof Promise ? await to : to
    if (peer === null) return false
    try {
      if (await peer.hand(request, response, this.#hopOf(request, arrival))) return true
    } catch (error) {
      // With the main process the node is gone, and this one in an instant: as of a node of one process no answer comes.
      if (!this.#isLeaving && peer === processes.handOver.rest && error instanceof MayflyError && error.code === 'process_lost') {
        response.destroy()
        return true
      }
      // The other process was told to stop, as this one is.
      throw this.#isLeaving ? new MayflyError('shutting_down', 'the node is stopping', { cause: error }) : error
    }
    if (peer === processes.handOver.rest) throw new MayflyError('shutting_down', 'the main process of the node is away')
    return false
  }

  /** What may have changed something is answered, well or not, when every process knows. */
  async #settling({ route, context }: { route: Route; context: RequestContext }, processes: Processes): Promise<Reply> {
    const changes = route.plane === 'management' && route.runs === undefined && context.method !== 'GET' && context.method !== 'HEAD'
    if (!changes) return await route.handle(context)
    try {
      return await route.handle(context)
    } finally {
      await processes.settled()
    }
  }

  async #resolve(
    request: IncomingMessage,
    arrival: Arrival,
    { id, leaving, held, visit }: { readonly id: string; readonly leaving: LazyAbort; readonly held: HeldBody; readonly visit: Visit },
  ): Promise<{ route: Route; context: RequestContext; preflight: Reply | null }> {
    const { credentials, defaultProject, proxies } = this.#deps
    const { relay, visitor, own = false } = arrival
    if (this.#isStopping) throw new MayflyError('shutting_down', 'the node is stopping')
    const method = request.method ?? 'GET'
    const url = request.url ?? '/'
    checkRequestLine(request)
    const mark = url.indexOf('?')
    const fullPath = mark === -1 ? url : url.slice(0, mark)
    const rawQuery = mark === -1 ? '' : url.slice(mark + 1)
    const headers = request.headers
    if (visitor) {
      // the console's door knows its own names
    } else if (!relay) {
      // A function's host name, below the domain too, reaches that function and nothing else.
      if (this.#functionAt(request) === null) this.#deps.hosts.check(headers.host)
    } else if (headers.host !== undefined && hostName(headers.host) === null) throw new MayflyError('bad_request', 'the Host header is malformed')
    else if (relay.depth >= LIMITS.callDepth.value && !(await this.#deps.mayLoop(relay.identity)))
      throw new MayflyError('recursion_too_deep', `the call stands behind ${relay.depth} functions; ${LIMITS.callDepth.value} is the limit`)

    const urlId = visitor || relay || own ? null : this.#functionAt(request)
    const { ref, rest: rawPath } = urlId === null ? cutProject(fullPath) : { ref: null, rest: fullPath }
    const shownPath = own ? rawPath : fullPath
    const asked = !visitor && isPreflight(method, headers)
    const matchOf = (by: string) => this.#router.match(by, urlId === null ? rawPath : `/${FUNCTION_URLS}/${urlId}${rawPath}`)
    const match = matchOf(asked ? (headers['access-control-request-method'] as string) : method)
    if (match.kind === 'bad-encoding') throw new MayflyError('uri_invalid', 'the path holds a broken percent-encoding')
    const mayUse = (found: ReturnType<typeof matchOf>): boolean =>
      found.kind === 'found' &&
      (visitor
        ? isForVisitors(found.route, ref)
        : (!relay || found.route.plane === 'data-plane') &&
          (ref === null || (found.route.plane === 'data-plane' && found.route.access !== 'own')) &&
          // An access key names its project itself.
          !(own && found.route.access === 'aws'))
    if (match.kind === 'none' || (match.kind === 'found' && !mayUse(match)))
      throw new MayflyError('not_found', `nothing is served at ${method} ${clip(shownPath)}`)
    if (match.kind === 'wrong-method') {
      // Where no method leads anywhere there is nothing.
      if (relay || !match.allow.some((one) => mayUse(matchOf(one)))) throw new MayflyError('not_found', `nothing is served at ${method} ${clip(shownPath)}`)
      throw new WrongMethod(method, match.allow)
    }
    const { route, params } = match
    const preflight = asked && !route.answersCors
    const remote = arrival.hop?.remote ?? request.socket.remoteAddress ?? 'sandbox'
    const trusted = !relay && proxies.trusts(remote)
    const forwardedFor = trusted ? proxies.clientOf(headers['x-forwarded-for']) : null
    const secure = this.#isSecure(request, trusted)
    // What was said of a way that nobody here vouches for is heard by no function either; a signature is over all that came.
    const vouched = trusted ? request : withoutForwarding(request)
    const seen = visitor ? withoutCredentials(vouched) : withoutConsoleCookie(vouched)

    try {
      let principal: Principal = { kind: 'nobody' }
      let project: Project | null = null
      let signedBody: Buffer | null = null
      let keyFault: MayflyError | null = null
      if (preflight) {
        // answered before anyone is asked for a key
      } else if (route.access === 'aws') {
        const body = async () => (signedBody ??= await readBody(request, route.bodyBytes ?? LIMITS.managementBody.value, held))
        const signed = { method, rawPath: fullPath, rawQuery, headers, rawHeaders: request.rawHeaders, body }
        principal = await this.#deps.verifyAws(signed, relay?.identity ?? null, route.signs ?? 'lambda')
        if (!('project' in principal)) throw new MayflyError('not_allowed', 'an access key of a project is needed')
        project = this.#projectOf(principal.project)
      } else if (route.access === 'own') {
        if (relay) principal = relayPrincipal(relay.identity)
      } else {
        const users = route.plane === 'data-plane' ? (ref ?? defaultProject) : null
        try {
          if (visitor) principal = visitor
          // Who shows nothing is nobody, and is not waited for.
          else if (showsAnything(headers))
            principal = await (relay ? authenticateRelay(headers, relay.identity, credentials) : authenticate(headers, credentials, users))
        } catch (error) {
          keyFault = faultOfKey(route, error)
        }
        if (route.plane === 'data-plane') {
          if (relay && ref !== null && ref !== relay.identity.project)
            throw new MayflyError('not_found', 'another project is not reached from inside a function')
          project = this.#projectOf(relay ? (relay.identity.project as ProjectRef) : (ref ?? defaultProject))
        } else if (route.access === 'manage' && params.ref !== undefined) {
          authorise(route.access, principal, null, params.ref, route)
          project = this.#projectOf(params.ref as ProjectRef)
        }
        try {
          authorise(route.access, principal, project?.ref ?? null, params.ref ?? null, route)
        } catch (error) {
          keyFault = faultOfKey(route, error)
          principal = { kind: 'nobody' }
        }
      }
      if (project !== null) {
        held.belongsTo(project.ref)
        // A stranger wakes it by what it lets strangers do, and by nothing else.
        if (!preflight && principal.kind !== 'nobody' && uses(route, method)) {
          const entered = this.#deps.enter?.(project.ref) ?? null
          visit.use = entered instanceof Promise ? await entered : entered
        }
      }
      if (route.adds !== undefined && !preflight) this.#deps.admitSpace(route.adds)
      const known: Known = {
        id,
        method,
        rawPath,
        rawQuery,
        headers: seen.headers,
        rawHeaders: seen.rawHeaders,
        params,
        principal,
        project,
        remoteAddress: forwardedFor ?? remote,
        keyFault,
        ownHost: urlId !== null,
        ownPort: own,
        origin: (visitor && this.#deps.apiOrigin?.()) || `${secure ? 'https' : 'http'}://${headers.host ?? 'localhost'}`,
        depth: relay ? Math.min(relay.depth + 1, LIMITS.callDepth.value) : 0,
      }
      const context = new Arrived(known, request, leaving, held, signedBody)
      return { route, context, preflight: preflight ? preflightReply(headers) : null }
    } catch (error) {
      throw new RouteFailure(route, error)
    }
  }

  /** Null where the request is for the API: a sandbox reaches no other door. */
  #contentOf(request: IncomingMessage): Content | null {
    const { content } = this.#deps
    return content?.owns(request.headers.host) && !this.#isRelayed(request) ? content : null
  }

  #isRelayed(request: IncomingMessage): boolean {
    return this.#relayed.has(request.socket) || this.#handed.get(request)?.relay != null
  }

  /** The id in a host name of function URLs, whatever it is; null for all others. A sandbox reaches them by their paths. */
  #functionAt(request: IncomingMessage): string | null {
    return this.#isRelayed(request) ? null : (this.#deps.content?.functionAt(request.headers.host) ?? null)
  }

  /** The sites' own door. */
  async #serveContent(request: IncomingMessage, content: Content): Promise<Reply> {
    if (this.#isStopping) throw new MayflyError('shutting_down', 'the node is stopping')
    checkRequestLine(request)
    const remote = this.#handed.get(request)?.hop?.remote ?? request.socket.remoteAddress ?? ''
    return await content.reply(request, this.#isSecure(request, this.#deps.proxies.trusts(remote)))
  }

  #isSecure(request: IncomingMessage, trusted: boolean): boolean {
    return trusted ? firstOf(request.headers['x-forwarded-proto']) === 'https' : this.#deps.tls !== null
  }

  #projectOf(ref: ProjectRef): Project {
    const project = this.#deps.project(ref)
    if (project?.state !== 'active') throw new MayflyError('project_not_found', `there is no project ${clip(ref)}`)
    return project
  }
}

function listening(server: Server, at: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(at, () => {
      server.removeListener('error', reject)
      resolve()
    })
  })
}

/** What is given back when the reply is written. */
interface Visit {
  use: Disposable | null
}

/** Who only looks at what is known of a project does not wake it. */
const uses = (route: Route, method: string): boolean => route.plane === 'data-plane' || (method !== 'GET' && method !== 'HEAD')

/** Nobody reads the reply any more: what was being done for it may stop. */
class ClientLeft extends Error {
  constructor() {
    super('the client left')
  }
}

class WrongMethod extends MayflyError {
  readonly allow: string
  constructor(method: string, allow: readonly string[]) {
    super('method_not_allowed', `${clip(method)} is not one of ${allow.join(', ')}`)
    this.allow = allow.join(', ')
  }
}

/** Carries the route beside an error from before its handler ran, so that the error is told in the route's dialect. */
class RouteFailure extends Error {
  readonly route: Route
  constructor(route: Route, cause: unknown) {
    super('failed before the handler', { cause })
    this.route = route
  }
}
const errorRoute = (error: unknown) => (error instanceof RouteFailure ? error.route : null)
const KEY_FAULTS: ReadonlySet<string> = new Set<ErrorCode>(['key_invalid', 'token_invalid', 'token_expired', 'token_refused', 'token_role_unknown'])
/** A key that does not hold, where the route judges that itself. @throws what is no such fault */
function faultOfKey(route: Route, error: unknown): MayflyError {
  if (route.judgesKeys && error instanceof MayflyError && KEY_FAULTS.has(error.code)) return error
  throw error
}
/** The fault itself; a database that is away and a disk that is full are told as such, whoever met them. */
export const causeOf = (error: unknown): unknown => {
  const cause = error instanceof RouteFailure ? error.cause : error
  if (cause instanceof DatabaseError && cause.isAway) return new MayflyError('database_unavailable', 'the node does not reach its database', { cause })
  const full = cause instanceof DatabaseError ? cause.sqlState === '53100' : cause instanceof Error && 'code' in cause && cause.code === 'ENOSPC'
  if (full) return new MayflyError('storage_full', 'the disk of the data directory is full', { cause })
  return cause
}

/** What it says is heard by who waits for it. */
const unheard = () => {}

const FORWARDING = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-forwarded-port', 'x-real-ip']

/** The headers without what names a way past us. */
function withoutForwarding(request: IncomingMessage): Pick<IncomingMessage, 'headers' | 'rawHeaders'> {
  const { headers, rawHeaders } = request
  if (!FORWARDING.some((name) => headers[name] !== undefined)) return request
  const kept = { ...headers }
  for (const name of FORWARDING) delete kept[name]
  const hidden = new Set(FORWARDING)
  const raw: string[] = []
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    if (!hidden.has(name.toLowerCase())) raw.push(name, rawHeaders[i + 1] as string)
  }
  return { headers: kept, rawHeaders: raw }
}

export const firstOf = (header: string | string[] | undefined): string | null => {
  const text = Array.isArray(header) ? header[0] : header
  return text?.split(',')[0]?.trim() || null
}

const clip = (text: string) => JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text)

// The query may hold a key or a signature: it is never logged.
const pathForLog = ({ url = '' }: IncomingMessage) => {
  const mark = url.indexOf('?')
  return (mark === -1 ? url : url.slice(0, mark)).slice(0, 500)
}

const describe = (error: unknown): string => {
  const cause = causeOf(error)
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
}
