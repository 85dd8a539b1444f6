import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream as WebStream } from 'node:stream/web'
import { createServer } from '../../lib/http-server.ts'

export interface RegistryOptions {
  /** Where packages begin, with or without a path. */
  readonly url: string
  /** For a registry that asks for one; it stays in the node. */
  readonly token: string | null
  readonly fetch?: typeof fetch
}

/** What npm says about itself and what it wants, and no more. */
const PASSED = ['accept', 'if-none-match', 'npm-command', 'user-agent'] as const
const RETURNED = ['content-type', 'etag', 'cache-control', 'last-modified'] as const
const PATIENCE_MS = 60_000

/**
 * The only thing that a sandbox which installs can reach: one registry, to read. The node asks it, by an address that
 * its operator named and with credentials that no sandbox sees; another host cannot be named from inside.
 */
export class Registry {
  readonly #server = createServer((request, response) => void this.#serve(request, response))
  readonly #origin: string
  readonly #options: RegistryOptions
  /** Where packages begin; the same inside. */
  readonly path: string

  constructor(options: RegistryOptions) {
    const url = new URL(options.url)
    this.#options = options
    this.#origin = url.origin
    this.path = url.pathname.endsWith('/') ? url.pathname : `${url.pathname}/`
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
      const path = this.#pathOf(request.url ?? '')
      if ((request.method !== 'GET' && request.method !== 'HEAD') || path === null) {
        response.writeHead(403, { 'content-type': 'text/plain' }).end('Packages of the registry can be read, and nothing else.\n')
        return
      }
      const headers: Record<string, string> = {}
      for (const name of PASSED) if (typeof request.headers[name] === 'string') headers[name] = request.headers[name]
      if (this.#options.token !== null) headers.authorization = `Bearer ${this.#options.token}`
      const answer = await (this.#options.fetch ?? fetch)(`${this.#origin}${path}`, {
        method: request.method,
        headers,
        // Elsewhere is not the registry.
        redirect: 'manual',
        signal: AbortSignal.any([stop.signal, AbortSignal.timeout(PATIENCE_MS)]),
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
      if (response.headersSent) response.destroy()
      else response.writeHead(502, { 'content-type': 'text/plain' }).end(`The registry cannot be reached: ${whyOf(error)}\n`)
    }
  }

  /** A lockfile may name packages of another registry, whose paths do not begin as ours. */
  #pathOf(url: string): string | null {
    if (!url.startsWith('/') || url.length > 2_000) return null
    const path = url.startsWith(this.path) ? url : `${this.path}${url.slice(1)}`
    return new URL(`${this.#origin}${path}`).pathname.startsWith(this.path) ? path : null
  }
}

function whyOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return cause instanceof Error ? cause.message : String(cause)
}
