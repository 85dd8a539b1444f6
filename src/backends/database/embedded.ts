import { execFile } from 'node:child_process'
import { createHmac, randomBytes } from 'node:crypto'
import { existsSync, promises as fs } from 'node:fs'
import path from 'node:path'
import type { Clock } from '../../lib/clock.ts'
import { copyCluster } from './cluster-copy.ts'
import { type Connection, type Database, type Databases, type Gap, SHADOW } from './database.ts'
import { missingOf, ServerMemory } from './memory.ts'
import { migrate, readMigrations } from './migrate.ts'
import { openAsOwner, PostgresDatabase, quoteIdentifier, quoteLiteral } from './postgres.ts'
import { hasEnded, nativeFolder, RuntimeFolder, Server, ServerError, type ServerOptions } from './server.ts'

export interface EmbeddedOptions {
  /** The folder `pg` of the data directory. */
  readonly folder: string
  /** Where short names may stand: `/run` for root, `$XDG_RUNTIME_DIR` or `/tmp` for others. */
  readonly runtimeBase: string
  readonly migrations: string
  /** How much memory one server may have, MB; 0 for a quarter of the machine. */
  readonly memoryMb?: number
  /** Makes room on a disk that is full. @returns false when it cannot */
  readonly freeSpace?: () => Promise<boolean>
  readonly clock: Clock
  readonly log: (fields: Readonly<Record<string, unknown>>, message: string) => void
}

const SUPERUSER = 'mayfly'
const ROLES_CONNECTIONS = 8
const LOGIN_CONNECTIONS = 4
export const EMBEDDED_MAJOR = 18
/** What the login roles of a project are called in it; scripts that come from elsewhere know the owner by this name. */
const ROLES: Readonly<Record<string, string>> = { owner: 'postgres', authenticator: 'authenticator', auth_authenticator: 'auth_authenticator' }
const nameOf = (role: string) => ROLES[role] ?? role

interface Place {
  server: Server
  /** It is being let go: a server that ends now is not started again. */
  ended: boolean
  database: PostgresDatabase
  /** Of a project: the pool of `authenticator`, made at its first use. */
  roles: PostgresDatabase | null
  /** Of a project: the pool of `auth_authenticator`, made at its first use. */
  login: PostgresDatabase | null
}

/** Real PostgreSQL servers of our own: one for control, one for each project, started when first used. */
export class EmbeddedDatabases implements Databases {
  readonly kind = `embedded ${EMBEDDED_MAJOR}`
  readonly #options: EmbeddedOptions
  readonly #runtime: RuntimeFolder
  readonly #memory: ServerMemory
  readonly #password: string
  readonly #places = new Map<string, Promise<Place>>()
  /** Those that are being removed: nobody's look starts their server again. */
  readonly #dropping = new Set<string>()
  /** Those whose server stops: the next one starts behind that. */
  readonly #stopping = new Map<string, Promise<void>>()
  #control: Database | null = null
  #closing = false

  private constructor(options: EmbeddedOptions, runtime: RuntimeFolder, memory: ServerMemory, password: string) {
    this.#options = options
    this.#runtime = runtime
    this.#memory = memory
    this.#password = password
  }

  /** @throws ServerError, MigrationError */
  static async open(options: EmbeddedOptions): Promise<EmbeddedDatabases> {
    await fs.mkdir(path.join(options.folder, 'projects'), { recursive: true, mode: 0o711 })
    for (const name of await fs.readdir(path.join(options.folder, 'projects')))
      if (name.startsWith(SHADOW)) await fs.rm(path.join(options.folder, 'projects', name), { recursive: true, force: true })
    const runtime = await RuntimeFolder.make(options.runtimeBase, options.folder, nativeFolder(), options.clock)
    const passwordFile = path.join(options.folder, 'password')
    let password = await fs.readFile(passwordFile, 'utf8').catch(() => null)
    if (password === null) {
      if (existsSync(path.join(options.folder, 'template')))
        throw new ServerError(`the password of the embedded PostgreSQL is missing: ${passwordFile}. Restore it from a backup.`)
      password = randomBytes(24).toString('base64url')
      await fs.writeFile(passwordFile, password, { mode: 0o600, flush: true })
    }
    const memory = await ServerMemory.open(path.basename(runtime.path).replace('mayfly-', 'mayfly-pg-'), options.memoryMb ?? 0, options.clock)
    if (memory.unbounded) options.log({}, `${memory.unbounded.why}. ${memory.unbounded.todo}`)
    const databases = new EmbeddedDatabases(options, runtime, memory, password)
    try {
      await databases.#ensureCluster('control', path.join(options.folder, 'control'))
      const { database } = await databases.#place('control')
      await migrate(database, await readMigrations(path.join(options.migrations, 'control')))
      databases.#control = database
    } catch (error) {
      await databases[Symbol.asyncDispose]()
      throw error
    }
    return databases
  }

  get memoryMb(): number | null {
    return this.#memory.heldMb
  }

  get missing(): readonly Gap[] {
    return missingOf(this.#memory.unbounded)
  }

  get control(): Database {
    if (!this.#control) throw new ServerError('the control database is not open')
    return this.#control
  }

  controlConnection(): Connection {
    return { host: this.#runtime.socketFolder('control'), port: 5432, user: SUPERUSER, password: this.#password, database: 'postgres' }
  }

  async ensureProject(ref: string): Promise<void> {
    await this.#ensureCluster(ref, this.#folderOf(ref))
    const database = await this.openProject(ref)
    for (const role of Object.keys(ROLES)) await database.script(this.#passwordOf(ref, role))
  }

  async cloneProject(from: string, to: string): Promise<void> {
    const folder = this.#folderOf(to)
    if (existsSync(path.join(folder, 'PG_VERSION'))) return
    const beside = `${folder}.new`
    await fs.rm(beside, { recursive: true, force: true })
    await copyCluster(await this.projectConnection(from), this.#folderOf(from), beside)
    await run('sync', ['-f', beside])
    await fs.rename(beside, folder)
  }

  async pauseProject(ref: string): Promise<void> {
    const opening = this.#places.get(ref)
    if (!opening) return await this.#stopping.get(ref)
    this.#places.delete(ref)
    const work = opening
      .then(
        // The server first: so nobody who is in the middle of something holds that up.
        async (place) => {
          place.ended = true
          await place.server.stop(this.#options.clock)
          await this.#end(place)
        },
        () => {},
      )
      .finally(() => {
        if (this.#stopping.get(ref) === work) this.#stopping.delete(ref)
      })
    this.#stopping.set(ref, work)
    await work
  }

  async dropProject(ref: string): Promise<void> {
    this.#dropping.add(ref)
    try {
      await this.pauseProject(ref)
      await fs.rm(this.#folderOf(ref), { recursive: true, force: true })
      await fs.rm(this.#runtime.socketFolder(ref), { recursive: true, force: true })
    } finally {
      this.#dropping.delete(ref)
    }
  }

  async openProject(ref: string): Promise<Database> {
    if (this.#dropping.has(ref) || !existsSync(path.join(this.#folderOf(ref), 'PG_VERSION'))) throw new ServerError(`the project ${ref} has no database here`)
    return (await this.#place(ref)).database
  }

  async openRoles(ref: string): Promise<Database> {
    await this.openProject(ref)
    const place = await this.#place(ref)
    place.roles ??= new PostgresDatabase(this.connection(ref, 'authenticator'), { max: ROLES_CONNECTIONS, statementTimeoutMs: 60_000, usersPath: true })
    return place.roles
  }

  async openLogin(ref: string): Promise<Database> {
    await this.openProject(ref)
    const place = await this.#place(ref)
    place.login ??= new PostgresDatabase(this.connection(ref, 'auth_authenticator'), { max: LOGIN_CONNECTIONS, statementTimeoutMs: 60_000, usersPath: true })
    return place.login
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

  async renewOwner(ref: string): Promise<void> {
    await (await this.openProject(ref)).script(this.#passwordOf(ref, 'owner'))
  }

  async projectConnection(ref: string): Promise<Connection> {
    await this.openProject(ref)
    return { host: this.#runtime.socketFolder(ref), port: 5432, user: SUPERUSER, password: this.#password, database: 'postgres' }
  }

  /** The password of a project's login role: derived, so that nothing more must be kept. */
  loginPassword(ref: string, role: string): string {
    return createHmac('sha256', this.#password).update(`${ref}/${role}`).digest('base64url')
  }

  /** How a login role of a project reaches it. */
  connection(ref: string, role: string): Connection {
    return { host: this.#runtime.socketFolder(ref), port: 5432, user: nameOf(role), password: this.loginPassword(ref, role), database: 'postgres' }
  }

  #passwordOf = (ref: string, role: string) => `alter role ${quoteIdentifier(nameOf(role))} password ${quoteLiteral(this.loginPassword(ref, role))}`

  async status(): Promise<{ place: string; running: boolean; pid: number | null }[]> {
    const rows: { place: string; running: boolean; pid: number | null }[] = []
    for (const [place, opening] of this.#places) {
      const { server } = await opening
      rows.push({ place, running: server.running, pid: server.running ? server.pid : null })
    }
    return rows
  }

  async brokenOff(): Promise<readonly string[]> {
    const names = await fs.readdir(path.join(this.#options.folder, 'projects')).catch(() => [])
    const found: string[] = []
    for (const name of names) if (!(await hasEnded(this.#folderOf(name)))) found.push(name)
    return found
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true
    await Promise.allSettled(this.#stopping.values())
    const places = await Promise.allSettled(this.#places.values())
    // Projects first: what they still tell control finds it there.
    await Promise.all(places.map((place) => (place.status === 'fulfilled' ? this.#end(place.value) : null)))
    this.#places.clear()
    await this.#memory[Symbol.asyncDispose]()
    await this.#runtime[Symbol.asyncDispose]()
  }

  #folderOf(place: string): string {
    return place === 'control' ? path.join(this.#options.folder, 'control') : path.join(this.#options.folder, 'projects', place)
  }

  /** The running server of a place; first uses at once share one start, and one that died is started again. */
  async #place(place: string): Promise<Place> {
    if (this.#closing) throw new ServerError('the databases are being closed')
    const known = this.#places.get(place)
    if (known) return await known
    const opening = this.#startBehind(place)
    this.#places.set(place, opening)
    opening.catch(() => {
      if (this.#places.get(place) === opening) this.#places.delete(place)
    })
    return await opening
  }

  async #startBehind(place: string): Promise<Place> {
    await this.#stopping.get(place)?.catch(() => {})
    return await this.#start(place)
  }

  async #start(place: string): Promise<Place> {
    const { clock, log } = this.#options
    const serverOptions = {
      place,
      data: this.#folderOf(place),
      role: place === 'control' ? ('control' as const) : ('project' as const),
      runtime: this.#runtime,
      memory: this.#memory,
      clock,
      log: (line: string) => log({ place }, line),
    }
    const started = await this.#startServer(serverOptions)
    const database = new PostgresDatabase(
      { host: this.#runtime.socketFolder(place), port: 5432, user: SUPERUSER, password: this.#password, database: 'postgres' },
      { max: place === 'control' ? 10 : 4, statementTimeoutMs: 60_000 },
    )
    const entry: Place = { server: started, ended: false, database, roles: null, login: null }
    this.#keepAlive(entry, serverOptions)
    if (place !== 'control') {
      try {
        await renameFormerOwner(database)
        const variables = { ...ROLES, auth_password: this.loginPassword(place, 'auth_authenticator') }
        await migrate(database, await readMigrations(path.join(this.#options.migrations, 'project'), variables))
      } catch (error) {
        await this.#end(entry)
        throw error
      }
    }
    return entry
  }

  /** A server that ends by itself is started again, with growing pauses; the pool finds it at its next connection. */
  #keepAlive(entry: Place, options: ServerOptions): void {
    void entry.server.exited.then(async () => {
      for (let pause = 50; !this.#closing && !entry.ended; pause = Math.min(pause * 2, 10_000)) {
        const why = (await this.#memory.outOfMemory(options.place)) ? `it needed more memory than ${this.#memory.heldMb} MB` : 'by itself'
        options.log(`PostgreSQL ended, ${why}; it is started again`)
        try {
          entry.server = await this.#startServer(options)
          if (this.#closing || entry.ended) await entry.server.stop(options.clock)
          else this.#keepAlive(entry, options)
          return
        } catch (error) {
          options.log(error instanceof Error ? error.message : String(error))
          await options.clock.sleep(pause)
        }
      }
    })
  }

  /** A server that finds no space for its log gets what was kept for that. */
  async #startServer(options: ServerOptions): Promise<Server> {
    try {
      return await Server.start(options)
    } catch (error) {
      if (!isForSpace(error) || !(await this.#options.freeSpace?.())) throw error
      options.log('PostgreSQL could not start for want of space; it is tried again with what was kept for that')
      return await Server.start(options)
    }
  }

  async #end(place: Place): Promise<void> {
    place.ended = true
    await place.database[Symbol.asyncDispose]().catch(() => {})
    await place.roles?.[Symbol.asyncDispose]().catch(() => {})
    await place.login?.[Symbol.asyncDispose]().catch(() => {})
    await place.server.stop(this.#options.clock)
    await this.#memory.leave(place.server.place)
  }

  /** Copies the prepared template to a new place, whole or not at all. */
  async #ensureCluster(place: string, folder: string): Promise<void> {
    const version = await fs.readFile(path.join(folder, 'PG_VERSION'), 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null
      // A node of root's gave it to another user: it is there, and must not be taken for missing.
      throw new ServerError(`the data of ${place} belongs to another user. Start the node as root, as before, or choose another place with --data.`)
    })
    if (version !== null) {
      if (Number(version.trim()) !== EMBEDDED_MAJOR)
        throw new ServerError(`the data of ${place} belongs to PostgreSQL ${version.trim()}; this Mayfly brings ${EMBEDDED_MAJOR}`)
      return
    }
    const template = await this.#template()
    const beside = `${folder}.new`
    await fs.rm(beside, { recursive: true, force: true })
    await run('cp', ['-a', '--reflink=auto', template, beside])
    await run('sync', ['-f', beside])
    await fs.rename(beside, folder)
  }

  async #template(): Promise<string> {
    const template = path.join(this.#options.folder, 'template')
    if (existsSync(path.join(template, 'PG_VERSION'))) return template
    const beside = path.join(this.#options.folder, 'template.new')
    await fs.rm(beside, { recursive: true, force: true })
    await fs.mkdir(beside, { mode: 0o700 })
    await this.#runtime.own(beside)
    const secret = path.join(this.#runtime.path, `secret-${process.pid}`)
    await fs.writeFile(secret, this.#password, { mode: 0o400 })
    try {
      await this.#runtime.own(secret)
      const args = [
        '-D',
        this.#runtime.dataName('template'),
        '-U',
        SUPERUSER,
        '--auth=scram-sha-256',
        `--pwfile=${secret}`,
        '-E',
        'UTF8',
        '--locale-provider=builtin',
        '--builtin-locale=C.UTF-8',
        '--locale=C.UTF-8',
        '--no-sync',
        '--no-instructions',
      ]
      const child = await this.#runtime.spawn('template', beside, 'initdb', args)
      let said = ''
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on('data', (chunk: Buffer) => {
          said = (said + chunk.toString()).slice(-4096)
        })
      }
      const code = await new Promise<number | null>((resolve, reject) => {
        child.once('error', reject)
        child.once('close', resolve)
      })
      if (code !== 0) throw new ServerError(`initdb failed (${code}). It said: ${said.trim()}`)
    } finally {
      await fs.rm(secret, { force: true })
    }
    await run('sync', ['-f', beside])
    await fs.rename(beside, template)
    return template
  }
}

/** The owner of a project had another name once; migrations speak of it by the one it has now. */
const renameFormerOwner = (database: Database) =>
  database.script(`
    do $$ begin
      if exists (select from pg_roles where rolname = 'owner') and not exists (select from pg_roles where rolname = 'postgres') then
        alter role owner rename to postgres;
      end if;
    end $$`)

/** PostgreSQL says it in English: its locale is C. */
const isForSpace = (error: unknown): boolean =>
  error instanceof Error && /No space left on device|Disk quota exceeded|ENOSPC|EDQUOT/.test(`${error.message} ${(error as NodeJS.ErrnoException).code ?? ''}`)

function run(command: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(command, args, (error, _out, said) => (error ? reject(new ServerError(`${command} failed: ${said.trim() || error.message}`)) : resolve()))
  })
}
