import { spawn } from 'node:child_process'
import { promises as fs } from 'node:fs'
import path from 'node:path'
import type { Clock } from '../../lib/clock.ts'
import { within } from '../../lib/within.ts'
import { StderrTail } from './stderr-tail.ts'

const LIMIT_MS = 10_000
const BIND = 'while [ $# -gt 0 ]; do mount --bind "$1" "$2" || exit 1; shift 2; done'
const COVER = 'for one in "$@"; do mount -t tmpfs -o ro,nosuid,nodev,noexec,size=4k none "$one" || exit 1; done'

/** A mount namespace of our own. Nothing of it is seen outside, and it ends with this process. */
export class MountView implements AsyncDisposable {
  readonly #handle: fs.FileHandle
  readonly #at: ReadonlyMap<string, string>

  private constructor(handle: fs.FileHandle, at: ReadonlyMap<string, string>) {
    this.#handle = handle
    this.#at = at
  }

  /**
   * One in which some files and folders lie below one that every user may enter, wherever they lie themselves:
   * checkout and data of root may be below folders that are root's alone.
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
    return new MountView(await make('private', BIND, [...at].flat(), clock), at)
  }

  /**
   * The host's own, in which some folders are empty. What the host mounts later is seen in it, as network namespaces are.
   * @throws Error when this process may not mount
   */
  static async without(folders: readonly string[], clock: Clock): Promise<MountView> {
    return new MountView(await make('slave', COVER, folders, clock), new Map())
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

/** @param script  what is mounted, by the shell. The namespace lives as long as what is returned is open. */
async function make(propagation: 'private' | 'slave', script: string, args: readonly string[], clock: Clock): Promise<fs.FileHandle> {
  const maker = spawn('unshare', ['--mount', '--propagation', propagation, 'sh', '-c', `${script}; echo made; exec cat`, 'sh', ...args], {
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
    return await fs.open(`/proc/${maker.pid}/ns/mnt`)
  } finally {
    maker.kill('SIGKILL')
  }
}
