import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after } from 'node:test'
import yazl from 'yazl'
import { FIRST_PROJECT, giveCluster } from '../../tools/cluster.ts'
import { programOf } from '../../tools/program.mjs'
import { SHORT_LIVED } from '../../tools/short-lived.ts'

export const ROOT = path.resolve(import.meta.dirname, '..', '..')
const BIN = path.join(ROOT, 'bin', 'mayfly.js')
// What the launcher in `bin` starts for the node's own commands, which tests of the launcher start by it: a program less for each.
const ONCE = ['--disable-warning=ExperimentalWarning', ...SHORT_LIVED, '--import', path.join(ROOT, 'tools', 'compiled.mjs')]
const launched = (): string[] => {
  const program = programOf(ROOT)
  return [...ONCE, ...(program.endsWith('.mjs') ? ['--enable-source-maps'] : []), program]
}
const OF_THE_NODE = new Set(['up', 'config', 'doctor'])

export interface Ready {
  readonly ready: true
  readonly url: string
  readonly console: string
  readonly project: { readonly ref: string; readonly url: string; readonly publishableKey: string; readonly secretKey: string }
  readonly accessKey: { readonly id: string; readonly secret: string }
  readonly region: string
  readonly sandbox: { readonly driver: string; readonly limits: readonly string[] }
}

export interface RunningMayfly {
  readonly ready: Ready
  readonly data: string
  readonly child: ChildProcess
  /** All that stood on stdout so far. */
  stdout(): string
  stderr(): string
  /** The node's own process, behind the launcher where there is one. */
  pid(): number
  /** SIGTERM, and its exit code. */
  stop(): Promise<number | null>
  /** Resolves with the exit code when it ends by itself. */
  ended(): Promise<number | null>
  /** SIGKILL to launcher and node, nothing asked. */
  kill(): Promise<void>
}

// A test that fails half-way must not leave its node behind: the file would never end.
const running = new Set<ChildProcess>()
after(() => {
  for (const child of running) child.kill('SIGTERM')
})

/** The processes of this machine by their command lines, read without any program. */
export const processes = (): { pid: number; args: string }[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        return [{ pid: Number(name), args: readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ') }]
      } catch {
        return []
      }
    })

export const makeFolder = (): string => mkdtempSync(path.join(tmpdir(), 'mayfly-test-'))
export const removeFolder = (folder: string): void => rmSync(folder, { recursive: true, force: true })

/** With MAYFLY_TEST_WORKERS the whole suite runs against nodes of so many workers, where a test does not say how many it wants. */
const workersOf = (args: readonly string[]): readonly string[] => {
  const workers = process.env.MAYFLY_TEST_WORKERS
  return workers === undefined || workers === '' || args.some((arg) => arg.startsWith('--workers')) ? [] : ['--workers', workers]
}

/**
 * One sandbox waits for a function, where neither a test nor the gate says how many (MAYFLY_TEST_POOL): a second one is booted for
 * nothing at most starts. Who measures has the node as it is.
 */
const poolOf = (args: readonly string[]): readonly string[] =>
  process.env.NODE_TEST_CONTEXT === undefined || args.includes('--sandbox-pool-size') ? [] : ['--sandbox-pool-size', process.env.MAYFLY_TEST_POOL || '1']

/** For a node whose tests look at sandboxes that wait, whatever the gate says. */
export const SPARE = ['--sandbox-pool-size', '1']
/** For a node that calls few functions or none: no sandbox is booted for nothing. */
export const NO_SPARE = ['--sandbox-pool-size', '0']

/** How many processes of a node have sandboxes, where a test does not say how many workers it wants. */
export const PROCESSES = 1 + Number(process.env.MAYFLY_TEST_WORKERS || 0)

/**
 * Starts a node as a user does, and waits for its ready line.
 * @param how  fromNothing: the clusters of PostgreSQL are not kept ones, but made by this very start, as they have to be by another user's; asText: it
 *   says in words that it is ready, as below a service manager
 * @throws Error with what it said when it ends first
 */
export async function startMayfly(
  data: string,
  args: readonly string[] = ['--empty'],
  environment: Record<string, string> = {},
  how: { readonly command?: readonly string[]; readonly ownGroup?: boolean; readonly fromNothing?: boolean; readonly asText?: boolean } = {},
): Promise<RunningMayfly> {
  const isNew = !existsSync(data) && !args.includes('--database-url') && environment.MAYFLY_DATABASE_URL === undefined
  if (isNew && !how.fromNothing) {
    mkdirSync(data, { recursive: true, mode: 0o711 })
    await giveCluster(path.join(data, 'pg'), [FIRST_PROJECT])
  }
  const errorFile = path.join(path.dirname(data), `${path.basename(data)}.stderr`)
  const state = path.join(path.dirname(data), 'state')
  // A signal to a whole group is for the launcher as well, and who measures has all that a user has.
  const byLauncher = how.ownGroup || process.env.NODE_TEST_CONTEXT === undefined
  const [program = '', ...before] = how.command ?? [process.execPath, ...(byLauncher ? [BIN] : launched()), 'up']
  const child = spawn(program, [...before, ...(how.asText ? [] : ['--json']), '--port', '0', '--data', data, ...workersOf(args), ...poolOf(args), ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', openSync(errorFile, 'a')],
    detached: how.ownGroup ?? false,
    env: { ...process.env, XDG_STATE_HOME: state, ...environment },
  })
  let out = ''
  running.add(child)
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  void ended.then(() => running.delete(child))
  const ready = await new Promise<Ready>((resolve, reject) => {
    // Once it is ready nobody asks what it said, and by the time that this would be read its folder may be gone.
    let isReady = false
    const give = (why: string) => isReady || reject(new Error(`${why}: ${readFileSync(errorFile, 'utf8').slice(-2000)}`))
    const late = setTimeout(() => give('not ready after 60 s'), 60_000).unref()
    void ended.then((code) => give(`the node ended with ${code}`))
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString()
      // npm puts a banner before it.
      const line = how.asText ? (/^Ctrl-C stops it\.$/m.test(out) ? mayfly(['status', '--json', '--data', data]).stdout : null) : /^\{.*\}$/m.exec(out)?.[0]
      if (isReady || !line) return
      isReady = true
      clearTimeout(late)
      resolve(JSON.parse(line) as Ready)
    })
  })
  const pid = () => (JSON.parse(readFileSync(path.join(data, 'run.json'), 'utf8')) as { pid: number }).pid
  return {
    ready,
    data,
    child,
    stdout: () => out,
    stderr: () => readFileSync(errorFile, 'utf8'),
    pid,
    stop: async () => {
      child.kill('SIGTERM')
      return await ended
    },
    ended: () => ended,
    kill: async () => {
      const node = pid()
      child.kill('SIGKILL')
      if (node !== child.pid) process.kill(node, 'SIGKILL')
      await ended
    },
  }
}

/** Runs the command line to its end, as the launcher does. */
export function mayfly(args: readonly string[], environment: Record<string, string> = {}): { code: number; stdout: string; stderr: string } {
  // Under the Node of the tests the launcher runs a command itself.
  const program = OF_THE_NODE.has(args[0] ?? '') ? launched() : [...SHORT_LIVED, BIN]
  const { status, stdout, stderr } = spawnSync(process.execPath, [...program, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    // A node that the user of this machine has signed in to is none of a test's.
    env: { ...process.env, XDG_CONFIG_HOME: path.join(ROOT, 'node_modules', '.cache', 'no-profiles'), MAYFLY_PROFILE: '', ...environment },
    timeout: 120_000,
    maxBuffer: 1 << 26,
  })
  return { code: status ?? -1, stdout, stderr }
}

/** A zip archive of some files. */
export async function zipOf(files: Readonly<Record<string, string | Buffer>>, executable: readonly string[] = []): Promise<Buffer> {
  const zip = new yazl.ZipFile()
  for (const [name, text] of Object.entries(files)) zip.addBuffer(Buffer.from(text), name, { mode: executable.includes(name) ? 0o100755 : 0o100644 })
  zip.end()
  const chunks: Buffer[] = []
  for await (const chunk of zip.outputStream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

export const ROLE = 'arn:aws:iam::000000000000:role/any'

/** Makes a queue in a node's project, or does nothing where it is there. */
export async function makeQueue({ url, project }: Ready, name: string): Promise<void> {
  const headers = { authorization: `Bearer ${project.secretKey}`, 'content-type': 'application/json' }
  const reply = await fetch(`${url}/api/v1/projects/${project.ref}/queues/${name}`, { method: 'PUT', headers, body: '{}' })
  if (!reply.ok) throw new Error(await reply.text())
}
