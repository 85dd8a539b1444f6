import { createHash } from 'node:crypto'
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { MayflyError } from '../core/errors.ts'
import type { ProjectRef } from '../core/project.ts'
import { KiB } from '../lib/bytes.ts'
import { type Random, randomToken, systemRandom } from '../lib/ids.ts'
import { OneByOne } from '../lib/one-by-one.ts'
import { makeFolder, syncFolder, writeSynced } from '../lib/synced-files.ts'
import { readArchive, unpackArchive } from './archive.ts'

export interface ArtefactsOptions {
  /** The folder `artefacts/` of the data directory. */
  readonly root: string
  /** Names this boot of the machine; by default what the kernel says. */
  readonly bootId?: string
  readonly random?: Random
}

const TEMPORARY = '.tmp-'
const PIECE_BYTES = 256 * KiB
export const isSha256 = (text: string) => /^[0-9a-f]{64}$/.test(text)
export const sha256Hex = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/**
 * Code by its hash, within a project: `<sha>.zip` is the truth (written whole and synced, then renamed),
 * `<sha>/` is made of it and may be made again at any time. `<sha>.boot` says in which boot of the machine
 * the folder was completed: a rename may outlive a power cut that its files did not.
 */
export class Artefacts {
  readonly #root: string
  readonly #random: Random
  #bootId: string | null
  /** One change at a time for each artefact; readers join the change that runs. */
  readonly #oneByOne = new OneByOne()
  /** Folders that this process has found or made complete. */
  readonly #complete = new Set<string>()
  /** How large those are that this process unpacked. */
  readonly #unpackedBytes = new Map<string, number>()

  constructor(options: ArtefactsOptions) {
    this.#root = options.root
    this.#random = options.random ?? systemRandom
    this.#bootId = options.bootId ?? null
  }

  /** Removes what a killed process left half made. To be called once, before anything else. */
  async recover(): Promise<void> {
    await mkdir(this.#root, { recursive: true })
    await chmod(this.#root, 0o700) // the code of all projects: no other user of the machine reads it
    for (const project of await readdir(this.#root)) {
      for (const name of await listed(join(this.#root, project))) {
        if (name.startsWith(TEMPORARY))
          await rm(join(this.#root, project, name), {
            recursive: true,
            force: true,
          })
      }
    }
  }

  /** The folder of a project's artefacts. */
  home(project: ProjectRef): string {
    return join(this.#root, project)
  }

  /** Those that have artefacts. */
  async projects(): Promise<ProjectRef[]> {
    return (await listed(this.#root)) as ProjectRef[]
  }

  /** A fresh name beside them, cleared away by the next start when it is left. */
  temporary(project: ProjectRef): string {
    return join(this.home(project), this.#temporary())
  }

  /** How many bytes an archive that is there has when it is unpacked. */
  async unpackedBytes(project: ProjectRef, sha256: string): Promise<number> {
    return this.#unpackedBytes.get(this.folder(project, sha256)) ?? (await readArchive(await this.#readSound(project, sha256))).unpackedBytes
  }

  zipPath(project: ProjectRef, sha256: string): string {
    return `${this.#path(project, sha256)}.zip`
  }

  folder(project: ProjectRef, sha256: string): string {
    return this.#path(project, sha256)
  }

  async has(project: ProjectRef, sha256: string): Promise<boolean> {
    return await exists(this.zipPath(project, sha256))
  }

  /** The archive piece by piece: it may be large. The file is opened when the first piece is asked for. */
  async *stream(project: ProjectRef, sha256: string): AsyncGenerator<Uint8Array> {
    await using file = await open(this.zipPath(project, sha256), 'r')
    yield* file.createReadStream({ autoClose: false, highWaterMark: PIECE_BYTES })
  }

  /**
   * Checks, stores and unpacks; resolves when the archive is on disk for good.
   * `record` runs while no sweep can take the artefact away.
   * @throws MayflyError zip_invalid
   */
  async put(project: ProjectRef, zip: Buffer, record: (sha256: string) => Promise<void>): Promise<string> {
    const sha256 = sha256Hex(zip)
    await this.#oneByOne.run(this.#path(project, sha256), async () => {
      if (!(await exists(this.zipPath(project, sha256)))) {
        const parent = this.home(project)
        await this.#makeProject(parent)
        // Unpacked first: an archive that cannot be unpacked is never stored.
        await this.#unpack(project, sha256, zip)
        const temporary = join(parent, this.#temporary())
        try {
          await writeSynced(temporary, [zip])
          await rename(temporary, this.zipPath(project, sha256))
        } finally {
          await rm(temporary, { force: true })
        }
        await syncFolder(parent)
      }
      await record(sha256)
    })
    return sha256
  }

  /** The unpacked folder, made again when it is missing or may have lost files. */
  async ready(project: ProjectRef, sha256: string): Promise<string> {
    const folder = this.folder(project, sha256)
    if (this.#complete.has(folder)) return folder
    await this.#oneByOne.run(this.#path(project, sha256), async () => {
      if (this.#complete.has(folder)) return
      const boot = await readFile(`${folder}.boot`, 'utf8').catch(() => null)
      if (boot === (await this.boot()) && (await exists(folder))) {
        this.#complete.add(folder)
        return
      }
      await this.#unpack(project, sha256, await this.#readSound(project, sha256))
    })
    return folder
  }

  /** Removes an artefact if `forget`, asked while nobody can store it, says that nothing names it any more. */
  async remove(project: ProjectRef, sha256: string, forget: () => Promise<boolean>): Promise<void> {
    await this.#oneByOne.run(this.#path(project, sha256), async () => {
      if (!(await forget())) return
      const folder = this.folder(project, sha256)
      this.#complete.delete(folder)
      this.#unpackedBytes.delete(folder)
      await rm(`${folder}.boot`, { force: true })
      await rm(`${folder}.zip`, { force: true })
      await rm(folder, { recursive: true, force: true })
    })
  }

  /** Removes all that a project had. */
  async removeProject(project: ProjectRef): Promise<void> {
    const parent = this.home(project)
    for (const folder of this.#complete) if (folder.startsWith(`${parent}/`)) this.#complete.delete(folder)
    for (const folder of this.#unpackedBytes.keys()) if (folder.startsWith(`${parent}/`)) this.#unpackedBytes.delete(folder)
    await rm(parent, { recursive: true, force: true })
  }

  async #readSound(project: ProjectRef, sha256: string): Promise<Buffer> {
    const zip = await readFile(this.zipPath(project, sha256))
    if (sha256Hex(zip) !== sha256) throw new MayflyError('internal', `artefact ${sha256} of project ${project} is damaged on disk`)
    return zip
  }

  async #unpack(project: ProjectRef, sha256: string, zip: Buffer): Promise<void> {
    const archive = await readArchive(zip)
    const parent = this.home(project)
    const folder = this.folder(project, sha256)
    const temporary = join(parent, this.#temporary())
    const old = join(parent, this.#temporary())
    try {
      await mkdir(temporary, { mode: 0o755 })
      await chmod(temporary, 0o755)
      await unpackArchive(archive, temporary)
      await rm(`${folder}.boot`, { force: true })
      if (await exists(folder)) await rename(folder, old)
      await rename(temporary, folder)
      const mark = join(parent, this.#temporary())
      const file = await open(mark, 'wx', 0o600)
      await file.writeFile(await this.boot()).finally(() => file.close())
      await rename(mark, `${folder}.boot`)
    } finally {
      await rm(temporary, { recursive: true, force: true })
      await rm(old, { recursive: true, force: true })
    }
    this.#complete.add(folder)
    this.#unpackedBytes.set(folder, archive.unpackedBytes)
  }

  async #makeProject(parent: string): Promise<void> {
    await makeFolder(parent, 0o755)
    await chmod(parent, 0o755)
  }

  /** Names this boot of the machine. */
  async boot(): Promise<string> {
    this.#bootId ??= (await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => 'unknown')).trim()
    return this.#bootId
  }

  #temporary(): string {
    return `${TEMPORARY}${randomToken(12, this.#random)}`
  }

  #path(project: ProjectRef, sha256: string): string {
    // A second look: the text becomes a path.
    if (!isSha256(sha256)) throw new MayflyError('bad_request', 'an artefact is named by 64 lower-case hexadecimal digits')
    return join(this.#root, project, sha256)
  }
}

const exists = async (path: string) =>
  await stat(path).then(
    () => true,
    () => false,
  )

const listed = async (folder: string): Promise<string[]> =>
  await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOTDIR' || error.code === 'ENOENT') return []
    throw error
  })
