import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Duplex } from 'node:stream'
import { type Database, DatabaseError, type Tx } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Project, ProjectRef } from '../core/project.ts'
import { deleteProjectPort, insertProjectPort, selectProjectForPort, selectProjectPorts, upsertProjectPort } from '../core/store.ts'
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
  /** Changes of one project's port come one after the other. */
  readonly #changing = new Map<ProjectRef, Promise<void>>()
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
    this.#servers.set(project.ref, await this.#take(project.ref, port, () => insertProjectPort(tx, project.id, port)))
    this.#ports.set(project.ref, port)
  }

  /**
   * Gives a project that serves already a port, another one, or none. The former one goes on until the new one is open and
   * stored; then what is open on it is cut.
   * @throws MayflyError bad_request, port_taken
   */
  async change(project: Project, port: number | null): Promise<void> {
    const turn = (this.#changing.get(project.ref) ?? Promise.resolve()).catch(() => {}).then(() => this.#change(project, port))
    this.#changing.set(project.ref, turn)
    try {
      await turn
    } finally {
      if (this.#changing.get(project.ref) === turn) this.#changing.delete(project.ref)
    }
  }

  async #change(project: Project, port: number | null): Promise<void> {
    const { ref } = project
    if (port === this.of(ref)) return
    const former = { port: this.of(ref), server: this.#servers.get(ref) }
    let opened: Server | null = null
    try {
      await this.#deps.database.transaction(async (tx) => {
        const [row] = await selectProjectForPort(tx, project.id)
        if (!row) throw new MayflyError('project_not_found', `there is no project ${ref}`)
        if (port === null) await deleteProjectPort(tx, project.id)
        else opened = await this.#take(ref, port, () => upsertProjectPort(tx, project.id, port))
        // While its row is held: a deletion that waits for it closes what is here then.
        this.#put(ref, port, opened)
      })
    } catch (error) {
      end(opened)
      if (opened !== null && this.#servers.get(ref) === opened) this.#put(ref, former.port, former.server)
      throw error
    }
    this.#waiting.get(ref)?.[Symbol.dispose]()
    this.#waiting.delete(ref)
    end(former.server)
  }

  #put(ref: ProjectRef, port: number | null, server: Server | null | undefined): void {
    if (port === null) this.#ports.delete(ref)
    else this.#ports.set(ref, port)
    if (server) this.#servers.set(ref, server)
    else this.#servers.delete(ref)
  }

  /** Stored first, so that of two projects that want a port one is told so by the database. @throws MayflyError bad_request, port_taken */
  async #take(ref: ProjectRef, port: number, store: () => Promise<unknown>): Promise<Server> {
    const { value: most, least = 0 } = LIMITS.projectPort
    if (!Number.isInteger(port) || port < least || port > most) throw new MayflyError('bad_request', `port: a whole number from ${least} to ${most}`)
    try {
      await store()
    } catch (error) {
      if (!(error instanceof DatabaseError) || error.constraint !== 'project_port_port_key') throw error
      throw new MayflyError('port_taken', `the port ${port} is another project's`, { cause: error })
    }
    try {
      return await this.#listen(ref, port)
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code === 'EADDRINUSE') throw new MayflyError('port_taken', `the port ${port} is in use by another program, or by the node itself`, { cause: error })
      throw new MayflyError('bad_request', `port: ${port} cannot be opened: ${message}`, { cause: error })
    }
  }

  /** Cuts what is open on it. */
  close(ref: ProjectRef): void {
    const server = this.#servers.get(ref)
    this.#waiting.get(ref)?.[Symbol.dispose]()
    this.#waiting.delete(ref)
    this.#ports.delete(ref)
    this.#servers.delete(ref)
    end(server)
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
    } else end(server)
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
    const upgraded = new Set<Duplex>()
    upgradedOf.set(server, upgraded)
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      upgraded.add(socket)
      socket.once('close', () => upgraded.delete(socket))
      void gateway().upgradeOwn(request, socket, head)
    })
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

/** A server knows nothing of them any more. */
const upgradedOf = new WeakMap<Server, Set<Duplex>>()

function end(server: Server | null | undefined): void {
  if (!server) return
  server.close()
  server.closeAllConnections()
  for (const socket of upgradedOf.get(server) ?? []) socket.destroy()
}
