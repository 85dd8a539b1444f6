import type { IncomingMessage } from 'node:http'
import type { ProjectRef } from '../core/project.ts'
import type { Route } from '../core/route.ts'
import type { RelayIdentity } from '../sandbox/index.ts'
import { type Content, FUNCTION_URLS } from './content.ts'
import { isPreflight } from './cors.ts'
import { cutProject } from './doors.ts'
import type { Hands, Peer } from './peer.ts'
import { Router } from './router.ts'

/** A request that runs a function at once, by where it says so. */
export interface CallAsked {
  readonly route: Route
  readonly params: Readonly<Record<string, string>>
  /** Of the path, where that names one. */
  readonly ref: ProjectRef | null
  readonly request: IncomingMessage
  readonly relay: RelayIdentity | null
}

export interface HandOverDeps {
  /** The rows whose calls any process of the node can serve (`Route.runs`), of all processes the same. */
  readonly routes: readonly Route[]
  readonly content: Content | null
  /** Who serves all that runs no function; null in that process itself. */
  readonly rest: Peer | null
  /** Who is to serve a call: the process that has the function's sandboxes, or null for this one. */
  readonly of: (asked: CallAsked) => Hands | null | Promise<Hands | null>
}

/**
 * Which process of the node serves a request. Connections are taken by all of them, and one may carry requests of every
 * kind; so it is requests that are handed on, each once at most.
 */
export class HandOver {
  readonly #deps: HandOverDeps
  readonly #router: Router

  constructor(deps: HandOverDeps) {
    this.#deps = deps
    this.#router = new Router(deps.routes.filter((route) => route.runs !== undefined))
  }

  /** Who keeps the WebSockets; null for this process. */
  get rest(): Peer | null {
    return this.#deps.rest
  }

  /** Null where it is to be served here. What is wrong with it is told by who serves it. */
  to(request: IncomingMessage, relay: RelayIdentity | null): Hands | null | Promise<Hands | null> {
    const { content, rest, of } = this.#deps
    const url = request.url ?? '/'
    const { host } = request.headers
    if (!url.startsWith('/') || (relay === null && content?.owns(host))) return rest
    const mark = url.indexOf('?')
    const path = mark === -1 ? url : url.slice(0, mark)
    const urlId = relay === null ? (content?.functionAt(host) ?? null) : null
    let cut: ReturnType<typeof cutProject>
    try {
      cut = urlId === null ? cutProject(path) : { ref: null, rest: `/${FUNCTION_URLS}/${urlId}${path}` }
    } catch {
      return rest
    }
    const { method = 'GET', headers } = request
    const asked = isPreflight(method, headers) ? (headers['access-control-request-method'] as string) : method
    const match = this.#router.match(asked, cut.rest)
    if (match.kind !== 'found') return rest
    const { route, params } = match
    if (!route.runs?.(headers, mark === -1 ? '' : url.slice(mark + 1))) return rest
    return of({ route, params, ref: cut.ref, request, relay })
  }
}
