import { existsSync, promises as fs, globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { leftOutOf } from './ignore-files.ts'
import { FolderError, isProjectFile, readMayflyJson } from './mayfly-json.ts'
import { type Npmrc, readNpmrc } from './npmrc.ts'

export const FRAMEWORKS = ['google', 'azure'] as const
export type Framework = (typeof FRAMEWORKS)[number]

/** What an app is, before the node has made it ready. */
export interface App {
  readonly framework: Framework
  readonly installScripts: readonly string[]
  readonly registries: Npmrc['registries']
  readonly legacyPeerDeps: boolean
  /** Scripts of package.json that the node runs before it takes the app. */
  readonly run: readonly string[]
  /** What its owner should know before it is deployed. */
  readonly warnings: readonly string[]
}

const PACKAGES: Readonly<Record<Framework, string>> = { google: '@google-cloud/functions-framework', azure: '@azure/functions' }
const LOCKS = ['npm-shrinkwrap.json', 'package-lock.json', 'yarn.lock', 'pnpm-lock.yaml']
const FOREIGN_LOCKS = ['bun.lock', 'bun.lockb']
const TARGET = /(?:^|\s)functions-framework(?:-nodejs)?\s(.*)$/

interface PackageJson {
  readonly main?: unknown
  readonly scripts?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

/** Whose functions a folder holds; null when they are none of another cloud's. @throws FolderError */
export function frameworkOf(root: string, definition: Readonly<Record<string, unknown>>): Framework | null {
  const { framework, handler, runtime } = definition
  if (framework === null) return null
  if (framework !== undefined) {
    if (FRAMEWORKS.some((one) => one === framework)) return framework as Framework
    throw new FolderError(`${path.join(root, 'mayfly.json')}: "framework" must be ${FRAMEWORKS.map((one) => `"${one}"`).join(' or ')}, or null for none.`)
  }
  // A handler in Lambda's form is what is meant, whatever else is installed.
  if (handler !== undefined || (runtime !== undefined && !String(runtime).startsWith('nodejs'))) return null
  const own = packageJson(root)
  if (own === null) return null
  const named = (one: Framework) => PACKAGES[one] in { ...own.dependencies, ...own.optionalDependencies }
  if (named('azure') && existsSync(path.join(root, 'host.json'))) return 'azure'
  return named('google') ? 'google' : null
}

/** Whether a folder holds an app that is several functions in one deployment. @throws FolderError */
export const isAppOfSeveral = (root: string): boolean => {
  const file = readMayflyJson(root)
  return !isProjectFile(file) && frameworkOf(root, file ?? {}) === 'azure'
}

function packageJson(root: string): PackageJson | null {
  const file = path.join(root, 'package.json')
  if (!existsSync(file)) return null
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as PackageJson
  } catch (error) {
    throw new FolderError(`${file} is not JSON: ${(error as Error).message}`)
  }
}

/** The files of an app that are not ignored, each by its name in the archive. @throws FolderError */
export async function appFiles(root: string, { framework, run }: Pick<App, 'framework' | 'run'>): Promise<Map<string, string>> {
  const files = new Map<string, string>()
  const isLeftOut = leftOutOf(root, framework, run.length > 0)
  const collect = async (below: string): Promise<void> => {
    for (const entry of await fs.readdir(path.join(root, below), { withFileTypes: true })) {
      const name = below === '' ? entry.name : `${below}/${entry.name}`
      if (isLeftOut(name, entry.isDirectory())) continue
      if (entry.isDirectory()) await collect(name)
      else if (entry.isFile()) files.set(name, path.join(root, name))
    }
  }
  await collect('')
  if (!files.has('package.json'))
    throw new FolderError(`${root} has no package.json${existsSync(path.join(root, 'package.json')) ? ' that is not ignored' : ''}.`)
  return files
}

/** What package.json and mayfly.json say of how an app is started. @throws FolderError */
export function appOf(
  root: string,
  framework: Framework,
  definition: Readonly<Record<string, unknown>>,
  how: { readonly name: string; readonly variables: NodeJS.ProcessEnv },
) {
  const own = packageJson(root) ?? {}
  const environment = { ...((definition.environment ?? {}) as Record<string, string>) }
  const { installScripts = [] } = definition
  if (!Array.isArray(installScripts) || installScripts.some((one) => typeof one !== 'string'))
    throw new FolderError(`${path.join(root, 'mayfly.json')}: "installScripts" must be a list of packages whose install scripts may run.`)
  const { registries, legacyPeerDeps, warnings: ofNpmrc } = readNpmrc(root, how.variables)
  const warnings = [...foreignLocks(root), ...ofNpmrc]
  const given = definition.entryPoint ?? definition.handler
  let handler = typeof given === 'string' ? given : undefined
  const run: string[] = []
  if (framework === 'google') {
    run.push(...scriptsOfGoogle(own, environment))
    const start = optionsOf(own.scripts?.start)
    handler ??= environment.GOOGLE_FUNCTION_TARGET ?? environment.FUNCTION_TARGET ?? start.target ?? how.name
    for (const [variable, option] of [
      ['FUNCTION_SIGNATURE_TYPE', 'signature-type'],
      ['FUNCTION_SOURCE', 'source'],
    ] as const) {
      // Under these names Google's builder is told, and under the others the framework.
      const value = environment[`GOOGLE_${variable}`] ?? start[option]
      if (value !== undefined) environment[variable] ??= value
    }
    if (own.scripts?.start !== undefined && !TARGET.test(own.scripts.start))
      warnings.push('the script "start" of package.json does not start functions-framework, and is not run: the function itself is what answers.')
  } else if (typeof own.main === 'string' && own.scripts?.build !== undefined && globSync(own.main, { cwd: root }).length === 0) run.push('build')
  const app: App = { framework, installScripts: installScripts as string[], registries, legacyPeerDeps, run, warnings }
  return { app, handler: handler ?? 'app', environment }
}

/** As Google's builder: those that a setting names, else `gcp-build`. */
function scriptsOfGoogle({ scripts = {} }: PackageJson, { GOOGLE_NODE_RUN_SCRIPTS: named }: Readonly<Record<string, string>>): string[] {
  if (named !== undefined) return named.split(',').flatMap((one) => (one.trim() === '' ? [] : [one.trim()]))
  return scripts['gcp-build'] === undefined || scripts['gcp-build'].trim() === '' ? [] : ['gcp-build']
}

function foreignLocks(root: string): string[] {
  if (LOCKS.some((lock) => existsSync(path.join(root, lock)))) return []
  return FOREIGN_LOCKS.filter((lock) => existsSync(path.join(root, lock))).map(
    (lock) =>
      `${lock} is not read, and its versions are not honoured: npm installs what package.json allows today. A package-lock.json beside it would be honoured (\`npm install --package-lock-only\` makes one).`,
  )
}

/** What the script that starts the framework tells it: `functions-framework --target=hello`. */
function optionsOf(script: string | undefined): Readonly<Record<string, string>> {
  const rest = TARGET.exec(script ?? '')?.[1] ?? ''
  const options: Record<string, string> = {}
  for (const [, name = '', value = ''] of rest.matchAll(/--([a-z-]+)(?:=|\s+)["']?([^\s"']+)["']?/g)) options[name] = value
  return options
}
