// The node's program as few modules, and that of the commands, made of their sources at set-up. To find, read and compile the six
// hundred that they are is half of the processor time of a start, in each process of a node. It is a cache: where it is
// not exactly what the sources say, they are run as they are.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire, isBuiltin } from 'node:module'
import path from 'node:path'

const MAINS = { node: 'src/main.ts', commands: 'cli/main.ts' }
const FOLDERS = { node: 'mayfly-program', commands: 'mayfly-commands' }
const folderOf = (root, which) => path.join(root, 'node_modules', '.cache', FOLDERS[which])

/** The module to run: what was made, while it is what the sources say. */
export function programOf(root, which = 'node') {
  const folder = folderOf(root, which)
  try {
    const { of, main, files } = JSON.parse(readFileSync(path.join(folder, 'made-of.json'), 'utf8'))
    if (of === root && files.every(([file, ...was]) => isStill(path.join(root, file), was))) return path.join(folder, main)
  } catch {
    // It was not made.
  }
  return path.join(root, MAINS[which])
}

export const isMade = (root, which = 'node') => programOf(root, which) !== path.join(root, MAINS[which])

/** Whoever copies a file may keep its time, and other contents its size; when its inode was changed nobody sets. */
function isStill(file, [size, mtimeMs, ctimeMs, digest]) {
  const stat = statSync(file)
  return stat.size === size && ((stat.mtimeMs === mtimeMs && stat.ctimeMs === ctimeMs) || digestOf(file) === digest)
}

/** Loaded by who has to look: a start looks at sizes and times. */
const digestOf = (file) =>
  createRequire(import.meta.url)('node:crypto')
    .createHash('sha256')
    .update(readFileSync(file))
    .digest('base64url')

/** Makes it, where it is not there. @returns whether it had to */
export async function makeProgram(root, which = 'node') {
  if (isMade(root, which)) return false
  const { build } = await import('esbuild')
  const folder = folderOf(root, which)
  const name = `of-${process.pid}-${Date.now().toString(36)}`
  // Before they are read: what is changed while it is made is not what was read.
  const begun = Date.now()
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [MAINS[which]],
    outdir: path.join(folder, name),
    outExtension: { '.js': '.mjs' },
    entryNames: '[name].ts', // by this name it is known in a list of processes
    bundle: true,
    splitting: true, // each process loads what is its own
    platform: 'node',
    format: 'esm',
    target: 'node24',
    supported: { using: true }, // the sources as they are say it too
    // Each closure would be given its name as it is made: a twentieth of the time of a request.
    keepNames: which !== 'node',
    // To read them takes longer than a command does.
    ...(which === 'node' ? { sourcemap: 'linked', sourcesContent: false } : {}),
    metafile: true,
    logLevel: 'silent',
    plugins: [
      { name: "Node's own", setup: nodesOwn },
      { name: 'as the sources are', setup },
    ],
  })
  // This file too: it says how the program is made.
  const files = [
    ...new Set([
      ...Object.keys(metafile.inputs)
        .filter((file) => !file.startsWith('node:'))
        .map(whatSaysSo),
      path.relative(root, import.meta.filename),
    ]),
  ].map((file) => {
    const whole = path.join(root, file)
    const { size, mtimeMs, ctimeMs } = statSync(whole)
    if (ctimeMs >= begun) throw new Error(`${file} was changed while the program was made of it`)
    return [file, size, mtimeMs, ctimeMs, digestOf(whole)]
  })
  mkdirSync(folder, { recursive: true })
  const coming = path.join(folder, `${name}.json`)
  writeFileSync(coming, JSON.stringify({ of: root, main: path.join(name, 'main.ts.mjs'), files }))
  renameSync(coming, path.join(folder, 'made-of.json'))
  clear(folder, name, which === 'commands' ? DAY_MS : 0)
  return true
}

/** Of a package its own description: what is installed is what that says. */
const whatSaysSo = (file) => file.replace(/^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\/.*$/, '$1/package.json')

const DAY_MS = 86_400_000

/**
 * Removes what was made before. A node that runs by it loads parts of it later, and starts its workers by it: then it stays. Of a
 * command no list of processes says which it runs by: what it may run by stays for a day.
 */
function clear(folder, name, keptMs) {
  const running = readdirSync('/proc').flatMap((pid) => (/^\d+$/.test(pid) ? [commandOf(pid)] : []))
  for (const one of readdirSync(folder)) {
    const [, maker, made] = /^of-(\d+)-(\w+)/.exec(one) ?? []
    if (maker === undefined || one.startsWith(name) || Date.now() - Number.parseInt(made, 36) < keptMs) continue
    const isComing = Number(maker) !== process.pid && existsSync(`/proc/${maker}`)
    if (!isComing && !running.some((command) => command.includes(path.join(folder, one)))) rmSync(path.join(folder, one), { recursive: true, force: true })
  }
}

function commandOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
  } catch {
    return ''
  }
}

/** `import` asks a module of Node for each of its exports, some of which load more: a third of what a short command takes. */
function nodesOwn(build) {
  // What is imported later has its names from Node: of a module that is written thus there would be none but `default`.
  build.onResolve({ filter: /^[^./]/ }, ({ path: name, kind }) => {
    if (!isBuiltin(name)) return null
    return kind === 'dynamic-import' ? { path: name, external: true } : { path: name, namespace: 'node' }
  })
  build.onLoad({ filter: /./, namespace: 'node' }, ({ path: name }) => ({ contents: `module.exports = process.getBuiltinModule(${JSON.stringify(name)})` }))
}

// To find and read their modules, or to make those that are CommonJS known to `import`, takes half of what a process loads.
const BUNDLED = new Set(['commander', 'croner', 'dns-packet', 'ignore', 'jose', 'pg', 'pg-connection-string', 'pino', 'ws', 'yauzl', 'yazl', 'zod'])
// What they can do without.
const OPTIONAL = new Set(['pg-native', 'pg-cloudflare', 'bufferutil', 'utf-8-validate'])

function setup(build) {
  // Other packages are found by Node, as ever.
  build.onResolve({ filter: /^[^./]/ }, ({ path: name, kind, importer }) => {
    if (kind === 'entry-point' || BUNDLED.has(name)) return null
    return /node_modules/.test(importer) && !OPTIONAL.has(name) ? null : { path: name, external: true }
  })
  // Who made a log is asked for what loads a transport, of which there is none here; with maps of the sources each start read those for it.
  build.onLoad({ filter: /\/pino\/lib\/caller\.js$/ }, () => ({ contents: 'module.exports = () => []' }))
  // A module says where it lies by the source that it was.
  build.onLoad({ filter: /\.ts$/ }, ({ path: file }) => ({
    loader: 'ts',
    contents: readFileSync(file, 'utf8').replaceAll('import.meta.dirname', JSON.stringify(path.dirname(file))),
  }))
}

if (process.argv[1] === import.meta.filename) for (const which of Object.keys(MAINS)) await makeProgram(path.resolve(import.meta.dirname, '..'), which)
