import type { Database } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import type { ProjectRef } from '../core/project.ts'
import { type Builds, type FunctionRecord, LATEST, versionText } from './builds.ts'
import { Remembered } from './remembered.ts'
import { findAlias, findFunction, findVersion } from './store.ts'
import type { Version } from './types.ts'

export interface ResolverDeps {
  readonly control: Database
  readonly builds: Builds
  readonly unpacked?: (project: ProjectRef, name: string, qualifier: string) => Promise<void>
  readonly believable: () => boolean
  /** From 0 to below 1: which of an alias's two versions takes a call. */
  readonly fraction: () => number
}

/** Where an alias leads. */
interface Route {
  readonly version: string
  readonly other: { readonly version: string; readonly weight: number } | null
}

const NUMBER = /^[0-9]+$/
/** What no version has: a greater number does not fit the column. */
const MAX_NUMBER = 2 ** 31 - 1

/** The number that a qualifier says; null for what no version can have, such as 007. */
export const numberOf = (qualifier: string): number | null => (/^[1-9]\d{0,9}$/.test(qualifier) && Number(qualifier) <= MAX_NUMBER ? Number(qualifier) : null)

export const isNumber = (qualifier: string): boolean => NUMBER.test(qualifier)

/** Finds the version that a call is for: from memory, or else from the database. */
export class Resolver {
  readonly #deps: ResolverDeps
  readonly #versions: Remembered<Version>
  readonly #routes: Remembered<Route>

  constructor(deps: ResolverDeps) {
    this.#deps = deps
    this.#versions = new Remembered(deps.believable)
    this.#routes = new Remembered(deps.believable)
  }

  resolve(project: ProjectRef, name: string, qualifier: string | null): Promise<Version> {
    if (qualifier === null || qualifier === LATEST || NUMBER.test(qualifier)) return this.#version(project, name, qualifier ?? LATEST)
    return this.#byAlias(project, name, qualifier)
  }

  async #byAlias(project: ProjectRef, name: string, qualifier: string): Promise<Version> {
    const { version, other } = await this.#routes.get(`${project}/${name}:${qualifier}`, () => this.#route(project, name, qualifier))
    return await this.#version(project, name, other !== null && this.#deps.fraction() < other.weight ? other.version : version)
  }

  /** What is remembered of a project's versions. */
  known(project: ProjectRef): Version[] {
    return this.#versions.values().filter((version) => version.project === project)
  }

  /** Forgets what is known of a function, or of all functions of a project. */
  forget(project: ProjectRef, name: string | null): void {
    const prefix = name === null ? `${project}/` : `${project}/${name}:`
    this.#versions.forget(prefix)
    this.#routes.forget(prefix)
  }

  /** The record of a version or of what an alias names; null when there is none. */
  async find(project: ProjectRef, name: string, qualifier: string | null): Promise<FunctionRecord | null> {
    const { control, builds } = this.#deps
    if (name.includes('\0') || qualifier?.includes('\0')) return null // no text of PostgreSQL can hold it
    if (qualifier !== null && qualifier !== LATEST && !NUMBER.test(qualifier)) {
      const alias = await findAlias(control.sql, project, name, qualifier)
      return alias && (await this.find(project, name, versionText(alias.version)))
    }
    const number = qualifier === null || qualifier === LATEST ? 0 : numberOf(qualifier)
    if (number === null) return null
    const row = number === 0 ? await findFunction(control.sql, project, name) : await findVersion(control.sql, project, name, number)
    return row && builds.recordOf(row)
  }

  /** @throws MayflyError function_not_found */
  async get(project: ProjectRef, name: string, qualifier: string | null): Promise<FunctionRecord> {
    const record = await this.find(project, name, qualifier)
    if (!record) throw notThere(project, name, qualifier)
    return record
  }

  #version(project: ProjectRef, name: string, version: string): Promise<Version> {
    return this.#versions.get(`${project}/${name}:${version}`, async () => {
      const record = await this.get(project, name, version)
      if (record.state === 'pending') throw new MayflyError('function_not_ready', `the function "${name}" is still being made`)
      await this.#deps.unpacked?.(project, name, version)
      return await this.#deps.builds.versionOf(project, record)
    })
  }

  async #route(project: ProjectRef, name: string, qualifier: string): Promise<Route> {
    if (name.includes('\0') || qualifier.includes('\0')) throw notThere(project, name, qualifier)
    const row = await findAlias(this.#deps.control.sql, project, name, qualifier)
    if (!row) throw notThere(project, name, qualifier)
    const { otherVersion, otherWeight } = row
    return {
      version: versionText(row.version),
      other: otherVersion === null || otherWeight === null ? null : { version: versionText(otherVersion), weight: otherWeight },
    }
  }
}

function notThere(project: ProjectRef, name: string, qualifier: string | null): MayflyError {
  const shown = JSON.stringify(name.slice(0, 200))
  const what = qualifier === null || qualifier === LATEST ? '' : ` with a version or alias ${JSON.stringify(qualifier.slice(0, 200))}`
  return new MayflyError('function_not_found', `no function named ${shown}${what} in project ${project}`)
}
