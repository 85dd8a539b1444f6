import { execFile } from 'node:child_process'
import { existsSync, promises as fs } from 'node:fs'
import path from 'node:path'

/**
 * A file that only takes space, so that there is some to give back: on a disk that is full PostgreSQL cannot
 * start, and what would make room (a delete) goes through PostgreSQL.
 */
export class Ballast {
  readonly #file: string
  readonly #bytes: number

  constructor(folder: string, bytes: number) {
    this.#file = path.join(folder, 'ballast')
    this.#bytes = bytes
  }

  get bytes(): number {
    return this.#bytes
  }
  get there(): boolean {
    return existsSync(this.#file)
  }

  /** Takes the space, whole or not at all; the blocks are asked of the file system, not written. @throws Error */
  async make(): Promise<void> {
    const beside = `${this.#file}.new`
    await fs.rm(beside, { force: true })
    try {
      await new Promise<void>((resolve, reject) => {
        execFile('fallocate', ['--posix', '--length', String(this.#bytes), beside], (error) => (error ? reject(error) : resolve()))
      })
      await fs.rename(beside, this.#file)
    } finally {
      await fs.rm(beside, { force: true })
    }
  }

  /** @returns false when there was none */
  async drop(): Promise<boolean> {
    try {
      await fs.unlink(this.#file)
      return true
    } catch {
      return false
    }
  }
}
