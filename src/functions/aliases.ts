import { type Database, DatabaseError } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { ProjectRef } from '../core/project.ts'
import { bumpProjectVersion } from '../core/store.ts'
import { type FunctionRecord, LATEST, versionText } from './builds.ts'
import { isNumber, numberOf, type Resolver } from './resolver.ts'
import { deleteQualifier } from './settings/store.ts'
import { type AliasRow, countAliases, deleteAlias, findAlias, findVersion, insertAlias, listAliases, type NewAlias, updateAlias } from './store.ts'

export interface AliasesDeps {
  readonly control: Database
  readonly resolver: Resolver
  readonly newId: () => string
  /** Told of a version that will probably be called. */
  readonly expected: (project: ProjectRef, name: string, version: string) => void
  /** Has a sandbox of a version ready for calls. @returns what its code said when it did not load */
  readonly start: (project: ProjectRef, record: FunctionRecord) => Promise<LoadFault | null>
}

/** What code said when it did not load. */
export interface LoadFault {
  readonly type: string
  readonly message: string
}

/** A share of an alias's calls that goes to another version. */
export interface Share {
  readonly version: string
  /** From 0 to 1. */
  readonly weight: number
}

/** A name for a version that can be given to another. */
export interface Alias {
  readonly name: string
  readonly version: string
  readonly other: Share | null
  readonly description: string
  readonly revisionId: string
  readonly createdAt: Date
  readonly modifiedAt: Date
  /** The published versions that it named before, the last one at the end. */
  readonly former: readonly number[]
}

export interface AliasChange {
  readonly version?: string | null
  /** Null takes the share away; absent keeps it. */
  readonly other?: Share | null
  readonly description?: string | null
}

/** So many former versions are remembered of an alias. */
const FORMER = 50

/** Aliases of functions: where the calls that name them go. */
export class Aliases {
  readonly #deps: AliasesDeps

  constructor(deps: AliasesDeps) {
    this.#deps = deps
  }

  /** @throws MayflyError alias_not_found, function_not_found */
  async get(project: ProjectRef, functionName: string, name: string): Promise<Alias> {
    return shown((await this.#row(project, functionName, name)).row)
  }

  async find(project: ProjectRef, functionName: string, name: string): Promise<Alias | null> {
    const row = name.includes('\0') ? null : await findAlias(this.#deps.control.sql, project, functionName, name)
    return row && shown(row)
  }

  /** @param version  only those that name it; null for all. @throws MayflyError function_not_found */
  async list(project: ProjectRef, functionName: string, version: string | null, after: string, limit: number): Promise<Alias[]> {
    const { id } = await this.#deps.resolver.get(project, functionName, null)
    const number = version === null || version === LATEST ? null : numberOf(version)
    if (number === null && version !== null && version !== LATEST) return []
    return (await listAliases(this.#deps.control.sql, id, number, version === LATEST, after, limit)).map(shown)
  }

  /** @throws MayflyError function_not_found, version_not_found, alias_exists, too_many_aliases, bad_request */
  async create(project: ProjectRef, functionName: string, name: string, change: AliasChange & { readonly version: string }): Promise<Alias> {
    const { control, resolver, newId } = this.#deps
    if (!isAliasName(name)) throw new MayflyError('bad_request', 'alias: 1 to 128 letters, digits, `-` and `_`, and not digits alone')
    const { id: functionId } = await resolver.get(project, functionName, null)
    const to = await this.#target(project, functionName, change.version, change.other ?? null)
    if ((await countAliases(control.sql, functionId)) >= LIMITS.functionAliases.value)
      throw new MayflyError('too_many_aliases', `the function "${functionName}" has ${LIMITS.functionAliases.value} aliases already`)
    const alias: NewAlias = { functionId, name, ...to, description: change.description ?? '', revisionId: newId() }
    await this.#change(project, functionName, (tx) => insertAlias(tx, alias)).catch((error: unknown) => {
      if (error instanceof DatabaseError && error.sqlState === '23505')
        throw new MayflyError('alias_exists', `the function "${functionName}" has an alias "${name}" already`)
      throw error
    })
    return await this.#moved(project, functionName, name)
  }

  /**
   * @param revisionId  the change is refused when the alias has another one
   * @throws MayflyError alias_not_found, version_not_found, revision_mismatch, function_changing, bad_request
   */
  async update(project: ProjectRef, functionName: string, name: string, change: AliasChange, revisionId: string | null = null): Promise<Alias> {
    const { row, alias } = await this.#row(project, functionName, name)
    if (revisionId !== null && row.revisionId !== revisionId)
      throw new MayflyError('revision_mismatch', `the alias "${name}" has another revision id than ${JSON.stringify(revisionId.slice(0, 100))}`)
    const to = await this.#target(project, functionName, change.version ?? alias.version, change.other === undefined ? alias.other : change.other)
    const former = row.version === null || to.version === row.version ? row.former : [...row.former, row.version].slice(-FORMER)
    return await this.#save(project, functionName, row, { ...to, description: change.description ?? row.description }, former)
  }

  /**
   * Gives all calls of an alias to a version, once a sandbox of that has started; makes the alias when it is not there.
   * @throws MayflyError function_not_found, version_not_found, version_broken
   */
  async point(project: ProjectRef, functionName: string, name: string, version: string): Promise<{ alias: Alias; changed: boolean }> {
    await this.#deps.resolver.get(project, functionName, null)
    const before = await this.find(project, functionName, name)
    if (before?.version === version && before.other === null) return { alias: before, changed: false }
    await this.#target(project, functionName, version, null)
    const fault = await this.#deps.start(project, await this.#deps.resolver.get(project, functionName, version))
    if (fault !== null)
      throw new MayflyError(
        'version_broken',
        `version ${version} of "${functionName}" does not load, "${name}" stays as it is: ${fault.type}: ${fault.message.slice(0, 1000)}`,
      )
    const alias = before
      ? await this.update(project, functionName, name, { version, other: null })
      : await this.create(project, functionName, name, { version })
    return { alias, changed: true }
  }

  /**
   * Gives all calls of an alias to the version that it named before.
   * @throws MayflyError alias_not_found, nothing_before
   */
  async rollback(project: ProjectRef, functionName: string, name: string): Promise<Alias> {
    const { row, alias } = await this.#row(project, functionName, name)
    const former = [...row.former]
    for (let number = former.pop(); number !== undefined; number = former.pop()) {
      if (number === row.version || !(await findVersion(this.#deps.control.sql, project, functionName, number))) continue
      const to = { version: number, otherVersion: null, otherWeight: null, description: row.description }
      return await this.#save(project, functionName, row, to, former)
    }
    throw new MayflyError(
      'nothing_before',
      `the alias "${name}" of "${functionName}" is at version ${alias.version}, and there is none that it named before to go back to`,
    )
  }

  /** @throws MayflyError function_not_found, alias_not_found */
  async delete(project: ProjectRef, functionName: string, name: string): Promise<void> {
    const { row } = await this.#row(project, functionName, name)
    await this.#change(project, functionName, async (tx) => {
      await deleteAlias(tx, row.functionId, name)
      await deleteQualifier(tx, row.functionId, name) // whoever takes the name next inherits nothing
    })
  }

  async #row(project: ProjectRef, functionName: string, name: string): Promise<{ row: AliasRow; alias: Alias }> {
    const row = functionName.includes('\0') || name.includes('\0') ? null : await findAlias(this.#deps.control.sql, project, functionName, name)
    if (row) return { row, alias: shown(row) }
    await this.#deps.resolver.get(project, functionName, null)
    throw new MayflyError('alias_not_found', `the function "${functionName}" has no alias ${JSON.stringify(name.slice(0, 128))}`)
  }

  async #save(
    project: ProjectRef,
    functionName: string,
    row: AliasRow,
    to: Pick<NewAlias, 'version' | 'otherVersion' | 'otherWeight' | 'description'>,
    former: readonly number[],
  ): Promise<Alias> {
    const { functionId, name, revisionId } = row
    const saved = await this.#change(project, functionName, (tx) =>
      updateAlias(tx, { functionId, name, revisionId: this.#deps.newId(), ...to }, former, revisionId),
    )
    if (!saved) throw new MayflyError('function_changing', `another change of the alias "${name}" was made at the same time`)
    return await this.#moved(project, functionName, name)
  }

  /** Looks at where calls are to go. */
  async #target(project: ProjectRef, functionName: string, version: string, other: Share | null) {
    const numbers = [version, ...(other === null ? [] : [other.version])].map((text) => (text === LATEST ? null : numberOf(text)))
    for (const [at, number] of numbers.entries()) {
      const text = at === 0 ? version : (other?.version ?? '')
      if (text === LATEST) continue
      if (number === null || !(await findVersion(this.#deps.control.sql, project, functionName, number)))
        throw new MayflyError('version_not_found', `the function "${functionName}" has no version ${JSON.stringify(text.slice(0, 100))}`)
    }
    const [first = null, second = null] = numbers
    if (other === null) return { version: first, otherVersion: null, otherWeight: null }
    if (first === null || second === null) throw new MayflyError('bad_request', '$LATEST is not supported for an alias pointing to more than 1 version')
    if (first === second)
      throw new MayflyError('bad_request', `Invalid function version ${first}. Function version ${first} is already included in routing configuration.`)
    if (!(other.weight >= 0 && other.weight <= 1)) throw new MayflyError('bad_request', 'weight: a number from 0 to 1')
    return { version: first, otherVersion: second, otherWeight: other.weight }
  }

  async #change<T>(project: ProjectRef, functionName: string, work: (tx: Parameters<typeof insertAlias>[0]) => Promise<T>): Promise<T> {
    try {
      return await this.#deps.control.transaction(async (tx) => {
        const made = await work(tx)
        await bumpProjectVersion(tx, project)
        return made
      })
    } catch (error) {
      // 23503: the version, or the function, went between the look and the change.
      if (error instanceof DatabaseError && error.sqlState === '23503')
        throw new MayflyError('version_not_found', `a version of the function "${functionName}" was deleted at the same time`)
      throw error
    } finally {
      this.#deps.resolver.forget(project, functionName)
    }
  }

  async #moved(project: ProjectRef, functionName: string, name: string): Promise<Alias> {
    const alias = await this.get(project, functionName, name)
    for (const version of [alias.version, ...(alias.other ? [alias.other.version] : [])]) this.#deps.expected(project, functionName, version)
    return alias
  }
}

export const isAliasName = (text: string): boolean => /^[a-zA-Z0-9_-]{1,128}$/.test(text) && !isNumber(text)

const shown = (row: AliasRow): Alias => ({
  name: row.name,
  version: versionText(row.version),
  other: row.otherVersion === null || row.otherWeight === null ? null : { version: versionText(row.otherVersion), weight: row.otherWeight },
  description: row.description,
  revisionId: row.revisionId,
  createdAt: row.createdAt,
  modifiedAt: row.modifiedAt,
  former: row.former,
})
