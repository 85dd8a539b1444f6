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
const npm = path.join(import.meta.dirname, 'node_modules', 'npm', 'bin', 'npm-cli.js')

const OUTPUT = 8_000
/** Of a package for who reads it: nothing that runs asks for it, and each file takes time at each deploy. Licences stay. */
const UNUSED = /(?:\.d\.[cm]?ts|\.[cm]?js\.map|(?<!licen[cs]e|copying|notice)\.md)$/i
// One date for all, so that the same packages are the same bytes.
const DATE = new Date(Date.UTC(1980, 0, 2))

export default {
  async fetch(request) {
    const { files, add, scripts, legacyPeerDeps, registryPath, app: sources = null, run = [] } = await request.json()
    const place = fs.mkdtempSync(path.join(os.tmpdir(), 'install-'))
    const app = path.join(place, 'app')
    fs.mkdirSync(app)
    if (sources !== null) unpack(app, sources)
    for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(app, name), text)
    const options = optionsOf(place, `${process.env.MAYFLY_URL}${registryPath}`, { legacyPeerDeps, builds: run.length > 0 })
    for (const step of stepsOf({ files, add, scripts, run })) {
      const failure = await runNpm(options, place, step)
      if (failure === null) continue
      fs.rmSync(place, { recursive: true, force: true })
      return Response.json({ step: step.join(' '), said: step[0] === 'run' ? `the script "${step[1]}" failed:\n${failure}` : failure }, { status: 422 })
    }
    const made = archive(app, run.length > 0)
    made.once('end', () => fs.rmSync(place, { recursive: true, force: true }))
    return new Response(Readable.toWeb(made), { headers: { 'content-type': 'application/zip' } })
  },
}

/** What npm does, one after the other. */
function stepsOf({ files, add, scripts, run }) {
  const locked = 'package-lock.json' in files || 'npm-shrinkwrap.json' in files
  // What the first step finds it writes down, and the later ones go by that: without, npm chooses versions anew each time.
  const steps = [[locked ? 'ci' : 'install', '--ignore-scripts']]
  if (scripts.length > 0) steps.push(['rebuild', '--ignore-scripts=false', '--foreground-scripts', '--', ...scripts])
  for (const name of run) steps.push(['run', name])
  if (run.length > 0) steps.push(['prune', '--omit=dev', '--ignore-scripts', '--no-save'])
  // Last, as it is none of what package.json names.
  if (add.length > 0) steps.push(['install', '--no-save', '--ignore-scripts', '--omit=dev', ...add])
  return steps
}

function unpack(app, sources) {
  for (const [name, [base64, executable]] of Object.entries(sources)) {
    const file = path.join(app, name)
    fs.mkdirSync(path.dirname(file), { recursive: true })
    fs.writeFileSync(file, Buffer.from(base64, 'base64'), { mode: executable ? 0o755 : 0o644 })
  }
}

function optionsOf(place, registry, { legacyPeerDeps, builds }) {
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
function runNpm(options, place, step) {
  const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`)
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [npm, ...args, ...step], {
      cwd: path.join(place, 'app'),
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { HOME: place, PATH: process.env.PATH },
    })
    let said = ''
    const hear = (chunk) => {
      said = (said + chunk).slice(-OUTPUT)
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    child.on('error', (error) => resolve(error.message))
    child.on('close', (code, signal) => resolve(code === 0 ? null : said.trim() || `npm ended with ${signal ?? code}`))
  })
}

/** @param whole  the app too, and not its packages alone */
function archive(app, whole) {
  const zip = new yazl.ZipFile()
  const root = whole ? app : path.join(app, 'node_modules')
  const names = fs.existsSync(root) ? fs.readdirSync(root, { withFileTypes: true, recursive: true }) : []
  const files = names
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(app, path.join(entry.parentPath, entry.name)))
    .filter((name) => whole || !UNUSED.test(name))
  for (const name of files.toSorted()) {
    if (name === 'node_modules/.package-lock.json') continue
    const file = path.join(app, name)
    const executable = (fs.statSync(file).mode & 0o111) !== 0
    zip.addBuffer(fs.readFileSync(file), name, { mtime: DATE, mode: executable ? 0o100755 : 0o100644, forceDosTimestamp: true, compressionLevel: 3 })
  }
  // An archive without any file is none.
  if (files.length === 0) zip.addBuffer(Buffer.from('{}\n'), 'node_modules/.package-lock.json', { mtime: DATE, mode: 0o100644, forceDosTimestamp: true })
  zip.end()
  return zip.outputStream
}
