import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { MayflyError } from '../core/errors.ts'
import { jsonOf } from '../core/json-body.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Principal } from '../core/principal.ts'
import type { Reply } from '../core/route.ts'
import type { Clock } from '../lib/clock.ts'
import { createServer } from '../lib/http-server.ts'
import { uuidv7 } from '../lib/ids.ts'
import { Attempts } from './attempts.ts'
import { discardBody, readBody } from './body.ts'
import { consoleCookie, consoleCookieName, cookiesNamed } from './cookies.ts'
import type { HostNames, TrustedProxies } from './doors.ts'
import { causeOf, firstOf, SERVER_OPTIONS } from './listener.ts'
import { json } from '../core/json-reply.ts'
import { checkRequestLine, endWith, refuseMalformed } from './refusals.ts'
import { errorReply, writeReply } from './reply.ts'
import { StaticFiles } from './static-files.ts'
import { CONSOLE_HEADERS } from './visits.ts'

/** What the door asks of `auth`. */
export interface ConsoleLogins {
  readonly longestMs: number
  signIn(code: string): Promise<{ readonly token: string; readonly id: string } | null>
  verify(token: string): Promise<{ readonly id: string; readonly leftMs: number } | null>
  signOut(id: string): Promise<void>
}

export interface ConsoleDeps {
  /** Where the build of the console's pages lies. */
  readonly files: string
  readonly logins: ConsoleLogins
  /** What a page asks first: where it is. */
  readonly describe: () => { readonly projects: readonly unknown[]; readonly defaultProject: string; readonly apiUrl: string }
  /** The API's own route table, for who is signed in. */
  readonly serve: (request: IncomingMessage, response: ServerResponse, principal: Principal) => Promise<void>
  readonly hosts: HostNames
  readonly proxies: TrustedProxies
  readonly clock: Clock
  readonly log: Log
  readonly tls: { cert: string; key: string } | null
}

const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob: data:",
  "connect-src 'self'",
  "font-src 'self'",
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')

const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD'])
/** Paths of the API, whichever of them the console's door serves: none of them is a page. */
const OF_THE_API = /^\/(session|api|p|health|ready|metrics|sites)(\/|$)|^\/[^/]+\/v1(\/|$)|^\/\d{4}-\d\d-\d\d(\/|$)/
const SERVED_SIGNED_IN = /^\/(api\/v1|p\/[^/]+\/storage\/v1)\//

/** Where a request stands: who sent it by which way. */
interface Arrival {
  readonly secure: boolean
  readonly origin: string
  readonly address: string
}

/**
 * The console's door: an origin of its own, the only one that accepts a cookie. It gives the files of the console's
 * pages to anyone, and to who is signed in the management API and what lies in storage, the latter so that none of it runs.
 */
export class ConsoleListener implements AsyncDisposable {
  readonly #deps: ConsoleDeps
  readonly #files: StaticFiles
  readonly #attempts: Attempts
  readonly #server: Server
  /** What is being answered, by session: it ends with it. */
  readonly #visits = new Map<string, Set<ServerResponse>>()

  constructor(deps: ConsoleDeps) {
    this.#deps = deps
    this.#files = new StaticFiles(deps.files)
    this.#attempts = new Attempts(deps.clock)
    const serve = (request: IncomingMessage, response: ServerResponse) => void this.#serve(request, response)
    this.#server = deps.tls ? (createTlsServer({ ...SERVER_OPTIONS, ...deps.tls }, serve) as unknown as Server) : createServer(SERVER_OPTIONS, serve)
    this.#server.on('clientError', refuseMalformed)
    this.#server.on('checkExpectation', serve)
    this.#server.on('connect', (_request, socket: Duplex) => {
      socket.on('error', () => socket.destroy())
      endWith(socket, '405 Method Not Allowed', 'method_not_allowed', 'this is no proxy: CONNECT leads nowhere')
    })
  }

  /** @returns the port. @throws Error with code EADDRINUSE or EACCES */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port }, () => {
        this.#server.removeListener('error', reject)
        this.#server.on('error', (error) => this.#deps.log.error({ error: error.message }, 'the listener of the console reported an error'))
        resolve((this.#server.address() as AddressInfo).port)
      })
    })
  }

  /** Ends what is being answered to sessions that are no more: that of one, or of all. */
  cut(session: string | null): void {
    for (const [id, responses] of this.#visits) {
      if (session !== null && session !== id) continue
      for (const response of responses) {
        // A stream ends at once; a short answer, such as to who ended the sessions, has a moment left.
        if (response.headersSent) response.destroy()
        else {
          const moment = this.#deps.clock.timer(1_000, () => response.destroy())
          response.once('close', () => moment[Symbol.dispose]())
        }
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    if (this.#server.listening) await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { clock, log } = this.#deps
    const id = uuidv7(clock.now())
    request.on('error', () => {})
    response.on('error', () => {})
    let allow: Record<string, string> = {}
    try {
      let reply: Reply | null
      try {
        reply = await this.#answer(request, response)
        if (reply === null) return // the route table has answered
      } catch (error) {
        const cause = causeOf(error)
        if (cause instanceof MayflyError && cause.code === 'method_not_allowed') allow = { allow: ALLOWED[pathOf(request)] ?? 'GET, HEAD' }
        if (!(cause instanceof MayflyError))
          log.error({ requestId: id, path: pathOf(request).slice(0, 500), error: String(cause) }, 'a request to the console failed by a fault of this node')
        reply = errorReply(cause, id)
      }
      if (reply.status >= 400) await discardBody(request)
      const close: Record<string, string> = request.complete ? {} : { connection: 'close' }
      const common = { 'x-request-id': id, 'content-security-policy': PAGE_POLICY, 'cache-control': 'no-store', ...CONSOLE_HEADERS, ...close, ...allow }
      await writeReply(response, reply, common, request.method === 'HEAD', AbortSignal.any([]))
      if (!request.complete) response.once('finish', () => request.socket.destroySoon())
    } catch (error) {
      log.error({ requestId: id, error: String(error) }, 'a reply of the console could not be written')
      response.destroy()
    }
  }

  /** @returns null when the route table answers */
  async #answer(request: IncomingMessage, response: ServerResponse): Promise<Reply | null> {
    const { hosts, serve } = this.#deps
    const method = request.method ?? 'GET'
    checkRequestLine(request)
    hosts.check(request.headers.host)
    const path = pathOf(request)
    if (!OF_THE_API.test(path)) return await this.#page(request, method, path)
    const arrival = this.#arrivalOf(request)
    checkOrigin(request, method, arrival.origin)
    if (path === '/session') return await this.#session(request, method, arrival)
    if (!SERVED_SIGNED_IN.test(path)) throw new MayflyError('not_found', 'nothing is served here; the API has an address of its own')
    const session = await this.#sessionOf(request, arrival)
    if (session === null) throw new MayflyError('session_missing', 'nobody is signed in')
    this.#hold(session, response)
    await serve(request, response, { kind: 'operator', id: `console:${session.id}` })
    return null
  }

  async #page(request: IncomingMessage, method: string, path: string): Promise<Reply> {
    if (!SAFE.has(method)) throw new MayflyError('method_not_allowed', 'a page is read by GET or HEAD')
    let wanted: string
    try {
      wanted = decodeURIComponent(path)
    } catch {
      throw new MayflyError('uri_invalid', 'the path holds a broken percent-encoding')
    }
    const reply = await this.#files.reply(wanted, request.headers['if-none-match'])
    if (reply === null) throw new MayflyError('not_found', 'the console has no such file')
    return reply
  }

  async #session(request: IncomingMessage, method: string, arrival: Arrival): Promise<Reply> {
    if (method === 'GET' || method === 'HEAD') {
      if ((await this.#sessionOf(request, arrival)) === null) throw new MayflyError('session_missing', 'nobody is signed in')
      return json(200, this.#deps.describe())
    }
    if (method === 'POST') return await this.#signIn(request, arrival)
    if (method === 'DELETE') {
      await this.#signOut(request, arrival)
      return { status: 204, headers: { 'set-cookie': consoleCookie(arrival.secure, '', 0) } }
    }
    throw new MayflyError('method_not_allowed', 'a session is opened, read and ended here')
  }

  async #signIn(request: IncomingMessage, arrival: Arrival): Promise<Reply> {
    const { logins, log } = this.#deps
    if (!/^application\/json\s*(;|$)/i.test(request.headers['content-type'] ?? ''))
      throw new MayflyError('bad_request', 'the body must have the type application/json')
    const code = codeOf(await readBody(request, LIMITS.managementBody.value))
    this.#attempts.admit(arrival.address)
    const made = await logins.signIn(code)
    if (made === null) {
      log.warn({ audit: true, address: arrival.address }, 'a wrong login code was sent to the console')
      throw new MayflyError('login_code_invalid', 'the code is not valid, or not any more')
    }
    this.#attempts.forgive(arrival.address)
    // Who signs in anew leaves the session before.
    await this.#signOut(request, arrival)
    log.info({ audit: true, session: made.id, address: arrival.address }, 'somebody signed in to the console')
    return { status: 204, headers: { 'set-cookie': consoleCookie(arrival.secure, made.token, logins.longestMs) } }
  }

  async #signOut(request: IncomingMessage, arrival: Arrival): Promise<void> {
    const session = await this.#sessionOf(request, arrival)
    if (session === null) return
    await this.#deps.logins.signOut(session.id)
    this.cut(session.id)
    this.#deps.log.info({ audit: true, session: session.id }, 'somebody signed out of the console')
  }

  async #sessionOf(request: IncomingMessage, arrival: Arrival): Promise<{ id: string; leftMs: number } | null> {
    for (const token of cookiesNamed(request.headers.cookie, consoleCookieName(arrival.secure))) {
      const session = await this.#deps.logins.verify(token)
      if (session !== null) return session
    }
    return null
  }

  /** An answer lasts no longer than its session would if nothing else were asked with it. */
  #hold({ id, leftMs }: { id: string; leftMs: number }, response: ServerResponse): void {
    const responses = this.#visits.get(id) ?? new Set()
    this.#visits.set(id, responses.add(response))
    const end = this.#deps.clock.timer(Math.min(leftMs, MOST_TIMER_MS), () => response.destroy())
    response.once('close', () => {
      end[Symbol.dispose]()
      responses.delete(response)
      if (responses.size === 0 && this.#visits.get(id) === responses) this.#visits.delete(id)
    })
  }

  #arrivalOf(request: IncomingMessage): Arrival {
    const { proxies, tls } = this.#deps
    const remote = request.socket.remoteAddress ?? ''
    const trusted = proxies.trusts(remote)
    const secure = trusted ? firstOf(request.headers['x-forwarded-proto']) === 'https' : tls !== null
    return {
      secure,
      origin: `${secure ? 'https' : 'http'}://${(request.headers.host ?? '').toLowerCase()}`,
      address: (trusted ? proxies.clientOf(request.headers['x-forwarded-for']) : null) ?? remote,
    }
  }
}

const MOST_TIMER_MS = 2 ** 31 - 1
const ALLOWED: Readonly<Record<string, string>> = { '/session': 'GET, HEAD, POST, DELETE' }
const pathOf = (request: IncomingMessage): string => (request.url ?? '/').split('?')[0] as string

/**
 * Was this sent by a page of the console itself? A cookie of the same site is also sent by pages of other ports and host
 * names of it, so `SameSite` alone does not say so.
 * @throws MayflyError cross_origin
 */
function checkOrigin(request: IncomingMessage, method: string, own: string): void {
  const { origin, 'sec-fetch-site': site } = request.headers
  const refuse = (what: string) => new MayflyError('cross_origin', what)
  // `none` is a person at the address bar.
  if (site !== undefined && site !== 'same-origin' && !(site === 'none' && SAFE.has(method))) throw refuse('the request came from a page of another origin')
  if (origin !== undefined && origin !== own) throw refuse('the request came from a page of another origin')
  if (!SAFE.has(method) && origin === undefined && site !== 'same-origin') throw refuse('the request does not say which page it came from')
}

function codeOf(body: Buffer): string {
  const value = jsonOf(body)
  const code = typeof value === 'object' && value !== null ? (value as Record<string, unknown>).code : null
  if (typeof code !== 'string') throw new MayflyError('bad_request', 'code: the one-time code is needed')
  return code
}
