import { spawn } from 'node:child_process'
import { promises as fs } from 'node:fs'
import path from 'node:path'
import type { Clock } from '../../lib/clock.ts'
import { within } from '../../lib/within.ts'
import { StderrTail } from './stderr-tail.ts'

const LIMIT_MS = 10_000

/**
 * A mount namespace in which some files and folders lie below one that every user may enter, wherever they lie themselves:
 * checkout and data of root may be below folders that are root's alone. Nothing of it is seen outside, and it ends with
 * this process.
 */
export class MountView implements AsyncDisposable {
  readonly #handle: fs.FileHandle
  readonly #at: ReadonlyMap<string, string>

  private constructor(handle: fs.FileHandle, at: ReadonlyMap<string, string>) {
    this.#handle = handle
    this.#at = at
  }

  /**
   * @param folder  of our own, may be entered by everyone; the view's names are made in it
   * @throws Error when this process may not mount
   */
  static async open(folder: string, sources: readonly string[], clock: Clock): Promise<MountView> {
    const at = new Map<string, string>()
    for (const [i, source] of sources.entries()) {
      const target = path.join(folder, String(i))
      await fs.mkdir(folder, { recursive: true, mode: 0o711 })
      if ((await fs.stat(source)).isDirectory()) await fs.mkdir(target, { recursive: true })
      else await fs.writeFile(target, '')
      at.set(source, target)
    }
    const script = 'while [ $# -gt 0 ]; do mount --bind "$1" "$2" || exit 1; shift 2; done; echo made; exec cat'
    const pairs = [...at].flat()
    const maker = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', ...pairs], {
      stdio: ['pipe', 'pipe', 'pipe'],
      cwd: '/',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    })
    const tail = new StderrTail(maker.stderr)
    const made = new Promise<boolean>((resolve) => {
      maker.stdout.once('data', () => resolve(true))
      maker.once('error', () => resolve(false))
      maker.once('exit', () => resolve(false))
    })
    try {
      const inTime = await within(clock, LIMIT_MS, made)
      if (!inTime || !(await made)) throw new Error(`no mount namespace could be made: ${tail.text().trim() || 'no answer'}`)
      // The namespace lives as long as this is open.
      return new MountView(await fs.open(`/proc/${maker.pid}/ns/mnt`), at)
    } finally {
      maker.kill('SIGKILL')
    }
  }

  /** Its name for who opens it from a process below this one. */
  get file(): string {
    return `/proc/${process.pid}/fd/${this.#handle.fd}`
  }

  /** Where something lies in it that is one of its sources or below one. */
  seen(file: string): string {
    for (const [source, target] of this.#at) {
      if (file === source) return target
      if (file.startsWith(`${source}/`)) return target + file.slice(source.length)
    }
    throw new Error(`${file} is in no source of the view`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close()
  }
}
