// Installs the dependencies of an app: runs in a sandbox of its own, with no secret and no network but the registry,
// which the node reaches for it. It is asked by HTTP and answers with a zip of node_modules, or with what npm said.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'

const require = createRequire(import.meta.url)
const yazl = require('yazl')
const at = (...parts) => path.join(import.meta.dirname, 'node_modules', ...parts)
const PROGRAMS = { npm: at('npm', 'bin', 'npm-cli.js'), pnpm: at('pnpm', 'bin', 'pnpm.cjs'), yarn: at('@yarnpkg', 'cli-dist', 'bin', 'yarn.js') }

const OUTPUT = 8_000
/** What a compiler and a debugger read: each file takes time at each deploy. Anything else a package may read as it runs, Markdown too. */
const UNUSED = /(?:\.d\.[cm]?ts|\.(?:[cm]?js|d\.[cm]?ts)\.map)$/i
const COMPILERS = /(?:^|\/)node_modules\/(?:typescript|ts-morph|@ts-morph|@typescript)\//
// One date for all, so that the same packages are the same bytes.
const DATE = new Date(Date.UTC(1980, 0, 2))

export default {
  async fetch(request) {
    const { tool, files, add, scripts, legacyPeerDeps, registryPath, app: sources = null, run = [] } = await request.json()
    const place = fs.mkdtempSync(path.join(os.tmpdir(), 'install-'))
    const app = path.join(place, 'app')
    fs.mkdirSync(app)
    if (sources !== null) unpack(app, sources)
    for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(app, name), name === 'pnpm-lock.yaml' ? withOwnRegistry(text) : text)
    const how = { registry: `${process.env.MAYFLY_URL}${registryPath}`, legacyPeerDeps, builds: run.length > 0 }
    for (const [program, ...step] of stepsOf({ tool, files, add, scripts, run })) {
      const failure = await runProgram(program, place, how, step)
      if (failure === null) continue
      fs.rmSync(place, { recursive: true, force: true })
      return Response.json({ said: step[0] === 'run' ? `the script "${step[1]}" failed:\n${failure}` : failure }, { status: 422 })
    }
    const made = archive(app, run.length > 0)
    made.once('end', () => fs.rmSync(place, { recursive: true, force: true }))
    return new Response(Readable.toWeb(made), { headers: { 'content-type': 'application/zip' } })
  },
}

/** What each tool does first, and what takes away what only builds. */
const INSTALLS = {
  // What npm finds it writes down, and later steps go by that: without, it chooses versions anew each time.
  npm: (_builds, files) => ['npm', 'package-lock.json' in files || 'npm-shrinkwrap.json' in files ? 'ci' : 'install', '--ignore-scripts'],
  pnpm: (builds) => ['pnpm', 'install', '--frozen-lockfile', ...(builds ? [] : ['--prod'])],
  yarn: (builds) => (builds ? ['yarn', 'install'] : OF_YARN),
}
const OF_YARN = ['yarn', 'workspaces', 'focus', '--all', '--production']
const PRUNES = { npm: ['npm', 'prune', '--omit=dev', '--ignore-scripts', '--no-save'], pnpm: ['pnpm', 'prune', '--prod'], yarn: OF_YARN }

/** What is done, one after the other; what each tool installs has the same form. */
function stepsOf({ tool, files, add, scripts, run }) {
  const steps = [INSTALLS[tool](run.length > 0, files)]
  if (scripts.length > 0) steps.push(['npm', 'rebuild', '--ignore-scripts=false', '--foreground-scripts', '--', ...scripts])
  for (const name of run) steps.push(['npm', 'run', name])
  if (run.length > 0) steps.push(PRUNES[tool])
  // Last, as it is none of what package.json names.
  if (add.length > 0) steps.push(['npm', 'install', '--no-save', '--ignore-scripts', '--omit=dev', ...add])
  return steps
}

/** Where a lockfile names the place of an archive, the node reads it: npm has an option for that. */
const withOwnRegistry = (text) => text.replaceAll(/(\btarball: )https?:\/\/[^/\s}]+\//g, `$1${process.env.MAYFLY_URL}/`)

function unpack(app, sources) {
  for (const [name, [base64, executable]] of Object.entries(sources)) {
    const file = path.join(app, name)
    fs.mkdirSync(path.dirname(file), { recursive: true })
    fs.writeFileSync(file, Buffer.from(base64, 'base64'), { mode: executable ? 0o755 : 0o644 })
  }
}

/** Arguments and variables of each, by which it asks the node alone and keeps what it makes below one folder. */
const SETTINGS = {
  npm: (place, how) => ({ args: flags(ofNpm(place, how)), env: {} }),
  pnpm: (place, { registry }) => ({ args: flags(ofPnpm(place, registry)), env: { CI: 'true' } }),
  yarn: (place, { registry }) => ({ args: [], env: ofYarn(place, registry) }),
}
const flags = (options) => Object.entries(options).map(([name, value]) => `--${name}=${value}`)

/** Packages lie as npm lays them, as files of their own: links have no place in an archive. */
const ofPnpm = (place, registry) => ({
  'config.registry': registry,
  'config.store-dir': path.join(place, 'pnpm'),
  'config.cache-dir': path.join(place, 'pnpm-cache'),
  'config.state-dir': path.join(place, 'pnpm-state'),
  'config.node-linker': 'hoisted',
  'config.package-import-method': 'copy',
  'config.ignore-scripts': 'true',
  'config.ignore-pnpmfile': 'true',
  // Whatever version of it the app names, this one is here.
  'config.manage-package-manager-versions': 'false',
  'config.package-manager-strict': 'false',
  'config.fetch-retries': '1',
  'config.reporter': 'append-only',
})

const ofYarn = (place, registry) => ({
  YARN_NPM_REGISTRY_SERVER: registry.replace(/\/$/, ''),
  YARN_UNSAFE_HTTP_WHITELIST: new URL(registry).hostname,
  YARN_NODE_LINKER: 'node-modules',
  YARN_ENABLE_SCRIPTS: 'false',
  YARN_ENABLE_IMMUTABLE_INSTALLS: 'false',
  YARN_ENABLE_GLOBAL_CACHE: 'false',
  YARN_ENABLE_TELEMETRY: 'false',
  YARN_GLOBAL_FOLDER: path.join(place, 'yarn'),
  YARN_CACHE_FOLDER: path.join(place, 'yarn-cache'),
  YARN_INSTALL_STATE_PATH: path.join(place, 'yarn-state.gz'),
  YARN_IGNORE_PATH: 'true',
  YARN_HTTP_RETRY: '1',
})

function ofNpm(place, { registry, legacyPeerDeps, builds }) {
  return {
    registry,
    'replace-registry-host': 'always',
    cache: path.join(place, 'npm'),
    userconfig: path.join(place, 'user'),
    globalconfig: path.join(place, 'global'),
    // What builds an app is gone before the app is taken.
    ...(builds ? {} : { omit: 'dev' }),
    'bin-links': String(builds),
    'legacy-peer-deps': String(legacyPeerDeps),
    audit: 'false',
    fund: 'false',
    progress: 'false',
    'update-notifier': 'false',
    loglevel: 'error',
    'fetch-retries': '1',
    'logs-max': '0',
  }
}

/** Resolves with what it said when it failed, else with null. */
function runProgram(program, place, how, step) {
  const { args, env } = SETTINGS[program](place, how)
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [PROGRAMS[program], ...args, ...step], {
      cwd: path.join(place, 'app'),
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { HOME: place, PATH: process.env.PATH, ...env },
    })
    let said = ''
    const hear = (chunk) => {
      said = (said + chunk).slice(-OUTPUT)
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    child.on('error', (error) => resolve(error.message))
    child.on('close', (code, signal) => resolve(code === 0 ? null : said.trim() || `${program} ended with ${signal ?? code}`))
  })
}

/** What the tools write for themselves, which differs from run to run. */
const NOTES = new Set(
  ['.package-lock.json', '.modules.yaml', '.pnpm-workspace-state-v1.json', '.yarn-state.yml', '.package-map.json'].map((name) => `node_modules/${name}`),
)

/** Declarations and maps are left out, but where a compiler of TypeScript is among the packages: it reads them as it runs. */
export const withoutUnused = (names) => (names.some((name) => COMPILERS.test(name)) ? names : names.filter((name) => !UNUSED.test(name)))

/** @param whole  the app too, and not its packages alone */
function archive(app, whole) {
  const zip = new yazl.ZipFile()
  const root = whole ? app : path.join(app, 'node_modules')
  const names = fs.existsSync(root) ? fs.readdirSync(root, { withFileTypes: true, recursive: true }) : []
  const there = names.filter((entry) => entry.isFile()).map((entry) => path.relative(app, path.join(entry.parentPath, entry.name)))
  const files = whole ? there : withoutUnused(there)
  for (const name of files.toSorted()) {
    if (NOTES.has(name) || name.startsWith('node_modules/.pnpm/')) continue
    const file = path.join(app, name)
    const executable = (fs.statSync(file).mode & 0o111) !== 0
    zip.addBuffer(fs.readFileSync(file), name, { mtime: DATE, mode: executable ? 0o100755 : 0o100644, forceDosTimestamp: true, compressionLevel: 3 })
  }
  // An archive without any file is none.
  if (files.length === 0) zip.addBuffer(Buffer.from('{}\n'), 'node_modules/.package-lock.json', { mtime: DATE, mode: 0o100644, forceDosTimestamp: true })
  zip.end()
  return zip.outputStream
}
