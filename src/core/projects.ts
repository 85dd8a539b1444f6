import { CloneUnavailable, DatabaseError, type Databases, type Tx } from '../backends/database/database.ts'
import type { Clock } from '../lib/clock.ts'
import { uuidv7 } from '../lib/ids.ts'
import { StartError } from './data-directory.ts'
import { MayflyError } from './errors.ts'
import { DEFAULT_LIMIT_PROFILE, type LimitProfileName } from './limit-profiles.ts'
import type { Log } from './log.ts'
import { type Project, type ProjectRef, parseProjectRef } from './project.ts'
import { SealError, type Sealer } from './seal.ts'
import { deleteProject, insertProject, selectLimitProfile, selectProjects, type ProjectRow, updateLimitProfile, updateProjectState } from './store.ts'

export interface ProjectsDeps {
  readonly databases: Databases
  readonly sealer: Sealer
  readonly clock: Clock
  readonly log: Log
  /** What other rooms add to a new project in the transaction that makes it: its keys. */
  readonly onCreate: (tx: Tx, project: Project) => Promise<void>
  /** Copies what a project has on disk into one that is being made, and takes out of it what is the other's alone. May be called again. */
  readonly onClone: (source: Project, project: Project) => Promise<void>
  /** What they give back when one goes: code on disk, sandboxes. */
  readonly onDelete: (project: Project) => Promise<void>
}

/**
 * The projects of this instance. Control holds the desired state, `reconcile` makes the databases equal to it:
 * at once when something changed, and after every start.
 */
export class Projects {
  readonly #deps: ProjectsDeps
  readonly #byRef = new Map<ProjectRef, Project>()
  readonly #profiles = new Map<ProjectRef, LimitProfileName>()
  readonly #working = new Map<ProjectRef, Promise<void>>()
  /** What those that are being made are copies of, by id. */
  readonly #clones = new Map<ProjectRef, string>()

  constructor(deps: ProjectsDeps) {
    this.#deps = deps
  }

  /** Reads what there is and finishes what a former life began. */
  async start(): Promise<void> {
    for (const row of await selectProjects(this.#deps.databases.control.sql)) {
      try {
        this.#take(row)
      } catch (error) {
        if (!(error instanceof SealError)) throw error
        throw new StartError(
          'The instance key is not the one that the secrets of this database were sealed with. Restore the right instance.key, or give it with --instance-key-file.',
        )
      }
    }
    for (const project of this.#byRef.values()) {
      if (project.state !== 'active')
        await this.#reconcile(project.ref).catch((error: Error) =>
          this.#deps.log.error({ project: project.ref, error: error.message }, 'a project could not be brought to its state'),
        )
    }
  }

  find(ref: ProjectRef): Project | null {
    return this.#byRef.get(ref) ?? null
  }

  list(): readonly Project[] {
    return [...this.#byRef.values()]
  }

  /** Which limits the functions of a project are held to. */
  limitProfileOf(ref: ProjectRef): LimitProfileName {
    return this.#profiles.get(ref) ?? DEFAULT_LIMIT_PROFILE
  }

  /** From the next deploy on; what is beyond it goes on as it is. @throws MayflyError project_not_found */
  async setLimitProfile(ref: ProjectRef, profile: LimitProfileName): Promise<void> {
    const [row] = await updateLimitProfile(this.#deps.databases.control.sql, ref, profile)
    if (!row) throw new MayflyError('project_not_found', `there is no project ${ref}`)
    this.#profiles.set(ref, profile)
  }

  /** Another process may have changed what a project is held to. Never throws. */
  async heard(ref: ProjectRef): Promise<void> {
    const profile = await selectLimitProfile(this.#deps.databases.control.sql, ref).catch(() => null)
    if (profile !== null && this.#byRef.has(ref)) this.#profiles.set(ref, profile)
  }

  /** A new project with the rows and objects that another has now. @throws MayflyError project_not_found, bad_request, project_exists, clone_unavailable */
  async clone(source: ProjectRef, refText: string, name: string, onCreate: ProjectsDeps['onCreate'] = this.#deps.onCreate): Promise<Project> {
    const from = this.#byRef.get(source)
    if (from?.state !== 'active') throw new MayflyError('project_not_found', `there is no project ${source}`)
    try {
      return await this.#make(refText, name, this.limitProfileOf(source), onCreate, from)
    } catch (error) {
      if (!(error instanceof CloneUnavailable)) throw error
      throw new MayflyError('clone_unavailable', `the project ${source} cannot be copied: ${error.message}`, { cause: error })
    }
  }

  /** @throws MayflyError bad_request, project_exists */
  async create(
    refText: string,
    name: string,
    limitProfile: LimitProfileName = DEFAULT_LIMIT_PROFILE,
    onCreate: ProjectsDeps['onCreate'] = this.#deps.onCreate,
  ): Promise<Project> {
    return await this.#make(refText, name, limitProfile, onCreate, null)
  }

  async #make(refText: string, name: string, limitProfile: LimitProfileName, onCreate: ProjectsDeps['onCreate'], source: Project | null): Promise<Project> {
    const ref = parseProjectRef(refText)
    if (!ref) throw new MayflyError('bad_request', 'ref: 3 to 40 of a-z, 0-9 and hyphens inside, beginning with a letter')
    const id = uuidv7(this.#deps.clock.now())
    const dataKey = this.#deps.sealer.makeDataKey(id)
    try {
      await this.#deps.databases.control.transaction(async (tx) => {
        const [row] = await insertProject(tx, { id, ref, name, dataKey, limitProfile, clonedFrom: source?.id ?? null })
        this.#deps.sealer.useDataKey(id, dataKey)
        await onCreate(tx, row as ProjectRow)
      })
    } catch (error) {
      this.#deps.sealer.forget(id)
      if (error instanceof DatabaseError && error.sqlState === '23505') throw new MayflyError('project_exists', `there is a project ${ref} already`)
      throw error
    }
    // A deletion may have come before this line: then it stays with that.
    if (this.#byRef.get(ref)?.id !== id) {
      this.#byRef.set(ref, { id, ref, name, state: 'creating' })
      this.#profiles.set(ref, limitProfile)
      if (source) this.#clones.set(ref, source.id)
    }
    await this.#reconcile(ref)
    const made = this.#byRef.get(ref)
    if (made?.id !== id || made.state !== 'active') throw new MayflyError('project_not_found', `the project ${ref} was deleted while it was made`)
    return made
  }

  /** @throws MayflyError project_not_found */
  async delete(refText: string): Promise<void> {
    const ref = parseProjectRef(refText)
    if (!ref) throw new MayflyError('project_not_found', 'there is no project of this name')
    const [row] = await updateProjectState(this.#deps.databases.control.sql, ref, 'deleting')
    if (!row) throw new MayflyError('project_not_found', `there is no project ${ref}`)
    this.#take(row)
    await this.#reconcile(ref)
  }

  #take(row: ProjectRow): void {
    this.#deps.sealer.useDataKey(row.id, row.dataKey)
    this.#byRef.set(row.ref, { id: row.id, ref: row.ref, name: row.name, state: row.state })
    this.#profiles.set(row.ref, row.limitProfile)
    if (row.state === 'creating' && row.clonedFrom !== null) this.#clones.set(row.ref, row.clonedFrom)
    else this.#clones.delete(row.ref)
  }

  /** What a copy begins with. @returns false when it cannot be made: then the project goes. */
  async #copy(project: Project): Promise<boolean> {
    const sourceId = this.#clones.get(project.ref)
    if (sourceId === undefined) return true
    const source = this.list().find(({ id, state }) => id === sourceId && state === 'active')
    try {
      if (!source) throw new MayflyError('project_not_found', `the project that ${project.ref} was to be a copy of is gone`)
      await this.#deps.onClone(source, project)
      return true
    } catch (error) {
      // Half of a project is none: whoever asked is told, and asks again.
      const [row] = await updateProjectState(this.#deps.databases.control.sql, project.ref, 'deleting')
      if (row) this.#take(row)
      await this.#step(project.ref)
      if (source) throw error
      return false
    }
  }

  /** One at a time for one project; each step may be repeated. */
  async #reconcile(ref: ProjectRef): Promise<void> {
    const before = this.#working.get(ref) ?? Promise.resolve()
    const work = before.catch(() => {}).then(() => this.#step(ref))
    this.#working.set(ref, work)
    try {
      await work
    } finally {
      if (this.#working.get(ref) === work) this.#working.delete(ref)
    }
  }

  async #step(ref: ProjectRef): Promise<void> {
    const { databases } = this.#deps
    const project = this.#byRef.get(ref)
    if (project?.state === 'creating') {
      if (!(await this.#copy(project))) return await this.#step(ref)
      await databases.ensureProject(ref)
      const [row] = await updateProjectState(databases.control.sql, ref, 'active')
      if (row) this.#take(row)
    } else if (project?.state === 'deleting') {
      await this.#deps.onDelete(project)
      await databases.dropProject(ref)
      await deleteProject(databases.control.sql, ref)
      if (this.#byRef.get(ref)?.id === project.id) {
        this.#byRef.delete(ref)
        this.#profiles.delete(ref)
      }
      this.#deps.sealer.forget(project.id)
    }
  }
}
