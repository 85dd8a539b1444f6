import { createHash } from 'node:crypto'
import { promises as fs, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import type { Bundled, Bundler, BundleWish } from './bundler.ts'

/** What was written so shortly before may have been written again in the same tick of the file system's clock. */
const TICK_MS = 100
const MAX_KEPT = 32

/** What is kept of a bundle, beside its code. */
interface Note {
  readonly sha256: string
  readonly native: readonly (readonly [string, string])[]
  readonly inputs: readonly string[]
  /** What it follows from, each as it was: files, folders in which another could come first, and names that were not there. */
  readonly from: readonly (readonly [string, string | null])[]
}

/**
 * Remembers what was bundled, in a folder of the user's own: what is as it was need not be bundled again. To bundle takes a
 * program that is slow to start; to look costs a moment.
 */
export class BundleMemory implements Bundler {
  readonly #folder: string
  /** Loaded by who needs it. */
  readonly #bundler: () => Promise<Bundler>

  constructor(folder: string, bundler: () => Promise<Bundler> = async () => (await import('./bundler.ts')).bundleOnce) {
    this.#folder = folder
    this.#bundler = bundler
  }

  async bundle(wish: BundleWish): Promise<Bundled> {
    const at = path.join(this.#folder, digest(JSON.stringify(wish)))
    const known = recall(at)
    if (known) return known
    const began = performance.timeOrigin + performance.now()
    const made = await (await this.#bundler()).bundle(wish)
    // A folder that cannot be written costs the memory, and nothing else.
    await this.#keep(at, wish, made, began).catch(() => {})
    return made
  }

  async #keep(at: string, wish: BundleWish, { code, native, inputs }: Bundled, began: number): Promise<void> {
    const names = originsOf(wish, inputs)
    if (names === null) return
    const from = names.map((name) => [name, stateOf(name)] as const)
    if (names.some((name) => changedAt(name) > began - TICK_MS)) return
    await fs.mkdir(this.#folder, { recursive: true, mode: 0o700 })
    const note: Note = { sha256: digest(code), native: [...native], inputs, from }
    await write(`${at}.mjs`, code)
    await write(`${at}.json`, JSON.stringify(note))
    const all = (await fs.readdir(this.#folder)).filter((name) => name.endsWith('.json'))
    const byAge = all.map((name) => ({ name, at: changedAt(path.join(this.#folder, name)) })).toSorted((one, other) => other.at - one.at)
    for (const { name } of byAge.slice(MAX_KEPT))
      for (const file of [name, name.replace(/json$/, 'mjs')]) await fs.rm(path.join(this.#folder, file), { force: true })
  }
}

/** Null when nothing is kept of it, or something is not as it was. */
function recall(at: string): Bundled | null {
  try {
    const { sha256, native, inputs, from } = JSON.parse(readFileSync(`${at}.json`, 'utf8')) as Note
    if (!from.every(([name, state]) => stateOf(name) === state)) return null
    const code = readFileSync(`${at}.mjs`)
    return digest(code) === sha256 ? { code, native: new Map(native), inputs } : null
  } catch {
    return null
  }
}

/** All that a bundle follows from. Null where that is not to be seen: settings of TypeScript that go on in another file. */
function originsOf({ root }: BundleWish, inputs: readonly string[]): string[] | null {
  // The bundler and how it is asked.
  const all = new Set([path.join(import.meta.dirname, 'bundler.ts'), path.join(import.meta.dirname, '..', 'node_modules', 'esbuild', 'package.json')])
  for (const input of inputs) {
    all.add(input)
    all.add(path.dirname(input))
    const [, packaged] = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input) ?? []
    if (packaged !== undefined) for (const name of [path.join(packaged, 'package.json'), path.dirname(packaged)]) all.add(name)
  }
  for (const start of new Set([root, ...inputs.filter((input) => !input.includes('/node_modules/')).map((input) => path.dirname(input))]))
    for (let folder = start; ; folder = path.dirname(folder)) {
      for (const name of ['node_modules', 'package.json', 'tsconfig.json']) all.add(path.join(folder, name))
      if (path.dirname(folder) === folder) break
    }
  const goesOn = [...all].some((name) => path.basename(name) === 'tsconfig.json' && /"extends"/.test(textOf(name)))
  return goesOn ? null : [...all]
}

/** Null when it is not there. Of a folder, what names are in it. */
function stateOf(name: string): string | null {
  const stat = statSync(name, { bigint: true, throwIfNoEntry: false })
  return stat ? `${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.isDirectory() ? '' : stat.ctimeNs}` : null
}

const changedAt = (name: string): number => statSync(name, { throwIfNoEntry: false })?.mtimeMs ?? 0

function textOf(name: string): string {
  try {
    return readFileSync(name, 'utf8')
  } catch {
    return ''
  }
}

const digest = (content: string | Uint8Array): string => createHash('sha256').update(content).digest('hex')

async function write(file: string, content: string | Uint8Array): Promise<void> {
  const beside = `${file}.${process.pid}`
  await fs.writeFile(beside, content, { mode: 0o600 })
  await fs.rename(beside, file)
}
