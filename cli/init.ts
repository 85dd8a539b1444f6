import { execFile } from 'node:child_process'
import { existsSync, promises as fs } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Command } from 'commander'
import { isProjectFile } from '../client/mayfly-json.ts'
import { INSPECT_PORT } from './inspect.ts'
import { dim, green, print, UsageError } from './output.ts'

const ROOT = path.resolve(import.meta.dirname, '..')
interface Template {
  /** Where it lies, below the checkout. */
  readonly from: string
  readonly what: string
  /** It is an app of another cloud, as its documentation teaches: its package.json stays, and the node installs its packages. */
  readonly asItIs?: true
  /** Its parts have names that the demo of a node's first start has taken in the default project. */
  readonly alone?: true
}

const TEMPLATES: ReadonlyMap<string, Template> = new Map([
  ['http', { from: 'templates/http', what: 'answers requests, web-standard (the default)' }],
  ['api', { from: 'templates/api', what: 'a small API with its data in a bucket' }],
  ['photo-app', { from: 'examples/photo-app', what: 'a page, two buckets and a function that an upload starts', alone: true }],
  ['todo', { from: 'examples/todo', what: 'lists that people share: a page with login on tables with policies, and no server' }],
  ['cron', { from: 'templates/cron', what: 'is started by the clock' }],
  ['queue', { from: 'templates/queue', what: 'is started by messages of a queue' }],
  ['lambda', { from: 'templates/lambda', what: 'a Lambda handler with a function URL' }],
  ['azure', { from: 'templates/azure', what: 'an app of Azure Functions', asItIs: true }],
  ['google', { from: 'templates/google', what: "a function of Google's framework", asItIs: true }],
])
const SCHEMA = 'mayfly.schema.json'
const TYPES = '@mayfly/functions'
/** The folder with the types and the schema, below the new one. */
const TYPES_FOLDER = 'types'

interface Options {
  readonly template: string
  readonly name?: string
  readonly install: boolean
  readonly json?: boolean
}

const templateNames = [...TEMPLATES.keys()].join(', ')

/** `mayfly init`: a folder that deploys at once. */
export function initCommand(program: Command): void {
  program
    .command('init [folder]')
    .description('make a folder that deploys at once, with types and a schema that need no network')
    .option('--template <name>', [...TEMPLATES].map(([name, { what }]) => `${name}: ${what}`).join('; '), 'http')
    .option('--name <name>', 'its name, instead of that of the folder')
    .option('--no-install', 'do not run npm install where the template has dependencies')
    .option('--json', 'one JSON document on stdout')
    .action(async (folder: string | undefined, options: Options) => await init(folder ?? '.', options))
}

async function init(folder: string, options: Options): Promise<void> {
  const template = TEMPLATES.get(options.template)
  if (!template) throw new UsageError(`--template ${options.template}: there is ${templateNames}.`)
  const to = path.resolve(folder)
  const name = options.name ?? path.basename(to)
  if (!/^[a-zA-Z0-9_-]{1,64}$/.test(name))
    throw new UsageError(`${JSON.stringify(name)} is no name for it (1 to 64 letters, digits, - and _): give one with --name`)
  const files = await filesOf(template, name)
  const there = [...files.keys()].filter((file) => existsSync(path.join(to, file)))
  if (there.length > 0) throw new UsageError(`${folder} has ${there.join(', ')} already; nothing was written. Name another folder.`)
  for (const [file, text] of files) {
    await fs.mkdir(path.dirname(path.join(to, file)), { recursive: true })
    await fs.writeFile(path.join(to, file), text, { flag: 'wx' })
  }
  if (!template.asItIs) await linkTypes(to)
  const needs = !template.asItIs && hasDependencies(files.get('package.json') ?? '{}')
  if (needs && options.install) await install(to)
  if (options.json)
    return print(JSON.stringify({ folder: to, name, template: options.template, files: [...files.keys()].toSorted(), installed: needs && options.install }))
  print(green(`Made ${folder === '.' ? name : folder} (${options.template}):`))
  for (const file of [...files.keys()].filter((one) => !one.startsWith(`${TYPES_FOLDER}/`)).toSorted()) print(dim(`  ${file}`))
  const at = folder === '.' ? '.' : folder
  print(`Next:${needs && !options.install ? `\n  (cd ${at} && npm install)` : ''}\n  npx mayfly dev ${at}\n${deployOf(at, template, name)}`)
}

function deployOf(at: string, { alone }: Template, name: string): string {
  if (!alone) return `  npx mayfly deploy ${at}`
  const ref = /^[a-z][a-z0-9-]{2,39}$/.test(name) ? name : 'my-photos'
  return `  npx mayfly projects create ${ref} && npx mayfly deploy ${at} --project ${ref}`
}

const isText = (file: string) => /\.(ts|tsx|mts|js|mjs|json|md|html|css|sql)$/.test(file)

/** What is written, by its path below the folder. */
async function filesOf(template: Template, name: string): Promise<Map<string, string>> {
  const from = path.join(ROOT, template.from)
  const files = new Map<string, string>()
  for (const entry of await fs.readdir(from, { withFileTypes: true, recursive: true })) {
    const at = path.relative(from, path.join(entry.parentPath, entry.name))
    if (!entry.isFile() || !isText(at) || at.split(path.sep).includes('node_modules')) continue
    // What stands in a template string is the code's own name.
    files.set(at, (await fs.readFile(path.join(from, at), 'utf8')).replaceAll(/(?<!\$)\{name\}/g, name).replaceAll(path.relative(ROOT, from), '.'))
  }
  const tsconfig = files.get('site/tsconfig.json')
  if (tsconfig !== undefined) files.set('site/tsconfig.json', tsconfig.replace('../../../tsconfig.json', '../tsconfig.json'))
  for (const [file, text] of files) if (path.basename(file) === 'mayfly.json') files.set(file, withSchema(file, text, name))
  if (!template.asItIs) files.set('package.json', withTypes(files.get('package.json') ?? '{}', name))
  if (!template.asItIs && !files.has('tsconfig.json')) files.set('tsconfig.json', await fs.readFile(path.join(ROOT, 'templates', 'tsconfig.json'), 'utf8'))
  files.set('.gitignore', 'node_modules/\n')
  files.set('.vscode/launch.json', launchOf(files))
  for (const file of ['package.json', 'index.d.ts']) files.set(`${TYPES_FOLDER}/${file}`, await fs.readFile(path.join(ROOT, 'types', file), 'utf8'))
  files.set(`${TYPES_FOLDER}/${SCHEMA}`, await fs.readFile(path.join(ROOT, 'docs', SCHEMA), 'utf8'))
  return files
}

/** How VS Code attaches to what `mayfly inspect` shows: by its usual port, of each function with its own folder. */
function launchOf(files: ReadonlyMap<string, string>): string {
  const folders = [...files].flatMap(([file, text]) =>
    path.basename(file) === 'mayfly.json' && !isProjectFile(JSON.parse(text) as Record<string, unknown>) ? [path.posix.dirname(file)] : [],
  )
  const configurations = folders.map((folder) => ({
    name: `Attach to mayfly inspect${folder === '.' ? '' : `: ${folder}`}`,
    type: 'node',
    request: 'attach',
    address: '127.0.0.1',
    port: Number(INSPECT_PORT),
    // A new version has another sandbox.
    restart: true,
    localRoot: folder === '.' ? '${workspaceFolder}' : `\${workspaceFolder}/${folder}`,
    remoteRoot: '/var/task',
    resolveSourceMapLocations: null,
    skipFiles: ['<node_internals>/**', '/var/runtime/**'],
  }))
  return jsonText({ version: '0.2.0', configurations })
}

const jsonText = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`

/** Editors find the schema beside it, without a network. */
function withSchema(file: string, text: string, name: string): string {
  const { $schema: _, ...fields } = JSON.parse(text) as Record<string, unknown>
  const at = path.posix.relative(path.posix.dirname(file), `${TYPES_FOLDER}/${SCHEMA}`)
  const own = file === 'mayfly.json' ? { name } : {}
  return jsonText({ $schema: at.startsWith('.') ? at : `./${at}`, ...fields, ...own })
}

function withTypes(text: string, name: string): string {
  const own = JSON.parse(text) as { dependencies?: object; devDependencies?: Record<string, string> }
  // What is installed anyway may as well know the globals of Node.
  const ofNode = own.dependencies === undefined ? {} : { '@types/node': '24' }
  return jsonText({
    ...own,
    name: name.toLowerCase(),
    private: true,
    type: 'module',
    devDependencies: { ...ofNode, ...own.devDependencies, [TYPES]: `file:./${TYPES_FOLDER}` },
  })
}

const hasDependencies = (text: string) => Object.keys((JSON.parse(text) as { dependencies?: object }).dependencies ?? {}).length > 0

/** As npm does with a dependency that is a folder: so the types are there before anything is installed. */
async function linkTypes(to: string): Promise<void> {
  const link = path.join(to, 'node_modules', TYPES)
  await fs.mkdir(path.dirname(link), { recursive: true })
  await fs.symlink(path.join('..', '..', TYPES_FOLDER), link).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
}

async function install(to: string): Promise<void> {
  try {
    await promisify(execFile)('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: to })
  } catch (error) {
    throw new Error(`The folder is there, but npm install failed in it: ${(error as { stderr?: string }).stderr?.trim().split('\n').at(-1) ?? String(error)}`)
  }
}
