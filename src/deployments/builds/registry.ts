import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream as WebStream } from 'node:stream/web'
import { createServer } from '../../lib/http-server.ts'
import { publicFetch } from '../../core/public-fetch.ts'
import type { NamedRegistry } from './request.ts'

export interface Trust {
  /** Whether a certificate by somebody unknown is what was met. */
  readonly isUnknown: (error: Error) => boolean
  /** @returns whether to ask again may help */
  readonly more: () => Promise<boolean>
}

export interface RegistryOptions {
  /** Where packages begin, with or without a path. */
  readonly url: string
  /** For a registry that asks for one; it stays in the node. */
  readonly token: string | null
  /** Registries that an app names, for all packages or for those of a scope. */
  readonly named?: readonly NamedRegistry[]
  /** Origins that it may name though they are not public. */
  readonly allowed?: readonly string[]
  readonly fetch?: typeof fetch
  /** For certificates by somebody unknown. */
  readonly trust?: Trust
}

/** What npm says about itself and what it wants, and no more. */
const PASSED = ['accept', 'if-none-match', 'npm-command', 'user-agent'] as const
const RETURNED = ['content-type', 'etag', 'cache-control', 'last-modified'] as const
const PATIENCE_MS = 60_000
const SCOPE = /\/(@[a-z0-9-][a-z0-9._-]*)(?:\/|%2f)/i

interface Source {
  readonly origin: string
  /** Where its packages begin. */
  readonly path: string
  readonly authorization: string | null
  readonly ask: (url: string, asked: { readonly method: string; readonly headers: Record<string, string>; readonly signal: AbortSignal }) => Promise<Response>
}

/**
 * The only thing that a sandbox which installs can reach: registries, to read. The node asks them, by addresses that its
 * operator or the owner of the app named and with credentials that no sandbox sees; another host cannot be named from inside.
 */
export class Registry {
  readonly #server = createServer((request, response) => void this.#serve(request, response))
  readonly #options: RegistryOptions
  readonly #main: Source
  readonly #scopes: ReadonlyMap<string, Source>

  constructor(options: RegistryOptions) {
    const { url, token, named = [], allowed = [] } = options
    this.#options = options
    const own = sourceOf(url, token === null ? null : `Bearer ${token}`, (at, asked) => (options.fetch ?? fetch)(at, { ...asked, redirect: 'manual' }))
    const sources = new Map<string | null, Source>()
    for (const one of named) {
      const source = sourceOf(one.url, one.authorization, (at, asked) => publicFetch(at, asked, allowed))
      // The operator's own is asked as ever, unless the app has credentials for it.
      const isOwn = source.origin === own.origin && source.path === own.path && one.authorization === null
      sources.set(one.scope, isOwn ? own : source)
    }
    this.#main = sources.get(null) ?? own
    this.#scopes = new Map([...sources].flatMap(([scope, source]) => (scope === null ? [] : [[scope, source]])))
  }

  /** Where packages begin; the same inside. */
  get path(): string {
    return this.#main.path
  }

  /** One that reads where an app says, for as long as it is installed. */
  withNamed(named: readonly NamedRegistry[]): Registry {
    return named.length === 0 ? this : new Registry({ ...this.#options, named })
  }

  /** Serves a connection of a sandbox. */
  accept(connection: Duplex): void {
    connection.on('error', () => connection.destroy())
    this.#server.emit('connection', connection)
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const stop = new AbortController()
    response.on('close', () => stop.abort())
    try {
      const url = request.url ?? ''
      const scope = SCOPE.exec(url)?.[1]
      const source = (scope === undefined ? undefined : this.#scopes.get(scope)) ?? this.#main
      const path = pathOf(url, source, this.#main)
      if ((request.method !== 'GET' && request.method !== 'HEAD') || path === null) {
        response.writeHead(403, { 'content-type': 'text/plain' }).end('Packages of the registry can be read, and nothing else.\n')
        return
      }
      const headers: Record<string, string> = {}
      for (const name of PASSED) if (typeof request.headers[name] === 'string') headers[name] = request.headers[name]
      if (source.authorization !== null) headers.authorization = source.authorization
      const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(PATIENCE_MS)])
      const { method } = request
      const ask = () => source.ask(`${source.origin}${path}`, { method, headers, signal })
      const answer = await ask().catch(async (error: unknown) => {
        if (this.#isUntrusted(error) && (await this.#options.trust?.more())) return await ask()
        throw error
      })
      const given: Record<string, string> = {}
      for (const name of RETURNED) {
        const value = answer.headers.get(name)
        if (value !== null) given[name] = value
      }
      response.writeHead(answer.status >= 300 && answer.status < 400 && answer.status !== 304 ? 502 : answer.status, given)
      if (answer.body === null || request.method === 'HEAD') response.end()
      else await pipeline(Readable.fromWeb(answer.body as WebStream), response)
    } catch (error) {
      if (response.headersSent) return void response.destroy()
      const why = `The registry cannot be reached: ${whyOf(error, this.#isUntrusted(error))}`
      // In this form npm says why; pnpm tells the line of the status alone.
      if (request.headers['user-agent']?.startsWith('pnpm/')) response.statusMessage = why.replaceAll(/[^ -~]+/g, ' ')
      response.writeHead(502, { 'content-type': 'application/json' }).end(JSON.stringify({ error: why }))
    }
  }

  #isUntrusted(error: unknown): boolean {
    const cause = causeOf(error)
    return cause instanceof Error && this.#options.trust?.isUnknown(cause) === true
  }
}

function sourceOf(text: string, authorization: string | null, ask: Source['ask']): Source {
  const url = new URL(text)
  return { origin: url.origin, path: url.pathname.endsWith('/') ? url.pathname : `${url.pathname}/`, authorization, ask }
}

/** What is asked begins as the paths of the main registry do; a lockfile may name packages by paths of others, which begin as they like. */
function pathOf(url: string, source: Source, main: Source): string | null {
  if (!url.startsWith('/') || url.length > 2_000) return null
  const rest = url.startsWith(source.path) ? url.slice(source.path.length) : url.startsWith(main.path) ? url.slice(main.path.length) : url.slice(1)
  const path = `${source.path}${rest}`
  const seen = URL.parse(`${source.origin}${path}`)
  return seen !== null && seen.origin === source.origin && seen.pathname.startsWith(source.path) ? path : null
}

const causeOf = (error: unknown): unknown => (error instanceof Error && error.cause instanceof Error ? error.cause : error)

function whyOf(error: unknown, isUntrusted: boolean): string {
  const cause = causeOf(error)
  if (!(cause instanceof Error)) return String(cause)
  return isUntrusted ? `${cause.message}; start the node with NODE_EXTRA_CA_CERTS, a file of the certificates that it should trust too` : cause.message
}
