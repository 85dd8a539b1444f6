import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, constants, existsSync, mkdirSync, openSync, readdirSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import path from 'node:path'
import type { Duplex, Readable, Writable } from 'node:stream'
import { type HowEnded, type Launch, type Launched, launchHere } from './launched.ts'
import { HELLO, NAMED_BYTES, nameOf, type Tells, type Told } from './launch-wire.ts'

const PROGRAM = path.join(import.meta.dirname, 'launcher-program.ts')
const SETPRIV = '/usr/bin/setpriv'
/** It holds nothing: what it keeps is what it must copy for each program. */
const SMALL = ['--max-semi-space-size=1', '--max-old-space-size=32']
/** So many programs a process starts itself, before it starts one that does. */
const BY_ITSELF = 6

export interface LauncherOptions {
  /** A folder for its socket, short, in which nobody else can make anything; made when it is needed. */
  readonly folder: string
  /** How many programs are started without it first. */
  readonly byItself?: number
}

/**
 * Starts programs by a small process beside this one. To start a program a process is copied, its table of memory at least, and does
 * nothing else meanwhile: of a node with hundreds of megabytes that takes ten milliseconds and more, in which no call goes on.
 */
export class Launcher implements Disposable {
  readonly #folder: string
  readonly #byItself: number
  #left: number
  #helper: Helper | null = null
  #closed = false

  constructor({ folder, byItself = BY_ITSELF }: LauncherOptions) {
    this.#folder = folder
    this.#byItself = byItself
    this.#left = byItself
  }

  /** @throws Error where it could not be started. That its command is none may also show by its exit code, 127 */
  async launch(launch: Launch): Promise<Launched> {
    if (this.#helper?.isOver) {
      // Where none lives, not each program is to cost another try.
      this.#helper = null
      this.#left = this.#byItself
    }
    if (this.#left > 0) this.#left--
    else this.begin().catch(() => {})
    // Until there is one that hears it is done here.
    return this.#helper?.isReady ? await this.#helper.launch(launch) : launchHere(launch)
  }

  /** Has the process started, where there is none. Resolves when it hears, or never will. @throws Error where the folder is none */
  async begin(): Promise<void> {
    if (this.#closed) return
    if (this.#helper === null || this.#helper.isOver) {
      this.#left = this.#byItself
      this.#helper = new Helper(this.#folder)
      this.#left = 0
    }
    await this.#helper.ready
  }

  [Symbol.dispose](): void {
    this.#closed = true
    this.#helper?.[Symbol.dispose]()
  }
}

/** The name of one's socket, by the number of the process that hears at it. */
const SOCKET = /^l\d+$/

/** One that lives, until it ends. */
class Helper implements Disposable {
  isOver = false
  isReady = false
  readonly #ready = Promise.withResolvers<void>()
  readonly #server: Server
  readonly #child: ChildProcess
  readonly #folder: number
  /** What was started and has not ended. */
  readonly #running = new Map<number, ByHelper>()
  /** Streams that are waited for, by their names. */
  readonly #wanted = new Map<string, PromiseWithResolvers<Duplex>>()
  #next = 1
  #rest = ''

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const socket = `l${process.pid}`
    // Its own of before, and what a process left that was killed: the folder is of one process at a time.
    for (const name of readdirSync(folder)) if (SOCKET.test(name)) rmSync(path.join(folder, name), { force: true })
    this.#folder = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY)
    this.#server = createServer((stream) => this.#name(stream))
    this.#server.unref()
    this.#server.on('error', () => this[Symbol.dispose]())
    // What a socket was bound to is told to whoever has the other end, and is to tell nothing of this host.
    this.#server.listen(`/proc/self/fd/${this.#folder}/${socket}`)
    const command = [process.execPath, ...SMALL, PROGRAM, path.join(folder, socket)]
    const [program = '', ...args] = existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL', ...command] : command
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/', env: {}, detached: true })
    for (const stream of [this.#child.stdin, this.#child.stdout]) stream?.on('error', () => {})
    ;(this.#child.stdin as Socket).unref()
    this.#unref()
    ;(this.#child.stdout as Readable).setEncoding('utf8').on('data', (text: string) => this.#hear(text))
    for (const how of ['error', 'exit']) this.#child.once(how, () => this[Symbol.dispose]())
  }

  get ready(): Promise<void> {
    return this.#ready.promise
  }

  async launch(launch: Launch): Promise<Launched> {
    const id = this.#next++
    // As a child of this process would, what was started keeps it alive.
    this.#child.ref()
    ;(this.#child.stdout as Socket).ref()
    const streams = launch.descriptors.map((one, descriptor) => {
      if (one !== 'stream') return null
      const wanted = Promise.withResolvers<Duplex>()
      wanted.promise.catch(() => {})
      this.#wanted.set(nameOf(id, descriptor), wanted)
      return wanted.promise
    })
    const made = new ByHelper((signal) => this.#tell({ id, kill: signal }))
    this.#running.set(id, made)
    this.#tell({ id, launch })
    try {
      await made.started
      made.streams = await Promise.all(streams)
      return made
    } catch (error) {
      for (const stream of streams)
        void stream?.then(
          (one) => one.destroy(),
          () => {},
        )
      throw error
    } finally {
      for (const descriptor of launch.descriptors.keys()) this.#wanted.delete(nameOf(id, descriptor))
    }
  }

  [Symbol.dispose](): void {
    if (this.isOver) return
    this.isOver = true
    this.isReady = false
    this.#ready.resolve()
    this.#server.close()
    closeSync(this.#folder)
    this.#child.stdin?.end()
    this.#child.kill('SIGKILL')
    for (const one of this.#running.values()) one.lost()
    this.#running.clear()
    // A stream that was on its way when this closed never comes.
    for (const one of this.#wanted.values()) one.reject(new Error(LOST))
    this.#wanted.clear()
  }

  #unref(): void {
    this.#child.unref()
    ;(this.#child.stdout as Socket).unref()
  }

  #tell(told: Told): void {
    if (!this.isOver) (this.#child.stdin as Writable).write(`${JSON.stringify(told)}\n`)
    else this.#running.get(told.id)?.lost()
  }

  #hear(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      const said = JSON.parse(line) as Tells
      if (said.id === HELLO) {
        this.isReady = true
        this.#ready.resolve()
      }
      const one = this.#running.get(said.id)
      if (!one) continue
      if ('pid' in said) one.begun(said.pid)
      else {
        this.#running.delete(said.id)
        if (this.#running.size === 0) this.#unref()
        if ('error' in said) one.fail(new Error(said.error))
        else one.end({ code: said.code, signal: said.signal })
      }
    }
  }

  /** A stream that came begins with whose it is. */
  #name(stream: Socket): void {
    stream.on('error', () => {})
    const look = () => {
      const name = stream.read(NAMED_BYTES) as Buffer | null
      if (name === null) return
      stream.removeListener('readable', look)
      const wanted = this.#wanted.get(name.toString('latin1'))
      this.#wanted.delete(name.toString('latin1'))
      if (wanted) wanted.resolve(stream)
      else stream.destroy()
    }
    stream.on('readable', look)
  }
}

const LOST = 'the process that starts programs has ended'

/** Of a program that was started as the first of a group. */
function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // All of it is gone.
  }
}

class ByHelper implements Launched {
  pid: number | undefined
  streams: readonly (Duplex | null)[] = []
  ended: HowEnded | null = null
  readonly kill: (signal: NodeJS.Signals) => void
  readonly #started = Promise.withResolvers<void>()
  readonly #exited = Promise.withResolvers<HowEnded>()

  constructor(kill: (signal: NodeJS.Signals) => void) {
    this.kill = kill
    for (const one of [this.started, this.exited]) one.catch(() => {})
  }

  get started(): Promise<void> {
    return this.#started.promise
  }

  get exited(): Promise<HowEnded> {
    return this.#exited.promise
  }

  begun(pid: number): void {
    this.pid = pid
    this.#started.resolve()
  }

  end(how: HowEnded): void {
    this.ended = how
    this.#exited.resolve(how)
  }

  fail(error: Error): void {
    for (const one of [this.#started, this.#exited]) one.reject(error)
  }

  /**
   * Who would tell how it ends has ended. Whoever waits for it is to clear away after it, and not beside it: so it ends
   * as well, with all that is still of its session. What has left that by itself, as a sandbox has which stands, goes on.
   */
  lost(): void {
    this.#started.reject(new Error(LOST))
    if (this.pid !== undefined) endGroup(this.pid)
    this.end({ code: null, signal: 'SIGKILL' })
  }
}
