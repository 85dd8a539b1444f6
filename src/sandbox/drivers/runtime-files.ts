import { execFile } from 'node:child_process'
import { promises as fs } from 'node:fs'
import path from 'node:path'
import { type BuildOptions, build, stop } from 'esbuild'

/** The first module of each runtime that Node runs; all that it needs lies beside it. */
const ENTRIES = ['node/bootstrap', 'supervisor/main']
const OTHERS = ['python']

/** How many are at work: the program that bundles serves all of this process, and does not outlive the last. */
let bundling = 0
async function bundle(options: BuildOptions): Promise<void> {
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
 */
export async function putRuntimes(from: string, to: string): Promise<void> {
  const python = OTHERS.map((folder) =>
    fs.cp(path.join(from, folder), path.join(to, folder), {
      recursive: true,
      filter: async (file) => file.endsWith('.py') || (await fs.stat(file)).isDirectory(),
    }),
  )
  const bundled = bundle({
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
  await Promise.all([bundled, ...python])
  for (const entry of await fs.readdir(to, { recursive: true, withFileTypes: true }))
    await fs.chmod(path.join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o444)
}

/**
 * Has the modules of Python compiled where they were put: each sandbox would do it again at its boot, and keep in its memory
 * what that takes. Where it does not work they do.
 */
export function compilePython(runtimes: string): Promise<void> {
  const args = ['-I', '-S', '-m', 'compileall', '-q', path.join(runtimes, 'python')]
  return new Promise((resolve) => execFile('/usr/bin/python3', args, { timeout: 30_000, env: {} }, () => resolve()))
}
