import type { IncomingMessage } from 'node:http'
import { MayflyError } from '../core/errors.ts'
import type { Principal } from '../core/principal.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import type { RequestContext } from '../core/route.ts'
import type { LazyAbort } from '../lib/leaving.ts'
import { readBody, streamBody } from './body.ts'
import type { HeldBody } from './body-budget.ts'

/** What the listener has found out about a request. */
export type Known = Pick<
  RequestContext,
  'id' | 'method' | 'rawPath' | 'rawQuery' | 'headers' | 'rawHeaders' | 'params' | 'principal' | 'project' | 'remoteAddress' | 'origin' | 'depth'
> & { readonly keyFault: MayflyError | null; readonly ownHost: boolean; readonly ownPort: boolean }

/** A request with its route: what its handler is given. A class, for an object with functions of its own for each request costs several times as much. */
export class Arrived implements RequestContext {
  readonly id: string
  readonly method: string
  readonly rawPath: string
  readonly rawQuery: string
  readonly headers: RequestContext['headers']
  readonly rawHeaders: readonly string[]
  readonly params: Readonly<Record<string, string>>
  readonly principal: Principal
  readonly project: Project | null
  readonly remoteAddress: string
  readonly keyFault: MayflyError | null
  readonly ownHost: boolean
  readonly ownPort: boolean
  readonly origin: string
  readonly depth: number
  readonly leaving: LazyAbort
  readonly #request: IncomingMessage
  readonly #held: HeldBody
  /** What was read for its signature. */
  readonly #signedBody: Buffer | null
  #query: URLSearchParams | null = null

  constructor(known: Known, request: IncomingMessage, leaving: LazyAbort, held: HeldBody, signedBody: Buffer | null) {
    this.id = known.id
    this.method = known.method
    this.rawPath = known.rawPath
    this.rawQuery = known.rawQuery
    this.headers = known.headers
    this.rawHeaders = known.rawHeaders
    this.params = known.params
    this.principal = known.principal
    this.project = known.project
    this.remoteAddress = known.remoteAddress
    this.keyFault = known.keyFault
    this.ownHost = known.ownHost
    this.ownPort = known.ownPort
    this.origin = known.origin
    this.depth = known.depth
    this.leaving = leaving
    this.#request = request
    this.#held = held
    this.#signedBody = signedBody
  }

  get query(): URLSearchParams {
    this.#query ??= new URLSearchParams(this.rawQuery)
    return this.#query
  }
  get signal(): AbortSignal {
    return this.leaving.signal
  }
  async body(limitBytes: number): Promise<Buffer> {
    if (!this.#signedBody) return await readBody(this.#request, limitBytes, this.#held)
    if (this.#signedBody.length > limitBytes) throw new MayflyError('payload_too_large', `the body may have ${limitBytes} bytes here`)
    return this.#signedBody
  }
  stream(limitBytes: number): AsyncIterable<Uint8Array> {
    return streamBody(this.#request, limitBytes)
  }
  belongsTo(project: ProjectRef): void {
    this.#held.belongsTo(project)
  }
}
