import { type Database, DatabaseError } from '../../backends/database/database.ts'
import { MayflyError } from '../../core/errors.ts'
import type { Project, ProjectRef } from '../../core/project.ts'
import { bumpProjectVersion } from '../../core/store.ts'
import { type Random, systemRandom } from '../../lib/ids.ts'
import { Remembered } from '../remembered.ts'
import { deleteUrl, findStrict, findUrl, type FunctionUrl, insertUrl, type NewUrl, saveStrict, updateUrl, urlsOf, urlsOfProject } from './store.ts'

export type { AuthType, Cors, FunctionUrl, InvokeMode } from './store.ts'

/** What may be said of one, and said again. */
export type UrlSettings = Pick<FunctionUrl, 'authType' | 'invokeMode' | 'cors'>

export interface FunctionUrlsDeps {
  readonly control: Database
  readonly functionId: (project: ProjectRef, name: string) => Promise<string | null>
  /** Whether what is remembered may be used without asking the database again. */
  readonly believable?: () => boolean
  readonly random?: Random
}

const ID = /^[a-z0-9]{32}$/
const LETTERS = 'abcdefghijklmnopqrstuvwxyz234567'

/** The addresses of functions: at most one for each, and one for each alias. They go with their function or alias. */
export class FunctionUrls {
  readonly #deps: FunctionUrlsDeps
  readonly #known: Remembered<FunctionUrl>
  readonly #strict: Remembered<{ readonly strict: boolean }>

  constructor(deps: FunctionUrlsDeps) {
    this.#deps = deps
    const believable = deps.believable ?? (() => true)
    this.#known = new Remembered(believable)
    this.#strict = new Remembered(believable)
  }

  /** By the name in its address, of which host names keep no case; null when there is none. */
  async find(name: string): Promise<FunctionUrl | null> {
    const id = name.toLowerCase()
    if (!ID.test(id)) return null
    try {
      return await this.#known.get(id, async () => (await findUrl(this.#deps.control.sql, id)) ?? Promise.reject(new NoSuchUrl()))
    } catch (error) {
      if (error instanceof NoSuchUrl) return null // not remembered: who guesses names must not fill the memory
      throw error
    }
  }

  /** Null when the function or alias has none, or is not there. */
  async get(project: ProjectRef, functionName: string, alias: string | null): Promise<FunctionUrl | null> {
    return (await this.list(project, functionName)).find((url) => url.alias === alias) ?? null
  }

  async list(project: ProjectRef, functionName: string): Promise<readonly FunctionUrl[]> {
    if (functionName.includes('\0')) return []
    return await urlsOf(this.#deps.control.sql, project, functionName)
  }

  /** All of a project; the first thousand. */
  async listAll(project: ProjectRef): Promise<readonly FunctionUrl[]> {
    return await urlsOfProject(this.#deps.control.sql, project)
  }

  /** @throws MayflyError function_not_found, alias_not_found, function_url_exists */
  async create(project: ProjectRef, functionName: string, alias: string | null, settings: UrlSettings): Promise<FunctionUrl> {
    const { control, functionId, random = systemRandom } = this.#deps
    const ofFunction = await functionId(project, functionName)
    if (ofFunction === null)
      throw new MayflyError('function_not_found', `no function named ${JSON.stringify(functionName.slice(0, 200))} in project ${project}`)
    const id = Array.from(random(new Uint8Array(32)), (byte) => LETTERS[byte % LETTERS.length]).join('')
    const url: NewUrl = { id, functionId: ofFunction, alias, ...settings }
    try {
      await control.transaction(async (tx) => {
        if (!(await insertUrl(tx, url)))
          throw new MayflyError('function_url_exists', `the function ${functionName}${alias === null ? '' : `:${alias}`} has an address already`)
        await bumpProjectVersion(tx, project)
      })
    } catch (error) {
      if (!(error instanceof DatabaseError && error.sqlState === '23503')) throw error
      throw alias === null
        ? new MayflyError('function_not_found', `the function ${functionName} was deleted meanwhile`)
        : new MayflyError('alias_not_found', `the function ${functionName} has no alias ${JSON.stringify(alias.slice(0, 200))}`)
    }
    return await this.#must(project, functionName, alias)
  }

  /** What is not said stays. @throws MayflyError function_url_not_found */
  async update(project: ProjectRef, functionName: string, alias: string | null, change: Partial<UrlSettings>): Promise<FunctionUrl> {
    const before = await this.#must(project, functionName, alias)
    await this.#change(project, before, (tx) => updateUrl(tx, before.id, change))
    return await this.#must(project, functionName, alias)
  }

  /** @throws MayflyError function_url_not_found */
  async delete(project: ProjectRef, functionName: string, alias: string | null): Promise<void> {
    const url = await this.#must(project, functionName, alias)
    await this.#change(project, url, (tx) => deleteUrl(tx, url.id))
  }

  /** Whether an address without a signature asks for a policy that lets anyone in, as on AWS. */
  async isStrict(project: ProjectRef): Promise<boolean> {
    return (await this.#strict.get(project, async () => ({ strict: await findStrict(this.#deps.control.sql, project) }))).strict
  }

  async setStrict(project: Project, strict: boolean): Promise<void> {
    await this.#deps.control.transaction(async (tx) => {
      await saveStrict(tx, project.id, strict)
      await bumpProjectVersion(tx, project.ref)
    })
    this.#strict.forget(project.ref)
  }

  /** Something of a project was changed by somebody else. */
  forget(project: ProjectRef): void {
    this.#known.forget('') // an address does not say whose it is
    this.#strict.forget(project)
  }

  async #must(project: ProjectRef, functionName: string, alias: string | null): Promise<FunctionUrl> {
    return (await this.get(project, functionName, alias)) ?? Promise.reject(notThere(functionName, alias))
  }

  async #change(project: ProjectRef, url: FunctionUrl, work: (tx: Parameters<Parameters<Database['transaction']>[0]>[0]) => Promise<boolean>): Promise<void> {
    await this.#deps.control.transaction(async (tx) => {
      if (!(await work(tx))) throw notThere(url.functionName, url.alias)
      await bumpProjectVersion(tx, project)
    })
    this.#known.forget(url.id)
  }
}

class NoSuchUrl extends Error {}

const notThere = (functionName: string, alias: string | null) =>
  new MayflyError(
    'function_url_not_found',
    `the function ${JSON.stringify(functionName.slice(0, 200))}${alias === null ? '' : `, alias ${alias.slice(0, 128)},`} has no address of its own`,
  )
