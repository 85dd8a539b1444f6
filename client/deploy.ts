import { createHash } from 'node:crypto'
import { existsSync, promises as fs, readdirSync } from 'node:fs'
import path from 'node:path'
import { type Archiver, zipOf } from './archive.ts'
import type { Bundler } from './bundler.ts'
import { type PackageJson, packageOf, resolvePackage } from './packages.ts'
import type { Client, FunctionInfo } from './client.ts'
import { type App, appFiles, appOf, frameworkOf } from './framework.ts'
import { isPackedWhole, wholeFolder } from './pack-whole.ts'
import { listUrls, putUrl, removeUrl, type UrlWish } from './urls.ts'
import { FolderError, isProjectFile, readMayflyJson } from './mayfly-json.ts'

export { FolderError } from './mayfly-json.ts'

export interface Packed {
  readonly name: string
  readonly definition: Record<string, unknown>
  readonly zip: Buffer
  readonly sha256: string
  readonly files: number
  /** Packages that cannot be bundled and were packed as they are. */
  readonly packages: readonly string[]
  readonly steps: readonly { readonly what: string; readonly ms: number; readonly note?: string }[]
  /** Of a bundle: the files that it was made of, its text, and the folder that its source map speaks of. */
  readonly inputs?: readonly string[]
  readonly code?: Uint8Array
  readonly root?: string
  /** Of another cloud's framework: the node installs its packages before it is a function. */
  readonly app?: App
}

/** What mayfly.json may hold; docs/mayfly.schema.json says what of it. */
export const FIELDS: ReadonlySet<string> = new Set([
  '$schema',
  'name',
  'runtime',
  'handler',
  'framework',
  'entryPoint',
  'installScripts',
  'description',
  'memory',
  'timeout',
  'tmp',
  'concurrency',
  'reuse',
  'sandbox',
  'egress',
  'role',
  'environment',
  'secrets',
  'layers',
  'async',
  'reservedConcurrency',
  'provisioned',
  'verifyJwt',
  'triggers',
  'url',
])
const ENTRIES = ['index.ts', 'index.mts', 'index.js', 'index.mjs', 'index.cjs']

export interface PackingHow {
  /** One that remembers what it bundled before. */
  readonly bundler?: Bundler
  /** One that remembers what it packed before. */
  readonly archiver?: Archiver
  /** Variables of who deploys, which an .npmrc may ask for. */
  readonly environment?: NodeJS.ProcessEnv
}

/** Told of each step when it begins. */
export type Hear = (step: string) => void

/** Work in steps, each with the time it took. */
export function inSteps(hear: Hear) {
  const steps: { what: string; ms: number }[] = []
  const step = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    hear(what)
    const from = performance.now()
    const made = await work()
    steps.push({ what, ms: performance.now() - from })
    return made
  }
  return { steps, step }
}

/**
 * Makes of a folder what a node runs: one bundled file, packages that cannot be bundled, a zip that depends on nothing but these.
 * @param overrides  fields that replace those of the folder's own mayfly.json
 */
export async function packFolder(
  folder: string,
  name: string | null,
  hear: Hear = () => {},
  overrides: Record<string, unknown> = {},
  { bundler, archiver = { zip: zipOf }, environment = {} }: PackingHow = {},
): Promise<Packed> {
  const root = path.resolve(folder)
  const { steps, step } = inSteps(hear)
  const stat = await fs.stat(root).catch(() => null)
  if (!stat?.isDirectory()) throw new FolderError(`${folder} is not a folder.`)
  const definition = readDefinition(root, overrides)
  const framework = frameworkOf(root, definition)
  if (framework !== null) return await packApp(root, name, framework, definition, { hear, archiver, variables: environment })
  if (isPackedWhole(definition.runtime)) return await packWhole(root, name, { ...definition, runtime: definition.runtime }, { hear, archiver })
  const handler = definition.handler ?? 'index.handler'
  const entry = findEntry(root, handler)
  if (!entry)
    throw new FolderError(`${folder} has no ${handler.split('.')[0]}.ts, .js or .mjs to run; name another with "handler" in mayfly.json.${otherLanguage(root)}`)
  const bundled = await step('bundle', async () => {
    try {
      // Who remembers what it bundled has no need of it.
      return await (bundler ?? (await import('./bundler.ts')).bundleOnce).bundle({
        root,
        entry,
        node: /^nodejs(\d+)\.x$/.exec(String(definition.runtime))?.[1] ?? '24',
        hasLayers: Array.isArray(definition.layers) && definition.layers.length > 0,
      })
    } catch (error) {
      throw bundleFault('The code', error)
    }
  })
  const files = new Map<string, Uint8Array | string>()
  files.set('index.mjs', bundled.code)
  const packages = await step('packages', () => packPackages(bundled.native, files))
  const zip = await step('zip', () => archiver.zip(files))
  return {
    name: name ?? definition.name ?? nameOfFolder(root),
    definition: { ...settingsOf(definition), handler: `index.${handler.split('.').slice(1).join('.') || 'handler'}` },
    zip,
    sha256: createHash('sha256').update(zip).digest('hex'),
    files: files.size,
    packages,
    steps,
    inputs: bundled.inputs,
    code: bundled.code,
    root,
  }
}

/** An app of another cloud goes as it is, and its packages are the node's to install. */
async function packApp(
  root: string,
  given: string | null,
  framework: App['framework'],
  definition: Definition,
  { hear, archiver, variables }: { readonly hear: Hear; readonly archiver: Archiver; readonly variables: NodeJS.ProcessEnv },
): Promise<Packed> {
  const { steps, step } = inSteps(hear)
  const name = given ?? definition.name ?? nameOfFolder(root)
  const { app, handler, environment } = appOf(root, framework, definition, { name, variables })
  const files = await step('files', () => appFiles(root, app))
  const secret = [...files.keys()].filter((file) => /(?:^|\/)\.env(?:\.|$)/.test(file))
  const warnings = secret.map((file) => `${file} is sent with the app, as nothing ignores it.`)
  const zip = await step('zip', () => archiver.zip(files))
  const { installScripts: _, entryPoint: __, ...settings } = settingsOf(definition)
  return {
    name,
    definition: { ...settings, framework, handler, ...(Object.keys(environment).length > 0 ? { environment } : {}) },
    zip,
    sha256: createHash('sha256').update(zip).digest('hex'),
    files: files.size,
    packages: [],
    steps,
    app: { ...app, warnings: [...app.warnings, ...warnings] },
  }
}

/** Folders may be named as functions may not. */
function nameOfFolder(root: string): string {
  const name = path.basename(root)
  if (/^[a-zA-Z0-9_-]{1,64}$/.test(name)) return name
  throw new FolderError(
    `The folder's name ${JSON.stringify(name)} is none for a function (1 to 64 letters, digits, - and _): give it one by --name, or as "name" in ${path.join(root, 'mayfly.json')}.`,
  )
}

/** What is no JavaScript goes as it is. */
async function packWhole(
  root: string,
  name: string | null,
  definition: Definition & { readonly runtime: string },
  { hear, archiver }: { readonly hear: Hear; readonly archiver: Archiver },
): Promise<Packed> {
  const { steps, step } = inSteps(hear)
  const { files, handler } = await step('files', () => wholeFolder(root, definition))
  const zip = await step('zip', () => archiver.zip(files))
  return {
    name: name ?? definition.name ?? nameOfFolder(root),
    definition: { ...settingsOf(definition), ...(handler === null ? {} : { handler }) },
    zip,
    sha256: createHash('sha256').update(zip).digest('hex'),
    files: files.size,
    packages: [],
    steps,
  }
}

/** What seems to be meant where there is no JavaScript. */
function otherLanguage(root: string): string {
  if (existsSync(path.join(root, 'bootstrap'))) return ' To run its bootstrap, say "runtime": "provided.al2023" there.'
  return readdirSync(root).some((name) => name.endsWith('.py')) ? ' For Python say "runtime": "python3.11" there, or whichever version the node has.' : ''
}

/** What is told to the node of what stands in the file. */
const settingsOf = (definition: Definition) => Object.fromEntries(Object.entries(definition).filter(([field]) => field !== '$schema' && field !== 'name'))

/** What the bundler found, each with its place. */
export function bundleFault(what: string, error: unknown): FolderError {
  const errors = (error as { errors?: { text: string; location: { file: string; line: number; column: number } | null }[] }).errors ?? []
  const lines = errors.map((one) => `  ${one.location ? `${one.location.file}:${one.location.line}:${one.location.column + 1}: ` : ''}${one.text}`)
  const packages = new Set(errors.flatMap(({ text }) => /^Could not resolve "((?:@[\w.-]+\/)?[\w-][\w.-]*)/.exec(text)?.[1] ?? []))
  const hint =
    packages.size === 0
      ? ''
      : `\nNot installed there: ${[...packages].join(', ')}. Packages come from node_modules of the folder or above it: run \`npm install\` in it.`
  return new FolderError(`${what} could not be bundled:\n${lines.join('\n') || (error as Error).message}${hint}`)
}

/** Sends a packed folder. @throws ApiError */
export async function deployPacked(
  client: Client,
  project: string,
  packed: Packed,
  hear: Hear = () => {},
): Promise<{ function: FunctionInfo; changed: boolean; warnings: readonly string[]; sent: boolean; steps: Packed['steps'] }> {
  const { steps, step } = inSteps(hear)
  const send = async () => {
    if (await client.hasArtefact(project, packed.sha256)) return false
    await client.putArtefact(project, packed.sha256, packed.zip)
    return true
  }
  // Of an app the node itself made what runs.
  const sent = packed.app === undefined && (await step('send', send))
  const { triggers, url, ...definition } = packed.definition
  const made = await step('deploy', async () => {
    const put = await client.putFunction(project, packed.name, { ...definition, artefact: packed.sha256 })
    // A file that says nothing of triggers leaves those that are there.
    const triggered = triggers === undefined ? null : await client.putTriggers(project, packed.name, triggers)
    const moved = await putAddress(client, project, packed.name, url)
    return { ...put, changed: put.changed || triggered?.changed === true || moved, warnings: [...put.warnings, ...(triggered?.warnings ?? [])] }
  })
  return { ...made, sent, steps }
}

/** The address that a file asks for: an object, true for one with nothing said of it, or false for none; one that says nothing leaves what is there. */
async function putAddress(client: Client, project: string, name: string, url: unknown): Promise<boolean> {
  if (url === undefined) return false
  if (url !== false) return (await putUrl(client, project, name, null, { auth: 'none', stream: false, ...(url === true ? {} : (url as UrlWish)) })).changed
  const there = (await listUrls(client, project, name)).some((one) => one.alias === null)
  if (there) await removeUrl(client, project, name, null)
  return there
}

interface Definition {
  readonly name?: string
  readonly handler?: string
  readonly [field: string]: unknown
}

function readDefinition(root: string, overrides: Record<string, unknown>): Definition {
  const file = path.join(root, 'mayfly.json')
  const own = readMayflyJson(root)
  if (isProjectFile(own)) throw new FolderError(`${file} tells of a project, where one of a function was to be.`)
  const value = { ...own, ...overrides }
  for (const field of Object.keys(value)) {
    if (!FIELDS.has(field)) throw new FolderError(`${file}: this version knows no field "${field}". It knows ${[...FIELDS].slice(1).join(', ')}.`)
  }
  const { name, handler, url } = value as { name?: unknown; handler?: unknown; url?: unknown }
  if (url !== undefined && typeof url !== 'boolean' && (typeof url !== 'object' || url === null || Array.isArray(url)))
    throw new FolderError(`${file}: "url" must be true, false, or an object such as {"auth": "none", "stream": false}.`)
  if (name !== undefined && typeof name !== 'string') throw new FolderError(`${file}: "name" must be text.`)
  if (handler !== undefined && typeof handler !== 'string') throw new FolderError(`${file}: "handler" must be text, such as "index.handler".`)
  return value as Definition
}

function findEntry(root: string, handler: string): string | null {
  const base = handler.split('.')[0] ?? 'index'
  const candidates = base === 'index' ? ENTRIES : ENTRIES.map((name) => name.replace('index', base))
  return candidates.map((name) => path.join(root, name)).find((file) => existsSync(file) && path.resolve(file).startsWith(`${root}${path.sep}`)) ?? null
}

const runsHere = (own: PackageJson) =>
  (own.os?.includes(process.platform) ?? true) && (own.cpu?.includes(process.arch) ?? true) && (own.libc?.includes('glibc') ?? true)

async function packPackages(native: ReadonlyMap<string, string>, files: Map<string, Uint8Array | string>): Promise<string[]> {
  const packed = new Map<string, string>()
  const queue = [...native]
  for (let next = queue.shift(); next; next = queue.shift()) {
    const [name, folder] = next
    if (packed.has(name)) continue
    const own = packageOf(folder)
    if (!runsHere(own)) continue
    packed.set(name, folder)
    for (const dependency of Object.keys({ ...own.dependencies, ...own.optionalDependencies })) {
      const at = resolvePackage(dependency, folder)
      if (at) queue.push([dependency, at])
      else if (own.dependencies?.[dependency])
        throw new FolderError(`The package ${dependency}, which ${name} needs, is not installed: run npm install in the folder.`)
    }
    for (const file of await filesBelow(folder)) files.set(`node_modules/${name}/${file}`, path.join(folder, file))
  }
  return [...packed.keys()].toSorted()
}

async function filesBelow(folder: string): Promise<string[]> {
  const out: string[] = []
  for (const entry of await fs.readdir(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue
    const relative = path.relative(folder, path.join(entry.parentPath, entry.name))
    if (!relative.split(path.sep).includes('node_modules') && !/\.(md|map|d\.ts|c|cc|h)$/i.test(entry.name)) out.push(relative)
  }
  return out
}
