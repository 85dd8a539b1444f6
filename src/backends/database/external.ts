import { createHash, createHmac } from 'node:crypto'
import path from 'node:path'
import pg from 'pg'
import { parseIntoClientConfig } from 'pg-connection-string'
import type { Clock } from '../../lib/clock.ts'
import { CloneUnavailable, type Connection, type Database, DatabaseError, type Databases, DatabaseUnusable, type Gap } from './database.ts'
import { migrate, MigrationError, readMigrations } from './migrate.ts'
import { asDatabaseError, openAsOwner, PostgresDatabase, quoteIdentifier, quoteLiteral } from './postgres.ts'

export interface ExternalOptions {
  /** `postgres://user:password@host:port/database?sslmode=…`: the control database. Never logged. */
  readonly url: string
  /** What the passwords of the projects' login roles are derived from; the same for the life of the instance. */
  readonly secret: Uint8Array
  readonly migrations: string
  readonly clock: Clock
  readonly log: (fields: Readonly<Record<string, unknown>>, message: string) => void
}

export interface ExternalReport {
  /** As the server says it: `16.2`. */
  readonly version: string
  /** Without these no node starts on it. */
  readonly blocking: readonly Gap[]
  /** What falls away with it. */
  readonly missing: readonly Gap[]
  /** What the projects of one server have in common, unlike those of the embedded ones. */
  readonly shared: readonly string[]
}

export const LEAST_MAJOR = 16
const API_ROLES = ['anon', 'authenticated', 'service_role']
// A session lock of the control database: the node that works on it.
const NODE_LOCK = 7_291_064_114
const RELOCK_MS = 1_000
const ROLES_CONNECTIONS = 8
const LOGIN_CONNECTIONS = 4
// Whoever is refused lost to another that went on: each node on the server can be in the way a few times.
const MOST_COLLISIONS = 20
const COLLISION_PAUSE_MS = 50
const LOGINS = ['owner', 'authenticator', 'auth_authenticator']

/**
 * Somebody else's PostgreSQL: the control database is the one that the URL names, each project is a database beside
 * it (`<control>_p_<ref>`) with login roles of its own (`<that>_owner`, `<that>_authenticator`, `<that>_auth_authenticator`).
 */
export class ExternalDatabases implements Databases {
  /** Of a server that is not ours we hold nothing. */
  readonly memoryMb = null
  readonly kind: string
  readonly missing: readonly Gap[]
  readonly control: Database
  readonly #options: ExternalOptions
  readonly #connection: Connection
  readonly #builtinLocale: boolean
  readonly #projects = new Map<string, Promise<Database>>()
  readonly #roles = new Map<string, PostgresDatabase>()
  readonly #logins = new Map<string, PostgresDatabase>()
  readonly #lock: NodeLock
  /** Roles and databases belong to the whole server: two projects made at once would trip over each other. */
  #serverWide: Promise<unknown> = Promise.resolve()
  /** So do two whose databases are brought up to date at once, as after a start; within `#serverWide` or outside of it. */
  #migrating: Promise<unknown> = Promise.resolve()

  private constructor(options: ExternalOptions, connection: Connection, control: Database, { version, missing }: ExternalReport, lock: NodeLock) {
    this.kind = `external ${version}`
    this.missing = missing
    this.#options = options
    this.#connection = connection
    this.#builtinLocale = Number.parseInt(version, 10) >= 17
    this.control = control
    this.#lock = lock
  }

  /** @throws DatabaseUnusable, MigrationError */
  static async open(options: ExternalOptions): Promise<ExternalDatabases> {
    const connection = connectionOf(options.url)
    const report = await inspectExternal(options.url)
    const [first] = report.blocking
    if (first) throw new DatabaseUnusable(`${first.why}. ${first.todo}`)
    await using opening = new AsyncDisposableStack()
    const lock = opening.use(await NodeLock.take(connection, options))
    const control = opening.use(new PostgresDatabase(connection, { max: 10, statementTimeoutMs: 60_000 }))
    await control.script(`revoke connect, temporary on database ${quoteIdentifier(connection.database)} from public`)
    await migrate(control, await readMigrations(path.join(options.migrations, 'control')))
    opening.move()
    return new ExternalDatabases(options, connection, control, report, lock)
  }

  controlConnection(): Connection {
    return this.#connection
  }

  ensureProject(ref: string): Promise<void> {
    return this.#oneByOne(async () => {
      const database = this.#databaseOf(ref)
      const [there] = await this.control.sql<{ there: boolean }>`select exists (select from pg_database where datname = ${database}) as there`
      if (!there?.there) await this.control.script(`create database ${quoteIdentifier(database)} template template0 encoding 'UTF8'${this.#locale()}`)
      const project = await this.openProject(ref)
      for (const role of LOGINS) {
        const { user } = this.connection(ref, role)
        await project.script(`grant connect, temporary on database ${quoteIdentifier(database)} to ${quoteIdentifier(user)}; ${this.#passwordOf(ref, role)}`)
      }
    })
  }

  cloneProject(): Promise<void> {
    return Promise.reject(new CloneUnavailable('the databases are on a server that is not ours'))
  }

  async pauseProject(ref: string): Promise<void> {
    const open = this.#projects.get(ref)
    this.#projects.delete(ref)
    const pools = [this.#roles.get(ref), this.#logins.get(ref)]
    this.#roles.delete(ref)
    this.#logins.delete(ref)
    await (await open?.catch(() => null))?.[Symbol.asyncDispose]()
    for (const pool of pools) await pool?.[Symbol.asyncDispose]()
  }

  dropProject(ref: string): Promise<void> {
    return this.#oneByOne(async () => {
      await this.pauseProject(ref)
      await this.control.script(`drop database if exists ${quoteIdentifier(this.#databaseOf(ref))} with (force)`)
      for (const role of LOGINS) await this.control.script(`drop role if exists ${quoteIdentifier(this.#roleOf(ref, role))}`)
    })
  }

  async openProject(ref: string): Promise<Database> {
    const known = this.#projects.get(ref)
    if (known) return await known
    const opening = this.#open(ref)
    this.#projects.set(ref, opening)
    opening.catch(() => this.#projects.delete(ref))
    return await opening
  }

  async openRoles(ref: string): Promise<Database> {
    return await this.#openAs(this.#roles, ref, 'authenticator', ROLES_CONNECTIONS)
  }

  async openLogin(ref: string): Promise<Database> {
    return await this.#openAs(this.#logins, ref, 'auth_authenticator', LOGIN_CONNECTIONS)
  }

  /** Opened once for each project. */
  async #openAs(pools: Map<string, PostgresDatabase>, ref: string, role: 'authenticator' | 'auth_authenticator', max: number): Promise<Database> {
    await this.openProject(ref)
    const known = pools.get(ref)
    if (known) return known
    const opened = new PostgresDatabase(this.connection(ref, role), { max, statementTimeoutMs: 60_000, usersPath: true })
    pools.set(ref, opened)
    return opened
  }

  async rolesConnection(ref: string): Promise<Connection> {
    await this.openProject(ref)
    return this.connection(ref, 'authenticator')
  }

  async openOwner(ref: string): Promise<Database> {
    return await openAsOwner(await this.ownerConnection(ref), () => this.renewOwner(ref))
  }

  async ownerConnection(ref: string): Promise<Connection> {
    await this.openProject(ref)
    return this.connection(ref, 'owner')
  }

  renewOwner(ref: string): Promise<void> {
    return this.#oneByOne(async () => (await this.openProject(ref)).script(this.#passwordOf(ref, 'owner')))
  }

  async projectConnection(ref: string): Promise<Connection> {
    await this.openProject(ref)
    return { ...this.#connection, database: this.#databaseOf(ref) }
  }

  /** How a login role of a project reaches it. */
  connection(ref: string, role: string): Connection {
    const password = createHmac('sha256', this.#options.secret).update(`${ref}/${role}`).digest('base64url')
    return { ...this.#connection, user: this.#roleOf(ref, role), password, database: this.#databaseOf(ref) }
  }

  /** None: a server that is not ours runs, or is away. */
  async brokenOff(): Promise<readonly string[]> {
    return []
  }

  /** None: the server is not ours. */
  async status(): Promise<{ place: string; running: boolean; pid: number | null }[]> {
    return []
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const projects = await Promise.allSettled(this.#projects.values())
    await Promise.all(projects.map((project) => (project.status === 'fulfilled' ? project.value[Symbol.asyncDispose]() : null)))
    await Promise.all([...this.#roles.values(), ...this.#logins.values()].map((roles) => roles[Symbol.asyncDispose]()))
    await this.control[Symbol.asyncDispose]()
    await this.#lock[Symbol.asyncDispose]()
  }

  #oneByOne<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#serverWide.then(work)
    this.#serverWide = done.catch(() => {})
    return done
  }

  async #open(ref: string): Promise<Database> {
    const connection = { ...this.#connection, database: this.#databaseOf(ref) }
    const database = new PostgresDatabase(connection, { max: 4, statementTimeoutMs: 60_000 })
    try {
      await database.script(`revoke connect, temporary on database ${quoteIdentifier(connection.database)} from public`)
      const migrations = await readMigrations(path.join(this.#options.migrations, 'project'), {
        owner: this.#roleOf(ref, 'owner'),
        authenticator: this.#roleOf(ref, 'authenticator'),
        auth_authenticator: this.#roleOf(ref, 'auth_authenticator'),
        auth_password: this.connection(ref, 'auth_authenticator').password,
      })
      // Some of them change roles that projects share.
      const turn = this.#migrating.then(() => this.#despiteOthers(() => migrate(database, migrations)))
      this.#migrating = turn.catch(() => {})
      await turn
      return database
    } catch (error) {
      await database[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Roles belong to the whole server, and other nodes may have databases on it: what they were in the way of is done again. */
  async #despiteOthers<T>(work: () => Promise<T>): Promise<T> {
    const made = new Set<string>()
    for (let attempt = 1; ; attempt++) {
      try {
        return await work()
      } catch (error) {
        if (attempt === MOST_COLLISIONS || !isCollision(error, made)) throw error
        await this.#options.clock.sleep(attempt * COLLISION_PAUSE_MS)
      }
    }
  }

  #passwordOf = (ref: string, role: string) => {
    const { user, password } = this.connection(ref, role)
    return `alter role ${quoteIdentifier(user)} password ${quoteLiteral(password)}`
  }
  // The same order and letters as the embedded servers have, where the version knows them.
  #locale = () => (this.#builtinLocale ? " locale_provider builtin builtin_locale 'C.UTF-8' lc_collate 'C' lc_ctype 'C'" : '')
  #databaseOf = (ref: string) => fit(`${this.#connection.database}_p_${ref}`)
  #roleOf = (ref: string, role: string) => fit(`${this.#connection.database}_p_${ref}_${role}`)
}

/**
 * What PostgreSQL says to one of two who change the same role at once, or make it.
 * @param made  what was there already when it was to be made, as PostgreSQL said it
 */
function isCollision(error: unknown, made: Set<string>): boolean {
  const cause = error instanceof MigrationError ? error.cause : error
  if (!(cause instanceof DatabaseError)) return false
  switch (cause.sqlState) {
    case 'XX000':
      return /^tuple concurrently (updated|deleted)$/.test(cause.message)
    case '23505':
      return /"pg_(authid|auth_members)_/.test(cause.message)
    case '42710':
      // The other has made it, and next time it is seen to be there: what is said twice is a fault of the migration itself.
      if (made.has(cause.message)) return false
      made.add(cause.message)
      return true
    default:
      return cause.sqlState === '40001' || cause.sqlState === '40P01'
  }
}

/** What a server can be used for, asked from it. @throws DatabaseUnusable when it cannot be reached */
export async function inspectExternal(url: string): Promise<ExternalReport> {
  const connection = connectionOf(url)
  await using database = new PostgresDatabase(connection, { max: 1, statementTimeoutMs: 10_000 })
  const { sql } = database
  try {
    const [server] = await sql<{ number: number; version: string; connections: number; wal: string }>`
      select current_setting('server_version_num')::int as number, split_part(current_setting('server_version'), ' ', 1) as version,
             current_setting('max_connections')::int as connections, current_setting('wal_level') as wal`
    const [me] = await sql<{ name: string; super: boolean; createdb: boolean; createrole: boolean; bypassrls: boolean; replication: boolean; owns: boolean }>`
      select rolname as name, rolsuper as super, rolsuper or rolcreatedb as createdb, rolsuper or rolcreaterole as createrole,
             rolsuper or rolbypassrls as bypassrls, rolsuper or rolreplication as replication,
             pg_has_role((select datdba from pg_database where datname = current_database()), 'USAGE') as owns
      from pg_roles where rolname = current_user`
    if (!server || !me) throw new DatabaseError('08006', 'the server gave no answer')
    const foreign = await sql<{ name: string }>`
      select rolname as name from pg_roles
      where rolname = any(${API_ROLES}) and not pg_has_role(current_user, oid, 'MEMBER WITH ADMIN OPTION') and not ${me.super}`
    const open = await sql<{ name: string }>`
      select datname as name from pg_database where datallowconn and has_database_privilege('public', oid, 'connect')
        and datname <> current_database() and not starts_with(datname, current_database() || '_p_') order by 1`
    const user = quoteIdentifier(me.name)
    const blocking: Gap[] = []
    if (server.number < LEAST_MAJOR * 10_000)
      blocking.push({
        what: 'version',
        why: `The PostgreSQL at --database-url is version ${server.version}; Mayfly needs ${LEAST_MAJOR} or newer`,
        todo: 'Upgrade it, or leave --database-url away for the embedded one.',
      })
    const rights = [
      ['CREATEDB', me.createdb, 'every project is a database of its own'],
      ['CREATEROLE', me.createrole, 'every project has roles of its own'],
      ['BYPASSRLS', me.bypassrls, 'secret keys pass row-level security, and only a role that may do so can give it'],
    ] as const
    for (const [right, has, why] of rights)
      if (!has)
        blocking.push({ what: right, why: `The role ${me.name} of --database-url lacks ${right}: ${why}`, todo: `As superuser: alter role ${user} ${right}` })
    if (!me.owns)
      blocking.push({
        what: 'ownership',
        why: `The role ${me.name} does not own the database ${connection.database}, so that it cannot close it to the projects' roles`,
        todo: `As superuser: alter database ${quoteIdentifier(connection.database)} owner to ${user}`,
      })
    if (foreign.length > 0) {
      const roles = foreign.map((role) => role.name).join(', ')
      blocking.push({
        what: 'roles',
        why: `The server has the roles ${roles} already, and ${me.name} may not hand them on`,
        todo: `As superuser: grant ${roles} to ${user} with admin option`,
      })
    }
    const missing: Gap[] = []
    if (!me.replication || server.wal !== 'logical')
      missing.push({
        what: 'realtime',
        why: `Row changes cannot be streamed: ${me.replication ? `wal_level is ${server.wal}` : `the role ${me.name} lacks REPLICATION`}`,
        todo: `As superuser: alter role ${user} replication; alter system set wal_level = logical; then restart PostgreSQL`,
      })
    if (!me.super)
      missing.push({
        what: 'event triggers',
        why: 'Only a superuser may make them: a changed schema is noticed by asking, some seconds later',
        todo: 'Nothing must be done; connect as a superuser to have it at once.',
      })
    if (open.length > 0)
      missing.push({
        what: 'closed neighbours',
        why: `Any role may connect to the databases ${open.map((row) => row.name).join(', ')} of this server, the projects' roles too`,
        todo: open.map((row) => `revoke connect on database ${quoteIdentifier(row.name)} from public;`).join(' '),
      })
    const shared = [
      `memory, disk and ${server.connections} connections`,
      'a crash and its recovery',
      'the write-ahead log, backups and points in time',
      `the roles ${API_ROLES.join(', ')}`,
    ]
    return { version: server.version, blocking, missing, shared }
  } catch (error) {
    throw unreachable(error, connection)
  }
}

/** @throws DatabaseUnusable */
/** What a URL says. @throws DatabaseUnusable */
export function connectionOf(url: string): Connection {
  try {
    const { host, port, user, password, database, ssl } = parseIntoClientConfig(url)
    if (!database) throw new Error('it names no database')
    return {
      host: host || 'localhost',
      port: Number(port ?? 5432),
      user: user ?? 'postgres',
      password: typeof password === 'string' ? password : '',
      database,
      ...(ssl === undefined ? {} : { ssl }),
    }
  } catch (error) {
    // The message of a URL that cannot be read may repeat it, password and all.
    const why = error instanceof Error && /names no database/.test(error.message) ? 'it names no database' : 'it cannot be read'
    throw new DatabaseUnusable(`--database-url must look like postgres://user:password@host:5432/mayfly: ${why}.`)
  }
}

function unreachable(error: unknown, { host, port, user, database }: Connection): unknown {
  const known = asDatabaseError(error)
  if (!(known instanceof DatabaseError)) return known
  const where = `${host}:${port}`
  if (known.sqlState === '3D000')
    return new DatabaseUnusable(
      `The PostgreSQL at ${where} has no database ${database}. Make one for Mayfly alone: create database ${quoteIdentifier(database)} owner ${quoteIdentifier(user)}`,
    )
  if (known.sqlState === '28P01' || known.sqlState === '28000')
    return new DatabaseUnusable(`The PostgreSQL at ${where} does not let ${user} in: ${known.message}`)
  return new DatabaseUnusable(`The PostgreSQL at ${where} cannot be used: ${known.message} (${known.sqlState})`, { cause: error })
}

const MOST_NAME_BYTES = 63
/** A name as PostgreSQL takes it: what is too long keeps its beginning and gets a hash for the rest. */
function fit(name: string): string {
  if (Buffer.byteLength(name) <= MOST_NAME_BYTES) return name
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 12)
  return `${Buffer.from(name)
    .subarray(0, 48)
    .toString('utf8')
    .replace(/\uFFFD+$/, '')}_${hash}`
}

/** A session that says "this database has its node"; taken again when the connection was lost. */
class NodeLock implements AsyncDisposable {
  readonly #connection: Connection
  readonly #options: ExternalOptions
  readonly #ended = new AbortController()
  #client: pg.Client | null = null

  private constructor(connection: Connection, options: ExternalOptions) {
    this.#connection = connection
    this.#options = options
  }

  /** @throws DatabaseUnusable when another node works on the database */
  static async take(connection: Connection, options: ExternalOptions): Promise<NodeLock> {
    const lock = new NodeLock(connection, options)
    // A node that was just killed still holds it until the server has noticed.
    const deadline = options.clock.monotonic() + 3_000
    while (!(await lock.#attempt())) {
      if (options.clock.monotonic() > deadline)
        throw new DatabaseUnusable(`Another node works on the database ${connection.database} already. Stop it, or give this one a database of its own.`)
      await options.clock.sleep(100)
    }
    return lock
  }

  async #attempt(): Promise<boolean> {
    const client = new pg.Client({ ...this.#connection, application_name: 'mayfly lock', keepAlive: true, connectionTimeoutMillis: 10_000 })
    client.on('error', () => {})
    await client.connect()
    const { rows } = await client.query<{ taken: boolean }>('select pg_try_advisory_lock($1) as taken', [NODE_LOCK])
    if (!rows[0]?.taken) {
      await client.end()
      return false
    }
    this.#client = client
    client.once('end', () => void this.#again())
    return true
  }

  async #again(): Promise<void> {
    const { clock, log } = this.#options
    const { signal } = this.#ended
    // Each thing is said when it becomes so, not at every attempt.
    let last = ''
    const say = (message: string, error?: unknown) => {
      if (message !== last) log({ database: this.#connection.database, ...(error instanceof Error ? { error: error.message } : {}) }, message)
      last = message
    }
    while (!signal.aborted) {
      await clock.sleep(RELOCK_MS, signal).catch(() => {})
      if (signal.aborted) return
      try {
        if (await this.#attempt()) return say('the connection to PostgreSQL is there again')
        say('another node took the database while the connection was lost; stop one of the two')
      } catch (error) {
        say('the connection to PostgreSQL is lost; it is tried again', error)
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort()
    await this.#client?.end().catch(() => {})
  }
}
