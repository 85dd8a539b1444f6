import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { ProjectRef } from '../../core/project.ts'
import { type Artefacts, type FunctionsService, joinArchives, readArchive } from '../../functions/index.ts'
import type { AppFunction, Described } from './describing.ts'
import type { Packages } from './packages.ts'
import type { BuildRequest, Framework } from './request.ts'

export interface BuiltApp {
  /** The app with its packages. */
  readonly artefact: string
  readonly functions: readonly AppFunction[]
  /** Functions and bindings that are found and cannot be served as they read. */
  readonly warnings: readonly string[]
  readonly packages: {
    readonly key: string
    readonly reused: boolean
    /** Null: as package.json says. */
    readonly lock: string | null
    readonly count: number
  }
}

export interface AppBuildsDeps {
  readonly functions: Pick<FunctionsService, 'artefactBytes' | 'storeArtefact'>
  readonly artefacts: Pick<Artefacts, 'ready' | 'zipPath'>
  readonly packages: Pick<Packages, 'of'>
  readonly describe: (app: { readonly codeDir: string; readonly request: BuildRequest }) => Promise<Described>
}

/** What an app of a framework takes for granted, where its package.json does not name it: the clouds' own builders add it too. */
const OF_FRAMEWORK: Readonly<Record<Framework, readonly [name: string, range: string]>> = {
  google: ['@google-cloud/functions-framework', '^5.0.0'],
  azure: ['@azure/functions', '^4.0.0'],
}
/** The first that is there, with what says how it is meant. */
const LOCKS = [['npm-shrinkwrap.json'], ['package-lock.json'], ['yarn.lock'], ['pnpm-lock.yaml', 'pnpm-workspace.yaml']] as const
/** Builds that are remembered: a deploy of the same again is answered without a sandbox. */
const REMEMBERED = 256
const MOST_TEXT = 16 * 1024 * 1024

/** Makes of an app's folder what runs: with its packages, and with what it registers known. */
export class AppBuilds {
  readonly #deps: AppBuildsDeps
  readonly #known = new Map<string, BuiltApp>()

  constructor(deps: AppBuildsDeps) {
    this.#deps = deps
  }

  /** @throws MayflyError bad_request, dependencies_failed, app_broken (it does not load; its own line is told) */
  async build(project: ProjectRef, request: BuildRequest): Promise<BuiltApp> {
    const { functions, artefacts, packages, describe } = this.#deps
    if ((await functions.artefactBytes(project, request.artefact)) === null)
      throw new MayflyError('bad_request', `artefact: ${request.artefact} was not uploaded to this project; PUT it first`)
    const folder = await artefacts.ready(project, request.artefact)
    const files = await packageFiles(folder)
    const lock = LOCKS.map(([name]) => name).find((name) => name in files) ?? null
    const made = await packages.of(project, {
      files,
      add: missing(files['package.json'] ?? '{}', request.framework),
      scripts: request.installScripts,
      runtime: request.runtime,
      registries: request.registries,
      legacyPeerDeps: request.legacyPeerDeps,
      build: request.run.length === 0 ? null : { artefact: request.artefact, folder, run: scriptsOf(files['package.json'] ?? '{}', request.run) },
    })
    const { registries: _, ...shape } = request
    const same = JSON.stringify([project, made.key, shape])
    const known = this.#known.get(same)
    if (known && (await functions.artefactBytes(project, known.artefact)) !== null) return { ...known, packages: { ...known.packages, reused: made.reused } }
    const own = await readArchive(await readFile(artefacts.zipPath(project, request.artefact)))
    const installed = await readArchive(made.archive)
    const whole = request.run.length > 0 ? made.archive : joinArchives([own, installed])
    // What is built is the app's own to an extent that nobody knows.
    const kin = request.run.length > 0 ? null : { name: made.key, ownBytes: own.unpackedBytes }
    const artefact = await functions.storeArtefact(project, whole, LIMITS.unzippedCode.value, kin)
    const described = await describe({ codeDir: await artefacts.ready(project, artefact), request })
    const built: BuiltApp = { artefact, ...described, packages: { key: made.key, reused: made.reused, lock, count: packagesIn(installed) } }
    this.#known.set(same, built)
    if (this.#known.size > REMEMBERED) this.#known.delete(this.#known.keys().next().value as string)
    return built
  }
}

const PACKAGE = /(?:^|\/)node_modules\/(?:@[^/]+\/)?[^/@.][^/]*\/package\.json$/
const packagesIn = ({ members }: Awaited<ReturnType<typeof readArchive>>) => members.filter(({ path: at }) => PACKAGE.test(at)).length

async function packageFiles(folder: string): Promise<Record<string, string>> {
  const read = async (name: string) => {
    const text = await readFile(path.join(folder, name), 'utf8').catch(() => null)
    if (text !== null && text.length > MOST_TEXT) throw new MayflyError('bad_request', `${name}: is larger than ${MOST_TEXT} bytes`)
    return text
  }
  const own = await read('package.json')
  if (own === null) throw new MayflyError('bad_request', 'the app has no package.json')
  try {
    if (typeof JSON.parse(own) !== 'object' || JSON.parse(own) === null) throw new Error('it is no object')
  } catch (error) {
    throw new MayflyError('bad_request', `package.json: ${(error as Error).message}`)
  }
  for (const [name, ...beside] of LOCKS) {
    const lock = await read(name)
    if (lock === null) continue
    const files: Record<string, string> = { 'package.json': own, [name]: lock }
    for (const more of beside) {
      const text = await read(more)
      if (text !== null) files[more] = text
    }
    return files
  }
  return { 'package.json': own }
}

/** @throws MayflyError bad_request */
function scriptsOf(packageJson: string, wanted: readonly string[]): readonly string[] {
  const { scripts } = JSON.parse(packageJson) as { scripts?: Record<string, unknown> | null }
  for (const name of wanted)
    if (typeof scripts !== 'object' || scripts === null || !Object.hasOwn(scripts, name))
      throw new MayflyError('bad_request', `package.json has no script "${name}"`)
  return wanted
}

function missing(packageJson: string, framework: Framework): string[] {
  const { dependencies = {}, optionalDependencies = {} } = JSON.parse(packageJson) as Record<string, Record<string, string> | undefined>
  const [name, range] = OF_FRAMEWORK[framework]
  return name in dependencies || name in optionalDependencies ? [] : [`${name}@${range}`]
}
