import { createHash } from 'node:crypto'
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { MayflyError } from '../core/errors.ts'
import type { ProjectRef } from '../core/project.ts'
import { KiB } from '../lib/bytes.ts'
import type { ByteRange } from '../lib/http-conditions.ts'
import { type Random, randomToken, systemRandom } from '../lib/ids.ts'
import { OneByOne } from '../lib/one-by-one.ts'
import { makeFolder, syncFolder, writeSynced } from '../lib/synced-files.ts'
import { isSha256 } from './manifest.ts'

const TEMPORARY = '.tmp-'
const CHUNK_BYTES = 64 * KiB
/** Up to this size a file is read at once. */
const WHOLE_BYTES = 256 * KiB

/**
 * The bytes of sites by their hash, within a project. No name that a user chose ever becomes a path, so that none can
 * lead out. A file is written whole and synced before it gets its name.
 */
export class SiteFiles {
  readonly #root: string
  readonly #random: Random
  /** One change at a time for each file. */
  readonly #oneByOne = new OneByOne()

  constructor(root: string, random: Random = systemRandom) {
    this.#root = root
    this.#random = random
  }

  /** Removes what a killed process left half written. To be called once, before anything else. */
  async recover(): Promise<void> {
    await mkdir(this.#root, { recursive: true })
    await chmod(this.#root, 0o700)
    for (const project of await readdir(this.#root))
      for (const name of await readdir(join(this.#root, project)).catch(() => []))
        if (name.startsWith(TEMPORARY)) await rm(join(this.#root, project, name), { force: true })
  }

  /**
   * Stores what has this hash; `record` runs while no sweep can take it away.
   * @returns its size
   * @throws MayflyError bad_request when the bytes have another hash
   */
  async put(project: ProjectRef, sha256: string, chunks: AsyncIterable<Uint8Array>, record: (bytes: number) => Promise<void>): Promise<number> {
    const folder = join(this.#root, project)
    await makeFolder(folder, 0o700)
    const temporary = join(folder, `${TEMPORARY}${randomToken(12, this.#random)}`)
    try {
      const hash = createHash('sha256')
      let bytes = 0
      await writeSynced(
        temporary,
        seen(chunks, (chunk) => {
          hash.update(chunk)
          bytes += chunk.length
        }),
      )
      const actual = hash.digest('hex')
      if (actual !== sha256) throw new MayflyError('bad_request', `the body has the SHA-256 ${actual}, but the path says ${sha256}`)
      await this.#oneByOne.run(this.#path(project, sha256), async () => {
        await rename(temporary, this.#path(project, sha256))
        await syncFolder(folder)
        await record(bytes)
      })
      return bytes
    } finally {
      await rm(temporary, { force: true })
    }
  }

  async has(project: ProjectRef, sha256: string): Promise<boolean> {
    return await stat(this.#path(project, sha256)).then(
      () => true,
      () => false,
    )
  }

  /** Small files whole, others as they are read. @param range  a part of it, both ends included */
  async read(project: ProjectRef, sha256: string, bytes: number, range: ByteRange | null = null): Promise<Uint8Array | AsyncIterable<Uint8Array>> {
    const path = this.#path(project, sha256)
    if (bytes > WHOLE_BYTES) return chunksOf(path, range ?? { first: 0, last: bytes - 1 })
    const whole = await readFile(path)
    return range ? whole.subarray(range.first, range.last + 1) : whole
  }

  async readWhole(project: ProjectRef, sha256: string): Promise<Uint8Array> {
    return await readFile(this.#path(project, sha256))
  }

  /** Removes a file if `forget`, asked while nobody can store it, says that nothing names it any more. */
  async remove(project: ProjectRef, sha256: string, forget: () => Promise<boolean>): Promise<void> {
    await this.#oneByOne.run(this.#path(project, sha256), async () => {
      if (await forget()) await rm(this.#path(project, sha256), { force: true })
    })
  }

  async removeProject(project: ProjectRef): Promise<void> {
    await rm(join(this.#root, project), { recursive: true, force: true })
  }

  #path(project: ProjectRef, sha256: string): string {
    // A second look: the text becomes a path.
    if (!isSha256(sha256)) throw new MayflyError('bad_request', 'a file is named by 64 lower-case hexadecimal digits: the SHA-256 of its bytes')
    return join(this.#root, project, sha256)
  }
}

async function* seen(chunks: AsyncIterable<Uint8Array>, look: (chunk: Uint8Array) => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    look(chunk)
    yield chunk
  }
}

async function* chunksOf(path: string, { first, last }: ByteRange): AsyncGenerator<Uint8Array> {
  const file = await open(path, 'r')
  try {
    for (let at = first; at <= last; ) {
      const wanted = Math.min(CHUNK_BYTES, last - at + 1)
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(wanted), 0, wanted, at)
      if (bytesRead === 0) return
      at += bytesRead
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}
