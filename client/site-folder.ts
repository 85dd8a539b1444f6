import { createHash } from 'node:crypto'
import { existsSync, promises as fs } from 'node:fs'
import path from 'node:path'
import { build, stop } from 'esbuild'
import type { Bundler } from './bundler.ts'
import { bundleFault } from './deploy.ts'
import { FolderError } from './mayfly-json.ts'

export interface PackedFile {
  readonly path: string
  readonly sha256: string
  readonly bytes: Buffer
}

const LEFT_OUT = new Set(['node_modules', 'mayfly.json', 'package.json', 'package-lock.json'])
/** What stands beside the files of a site for tools and editors is no part of it. */
const isLeftOut = (name: string) => LEFT_OUT.has(name) || (name.startsWith('.') && name !== '.well-known') || /^tsconfig.*\.json$|\.d\.ts$/.test(name)

/**
 * The files of a site: those of its folder as they are, and its scripts bundled. In the order of their paths.
 * @param how  a bundler that is used on, and what is made of pages
 */
export async function packSite(
  root: string,
  name: string,
  folder: string,
  scripts: readonly string[],
  how: { readonly bundler?: Bundler; readonly page?: (html: Buffer) => Buffer } = {},
): Promise<readonly PackedFile[]> {
  const from = inside(root, folder, `sites: the folder of ${name}`)
  if (!(await fs.stat(from).catch(() => null))?.isDirectory()) throw new FolderError(`${path.relative('', from) || from} is not a folder (site ${name}).`)
  // A link in what somebody else wrote would publish what lies outside of it.
  const [real, realRoot] = [await fs.realpath(from), await fs.realpath(root)]
  if (real !== realRoot && !real.startsWith(`${realRoot}${path.sep}`))
    throw new FolderError(`sites: the folder of ${name} leads out of ${root} by a link: ${folder}`)
  const files = new Map<string, Buffer>()
  for (const file of await filesOf(from, '')) files.set(file, await fs.readFile(path.join(from, file)))
  if (scripts.length > 0) {
    const { outputs, inputs } = await bundle(from, name, scripts, how.bundler !== undefined)
    for (const input of inputs) if (scripts.includes(input) || /\.([mc]?ts|tsx|jsx)$/.test(input)) files.delete(input)
    for (const [file, bytes] of outputs) {
      if (files.has(file)) throw new FolderError(`site ${name}: ${file} would be written by a script, and there is a file of this name already.`)
      files.set(file, bytes)
    }
  }
  if (files.size === 0) throw new FolderError(`site ${name}: ${folder} holds no file.`)
  return [...files]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([file, bytes]) => [file, how.page && /\.html?$/i.test(file) ? how.page(bytes) : bytes] as const)
    .map(([file, bytes]) => ({ path: file.normalize('NFC'), bytes, sha256: createHash('sha256').update(bytes).digest('hex') }))
}

/** A folder that a project file names lies below it. */
export function inside(root: string, named: string, what: string): string {
  const at = path.resolve(root, named)
  if (at !== root && !at.startsWith(`${root}${path.sep}`)) throw new FolderError(`${what} leads out of ${root}: ${named}`)
  return at
}

async function filesOf(root: string, below: string): Promise<string[]> {
  const out: string[] = []
  for (const entry of await fs.readdir(path.join(root, below), { withFileTypes: true })) {
    if (isLeftOut(entry.name)) continue
    const at = below === '' ? entry.name : `${below}/${entry.name}`
    if (entry.isDirectory()) out.push(...(await filesOf(root, at)))
    else if (entry.isFile()) out.push(at)
    // Whoever follows links publishes more than stands in the folder.
    else throw new FolderError(`${path.join(root, at)} is neither a file nor a folder: a site takes no links.`)
  }
  return out
}

async function bundle(root: string, name: string, scripts: readonly string[], goesOn: boolean): Promise<{ outputs: [string, Buffer][]; inputs: string[] }> {
  for (const script of scripts) {
    const at = inside(root, script, `sites: a script of ${name}`)
    if (!/\.([mc]?[jt]s|[jt]sx)$/.test(script) || !existsSync(at)) throw new FolderError(`site ${name}: there is no script ${script} in its folder.`)
  }
  try {
    const made = await build({
      entryPoints: [...scripts],
      absWorkingDir: root,
      outdir: root,
      outbase: root,
      bundle: true,
      platform: 'browser',
      target: 'es2022',
      format: 'esm',
      minify: true,
      metafile: true,
      write: false,
      allowOverwrite: true,
      legalComments: 'none',
      logLevel: 'silent',
      define: { 'process.env.NODE_ENV': '"production"' },
    })
    const outputs = made.outputFiles.map((file): [string, Buffer] => [path.relative(root, file.path).split(path.sep).join('/'), Buffer.from(file.contents)])
    return { outputs, inputs: Object.keys(made.metafile.inputs) }
  } catch (error) {
    throw bundleFault(`The scripts of the site ${name}`, error)
  } finally {
    // The bundler's own process would stay as long as ours.
    if (!goesOn) await stop()
  }
}
