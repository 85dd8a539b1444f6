import { createHash } from 'node:crypto'
import { promises as fs, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { type Archiver, type Contents, joinZips, zipOf } from './archive.ts'

/** What was changed so shortly before may be changed again in the same tick of the file system's clock. */
const TICK_MS = 100
/** To pack less takes less than to remember it. */
const WORTH_BYTES = 512 * 1024
const MAX_KEPT = 16
const MAX_BYTES = 512 * 1024 * 1024
const PACKAGES = 'node_modules/'

/**
 * Remembers what was packed, in a folder of the user's own: files that are as they were, by inode, size and times, need not be read
 * and compressed again. Packages are remembered by themselves, as they stay when the code beside them is edited.
 */
export class ArchiveMemory implements Archiver {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  async zip(files: Contents): Promise<Buffer> {
    const names = [...files.keys()]
    const packages = new Map([...files].filter(([name]) => name.startsWith(PACKAGES)))
    const own = new Map([...files].filter(([name]) => !name.startsWith(PACKAGES)))
    if (packages.size === 0 || own.size === 0 || names.some((name) => !packages.has(name) && name > PACKAGES)) return await this.#part(files)
    return joinZips(await this.#part(own), await this.#part(packages)) ?? (await zipOf(files))
  }

  async #part(files: Contents): Promise<Buffer> {
    const before = stateOf(files)
    if (before === null) return await zipOf(files)
    const at = path.join(this.#folder, digest(JSON.stringify(before.all)))
    const known = recall(at)
    if (known) return known
    const began = performance.timeOrigin + performance.now()
    const made = await zipOf(files)
    // What was changed meanwhile is not what was packed.
    const after = stateOf(files)
    if (before.changedAt <= began - TICK_MS && JSON.stringify(after?.all) === JSON.stringify(before.all)) await this.#keep(at, made).catch(() => {})
    return made
  }

  async #keep(at: string, zip: Buffer): Promise<void> {
    await fs.mkdir(this.#folder, { recursive: true, mode: 0o700 })
    const beside = `${at}.${process.pid}`
    await fs.writeFile(beside, Buffer.concat([zip, digestOf(zip)]), { mode: 0o600 })
    await fs.rename(beside, `${at}.zip`)
    const kept: { readonly file: string; readonly size: number; readonly mtimeMs: number }[] = []
    for (const name of await fs.readdir(this.#folder)) {
      const file = path.join(this.#folder, name)
      const stat = statSync(file, { throwIfNoEntry: false })
      if (stat) kept.push({ file, size: stat.size, mtimeMs: stat.mtimeMs })
    }
    let bytes = 0
    for (const [index, { file, size }] of kept.toSorted((one, other) => other.mtimeMs - one.mtimeMs).entries()) {
      bytes += size
      if (index >= MAX_KEPT || bytes > MAX_BYTES) await fs.rm(file, { force: true })
    }
  }
}

const DIGEST_BYTES = 32

/** Null when nothing is kept, or it is not what was kept. */
function recall(at: string): Buffer | null {
  try {
    const kept = readFileSync(`${at}.zip`)
    const zip = kept.subarray(0, kept.length - DIGEST_BYTES)
    return digestOf(zip).equals(kept.subarray(kept.length - DIGEST_BYTES)) ? zip : null
  } catch {
    return null
  }
}

/** What an archive follows from; null where it is not worth the memory. */
function stateOf(files: Contents): { readonly all: readonly unknown[]; readonly changedAt: number } | null {
  const all: unknown[] = []
  let bytes = 0
  let changedAt = 0
  for (const name of [...files.keys()].toSorted()) {
    const content = files.get(name) as Uint8Array | string
    if (typeof content !== 'string') {
      all.push([name, digest(content)])
      continue
    }
    const stat = statSync(content, { bigint: true, throwIfNoEntry: false })
    if (!stat) return null
    bytes += Number(stat.size)
    changedAt = Math.max(changedAt, Number(stat.ctimeMs))
    all.push([name, `${stat.dev} ${stat.ino} ${stat.size} ${stat.mode} ${stat.mtimeNs} ${stat.ctimeNs}`])
  }
  return bytes < WORTH_BYTES ? null : { all, changedAt }
}

const digestOf = (content: Uint8Array): Buffer => createHash('sha256').update(content).digest()
const digest = (content: string | Uint8Array): string => createHash('sha256').update(content).digest('hex')
