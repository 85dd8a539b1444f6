import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

const ENTRIES = ['node/bootstrap', 'supervisor/main']
const folder = mkdtempSync(path.join(tmpdir(), 'runtimes-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))

/** A file of the runtimes as sandboxes have them, where each is one module: it begins in three quarters of the time. */
export const shipped = (file: string): string => path.join(folder, file)

let bundled: Promise<void> | null = null
/** Resolves when these files are there, made as src/sandbox/drivers/runtime-files.ts makes them. */
export async function ship(): Promise<void> {
  bundled ??= bundle()
  await bundled
}

async function bundle(): Promise<void> {
  const { build, stop } = await import('esbuild')
  await build({
    entryPoints: Object.fromEntries(ENTRIES.map((entry) => [entry, path.join(import.meta.dirname, '..', `${entry}.mjs`)])),
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    target: 'node22',
    format: 'esm',
    logLevel: 'silent',
  })
  await stop()
}
