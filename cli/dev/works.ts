import path from 'node:path'
import { WarmBundler } from '../../client/bundler.ts'
import type { Client } from '../../client/client.ts'
import { deployPacked, type Packed, packFolder } from '../../client/deploy.ts'
import { isAppOfSeveral } from '../../client/framework.ts'
import { isProjectFile, readMayflyJson } from '../../client/mayfly-json.ts'
import { applyProject, packProject, readyApps } from '../../client/project.ts'
import { readyApp } from '../../client/ready-app.ts'
import { listUrls } from '../../client/urls.ts'
import { archiveMemory } from '../packing-memory.ts'
import type { Stacks } from './stacks.ts'

export interface Round {
  /** Of what is there now. */
  readonly functions: readonly string[]
  readonly sites: readonly { readonly name: string; readonly url: string | null }[]
  readonly urls: readonly { readonly name: string; readonly url: string }[]
  /** Null where nothing was to do. */
  readonly changed: readonly string[] | null
  readonly warnings: readonly string[]
  /** Outside of the folder, and part of it all the same. */
  readonly inputs: readonly string[]
}

export interface WorksDeps {
  readonly client: Client
  readonly project: string
  readonly folder: string
  readonly stacks: Stacks
  /** What is made of the pages of sites. */
  readonly page: (html: Buffer) => Buffer
}

/** Makes the project equal to the folder, again and again, by what changed. */
export class Works implements AsyncDisposable {
  readonly #deps: WorksDeps
  readonly #bundler = new WarmBundler()
  readonly #archiver = archiveMemory()
  /** By the function's name, or `site/…`: what is there. */
  #there = new Map<string, string>()
  #last: Round | null = null

  constructor(deps: WorksDeps) {
    this.#deps = deps
  }

  /** @throws FolderError, ApiError: what is there stays */
  async round(): Promise<Round> {
    const { folder } = this.#deps
    this.#last = isProjectFile(readMayflyJson(folder)) || isAppOfSeveral(folder) ? await this.#project() : await this.#function()
    return this.#last
  }

  async #function(): Promise<Round> {
    const { client, project, folder } = this.#deps
    const packed = await packFolder(folder, null, () => {}, {}, { bundler: this.#bundler, archiver: this.#archiver, environment: process.env })
    const now = new Map([[packed.name, markOf(packed)]])
    const changed = this.#changed(now)
    if (changed.length === 0 && this.#last) return { ...this.#last, changed: null, warnings: [] }
    this.#map([packed])
    const ready = await readyApp(client, project, packed)
    if (packed.app) this.#deps.stacks.setFolder(packed.name, folder)
    const { warnings } = await deployPacked(client, project, ready.packed)
    return await this.#done(now, changed, { functions: [packed], sites: [], warnings: [...warningsOf(packed), ...(ready.build?.warnings ?? []), ...warnings] })
  }

  async #project(): Promise<Round> {
    const { client, project, folder, page } = this.#deps
    const packed = await packProject(folder, null, () => {}, { bundler: this.#bundler, archiver: this.#archiver, page, environment: process.env })
    const now = new Map([
      ...packed.functions.map((one) => [one.name, markOf(one)] as const),
      ...packed.sites.map((site) => [`site ${site.name}`, JSON.stringify(site.files.map((file) => [file.path, file.sha256]))] as const),
      ['buckets', JSON.stringify(packed.document.buckets)],
      ['migrations', JSON.stringify(packed.document.migrations ?? [])],
    ])
    const changed = this.#changed(now)
    if (changed.length === 0 && this.#last) return { ...this.#last, changed: null, warnings: [] }
    this.#map(packed.functions)
    const ready = await readyApps(client, project, packed, true)
    if (isAppOfSeveral(folder)) for (const { name } of ready.functions) this.#deps.stacks.setFolder(name, folder)
    const plan = await client.planDeployment(project, ready.document)
    const { sites } = await applyProject(client, project, ready, plan)
    return await this.#done(now, changed, { functions: ready.functions, sites, warnings: [...ready.warnings, ...plan.warnings] })
  }

  /** Before it is deployed: what does not load is told by its lines too. */
  #map(functions: readonly Packed[]): void {
    for (const one of functions) if (one.code && one.root !== undefined) this.#deps.stacks.set(one.name, one.root, one.code)
  }

  #changed(now: ReadonlyMap<string, string>): string[] {
    const gone = [...this.#there.keys()].filter((name) => !now.has(name))
    return [...[...now].filter(([name, mark]) => this.#there.get(name) !== mark).map(([name]) => name), ...gone]
  }

  async #done(
    now: Map<string, string>,
    changed: readonly string[],
    made: { readonly functions: readonly Packed[]; readonly sites: Round['sites']; readonly warnings: readonly string[] },
  ): Promise<Round> {
    const { client, project, folder } = this.#deps
    this.#there = now
    const urls: { name: string; url: string }[] = []
    for (const { name, definition } of made.functions) if (definition.url) for (const { url } of await listUrls(client, project, name)) urls.push({ name, url })
    const below = `${path.resolve(folder)}${path.sep}`
    const inputs = made.functions
      .flatMap((one) => one.inputs ?? [])
      .filter((file) => !file.startsWith(below) && !file.includes(`${path.sep}node_modules${path.sep}`))
    return { functions: made.functions.map((one) => one.name), sites: made.sites, urls, changed, warnings: made.warnings, inputs }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#bundler[Symbol.asyncDispose]()
  }
}

const warningsOf = (packed: Packed) => packed.app?.warnings ?? []
const markOf = (packed: Packed) => JSON.stringify([packed.sha256, packed.definition])
