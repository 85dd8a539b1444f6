import type { IncomingHttpHeaders } from 'node:http'
import type { Leaving } from '../lib/leaving.ts'
import type { MayflyError } from './errors.ts'
import type { Principal } from './principal.ts'
import type { Project, ProjectRef } from './project.ts'

/** Our plain answer: status, headers, body. An array value becomes one header line per element. */
export interface Reply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array> | null
}

/**
 * Who may come in by a route.
 * - `open`: anyone (health, preflight).
 * - `operator`: the operator token only.
 * - `manage`: the operator, or the secret key of the project in the path (`:ref`).
 * - `project`: any valid key of the project, or a function of it; the handler decides what more it asks.
 * - `own`: whoever the handler lets in; it alone looks at headers that may be a key, for they may be meant for the function.
 *   Of what came out of a sandbox the principal says which function it was.
 * - `aws`: a SigV4 signature; the access key picks the project. Body is read and hashed before the handler runs.
 */
export type Access = 'open' | 'operator' | 'manage' | 'project' | 'own' | 'aws'

/**
 * What a request adds to the disk, so that it is refused in time when space runs short (`storage_full`).
 * - `data`: something to keep that a client brings, such as code; refused below the reserve.
 * - `records`: what the node writes down about it, such as an execution and its log; refused below half of it.
 */
export type Adds = 'data' | 'records'

export interface RequestContext {
  /** UUID of this request; the invocation id when it becomes one. */
  readonly id: string
  readonly method: string
  /** The path as it came, percent-encoded, with a project prefix (`/p/<ref>`) already cut off. */
  readonly rawPath: string
  /** What follows `?`, as it came; empty when there was none. */
  readonly rawQuery: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  /** Header lines in order and case as they came: name, value, name, value… */
  readonly rawHeaders: readonly string[]
  /** Path parameters, each percent-decoded once. `*` holds the encoded rest of a wildcard, without its leading slash. */
  readonly params: Readonly<Record<string, string>>
  readonly principal: Principal
  /** The one project this request is for; null on routes of the node itself. */
  readonly project: Project | null
  readonly remoteAddress: string
  /** Why the keys that came count for nothing; the principal is nobody then. Only where the route judges them itself. */
  readonly keyFault?: MayflyError | null
  /** The host name is that of what is asked for, and nothing else of the node is reached by it. */
  readonly ownHost?: boolean
  /** The port is the project's own, where its paths stand at the root. */
  readonly ownPort?: boolean
  /** The origin that the client used, such as `http://127.0.0.1:54321`. */
  readonly origin: string
  /** How many functions stand before this request (recursion guard); 0 from outside. */
  readonly depth: number
  /** Fires when the client leaves or the node stops. */
  readonly signal: AbortSignal
  /** The same for the path of a call, where the signal itself is seldom asked for. */
  readonly leaving?: Leaving
  /** The whole body. @throws MayflyError payload_too_large past `limitBytes`, request_timeout when it stalls */
  body(limitBytes: number): Promise<Buffer>
  /** The body as it comes, counted against `limitBytes`. May be used once, instead of `body`. */
  stream(limitBytes: number): AsyncIterable<Uint8Array>
  /** Told by a handler that has found out itself which project this request is for: its body counts as that project's. */
  readonly belongsTo?: (project: ProjectRef) => void
}

/** What is known of a request that failed, however early. */
export interface FailContext {
  readonly id: string
  readonly headers: IncomingHttpHeaders
}

export interface Route {
  /** An HTTP method, or `*` for any. */
  readonly method: string
  /** Segments: literal, `:name`, or `*` at the end for the rest (which may be empty). */
  readonly path: string
  readonly access: Access
  /** Where it is served: only `data-plane` routes exist on the relay of a sandbox. Console routes are no rows of this table. */
  readonly plane: 'node' | 'management' | 'data-plane'
  /** Absent where nothing is added: reads, deletes, acks. Those are served on a full disk too. */
  readonly adds?: Adds
  /** One sentence for docs/api.md. */
  readonly doc: string
  /** `aws` routes: how many body bytes are read before the signature is checked. */
  readonly bodyBytes?: number
  /** `aws` routes: what a signature must be scoped to; `lambda` when absent. */
  readonly signs?: 'sqs'
  /** `project` routes: a key that does not hold is no refusal yet. `keyFault` says what is wrong with it, and the handler whether that matters. */
  readonly judgesKeys?: boolean
  /** What browsers ask about other origins, preflights too, is the handler's to answer. */
  readonly answersCors?: boolean
  /**
   * Whether a request runs a function at once, and waits for it: any process of the node may serve that. All else is
   * served by the main process.
   * @param query  what follows `?`, as it came
   */
  readonly runs?: (headers: IncomingHttpHeaders, query: string) => boolean
  /** Renders an error in the dialect of the route; the catalogue's JSON shape when absent. */
  readonly fail?: (error: unknown, context: FailContext) => Reply
  readonly handle: (context: RequestContext) => Promise<Reply>
}

/** A connection that speaks WebSocket, as the rooms see it. */
export interface Socket {
  /** Bytes that were sent and that the client has not taken yet. */
  readonly buffered: number
  /** @param taken  called when the kernel has it, or the connection is gone */
  send(frame: string | Uint8Array, taken?: () => void): void
  /** Whether what the client sends is heard; it is from the beginning. */
  listen(on: boolean): void
  /** Says farewell; who does not answer it within a second is cut. */
  close(code: number, reason: string): void
  /** Cuts it, whatever is on its way. */
  cut(): void
  onFrame(take: (frame: string | Buffer) => void): void
  /** Called once, also when it is closed already. */
  onClose(take: () => void): void
}

export interface UpgradeContext {
  readonly id: string
  readonly principal: Principal
  readonly project: Project
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  /** Fires when the connection is gone, before the handshake or after it. */
  readonly closed: AbortSignal
}

/** A row beside the routes: where a GET becomes a WebSocket. A key of the project is asked for, a cookie never. */
export interface Upgrade {
  /** Literal, without parameters. */
  readonly path: string
  /** `project`: any key of the project, and functions of it. `manage`: the operator or the secret key, and nobody from inside a sandbox. */
  readonly access: 'project' | 'manage'
  /** One sentence for docs/api.md. */
  readonly doc: string
  /** The process that has the sandboxes of the function in `?function=` serves it; else the main process. */
  readonly atHome?: boolean
  /** The largest message that is taken from a client. */
  readonly frameBytes: number
  /** Renders a refusal, which is plain HTTP; in the catalogue's shape when absent. */
  readonly fail?: (error: unknown, context: { id: string }) => Reply
  /** May it come in? Asked before the handshake. @throws MayflyError */
  readonly admit: (context: UpgradeContext) => void | Promise<void>
  readonly accept: (context: UpgradeContext, socket: Socket) => void
}
