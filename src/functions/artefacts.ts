import { createHash } from 'node:crypto'
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PACKAGES_NAME } from '../core/code-folder.ts'
import { MayflyError } from '../core/errors.ts'
import type { ProjectRef } from '../core/project.ts'
import { KiB } from '../lib/bytes.ts'
import { type Random, randomToken, systemRandom } from '../lib/ids.ts'
import { OneByOne } from '../lib/one-by-one.ts'
import { makeFolder, syncFolder, writeSynced } from '../lib/synced-files.ts'
import { type Archive, readArchive, unpackArchive } from './archive.ts'

export interface ArtefactsOptions {
  /** The folder `artefacts/` of the data directory. */
  readonly root: string
  /** Names this boot of the machine; by default what the kernel says. */
  readonly bootId?: string
  readonly random?: Random
}

/** What artefacts have in common that differ by little: those of one app, by its packages. */
export interface Kin {
  readonly name: string
  /** Of what each has for itself. */
  readonly ownBytes: number
}

/** To compile so much takes less than to look whether it was compiled. */
const ALIKE_BYTES = 256 * KiB
/** An archive that is kept in memory has so much at most. */
const RECENT_BYTES = 32 * KiB * KiB
/** Kinds that are remembered. */
const MOST_KINDS = 256
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
  /** The last of each kind, and of which kind those are that load alike. */
  readonly #lastOf = new Map<string, string>()
  readonly #kinds = new Map<string, string>()
  /** The one that was unpacked last with kin: the next is most likely compared with it. */
  #recent: { readonly folder: string; readonly archive: Archive } | null = null
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
   * @param kin  files that are those of the last of its kind are not unpacked again: they are the same files, under another name
   * @throws MayflyError zip_invalid
   */
  async put(project: ProjectRef, zip: Buffer, record: (sha256: string) => Promise<void>, kin: Kin | null = null): Promise<string> {
    const sha256 = sha256Hex(zip)
    const kind = kin === null ? null : `${project}/${kin.name}`
    await this.#oneByOne.run(this.#path(project, sha256), async () => {
      if (!(await exists(this.zipPath(project, sha256)))) {
        const parent = this.home(project)
        await this.#makeProject(parent)
        // Unpacked first: an archive that cannot be unpacked is never stored.
        await this.#unpack(project, sha256, zip, kind === null ? null : (this.#lastOf.get(kind) ?? null), kind !== null)
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
    if (kin !== null && kind !== null) this.#isOf(kind, project, sha256, kin.ownBytes)
    return sha256
  }

  #isOf(kind: string, project: ProjectRef, sha256: string, ownBytes: number): void {
    this.#lastOf.delete(kind)
    this.#lastOf.set(kind, sha256)
    if (this.#lastOf.size > MOST_KINDS) this.#lastOf.delete(this.#lastOf.keys().next().value as string)
    if (ownBytes <= ALIKE_BYTES) this.#kinds.set(this.folder(project, sha256), kind)
  }

  /** Whether nearly all of two artefacts is the same. */
  loadAlike(project: ProjectRef, one: string, other: string): boolean {
    const kind = this.#kinds.get(this.folder(project, one))
    return one === other || (kind !== undefined && kind === this.#kinds.get(this.folder(project, other)))
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
      this.#kinds.delete(folder)
      await rm(`${folder}.boot`, { force: true })
      await rm(`${folder}${PACKAGES_NAME}`, { force: true })
      await rm(`${folder}.zip`, { force: true })
      await rm(folder, { recursive: true, force: true })
    })
  }

  /** Removes all that a project had. */
  async removeProject(project: ProjectRef): Promise<void> {
    const parent = this.home(project)
    for (const folder of this.#complete) if (folder.startsWith(`${parent}/`)) this.#complete.delete(folder)
    for (const folder of this.#unpackedBytes.keys()) if (folder.startsWith(`${parent}/`)) this.#unpackedBytes.delete(folder)
    for (const folder of this.#kinds.keys()) if (folder.startsWith(`${parent}/`)) this.#kinds.delete(folder)
    for (const kind of this.#lastOf.keys()) if (kind.startsWith(`${project}/`)) this.#lastOf.delete(kind)
    await rm(parent, { recursive: true, force: true })
  }

  async #readSound(project: ProjectRef, sha256: string): Promise<Buffer> {
    const zip = await readFile(this.zipPath(project, sha256))
    if (sha256Hex(zip) !== sha256) throw new MayflyError('internal', `artefact ${sha256} of project ${project} is damaged on disk`)
    return zip
  }

  async #unpack(project: ProjectRef, sha256: string, zip: Buffer, like: string | null = null, hasKin = false): Promise<void> {
    const archive = await readArchive(zip)
    const packages = hasKin ? packagesNameOf(archive) : null
    const there = like === null ? null : await this.#unpacked(project, like)
    const parent = this.home(project)
    const folder = this.folder(project, sha256)
    const temporary = join(parent, this.#temporary())
    const old = join(parent, this.#temporary())
    try {
      await mkdir(temporary, { mode: 0o755 })
      await chmod(temporary, 0o755)
      await unpackArchive(archive, temporary, there)
      // Beside it, and before it: what follows from the archive is true of any folder that is made of it.
      if (packages !== null) await writeFile(`${folder}${PACKAGES_NAME}`, packages, { mode: 0o600 })
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
    if (hasKin && zip.length <= RECENT_BYTES) this.#recent = { folder, archive }
  }

  /** One that is whole on disk; null when it is not to be had. */
  async #unpacked(project: ProjectRef, sha256: string): Promise<{ readonly folder: string; readonly archive: Archive } | null> {
    try {
      const folder = await this.ready(project, sha256)
      if (this.#recent?.folder === folder) return this.#recent
      return { folder, archive: await readArchive(await this.#readSound(project, sha256)) }
    } catch {
      return null
    }
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

/** Names the tree of an archive's packages, by all that is in it: names, kinds, rights and bytes. Null where it has none. */
function packagesNameOf({ members }: Archive): string | null {
  const hash = createHash('sha256')
  const own = members.filter(({ path }) => path.startsWith('node_modules/')).toSorted((one, other) => (one.path < other.path ? -1 : 1))
  for (const { path, kind, executable, deflated, bytes, crc, data } of own)
    hash.update(JSON.stringify([path, kind, executable, deflated, bytes, crc, data.length])).update(data)
  return own.length === 0 ? null : hash.digest('hex')
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
