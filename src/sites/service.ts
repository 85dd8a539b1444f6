import { type Database, DatabaseError } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { ProjectRef } from '../core/project.ts'
import type { Stays } from '../core/stays.ts'
import { bumpProjectVersion } from '../core/store.ts'
import type { Clock } from '../lib/clock.ts'
import type { ByteRange } from '../lib/http-conditions.ts'
import { uuidv7 } from '../lib/ids.ts'
import { untilAborted } from '../lib/or-aborted.ts'
import { type Coding, Compressed } from './compressed.ts'
import type { SiteFiles } from './files.ts'
import { artefactOf, isSiteName, type NewSiteFile, typeOf } from './manifest.ts'
import { deleteSite, findSite, forgetFile, listSites, pathsOf, projectId, replacePaths, saveFile, saveSite, touchFiles, unusedFiles } from './store.ts'

export interface SitesDeps {
  readonly control: Database
  readonly files: SiteFiles
  readonly stays: Stays
  readonly clock: Clock
  /** Whether what is remembered may be used without asking the database again. */
  readonly believable?: () => boolean
}

export interface SiteFile {
  readonly sha256: string
  readonly bytes: number
  readonly type: string
}

/** A site as it is served. */
export interface Site {
  readonly project: ProjectRef
  readonly name: string
  readonly artefact: string
  readonly files: ReadonlyMap<string, SiteFile>
}

/** A site as its owner sees it. */
export interface SiteInfo {
  readonly name: string
  readonly artefact: string
  readonly version: number
  readonly files: number
  readonly bytes: number
  readonly createdAt: Date
  readonly modifiedAt: Date
}

/** A file that no site names stays this long: between its upload and the deploy that names it, and while pages of before still ask for it. */
const GRACE_SECONDS = 3600
const SWEEP_BATCH = 1000

/** Static files of projects. A change becomes true in one transaction; whoever serves sees the whole of before or of after. */
export class Sites {
  readonly #deps: SitesDeps
  readonly #cache = new Map<string, Site | null>()
  readonly #compressed = new Compressed()
  /** Raised by each invalidation: what was read before it is not kept. */
  #generation = 0

  constructor(deps: SitesDeps) {
    this.#deps = deps
  }

  /** What is served at the host name of the site; null when there is none. */
  async find(project: ProjectRef, name: string): Promise<Site | null> {
    const key = `${project}/${name}`
    const known = this.#cache.get(key)
    if (known !== undefined && (this.#deps.believable?.() ?? true)) return known
    const generation = this.#generation
    const site = await this.#load(project, name)
    if (generation === this.#generation) {
      this.#cache.delete(key)
      if (this.#cache.size >= LIMITS.rememberedSites.value) this.#cache.delete(this.#cache.keys().next().value as string)
      this.#cache.set(key, site)
    }
    return site
  }

  async #load(project: ProjectRef, name: string): Promise<Site | null> {
    if (!isSiteName(name)) return null
    const { control } = this.#deps
    const row = await findSite(control.sql, project, name)
    if (!row) return null
    const files = new Map<string, SiteFile>()
    for (const { path, sha256, type, bytes } of await pathsOf(control.sql, row.id)) files.set(path, { sha256, type, bytes: Number(bytes) })
    return { project, name, artefact: row.artefact, files }
  }

  read(site: Site, file: SiteFile, range: ByteRange | null = null): Promise<Uint8Array | AsyncIterable<Uint8Array>> {
    return this.#deps.files.read(site.project, file.sha256, file.bytes, range)
  }

  /** In fewer bytes; null when there is no time for that. */
  readCompressed(site: Site, file: SiteFile, coding: Coding): Promise<Buffer | null> {
    return this.#compressed.get(file.sha256, coding, () => this.#deps.files.readWhole(site.project, file.sha256))
  }

  async list(project: ProjectRef): Promise<SiteInfo[]> {
    const rows = await listSites(this.#deps.control.sql, project)
    return rows.map(({ id: _id, ...row }) => ({ ...row, version: Number(row.version), files: Number(row.files), bytes: Number(row.bytes) }))
  }

  /** Stores a file under its hash; on disk for good when it resolves. @throws MayflyError bad_request, payload_too_large */
  async storeFile(project: ProjectRef, sha256: string, chunks: AsyncIterable<Uint8Array>): Promise<number> {
    const { control, files, stays } = this.#deps
    const id = await this.#projectId(project)
    using stay = stays.enter(id)
    return await files.put(project, sha256, untilAborted(chunks, stay.signal), async (bytes) => void (await saveFile(control.sql, id, sha256, bytes)))
  }

  /** Those of the hashes that are not stored; those that are will not be swept within the hour. */
  async missing(project: ProjectRef, hashes: readonly string[]): Promise<string[]> {
    const stored = new Map((await touchFiles(this.#deps.control.sql, project, hashes)).map((row) => [row.sha256, Number(row.bytes)]))
    const missing: string[] = []
    for (const sha256 of new Set(hashes)) if (!stored.has(sha256) || !(await this.#deps.files.has(project, sha256))) missing.push(sha256)
    return missing
  }

  /**
   * Makes a site equal to what is said; the same again changes nothing.
   * @throws MayflyError bad_request for a name that is none, files that were not uploaded, or too many bytes
   */
  async put(project: ProjectRef, name: string, files: readonly NewSiteFile[]): Promise<{ created: boolean; changed: boolean; artefact: string }> {
    checkSiteName(name)
    const { control, clock } = this.#deps
    const artefact = artefactOf(files)
    const before = await findSite(control.sql, project, name)
    if (before?.artefact === artefact) return { created: false, changed: false, artefact }
    const id = await this.#projectId(project)
    const hashes = [...new Set(files.map((file) => file.sha256))]
    const missing = await this.missing(project, hashes)
    if (missing.length > 0) throw notUploaded(missing)
    const stored = new Map((await touchFiles(control.sql, project, hashes)).map((row) => [row.sha256, Number(row.bytes)]))
    const bytes = files.reduce((sum, file) => sum + (stored.get(file.sha256) ?? 0), 0)
    if (bytes > LIMITS.siteBytes.value) throw new MayflyError('bad_request', `files: a site may have ${LIMITS.siteBytes.value} bytes; these have ${bytes}`)
    try {
      const created = await control.transaction(async (tx) => {
        const saved = await saveSite(tx, { id: uuidv7(clock.now()), project: id, name, artefact })
        await replacePaths(
          tx,
          saved.id,
          id,
          files.map((file) => ({ ...file, type: typeOf(file.path) })),
        )
        await bumpProjectVersion(tx, project)
        return saved.created
      })
      return { created, changed: true, artefact }
    } catch (error) {
      // The sweep came between, or the project goes.
      if (error instanceof DatabaseError && error.sqlState === '23503') throw notUploaded(hashes)
      throw error
    } finally {
      this.invalidate(project)
    }
  }

  /** @throws MayflyError site_not_found */
  async delete(project: ProjectRef, name: string): Promise<void> {
    const deleted = await this.#deps.control.transaction(async (tx) => {
      const was = isSiteName(name) && (await deleteSite(tx, project, name))
      if (was) await bumpProjectVersion(tx, project)
      return was
    })
    this.invalidate(project)
    if (!deleted) throw new MayflyError('site_not_found', `no site named ${JSON.stringify(name.slice(0, 100))} in project ${project}`)
  }

  /** Forgets what is known of a project's sites. */
  invalidate(project: ProjectRef): void {
    this.#generation++
    for (const key of this.#cache.keys()) if (key.startsWith(`${project}/`)) this.#cache.delete(key)
  }

  /** Removes files that no site names any more. */
  async sweep(graceSeconds: number = GRACE_SECONDS): Promise<number> {
    const { control, files } = this.#deps
    const unused = await unusedFiles(control.sql, graceSeconds, SWEEP_BATCH)
    for (const { project, ref, sha256 } of unused) await files.remove(ref, sha256, () => forgetFile(control.sql, project, sha256, graceSeconds))
    return unused.length
  }

  /** Gives back what a project had on disk; its rows go with the project's own. */
  async dropProject(project: ProjectRef): Promise<void> {
    await this.#deps.files.removeProject(project)
    this.invalidate(project)
  }

  async #projectId(project: ProjectRef): Promise<string> {
    const id = await projectId(this.#deps.control.sql, project)
    if (id === null) throw new MayflyError('project_not_found', `no project has the ref "${project}"`)
    return id
  }
}

/** @throws MayflyError bad_request */
export function checkSiteName(name: string): void {
  if (!isSiteName(name)) throw new MayflyError('bad_request', 'name: must be 1 to 63 of a-z, 0-9 and hyphens inside: it becomes a host name')
}

const notUploaded = (hashes: readonly string[]) =>
  new MayflyError('bad_request', `files: ${hashes.length} were not uploaded to this project, such as ${hashes[0]}; PUT them first`)
