import { existsSync, promises as fs, readFileSync } from 'node:fs'
import path from 'node:path'
import { FolderError, isProjectFile, readMayflyJson } from './mayfly-json.ts'

export const FRAMEWORKS = ['google', 'azure'] as const
export type Framework = (typeof FRAMEWORKS)[number]

/** What an app is, before the node has made it ready. */
export interface App {
  readonly framework: Framework
  readonly installScripts: readonly string[]
  /** What its owner should know before it is deployed. */
  readonly warnings: readonly string[]
}

const PACKAGES: Readonly<Record<Framework, string>> = { google: '@google-cloud/functions-framework', azure: '@azure/functions' }
/** Never taken: packages are the node's to install, and settings for one's own machine hold secrets. */
const LEFT_OUT = new Set(['mayfly.json', 'node_modules', 'local.settings.json'])
const FOREIGN_LOCKS = ['yarn.lock', 'pnpm-lock.yaml', 'bun.lock', 'bun.lockb']
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

/** The files of an app, each by its name in the archive. @throws FolderError */
export async function appFiles(root: string): Promise<Map<string, string>> {
  const files = new Map<string, string>()
  const collect = async (below: string): Promise<void> => {
    for (const entry of await fs.readdir(path.join(root, below), { withFileTypes: true })) {
      const name = below === '' ? entry.name : `${below}/${entry.name}`
      if (entry.name.startsWith('.') || LEFT_OUT.has(entry.name)) continue
      if (entry.isDirectory()) await collect(name)
      else if (entry.isFile()) files.set(name, path.join(root, name))
    }
  }
  await collect('')
  if (!files.has('package.json')) throw new FolderError(`${root} has no package.json.`)
  return files
}

/** What package.json and mayfly.json say of how an app is started. @throws FolderError */
export function appOf(root: string, framework: Framework, definition: Readonly<Record<string, unknown>>, name: string) {
  const own = packageJson(root) ?? {}
  const environment = { ...((definition.environment ?? {}) as Record<string, string>) }
  const { installScripts = [] } = definition
  if (!Array.isArray(installScripts) || installScripts.some((one) => typeof one !== 'string'))
    throw new FolderError(`${path.join(root, 'mayfly.json')}: "installScripts" must be a list of packages whose install scripts may run.`)
  const warnings = [...FOREIGN_LOCKS.filter((lock) => existsSync(path.join(root, lock)) && !existsSync(path.join(root, 'package-lock.json')))].map(
    (lock) => `${lock} is not read: the packages are installed by npm, as package.json says. A package-lock.json would be honoured.`,
  )
  if (existsSync(path.join(root, '.npmrc'))) warnings.push('.npmrc is not read: packages come from the registry that the node is set to (`--npm-registry`).')
  const given = definition.entryPoint ?? definition.handler
  let handler = typeof given === 'string' ? given : undefined
  if (framework === 'google') {
    if (own.scripts?.['gcp-build'] !== undefined) warnings.push('"gcp-build" of package.json is not run: build before you deploy.')
    const start = optionsOf(own.scripts?.start)
    handler ??= environment.FUNCTION_TARGET ?? start.target ?? name
    for (const [variable, option] of [
      ['FUNCTION_SIGNATURE_TYPE', 'signature-type'],
      ['FUNCTION_SOURCE', 'source'],
    ] as const) {
      const value = start[option]
      if (value !== undefined) environment[variable] ??= value
    }
  }
  const app: App = { framework, installScripts: installScripts as string[], warnings }
  return { app, handler: handler ?? 'app', environment }
}

/** What the script that starts the framework tells it: `functions-framework --target=hello`. */
function optionsOf(script: string | undefined): Readonly<Record<string, string>> {
  const rest = TARGET.exec(script ?? '')?.[1] ?? ''
  const options: Record<string, string> = {}
  for (const [, name = '', value = ''] of rest.matchAll(/--([a-z-]+)(?:=|\s+)["']?([^\s"']+)["']?/g)) options[name] = value
  return options
}
