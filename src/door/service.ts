import { randomBytes } from 'node:crypto'
import { type Duplex, pipeline } from 'node:stream'
import { type Connection, DatabaseError, type Databases } from '../backends/database/database.ts'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import { type Project, type ProjectRef, parseProjectRef } from '../core/project.ts'
import type { Sealer } from '../core/seal.ts'
import type { Clock } from '../lib/clock.ts'
import { type Behind, cancelKey, openBehind } from './behind.ts'
import { askPassword, type FrontOptions, Refused, readOpening } from './front.ts'
import { Passwords } from './passwords.ts'
import { noVerifier, readVerifier } from './scram.ts'
import { selectVerifier } from './store.ts'
import { fatal, int32, packet, WireError } from './wire.ts'

export interface DoorDeps {
  readonly databases: Databases
  readonly sealer: Sealer
  readonly project: (ref: ProjectRef) => Project | null
  readonly clock: Clock
  readonly log: Log
}

/** In front of the dot of a user's name; what a project's owner is called by who connects. */
export const USER = 'postgres'
const WRONG_PASSWORD = '28P01'
const FAREWELL_MS = 5_000
/** A server that has to be started, and repairs itself first, takes its time. */
const REACH_MS = 90_000
/** What carries in both directions adds some more than is usual. */
const LISTENERS = 30
const READY = packet('Z', 'I')

interface Session {
  readonly ref: ProjectRef
  readonly stream: Duplex
  readonly behind: Behind
  /** Whether it came in by the password. */
  readonly byPassword: boolean
}

/**
 * Sessions of PostgreSQL clients in the databases of projects, as their owner. A session is opened here, by PostgreSQL's
 * own protocol; what follows is carried in both directions and never read.
 */
export class Door implements AsyncDisposable {
  readonly passwords: Passwords
  readonly #deps: DoorDeps
  readonly #secret = randomBytes(32)
  readonly #sessions = new Map<string, Session>()
  /** How many each project has, those that are being opened too. */
  readonly #counts = new Map<ProjectRef, number>()
  readonly #opening = new Set<Duplex>()
  #closing = false

  constructor(deps: DoorDeps) {
    this.#deps = deps
    this.passwords = new Passwords(deps.databases.control, deps.sealer)
  }

  get sessions(): number {
    return this.#sessions.size
  }

  /** How many sessions a project has, those that are being opened too. */
  connectedTo(ref: ProjectRef): number {
    return this.#counts.get(ref) ?? 0
  }

  /** A client from anywhere, who says by its user's name which project it wants and proves that it may. Never throws. */
  async serve(stream: Duplex, options: FrontOptions): Promise<void> {
    await this.#admit(stream, options, async (opened, parameters) => {
      const user = parameters.get('user') ?? ''
      if (user === '') throw new Refused('28000', 'the startup packet names no user')
      const ref = user.startsWith(`${USER}.`) ? parseProjectRef(user.slice(USER.length + 1)) : null
      let project: Project | null = null
      // Nobody learns by an answer, or by its absence, which projects there are.
      await askPassword(opened, user, async () => {
        const [row] = ref === null ? [] : await selectVerifier(this.#deps.databases.control.sql, ref)
        project = row ?? null
        return row ? readVerifier(row.verifier) : noVerifier(this.#secret, user)
      })
      return project as Project | null
    })
  }

  /** A client for whom the node has looked already who it is. Never throws. */
  async serveKnown(stream: Duplex, project: Project): Promise<void> {
    await this.#admit(stream, { secure: null, demandsTls: false }, null, project)
  }

  /** Ends the sessions of a project: of all, or of those that came in by its password. */
  end(ref: ProjectRef, which: 'all' | 'byPassword'): void {
    for (const session of this.#sessions.values()) if (session.ref === ref && (which === 'all' || session.byPassword)) cut(session)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true
    for (const stream of this.#opening) stream.destroy()
    for (const session of this.#sessions.values()) cut(session)
  }

  async #admit(
    stream: Duplex,
    options: FrontOptions,
    judge: ((stream: Duplex, parameters: ReadonlyMap<string, string>) => Promise<Project | null>) | null,
    known: Project | null = null,
  ): Promise<void> {
    const { clock, log } = this.#deps
    stream.on('error', () => stream.destroy())
    stream.setMaxListeners(LISTENERS)
    if (this.#opening.size >= LIMITS.doorWaiting.value || this.#closing)
      return this.#refuse(stream, new Refused('53300', 'too many clients have not signed in yet', 'Connect again in some seconds.'))
    this.#opening.add(stream)
    let spoken = stream
    const gone = new AbortController()
    stream.once('close', () => {
      gone.abort()
      // Whatever is still waited for: who is gone takes nobody's place.
      this.#opening.delete(stream)
      late[Symbol.dispose]()
    })
    let late = clock.timer(LIMITS.doorOpeningTime.value, () => stream.destroy())
    try {
      const opening = await readOpening(stream, options)
      if (opening.kind === 'cancel') {
        this.#cancel(opening)
        return this.#leave(stream)
      }
      spoken = opening.stream
      spoken.setMaxListeners(LISTENERS)
      const project = known ?? (await judge?.(spoken, opening.parameters)) ?? null
      // Their PostgreSQL may have to be started: that is no longer the client's time.
      late[Symbol.dispose]()
      late = clock.timer(REACH_MS, () => gone.abort())
      this.#opening.delete(stream)
      if (project === null) throw new Refused(WRONG_PASSWORD, 'there is no such user')
      spoken.write(packet('R', int32(0)))
      await this.#open(project, spoken, opening.parameters, known === null, gone.signal)
    } catch (error) {
      if (error instanceof Refused) this.#refuse(spoken, error)
      else {
        if (!(error instanceof WireError)) log.error({ error: error instanceof Error ? error.stack : String(error) }, 'a PostgreSQL client could not be let in')
        stream.destroy()
      }
    } finally {
      late[Symbol.dispose]()
      this.#opening.delete(stream)
    }
  }

  /** @throws Refused */
  async #open(project: Project, stream: Duplex, parameters: ReadonlyMap<string, string>, byPassword: boolean, signal: AbortSignal): Promise<void> {
    const { ref } = project
    const asked = parameters.get('database') || (parameters.get('user') ?? '')
    if (!['postgres', ref, parameters.get('user')].includes(asked))
      throw new Refused('3D000', `database "${asked}" does not exist`, 'A project has one database, called postgres.')
    if (!/^(|false|off|no|0)$/i.test(parameters.get('replication') ?? '')) throw new Refused('0A000', 'replication is not carried by this door')
    const count = this.#counts.get(ref) ?? 0
    if (count >= LIMITS.doorSessions.value)
      throw new Refused('53300', `the project has ${count} sessions already, the most there may be`, 'End one, or put fewer into the pool of your client.')
    this.#counts.set(ref, count + 1)
    const given = new Map([...parameters].filter(([name]) => !['user', 'database', 'replication'].includes(name)))
    try {
      const behind = await this.#reach(ref, given, signal)
      if (this.#closing || this.#deps.project(ref)?.id !== project.id) {
        behind.socket.destroy()
        throw new Refused('57P01', 'the project ends')
      }
      await this.#carry({ ref, stream, behind, byPassword })
    } finally {
      const left = (this.#counts.get(ref) ?? 1) - 1
      if (left > 0) this.#counts.set(ref, left)
      else this.#counts.delete(ref)
    }
  }

  async #reach(ref: ProjectRef, given: ReadonlyMap<string, string>, signal: AbortSignal): Promise<Behind> {
    const { databases, log } = this.#deps
    try {
      const connection: Connection = await databases.ownerConnection(ref)
      try {
        return await openBehind(connection, given, signal)
      } catch (error) {
        if (!(error instanceof DatabaseError && error.sqlState === WRONG_PASSWORD)) throw error
        await databases.renewOwner(ref)
        return await openBehind(connection, given, signal)
      }
    } catch (error) {
      // What its own server says is told; what we meet on the way to it is not.
      if (error instanceof DatabaseError && error.sqlState !== '08006' && error.sqlState !== WRONG_PASSWORD)
        throw new Refused(error.sqlState, error.message, error.hint ?? undefined)
      log.warn({ project: ref, error: error instanceof Error ? error.message : String(error) }, 'the database of a project was not reached for a client')
      throw new Refused('08006', 'the database of the project is not reached', 'Connect again in some seconds; the log of the node says what it met.')
    }
  }

  /** Until either side ends. */
  async #carry(session: Session): Promise<void> {
    const { stream, behind } = session
    let key = cancelKey()
    while (this.#sessions.has(`${behind.pid}/${key}`)) key = cancelKey()
    const name = `${behind.pid}/${key}`
    this.#sessions.set(name, session)
    try {
      stream.write(Buffer.concat([behind.greeting, packet('K', int32(behind.pid, key)), READY]))
      await new Promise<void>((resolve) => {
        let open = 2
        let late: Disposable | null = null
        const ended = () => {
          if (--open === 0) resolve()
        }
        // The server has the last word, if somebody is there to hear it.
        pipeline(behind.socket, stream, () => {
          behind.socket.destroy()
          late?.[Symbol.dispose]()
          stream.destroy()
          ended()
        })
        pipeline(stream, behind.socket, ended)
        behind.socket.once('close', () => {
          if (!stream.destroyed) late = this.#deps.clock.timer(FAREWELL_MS, () => stream.destroy())
        })
        stream.once('close', () => behind.socket.destroy())
      })
    } finally {
      this.#sessions.delete(name)
    }
  }

  #refuse(stream: Duplex, { sqlState, message, hint }: Refused): void {
    if (!stream.destroyed) stream.write(fatal(sqlState, message, hint))
    this.#leave(stream)
  }

  /** Who does not read the farewell is not waited for. */
  #leave(stream: Duplex): void {
    const late = this.#deps.clock.timer(FAREWELL_MS, () => stream.destroy())
    stream.once('close', () => late[Symbol.dispose]())
    stream.end()
    stream.resume()
  }

  #cancel({ pid, key }: { readonly pid: number; readonly key: number }): void {
    // By PostgreSQL's rule nobody is told whether there was such a session.
    this.#sessions.get(`${pid}/${key}`)?.behind.cancel()
  }
}

const cut = ({ stream, behind }: Session): void => {
  behind.socket.destroy()
  stream.destroy()
}
