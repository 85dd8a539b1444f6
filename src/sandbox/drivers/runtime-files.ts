import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { promises as fs } from 'node:fs'
import path from 'node:path'
import type { BuildOptions } from 'esbuild'

/** The first module of each runtime that Node runs; all that it needs lies beside it. */
const ENTRIES = ['node/bootstrap', 'supervisor/main']
const OTHERS = ['python']

/** Whose modules become one, with what they import. */
const FOLDERS = ['node', 'supervisor']
/** Raised when what is made of the same modules is another. */
const RECIPE = 1
let copies = 0

/** How many are at work: the program that bundles serves all of this process, and does not outlive the last. */
let bundling = 0
async function bundle(options: BuildOptions): Promise<void> {
  const { build, stop } = await import('esbuild')
  bundling++
  try {
    await build(options)
  } finally {
    if (--bundling === 0) await stop()
  }
}

/**
 * Puts the runtimes into the root that all sandboxes share. Bound from where they lie, each sandbox would have one
 * mount more, and in its list of mounts the path of this program. Each becomes a single module: finding and compiling
 * twenty of them is a third of the processor time that a guest needs until its hello.
 * @param cache  what was made of them lies here, for each process and start: to make it takes more than all else of opening a
 * driver. It lies with the program, and whoever may write there may write that as well.
 */
export async function putRuntimes(from: string, to: string, cache = path.join(from, '..', 'node_modules', '.cache', 'mayfly-runtimes')): Promise<void> {
  const python = OTHERS.map((folder) =>
    fs.cp(path.join(from, folder), path.join(to, folder), {
      recursive: true,
      filter: async (file) => file.endsWith('.py') || (await fs.stat(file)).isDirectory(),
    }),
  )
  await Promise.all([putBundled(from, to, cache), ...python])
  for (const entry of await fs.readdir(to, { recursive: true, withFileTypes: true }))
    await fs.chmod(path.join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o444)
}

async function putBundled(from: string, to: string, cache: string): Promise<void> {
  const made = path.join(cache, await digestOf(from))
  try {
    for (const entry of ENTRIES) {
      await fs.mkdir(path.dirname(path.join(to, entry)), { recursive: true })
      await fs.copyFile(path.join(made, `${entry}.mjs`), path.join(to, `${entry}.mjs`))
    }
    return
  } catch {
    // Nobody has made it yet.
  }
  await bundle({
    entryPoints: Object.fromEntries(ENTRIES.map((entry) => [entry, path.join(from, `${entry}.mjs`)])),
    outdir: to,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    // What the oldest Node here knows, which stays as it is.
    target: 'node22',
    format: 'esm',
    logLevel: 'silent',
  })
  // A program that may not be written to does without.
  await keep(to, made).catch(() => {})
}

/** Whoever looks sees all of it or nothing. */
async function keep(to: string, made: string): Promise<void> {
  const coming = `${made}.${process.pid}.${++copies}`
  try {
    for (const entry of ENTRIES) {
      await fs.mkdir(path.dirname(path.join(coming, entry)), { recursive: true })
      await fs.copyFile(path.join(to, `${entry}.mjs`), path.join(coming, `${entry}.mjs`))
    }
    await fs.rename(coming, made)
    for (const name of await fs.readdir(path.dirname(made)))
      if (name !== path.basename(made) && !name.includes('.')) await fs.rm(path.join(path.dirname(made), name), { recursive: true, force: true })
  } finally {
    await fs.rm(coming, { recursive: true, force: true })
  }
}

/** Of all that they are made from. */
async function digestOf(from: string): Promise<string> {
  const digest = createHash('sha256').update(`${RECIPE}`)
  const names = await Promise.all(
    FOLDERS.map(async (folder) => (await fs.readdir(path.join(from, folder), { recursive: true })).map((name) => path.join(folder, name))),
  )
  for (const name of names
    .flat()
    .filter((one) => one.endsWith('.mjs'))
    .toSorted()) {
    const bytes = await fs.readFile(path.join(from, name))
    digest.update(`${name} ${bytes.length}\n`).update(bytes)
  }
  return digest.digest('hex')
}

/**
 * Has the modules of Python compiled where they were put: each sandbox would do it again at its boot, and keep in its memory
 * what that takes. Where it does not work they do.
 */
export function compilePython(runtimes: string): Promise<void> {
  const args = ['-I', '-S', '-m', 'compileall', '-q', path.join(runtimes, 'python')]
  return new Promise((resolve) => execFile('/usr/bin/python3', args, { timeout: 30_000, env: {} }, () => resolve()))
}
