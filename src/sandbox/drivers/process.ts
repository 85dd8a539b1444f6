import { type ChildProcess, spawn } from 'node:child_process'
import path from 'node:path'
import type { Duplex } from 'node:stream'
import { libraryPath, programPath } from '../guest-paths.ts'
import { type Guests, guestOf } from '../guests.ts'
import type { Driver, GuestPaths, RuntimeName, SandboxProcess, StartOptions } from '../types.ts'
import { memoryOf } from './family.ts'
import { StderrTail } from './stderr-tail.ts'

export interface ProcessOptions {
  readonly guests: Guests
  /** The folder `runtimes` of this program. */
  readonly runtimesPath: string
}

/**
 * A plain process per sandbox. It keeps nothing apart: user code reads the host's files and reaches its network as
 * the user who runs the node. For trying things out; never chosen by `auto`.
 */
export class ProcessDriver implements Driver {
  readonly name = 'process'
  /** It holds none to any size. */
  readonly resizesTmp = true
  readonly limits = ['time']
  readonly missing = [
    {
      what: 'isolation',
      why: 'the driver `process` keeps nothing apart: user code can read what this user can read',
      todo: 'Leave `--sandbox` away wherever code is not your own.',
    },
    { what: 'egress', why: 'a plain process has the network of this machine, whatever its function says', todo: 'Use `--sandbox runc` as root.' },
    { what: 'memory, pids, tmp-size', why: 'no kernel limit holds a plain process here', todo: 'Leave `--sandbox` away.' },
  ]
  readonly #options: ProcessOptions
  readonly #running = new Set<PlainProcess>()

  constructor(options: ProcessOptions) {
    this.#options = options
  }

  runs(runtime: RuntimeName): boolean {
    return this.#options.guests.of(runtime) !== null
  }

  async start(options: StartOptions): Promise<SandboxProcess> {
    const guest = guestOf(this.#options.guests, options.runtime)
    const place = { node: guest.node, runtimes: this.#options.runtimesPath, relay: 0, api: 0 }
    const [program, ...args] = options.argv ? ([guest.node, ...options.argv] as const) : guest.command(place)
    const paths = pathsIn(options.slotDir)
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
      cwd: '/',
      // A group of its own, so that what it starts is stopped and ends with it.
      detached: true,
      env: { PATH: programPath(paths), LD_LIBRARY_PATH: libraryPath(paths), HOME: '/tmp' },
    })
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    const made = new PlainProcess(options.id, paths, child)
    this.#running.add(made)
    void made.exited.then(() => this.#running.delete(made))
    return made
  }

  /** Nothing is left of a former life: its sandboxes end with the descriptors that it held. */
  async sweep(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#running].map((process) => process.kill()))
  }
}

class PlainProcess implements SandboxProcess {
  readonly id: string
  readonly control: Duplex
  readonly relay: Duplex
  readonly paths: GuestPaths
  /** Its code can write where it likes, so a cache of it would be worth nothing. */
  readonly cache = null
  readonly isolated = false
  readonly exited: Promise<{ code: number | null; signal: string | null; outOfMemory: boolean }>
  readonly #child: ChildProcess
  #over = false
  readonly #tail: StderrTail

  constructor(id: string, paths: GuestPaths, child: ChildProcess) {
    this.id = id
    this.#child = child
    this.control = child.stdio[3] as Duplex
    this.relay = child.stdio[4] as Duplex
    this.control.on('error', () => {})
    this.relay.on('error', () => {})
    this.paths = paths
    this.#tail = new StderrTail(child.stdout, child.stderr)
    this.exited = new Promise((resolve) =>
      child.once('exit', (code, signal) => {
        // What it leaves behind ends now: later its number may be another's.
        this.#signal('SIGKILL')
        this.#over = true
        resolve({ code, signal, outOfMemory: false })
      }),
    )
  }
  stderrTail(): string {
    return this.#tail.text()
  }
  hear(take: (bytes: Uint8Array) => void): void {
    this.#tail.take = take
  }
  heardOut(): Promise<void> {
    return this.#tail.heardOut()
  }
  async grant(): Promise<void> {}
  async resizeTmp(): Promise<void> {}
  limit(): void {}
  async freeze(): Promise<void> {
    this.#signal('SIGSTOP')
  }
  async thaw(): Promise<void> {
    this.#signal('SIGCONT')
  }
  async kill(): Promise<void> {
    this.#signal('SIGKILL')
    await this.exited
    this.control.destroy()
    this.relay.destroy()
  }
  #signal(signal: NodeJS.Signals): void {
    if (this.#over) return
    try {
      process.kill(-(this.#child.pid as number), signal)
    } catch {
      // All of it is gone.
    }
  }
  /** Of the guest and of what it started. */
  memory() {
    return memoryOf(this.#child.pid as number)
  }
}

const pathsIn = (slotDir: string): GuestPaths => ({
  code: path.join(slotDir, 'code'),
  opt: path.join(slotDir, 'opt'),
  keptCache: path.join(slotDir, 'cache'),
  cache: null,
  lang: null,
  runtime: null,
})
