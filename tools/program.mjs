// The node's program as few modules, made of its sources at set-up. To find, read and compile the six hundred that they are is half
// of the processor time of a start, in each process of a node. It is a cache: where it is not exactly what the sources
// say, they are run as they are.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'

const MAIN = 'src/main.ts'
const folderOf = (root) => path.join(root, 'node_modules', '.cache', 'mayfly-program')

/** The module to run: what was made, while it is what the sources say. */
export function programOf(root) {
  const folder = folderOf(root)
  try {
    const { of, main, files } = JSON.parse(readFileSync(path.join(folder, 'made-of.json'), 'utf8'))
    if (of === root && files.every(([file, ...was]) => isStill(path.join(root, file), was))) return path.join(folder, main)
  } catch {
    // It was not made.
  }
  return path.join(root, MAIN)
}

export const isMade = (root) => programOf(root) !== path.join(root, MAIN)

/** Whoever copies a file may keep its time, and other contents its size; when its inode was changed nobody sets. */
function isStill(file, [size, mtimeMs, ctimeMs, digest]) {
  const stat = statSync(file)
  return stat.size === size && ((stat.mtimeMs === mtimeMs && stat.ctimeMs === ctimeMs) || digestOf(file) === digest)
}

const digestOf = (file) => createHash('sha256').update(readFileSync(file)).digest('base64url')

/** Makes it, where it is not there. @returns whether it had to */
export async function makeProgram(root) {
  if (isMade(root)) return false
  const { build } = await import('esbuild')
  const folder = folderOf(root)
  const name = `of-${process.pid}-${Date.now().toString(36)}`
  // Before they are read: what is changed while it is made is not what was read.
  const begun = Date.now()
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [MAIN],
    outdir: path.join(folder, name),
    outExtension: { '.js': '.mjs' },
    entryNames: '[name].ts', // by this name it is known in a list of processes
    bundle: true,
    splitting: true, // each process loads what is its own
    platform: 'node',
    format: 'esm',
    target: 'node24',
    keepNames: true,
    sourcemap: 'linked',
    sourcesContent: false,
    metafile: true,
    logLevel: 'silent',
    plugins: [{ name: 'as the sources are', setup }],
  })
  // This file too: it says how the program is made.
  const files = [...Object.keys(metafile.inputs), path.relative(root, import.meta.filename)].map((file) => {
    const whole = path.join(root, file)
    const { size, mtimeMs, ctimeMs } = statSync(whole)
    if (ctimeMs >= begun) throw new Error(`${file} was changed while the program was made of it`)
    return [file, size, mtimeMs, ctimeMs, digestOf(whole)]
  })
  mkdirSync(folder, { recursive: true })
  const coming = path.join(folder, `${name}.json`)
  writeFileSync(coming, JSON.stringify({ of: root, main: path.join(name, 'main.ts.mjs'), files }))
  renameSync(coming, path.join(folder, 'made-of.json'))
  clear(folder, name)
  return true
}

/** Removes what was made before. A node that runs by it loads parts of it later, and starts its workers by it: then it stays. */
function clear(folder, name) {
  const running = readdirSync('/proc').flatMap((pid) => (/^\d+$/.test(pid) ? [commandOf(pid)] : []))
  for (const one of readdirSync(folder)) {
    const [, maker] = /^of-(\d+)-/.exec(one) ?? []
    if (maker === undefined || one.startsWith(name)) continue
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

function setup(build) {
  // Packages are found by Node, as ever; of this one only a part is asked for, and it is a hundred modules.
  build.onResolve({ filter: /^[^./]/ }, ({ path: name, kind }) => (kind === 'entry-point' || name === 'zod' ? null : { path: name, external: true }))
  // A module says where it lies by the source that it was.
  build.onLoad({ filter: /\.ts$/ }, ({ path: file }) => ({
    loader: 'ts',
    contents: readFileSync(file, 'utf8').replaceAll('import.meta.dirname', JSON.stringify(path.dirname(file))),
  }))
}

if (process.argv[1] === import.meta.filename) await makeProgram(path.resolve(import.meta.dirname, '..'))
