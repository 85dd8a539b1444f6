import { existsSync, promises as fs, readdirSync, statSync } from 'node:fs'
import path from 'node:path'
import { LIMITS } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import { KiB } from '../lib/bytes.ts'
import { copyCache } from './compile-cache.ts'
import { linkTree, type Source } from './staging.ts'
import type { HandlerKind, SandboxSpec } from './types.ts'

/** To compile what has less takes less time than to look for it. */
const WORTH_BYTES = 16 * KiB

/** @param enough  more is not counted */
function bytesIn(folder: string, enough: number): number {
  let bytes = 0
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (bytes >= enough) break
    if (entry.isFile()) bytes += statSync(path.join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0
  }
  return bytes
}

/** The compile caches that the node keeps, a folder for each version. A version without one loads slower, and that is all. */
export class CompileCaches {
  readonly #folder: string
  readonly #areRead: boolean
  readonly #log: Log
  /** Whether a version has a cache that is worth the way to it: the next load need not look. What has none yet may get one. */
  readonly #seen = new Map<string, boolean>()

  readonly #kinds = new Map<string, HandlerKind>()

  /** @param areRead  whether sandboxes of this node load from them */
  constructor(folder: string, areRead: boolean, log: Log) {
    this.#folder = folder
    this.#areRead = areRead
    this.#log = log
  }

  /** What a sandbox of it is given. */
  sourceOf(spec: SandboxSpec): Source {
    const { key, codeDir, optDir } = spec
    return { key, codeDir, optDir, cacheDir: this.#has(key) ? this.#of(key) : null }
  }

  /** Takes what a build sandbox wrote, which must be dead. What is refused leaves the version without a cache. */
  async keep(key: string, written: fs.FileHandle): Promise<void> {
    const cache = this.#of(key)
    const beside = `${cache}.new`
    try {
      await fs.rm(beside, { recursive: true, force: true })
      await fs.mkdir(this.#folder, { recursive: true, mode: 0o755 })
      await copyCache(written, beside)
      await fs.rm(cache, { recursive: true, force: true })
      await fs.rename(beside, cache)
    } catch (error) {
      await fs.rm(beside, { recursive: true, force: true })
      this.#log.warn({ error: (error as Error).message, cache }, 'a compile cache was not kept')
    }
  }

  /** What the handler was when it was built. */
  kindOf(key: string): HandlerKind | null {
    return this.#kinds.get(key) ?? null
  }

  async keepKind(key: string, kind: HandlerKind): Promise<void> {
    await fs.mkdir(this.#folder, { recursive: true, mode: 0o755 })
    await fs.writeFile(this.#kindFile(key), kind)
    this.#remember(key, kind)
  }

  /** Of a version that was built in another life of the node, or by another process. */
  async readKind(key: string): Promise<void> {
    if (this.#kinds.has(key)) return
    const kind = await fs.readFile(this.#kindFile(key), 'utf8').catch(() => null)
    if (kind === 'lambda' || kind === 'fetch') this.#remember(key, kind)
  }

  /** Takes that of another version. @returns whether that one had any */
  async adopt(key: string, from: string): Promise<boolean> {
    const cache = this.#of(key)
    const beside = `${cache}.new`
    try {
      if (!existsSync(this.#of(from))) return false
      await fs.rm(beside, { recursive: true, force: true })
      // Its files are the node's own and never change: other names for them do.
      await linkTree(this.#of(from), beside)
      await fs.rename(beside, cache)
      await fs.copyFile(this.#kindFile(from), this.#kindFile(key)).catch(() => {})
      return true
    } catch {
      // The other version went meanwhile.
      await fs.rm(beside, { recursive: true, force: true })
      return false
    }
  }

  async forget(key: string): Promise<void> {
    this.#seen.delete(key)
    this.#kinds.delete(key)
    await fs.rm(this.#kindFile(key), { force: true })
    await fs.rm(this.#of(key), { recursive: true, force: true })
  }

  #remember(key: string, kind: HandlerKind): void {
    this.#kinds.set(key, kind)
    if (this.#kinds.size > LIMITS.rememberedVersions.value) this.#kinds.delete(this.#kinds.keys().next().value as string)
  }

  #has(key: string): boolean {
    const known = this.#seen.get(key)
    if (known !== undefined) return known
    if (!this.#areRead || !existsSync(this.#of(key))) return false
    const isWorth = bytesIn(this.#of(key), WORTH_BYTES) >= WORTH_BYTES
    this.#seen.set(key, isWorth)
    return isWorth
  }

  #kindFile(key: string): string {
    return `${this.#of(key)}.kind`
  }

  #of(key: string): string {
    return path.join(this.#folder, key)
  }
}
