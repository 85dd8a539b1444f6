// The runtime as a process of its own: started, its outputs read, its end told.
import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'

const CHUNK = 64 * 1024

/**
 * A pipe without a name. Programs open /dev/stdout again by its path, which fails on the sockets that
 * `stdio: 'pipe'` makes.
 */
function makePipe(folder) {
  const name = path.join(folder, 'pipe')
  const made = spawnSync('/usr/bin/mkfifo', [name])
  if (made.status !== 0) throw new Error(`mkfifo: ${made.error?.message ?? made.stderr}`)
  const read = fs.openSync(name, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
  const write = fs.openSync(name, fs.constants.O_WRONLY)
  fs.unlinkSync(name)
  return { read, write }
}

/** One output of the runtime and of what it starts, read as it comes. */
class Output {
  constructor(folder, take) {
    const { read, write } = makePipe(folder)
    this.read = read
    this.write = write
    this.take = take
    this.socket = new net.Socket({ fd: read, readable: true, writable: false })
    this.socket.on('data', take)
    this.socket.on('error', () => {})
    this.chunk = Buffer.allocUnsafe(CHUNK)
  }
  /** What was written up to now, though no turn of the event loop has brought it yet. */
  drain() {
    for (let turns = 0; turns < 64; turns++) {
      try {
        const bytes = fs.readSync(this.read, this.chunk)
        if (bytes === 0) return
        this.take(Buffer.from(this.chunk.subarray(0, bytes)))
      } catch {
        return
      }
    }
  }
}

export class RuntimeProcess {
  /** @param hears  `output(stream, bytes)`, stream being 'stdout' or 'stderr'; `exit(code, signal)` of the one that runs */
  constructor(hears) {
    this.hears = hears
    this.child = null
    const folder = fs.mkdtempSync(path.join(process.env.TMPDIR ?? '/tmp', 'runtime-'))
    try {
      this.outputs = ['stdout', 'stderr'].map((stream) => new Output(folder, (bytes) => hears.output(stream, bytes)))
    } finally {
      fs.rmSync(folder, { recursive: true, force: true })
    }
  }

  drain() {
    for (const output of this.outputs) output.drain()
  }

  /** @returns the error when it could not be started, else null */
  async start(command, args, { cwd, env }) {
    const [out, err] = this.outputs
    const child = spawn(command, args, { cwd, env, argv0: command, stdio: ['ignore', out.write, err.write] })
    this.child = child
    child.on('exit', (code, signal) => {
      if (this.child !== child) return
      this.child = null
      this.drain()
      this.hears.exit(code, signal)
    })
    return await new Promise((resolve) => {
      child.once('spawn', () => resolve(null))
      child.once('error', (error) => {
        if (this.child === child) this.child = null
        resolve(error)
      })
    })
  }

  /** Ends it, unheard. */
  drop() {
    const { child } = this
    this.child = null
    child?.kill('SIGKILL')
  }
}
