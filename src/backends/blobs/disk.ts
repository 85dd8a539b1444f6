import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, link, mkdir, open, opendir, readdir, rename, rm, stat, unlink } from 'node:fs/promises'
import path from 'node:path'
import type { Clock } from '../../lib/clock.ts'
import type { ByteRange } from '../../lib/http-conditions.ts'
import { type Random, systemRandom } from '../../lib/ids.ts'
import { makeFolder, syncFolder, writeSynced } from '../../lib/synced-files.ts'
import type { Blobs, ListedBlob, OpenBlob, StoredBlob } from './blobs.ts'

export interface DiskBlobsOptions {
  /** The folder `blobs` of the data directory. */
  readonly root: string
  readonly clock: Clock
  readonly random?: Random
}

const NAME = /^[0-9a-f]{32}$/
const PLACE = /^[0-9a-zA-Z-]{1,64}$/
const UNFINISHED = '.new-'
const CHUNK_BYTES = 256 * 1024

/** Blobs as files, a folder for each place: `<root>/<place>/<name>`; what is being written has a name of its own beside them. */
export class DiskBlobs implements Blobs {
  readonly #root: string
  readonly #clock: Clock
  readonly #random: Random
  readonly #folders = new Map<string, FolderSync>()

  private constructor(options: DiskBlobsOptions) {
    this.#root = options.root
    this.#clock = options.clock
    this.#random = options.random ?? systemRandom
  }

  static async open(options: DiskBlobsOptions): Promise<DiskBlobs> {
    await mkdir(options.root, { recursive: true, mode: 0o700 })
    return new DiskBlobs(options)
  }

  async put(place: string, body: AsyncIterable<Uint8Array>): Promise<StoredBlob> {
    const folder = await this.#makeFolder(place)
    const unfinished = path.join(folder, UNFINISHED + this.#freshName())
    const name = this.#freshName()
    const hash = createHash('md5')
    let bytes = 0
    async function* counted() {
      for await (const chunk of body) {
        hash.update(chunk)
        bytes += chunk.length
        yield chunk
      }
    }
    try {
      await writeSynced(unfinished, counted())
      await rename(unfinished, path.join(folder, name))
    } catch (error) {
      await rm(unfinished, { force: true })
      throw error
    }
    try {
      await this.#sync(folder)
    } catch (error) {
      await rm(path.join(folder, name), { force: true })
      throw error
    }
    return { name, bytes, md5: hash.digest('hex') }
  }

  async copy(place: string, name: string): Promise<string | null> {
    const folder = this.#folder(place)
    const fresh = this.#freshName()
    try {
      // The bytes of a blob never change: two names may share them.
      await link(path.join(folder, checked(name)), path.join(folder, fresh))
    } catch (error) {
      if (isMissing(error)) return null
      throw error
    }
    await this.#sync(folder)
    return fresh
  }

  async clone(from: string, to: string): Promise<void> {
    const folder = await this.#makeFolder(to)
    for await (const { name, whole } of this.list(from)) {
      if (!whole) continue
      // Names that share the bytes, as in `copy`; one that a former attempt made is there, one that went meanwhile is not.
      await link(path.join(this.#folder(from), name), path.join(folder, name)).catch((error: unknown) => {
        if (!isMissing(error) && !(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
      })
    }
    await this.#sync(folder)
  }

  async open(place: string, name: string): Promise<OpenBlob | null> {
    let file: FileHandle
    try {
      file = await open(path.join(this.#folder(place), checked(name)), constants.O_RDONLY | constants.O_NOFOLLOW)
    } catch (error) {
      if (isMissing(error)) return null
      throw error
    }
    try {
      return new OpenFile(file, (await file.stat()).size)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  async delete(place: string, names: readonly string[]): Promise<void> {
    const folder = this.#folder(place)
    for (const name of names) {
      await unlink(path.join(folder, checked(name))).catch((error: unknown) => {
        if (!isMissing(error)) throw error
      })
    }
  }

  async *list(place: string): AsyncIterable<ListedBlob> {
    const folder = this.#folder(place)
    try {
      for await (const entry of await opendir(folder)) {
        const whole = NAME.test(entry.name)
        if (!whole && !entry.name.startsWith(UNFINISHED)) continue
        const found = await stat(path.join(folder, entry.name)).catch(() => null)
        // The time of the last change of the file itself: a name that `copy` gave counts from then.
        if (found) yield { name: entry.name, whole, ageMs: Math.max(0, this.#clock.now() - found.ctimeMs) }
      }
    } catch (error) {
      if (!isMissing(error)) throw error
    }
  }

  async places(): Promise<readonly string[]> {
    return (await readdir(this.#root)).filter((name) => PLACE.test(name))
  }

  async drop(place: string): Promise<void> {
    const folder = this.#folder(place)
    this.#folders.delete(folder)
    await rm(folder, { recursive: true, force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const folder of this.#folders.values()) await folder.settled()
    this.#folders.clear()
  }

  async #makeFolder(place: string): Promise<string> {
    const folder = this.#folder(place)
    // Made at every put: a project may be dropped and its folder with it.
    await makeFolder(folder, 0o700)
    return folder
  }

  #folder(place: string): string {
    if (!PLACE.test(place)) throw new RangeError('a place is named by letters, digits and hyphens')
    return path.join(this.#root, place)
  }

  async #sync(folder: string): Promise<void> {
    let sync = this.#folders.get(folder)
    if (!sync) {
      sync = new FolderSync(folder)
      this.#folders.set(folder, sync)
    }
    await sync.after()
  }

  #freshName(): string {
    return Buffer.from(this.#random(new Uint8Array(16))).toString('hex')
  }
}

class OpenFile implements OpenBlob {
  readonly bytes: number
  readonly #file: FileHandle
  #closed: Promise<void> | null = null

  constructor(file: FileHandle, bytes: number) {
    this.#file = file
    this.bytes = bytes
  }

  async *read(range: ByteRange = { first: 0, last: this.bytes - 1 }): AsyncIterable<Uint8Array> {
    try {
      let at = range.first
      while (at <= range.last) {
        const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, range.last - at + 1))
        const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, at)
        if (bytesRead === 0) throw new Error('a blob has fewer bytes than it had when it was stored')
        at += bytesRead
        yield buffer.subarray(0, bytesRead)
      }
    } finally {
      await this[Symbol.asyncDispose]()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#file.close()
    await this.#closed
  }
}

/** Who waits for the same folder shares one fsync, as long as it began after their file had its name. */
class FolderSync {
  readonly #folder: string
  #running: Promise<void> = Promise.resolve()
  #next: Promise<void> | null = null

  constructor(folder: string) {
    this.#folder = folder
  }

  async after(): Promise<void> {
    if (!this.#next) {
      const next = this.#running
        .catch(() => {})
        .then(() => {
          this.#next = null
          return syncFolder(this.#folder)
        })
      this.#next = next
      this.#running = next
    }
    await this.#next
  }

  async settled(): Promise<void> {
    await this.#running.catch(() => {})
  }
}

/** A second look: the text becomes a path. */
function checked(name: string): string {
  if (!NAME.test(name) && !(name.startsWith(UNFINISHED) && NAME.test(name.slice(UNFINISHED.length)))) throw new RangeError('this is no name of a blob')
  return name
}

const isMissing = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT'
