import { execFile } from 'node:child_process'
import { existsSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { LIMITS } from '../core/limits.ts'
import type { RuntimeName } from './types.ts'

/** What is started in a sandbox of a runtime, before it is anyone's. */
export interface Guest {
  /** The Node on this host that is there for it. */
  readonly node: string
  /** The first program and its arguments, all by the names of the sandbox. */
  command(inside: GuestPlace): readonly [string, ...string[]]
}

/** Where a guest finds itself. */
export interface GuestPlace {
  /** Its Node. */
  readonly node: string
  /** The folder `runtimes`. */
  readonly runtimes: string
  readonly relay: number
  readonly api: number
}

/** What this node can run. */
export interface Guests {
  /** Null where it is not installed. */
  of(runtime: RuntimeName): Guest | null
  /** The version of the system's Python, as `3.11`; null where there is none. */
  python(): string | null
  /**
   * Why functions of a runtime cannot run here, and what to do about it; null when they can.
   * @param name  as a function names it, such as `python3.11`
   */
  refusal(name: string): string | null
}

const PYTHON = '/usr/bin/python3'
const NODE_FLAGS = ['--v8-pool-size=1', '--disable-warning=ExperimentalWarning']
/**
 * A guest starts before its function's memory is known, and these are fixed from then on: young objects may take 32 MB, and not the
 * 128 that V8 takes of a large machine; all others what the largest function has, and not the 4 GB at which V8 would end it.
 */
const HEAP_FLAGS = ['--max-semi-space-size=16', `--max-old-space-size=${LIMITS.functionMemory.value}`]
/** The supervisor shares the function's memory: it takes little, and gives back what it took. */
const SUPERVISOR_FLAGS = [...NODE_FLAGS, '--max-semi-space-size=1', '--max-old-space-size=96', '--expose-gc']

const PROVIDED_GUEST: Guest = {
  node: process.execPath,
  command: ({ node, runtimes, relay, api }) => [
    node,
    ...SUPERVISOR_FLAGS,
    path.join(runtimes, 'supervisor', 'main.mjs'),
    'provided',
    String(relay),
    String(api),
  ],
}
/** Its Node is for the supervisor, which it becomes where a function has extensions. */
const PYTHON_GUEST: Guest = {
  node: process.execPath,
  command: ({ node, runtimes, relay, api }) => [PYTHON, '-sB', path.join(runtimes, 'python', 'bootstrap.py'), String(relay), String(api), node],
}

/** All that there are, installed or not. */
export const RUNTIMES: readonly RuntimeName[] = ['nodejs22.x', 'nodejs24.x', 'nodejs26.x', 'python3.x', 'provided']

/** The runtime of the sandbox for what a function names: several names have one. */
export function sandboxRuntime(name: string): RuntimeName {
  if (name.startsWith('provided')) return 'provided'
  if (name.startsWith('python')) return 'python3.x'
  return name as RuntimeName
}

/**
 * Looks at what is here; further Nodes, and a Python where there was none, count as soon as they are installed.
 * @param root  the folder of this program
 * @param known  the version of the system's Python, where another process of the node has asked it
 * @param program  the system's Python
 */
export async function findGuests(root: string, known?: string | null, program = PYTHON): Promise<Guests> {
  let found = known === undefined ? await pythonVersion(program) : known
  const python = (): string | null => (found ??= versionInName(program))
  const nodeOf = (runtime: RuntimeName): string | null => {
    if (runtime === 'nodejs24.x') return process.execPath
    const file = path.join(root, 'tools', `node${runtime.slice('nodejs'.length, -'.x'.length)}`, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node')
    return existsSync(file) ? file : null
  }
  const of = (runtime: RuntimeName): Guest | null => {
    if (runtime === 'provided') return PROVIDED_GUEST
    if (runtime === 'python3.x') return python() === null ? null : PYTHON_GUEST
    const node = nodeOf(runtime)
    if (node === null) return null
    return {
      node,
      command: ({ node: inside, runtimes, relay }) => [inside, ...NODE_FLAGS, ...HEAP_FLAGS, path.join(runtimes, 'node', 'bootstrap.mjs'), String(relay)],
    }
  }
  const refusal = (name: string): string | null => {
    const runtime = sandboxRuntime(name)
    if (runtime !== 'python3.x') return of(runtime) === null ? `${name} is not installed on this node: run \`npm run setup -- --runtime ${name}\`` : null
    const here = python()
    if (here === null) return `${name} is not installed on this node: install python3 (\`apt-get install python3\`)`
    if (name === `python${here}`) return null
    return `this node has python${here}, the python3 of its system, and not ${name}: name python${here}, or run the node on a system whose python3 is ${name.slice('python'.length)}`
  }
  return { of, python, refusal }
}

/** @throws Error for a runtime that is not installed: a function of it is refused before it comes here */
export function guestOf(guests: Guests, runtime: RuntimeName): Guest {
  const guest = guests.of(runtime)
  if (guest === null) throw new Error(`the runtime ${runtime} is not installed`)
  return guest
}

/** `3.11`, or null when there is none. */
function pythonVersion(program: string): Promise<string | null> {
  return new Promise((resolve) => {
    execFile(program, ['-I', '-S', '-c', 'import sys; print("%d.%d" % sys.version_info[:2])'], { timeout: 10_000 }, (error, out) =>
      resolve(error ? null : out.trim()),
    )
  })
}

/** What Debian says by the link that `python3` is: told without starting anything, for whoever asks waits. */
function versionInName(program: string): string | null {
  try {
    return /^python(3\.\d+)$/.exec(path.basename(realpathSync(program)))?.[1] ?? null
  } catch {
    return null
  }
}
