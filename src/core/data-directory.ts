import { createHash } from 'node:crypto'
import { constants, existsSync, promises as fs, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import path from 'node:path'
import { MiB } from '../lib/bytes.ts'
import type { Clock } from '../lib/clock.ts'
import { Ballast } from './ballast.ts'
import { measureDisk } from './disk.ts'
import { LIMITS } from './limits.ts'

/** The layout of a data directory that this code writes and reads. */
const FORMAT = 1
const LEAST_FREE_BYTES = 256 * MiB

export interface Instance {
  readonly version: number
  readonly instanceId: string
  readonly createdAt: string
  /** The major of the PostgreSQL that wrote `pg/`; null with an external one. */
  readonly postgresMajor: number | null
  /** The port that `--port 0` took last. */
  readonly port: number | null
  readonly consolePort: number | null
  readonly doorPort: number | null
  /** The first job is done, or was not wanted: later starts leave it alone. */
  readonly firstJobDone: boolean
}

/** Why a node does not start, in a sentence for the person who started it. */
export class StartError extends Error {
  readonly exitCode: number
  constructor(message: string, exitCode = 1) {
    super(message)
    this.name = 'StartError'
    this.exitCode = exitCode
  }
}

/**
 * A node's data directory, held by one node at a time. The lock is a name in the kernel that ends with the
 * process, however it ends, so nothing stale is ever left behind.
 */
export class DataDirectory implements AsyncDisposable {
  readonly path: string
  readonly isNew: boolean
  readonly #lock: Server
  #instance: Instance

  private constructor(directory: string, lock: Server, instance: Instance, isNew: boolean) {
    this.path = directory
    this.#lock = lock
    this.#instance = instance
    this.isNew = isNew
  }

  /** @throws StartError with the sentence to show */
  static async open(directory: string, make: () => { instanceId: string; postgresMajor: number | null }, clock: Clock): Promise<DataDirectory> {
    const full = path.resolve(directory)
    try {
      await makeFolder(full)
      await probe(full).catch(async (error: NodeJS.ErrnoException) => {
        // The node has to start on a full disk: what makes room goes through it.
        if (error.code !== 'ENOSPC' || !(await new Ballast(full, LIMITS.ballast.value).drop())) throw error
        await probe(full)
      })
    } catch (error) {
      throw unusable(full, error)
    }
    const { freeBytes } = await measureDisk(full)
    // One that is there already starts with less, to read and delete (core/disk.ts holds the rest back).
    if (freeBytes < LEAST_FREE_BYTES && !existsSync(path.join(full, 'instance.json'))) {
      throw new StartError(
        `The disk of the data directory ${full} has ${Math.floor(freeBytes / MiB)} MiB free; a new node needs ${LEAST_FREE_BYTES / MiB} MiB. Free some space, or choose another place with --data.`,
      )
    }
    const lock = await takeLock(full, clock)
    try {
      const file = path.join(full, 'instance.json')
      const text = await fs.readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return null
        throw unusable(full, error)
      })
      if (text === null) {
        const instance: Instance = {
          version: FORMAT,
          ...make(),
          createdAt: new Date(clock.now()).toISOString(),
          port: null,
          consolePort: null,
          doorPort: null,
          firstJobDone: false,
        }
        const opened = new DataDirectory(full, lock, instance, true)
        await opened.#write()
        return opened
      }
      return new DataDirectory(full, lock, parseInstance(text, full), false)
    } catch (error) {
      lock.close()
      throw error
    }
  }

  get instance(): Instance {
    return this.#instance
  }

  /** Writes changed fields, whole or not at all. */
  async update(change: Partial<Pick<Instance, 'port' | 'consolePort' | 'doorPort' | 'firstJobDone' | 'postgresMajor'>>): Promise<void> {
    this.#instance = { ...this.#instance, ...change }
    await this.#write()
  }

  async #write(): Promise<void> {
    await writeWhole(path.join(this.path, 'instance.json'), `${JSON.stringify(this.#instance, null, 2)}\n`, 0o644)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#lock.close(() => resolve()))
  }
}

async function probe(folder: string): Promise<void> {
  const file = path.join(folder, `.writable-${process.pid}`)
  try {
    await fs.writeFile(file, 'x')
  } finally {
    await fs.rm(file, { force: true })
  }
}

/** Folder by folder: the recursive call never ends on file systems that refuse new folders with ENOENT. */
async function makeFolder(folder: string): Promise<void> {
  const there = await fs.stat(folder).catch(() => null)
  if (there?.isDirectory()) return
  if (path.dirname(folder) !== folder) await makeFolder(path.dirname(folder))
  await fs.mkdir(folder, { mode: 0o711 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST' || there !== null) throw error
  })
}

/** Replaces a file by a complete one: written beside it, made durable, renamed over it. */
export async function writeWhole(file: string, text: string, mode: number, owner: { uid: number; gid: number } | null = null): Promise<void> {
  const beside = `${file}.${process.pid}.new`
  const handle = await fs.open(beside, 'w', mode)
  try {
    await handle.writeFile(text)
    await handle.chmod(mode)
    if (owner) await handle.chown(owner.uid, owner.gid)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await fs.rename(beside, file)
  const folder = await fs.open(path.dirname(file), constants.O_RDONLY)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** When the process with this pid started, in clock ticks since boot; null when there is none. Tells a pid that was given out again. */
export function startTicks(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? null : Number(fields[19])
  } catch {
    return null
  }
}

function parseInstance(text: string, directory: string): Instance {
  let value: Partial<Instance>
  try {
    value = JSON.parse(text) as Partial<Instance>
  } catch {
    throw new StartError(
      `${path.join(directory, 'instance.json')} is not readable as JSON. Restore it from a backup: without it this directory cannot be told from a foreign one.`,
    )
  }
  if (typeof value.version !== 'number' || typeof value.instanceId !== 'string') {
    throw new StartError(`${path.join(directory, 'instance.json')} is not Mayfly's. Choose another place with --data.`)
  }
  if (value.version > FORMAT) {
    throw new StartError(
      `The data directory ${directory} was written by a newer Mayfly (format ${value.version}; this one reads ${FORMAT}). Start it with that version, or choose another place with --data.`,
    )
  }
  return {
    version: FORMAT,
    instanceId: value.instanceId,
    createdAt: value.createdAt ?? '',
    postgresMajor: value.postgresMajor ?? null,
    port: value.port ?? null,
    consolePort: value.consolePort ?? null,
    doorPort: value.doorPort ?? null,
    firstJobDone: value.firstJobDone ?? false,
  }
}

async function takeLock(directory: string, clock: Clock): Promise<Server> {
  const { dev, ino } = await fs.stat(directory)
  const name = `\0mayfly-data-${createHash('sha256').update(`${dev}:${ino}`).digest('hex').slice(0, 32)}`
  // A node that was just killed still holds the name for a moment.
  const deadline = clock.monotonic() + 3_000
  for (;;) {
    const server = createServer((socket) => socket.destroy())
    const error = await new Promise<NodeJS.ErrnoException | null>((resolve) => {
      server.once('error', resolve)
      server.listen({ path: name }, () => resolve(null))
    })
    if (error === null) {
      server.unref()
      return server
    }
    if (error.code !== 'EADDRINUSE') throw error
    if (clock.monotonic() > deadline) {
      const pid = await pidIn(directory)
      throw new StartError(
        `Another node is running on the data directory ${directory}${pid === null ? '' : `, as process ${pid}`}. Stop it, or choose another place with --data.`,
      )
    }
    await clock.sleep(100)
  }
}

/** Of the node that wrote `run.json`; null when nothing says it, as long as that one starts. */
async function pidIn(directory: string): Promise<number | null> {
  try {
    const { pid } = JSON.parse(await fs.readFile(path.join(directory, 'run.json'), 'utf8')) as { pid?: unknown }
    return Number.isSafeInteger(pid) && existsSync(`/proc/${pid}`) ? (pid as number) : null
  } catch {
    return null
  }
}

function unusable(directory: string, cause: unknown): StartError {
  const error = cause as NodeJS.ErrnoException
  const why =
    error.code === 'EACCES' || error.code === 'EPERM'
      ? 'is not writable for this user'
      : error.code === 'EROFS'
        ? 'lies on a read-only file system'
        : error.code === 'ENOSPC'
          ? 'lies on a full disk'
          : error.code === 'ENOTDIR' || error.code === 'EEXIST'
            ? 'is not a directory'
            : `cannot be used (${error.message})`
  return new StartError(`The data directory ${directory} ${why}. Choose another place with --data, or mend that.`)
}
