import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Duplex } from 'node:stream'
import { type Database, DatabaseError, type Tx } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import { insertProjectPort, selectProjectPorts } from '../core/store.ts'
import type { Clock } from '../lib/clock.ts'
import { createServer } from '../lib/http-server.ts'
import { type Gateway, SERVER_OPTIONS } from './listener.ts'
import { endWith, refuseMalformed } from './refusals.ts'

export interface OwnPortsDeps {
  readonly database: Database
  /** What serves it all, once there is one. */
  readonly gateway: () => Pick<Gateway, 'serveOwn' | 'wantsOwn' | 'upgradeOwn'>
  /** The address that the API listens on. */
  readonly host: string
  readonly tls: { cert: string; key: string } | null
  readonly clock: Clock
  readonly log: Log
}

const FIRST_WAIT_MS = 500
const MAX_WAIT_MS = 30_000

/**
 * Ports that are a project's own: what stands below `/p/<ref>` elsewhere is there at the root, and nothing else of the
 * node. The main process serves them alone, and hands calls of busy functions on as it does those of its other port.
 */
export class OwnPorts implements AsyncDisposable {
  readonly #deps: OwnPortsDeps
  readonly #ports = new Map<ProjectRef, number>()
  readonly #servers = new Map<ProjectRef, Server>()
  /** Those that another program had, until they are tried again. */
  readonly #waiting = new Map<ProjectRef, Disposable>()
  #isLeft = false

  constructor(deps: OwnPortsDeps) {
    this.#deps = deps
  }

  /** Opens all that there are. One that another program has is told, tried again, and keeps nobody from the rest of the node. */
  async start(): Promise<void> {
    for (const { ref, port } of await selectProjectPorts(this.#deps.database.sql)) {
      this.#ports.set(ref, port)
      try {
        this.#servers.set(ref, await this.#listen(ref, port))
      } catch (error) {
        const { message } = error as Error
        this.#deps.log.warn(
          { project: ref, port, error: message },
          "a project's own port could not be opened; its API is at the address of the node alone until it can be",
        )
        this.#later(ref, port, FIRST_WAIT_MS)
      }
    }
  }

  /** Null where a project has none. */
  of(ref: ProjectRef): number | null {
    return this.#ports.get(ref) ?? null
  }

  /** In the transaction that makes the project; whoever sees that fail closes it again. @throws MayflyError bad_request, port_taken */
  async bring(tx: Tx, project: Project, port: number): Promise<void> {
    const { value: most, least = 0 } = LIMITS.projectPort
    if (!Number.isInteger(port) || port < least || port > most) throw new MayflyError('bad_request', `port: a whole number from ${least} to ${most}`)
    try {
      await insertProjectPort(tx, project.id, port)
    } catch (error) {
      if (!(error instanceof DatabaseError) || error.constraint !== 'project_port_port_key') throw error
      throw new MayflyError('port_taken', `the port ${port} is another project's`, { cause: error })
    }
    try {
      this.#servers.set(project.ref, await this.#listen(project.ref, port))
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code === 'EADDRINUSE') throw new MayflyError('port_taken', `the port ${port} is in use by another program, or by the node itself`, { cause: error })
      throw new MayflyError('bad_request', `port: ${port} cannot be opened: ${message}`, { cause: error })
    }
    this.#ports.set(project.ref, port)
  }

  /** Cuts what is open on it. */
  close(ref: ProjectRef): void {
    const server = this.#servers.get(ref)
    this.#waiting.get(ref)?.[Symbol.dispose]()
    this.#waiting.delete(ref)
    this.#ports.delete(ref)
    this.#servers.delete(ref)
    server?.close()
    server?.closeAllConnections()
  }

  /** Takes no more connections. What runs is the gateway's to wait for. */
  leave(): void {
    this.#isLeft = true
    for (const timer of this.#waiting.values()) timer[Symbol.dispose]()
    for (const server of this.#servers.values()) {
      server.close()
      server.closeIdleConnections()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.leave()
    for (const ref of [...this.#servers.keys()]) this.close(ref)
  }

  #later(ref: ProjectRef, port: number, waitMs: number): void {
    if (!this.#isWanted(ref, port)) return
    const again = () => void this.#retry(ref, port).catch(() => this.#later(ref, port, Math.min(waitMs * 2, MAX_WAIT_MS)))
    this.#waiting.set(ref, this.#deps.clock.timer(waitMs, again))
  }

  async #retry(ref: ProjectRef, port: number): Promise<void> {
    this.#waiting.delete(ref)
    const server = await this.#listen(ref, port)
    // Its project may have ended meanwhile, and the node.
    if (this.#isWanted(ref, port)) {
      this.#servers.set(ref, server)
      this.#deps.log.info({ project: ref, port }, "a project's own port is open now")
    } else {
      server.close()
      server.closeAllConnections()
    }
  }

  #isWanted(ref: ProjectRef, port: number): boolean {
    return !this.#isLeft && this.#ports.get(ref) === port
  }

  /** @throws Error as a listener does */
  async #listen(ref: ProjectRef, port: number): Promise<Server> {
    const { gateway, host, tls, log } = this.#deps
    const serve = (request: IncomingMessage, response: ServerResponse) => void gateway().serveOwn(ref, request, response)
    const options = { ...SERVER_OPTIONS, shouldUpgradeCallback: (request: IncomingMessage) => gateway().wantsOwn(ref, request) }
    const server = tls ? (createTlsServer({ ...options, ...tls }, serve) as unknown as Server) : createServer(options, serve)
    server.on('clientError', refuseMalformed)
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => void gateway().upgradeOwn(request, socket, head))
    server.on('checkExpectation', serve)
    server.on('connect', (_request, socket: Duplex) => {
      socket.on('error', () => socket.destroy())
      endWith(socket, '405 Method Not Allowed', 'method_not_allowed', 'this is no proxy: CONNECT leads nowhere')
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port, backlog: 511 }, () => {
        server.removeListener('error', reject)
        resolve()
      })
    })
    server.on('error', (error) => log.error({ project: ref, error: error.message }, 'the listener of a project reported an error'))
    return server
  }
}
