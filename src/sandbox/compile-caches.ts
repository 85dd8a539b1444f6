import { existsSync, promises as fs } from 'node:fs'
import path from 'node:path'
import type { Log } from '../core/log.ts'
import { copyCache } from './compile-cache.ts'
import { linkTree, type Source } from './staging.ts'
import type { SandboxSpec } from './types.ts'

/** The compile caches that the node keeps, a folder for each version. A version without one loads slower, and that is all. */
export class CompileCaches {
  readonly #folder: string
  readonly #areRead: boolean
  readonly #log: Log
  /** Versions whose cache was seen: the next load need not look. */
  readonly #seen = new Set<string>()

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
      return true
    } catch {
      // The other version went meanwhile.
      await fs.rm(beside, { recursive: true, force: true })
      return false
    }
  }

  async forget(key: string): Promise<void> {
    this.#seen.delete(key)
    await fs.rm(this.#of(key), { recursive: true, force: true })
  }

  #has(key: string): boolean {
    if (this.#seen.has(key)) return true
    const there = this.#areRead && existsSync(this.#of(key))
    if (there) this.#seen.add(key)
    return there
  }

  #of(key: string): string {
    return path.join(this.#folder, key)
  }
}
