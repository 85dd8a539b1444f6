import { isDeepStrictEqual } from 'node:util'
import { type Database, DatabaseError } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import type { ProjectRef } from '../core/project.ts'
import { bumpProjectVersion } from '../core/store.ts'
import { type Builds, type FunctionRecord, noArtefact, versionText } from './builds.ts'
import type { Resolver } from './resolver.ts'
import { deleteQualifier } from './settings/store.ts'
import { aliasesOfVersion, deletePublished, insertPublished, insertVersion, listVersions, projectId, type VersionPlace } from './store.ts'

export interface VersionsDeps {
  readonly control: Database
  readonly builds: Builds
  readonly resolver: Resolver
  readonly newId: () => string
  /** Told the id of each build that serves no more. */
  readonly retired: (versionId: string) => void
  /** Told of a version that will probably be called. */
  readonly expected: (project: ProjectRef, name: string, version: string) => void
}

export interface Publishing {
  /** Instead of that of $LATEST. */
  readonly description?: string | null
  /** $LATEST is published only when it has this artefact. */
  readonly artefact?: string | null
  /** …and this revision. */
  readonly revisionId?: string | null
}

/** How often a publishing that another change overtook looks again. */
const TRIES = 5

/** Published versions: builds of their own, with a number that is never given twice. */
export class Versions {
  readonly #deps: VersionsDeps

  constructor(deps: VersionsDeps) {
    this.#deps = deps
  }

  /**
   * Gives what $LATEST is now a number. What equals the version published last is that version: nothing is made.
   * @throws MayflyError function_not_found, revision_mismatch, code_mismatch, function_changing
   */
  async publish(project: ProjectRef, name: string, how: Publishing = {}): Promise<{ record: FunctionRecord; created: boolean }> {
    const { resolver } = this.#deps
    for (let tries = 0; tries < TRIES; tries++) {
      const latest = await resolver.get(project, name, null)
      if (how.revisionId && how.revisionId !== latest.revisionId)
        throw new MayflyError('revision_mismatch', `the function "${name}" has another revision id than ${JSON.stringify(how.revisionId.slice(0, 100))}`)
      if ((how.artefact ?? latest.artefact) !== latest.artefact)
        throw new MayflyError('code_mismatch', `the function "${name}" has other code than ${how.artefact}`)
      const last = await this.#last(project, latest)
      if (last !== null && this.#same(last, latest)) return { record: last, created: false }
      const number = await this.#insert(project, latest, how.description ?? latest.definition.description)
      if (number === null) continue
      resolver.forget(project, name)
      const version = versionText(number)
      this.#deps.expected(project, name, version)
      return { record: await resolver.get(project, name, version), created: true }
    }
    throw new MayflyError('function_changing', `other changes of the function "${name}" were made at the same time`)
  }

  /** The published version that $LATEST equals; null when publishing would make one. @throws MayflyError function_not_found */
  async equalOf(project: ProjectRef, name: string): Promise<string | null> {
    const latest = await this.#deps.resolver.get(project, name, null)
    const last = await this.#last(project, latest)
    return last && this.#same(last, latest) ? last.version : null
  }

  /** In the order of names and numbers, $LATEST first: of one function, or of all. */
  async list(project: ProjectRef, name: string | null, after: VersionPlace, limit: number): Promise<FunctionRecord[]> {
    const rows = await listVersions(this.#deps.control.sql, project, name, after, limit)
    return rows.map((row) => this.#deps.builds.recordOf(row))
  }

  /**
   * Its number stays used.
   * @throws MayflyError function_not_found, version_in_use when an alias names it
   */
  async delete(project: ProjectRef, name: string, number: number): Promise<void> {
    const { control, resolver, retired } = this.#deps
    const record = await resolver.get(project, name, versionText(number))
    const inUse = (aliases: readonly string[]) =>
      new MayflyError('version_in_use', `Unable to delete version because the following aliases reference it: [${aliases.join(', ')}]`)
    const deleted = await control
      .transaction(async (tx) => {
        const aliases = await aliasesOfVersion(tx, record.id, number)
        if (aliases.length > 0) throw inUse(aliases)
        const versionId = await deletePublished(tx, record.id, number)
        if (versionId !== null) await deleteQualifier(tx, record.id, versionText(number))
        if (versionId !== null) await bumpProjectVersion(tx, project)
        return versionId
      })
      .catch(async (error: unknown) => {
        // 23503: an alias came to name it between the two.
        if (error instanceof DatabaseError && error.sqlState === '23503') throw inUse(await aliasesOfVersion(control.sql, record.id, number))
        throw error
      })
    resolver.forget(project, name)
    if (deleted !== null) retired(deleted)
  }

  /** The version that was published last, if it is still there. */
  async #last(project: ProjectRef, latest: FunctionRecord): Promise<FunctionRecord | null> {
    return latest.published === 0 ? null : await this.#deps.resolver.find(project, latest.name, versionText(latest.published))
  }

  async #insert(project: ProjectRef, latest: FunctionRecord, description: string): Promise<number | null> {
    const { control, builds, newId, retired } = this.#deps
    const inProject = await projectId(control.sql, project)
    if (inProject === null) throw new MayflyError('project_not_found', `no project has the ref "${project}"`)
    const { name, tags, ...stored } = latest.definition
    const made = await builds.make(project, inProject, {
      id: newId(),
      functionId: latest.id,
      name,
      // The number that it gets: whoever takes it first changes the revision, and then this one is made again.
      version: versionText(latest.published + 1),
      tags,
      stored,
      environment: latest.environment,
      artefact: latest.artefact,
      like: latest.versionId,
    })
    try {
      return await control.transaction(async (tx) => {
        const number = await insertPublished(tx, {
          functionId: latest.id,
          versionId: made.id,
          description,
          revisionId: newId(),
          latestRevisionId: newId(),
          expected: latest.revisionId,
        })
        if (number === null) throw new Overtaken()
        await insertVersion(tx, inProject, made)
        await bumpProjectVersion(tx, project)
        return number
      })
    } catch (error) {
      retired(made.id)
      if (error instanceof Overtaken) return null
      // 23503: the sweep, or the deletion of the function, came between.
      throw error instanceof DatabaseError && error.sqlState === '23503' ? noArtefact(latest.artefact) : error
    }
  }

  /** What publishing said of the last one is no difference: that of the build is compared. */
  #same(last: FunctionRecord, latest: FunctionRecord): boolean {
    // What is the function's and not a version's is no difference either.
    const settings = ({ definition }: FunctionRecord, description: string) => ({
      ...definition,
      description,
      tags: {},
      reservedConcurrency: null,
      provisioned: 0,
    })
    return (
      last.artefact === latest.artefact &&
      isDeepStrictEqual(settings(last, last.builtDescription), settings(latest, latest.builtDescription)) &&
      isDeepStrictEqual(last.environment, latest.environment)
    )
  }
}

class Overtaken extends Error {}
