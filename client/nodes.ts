import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import type { ReadyLine } from './client.ts'

/** What a running node writes into `run.json` of its data directory. */
export interface RunFile extends ReadyLine {
  readonly pid: number
  readonly startTicks: number
  readonly operatorToken: string
  /** Where it is on this machine; `url` may be what the world sees. */
  readonly listens?: string
  readonly data: string
}

export interface FoundNode {
  readonly url: string
  readonly key: string
  readonly project: string
  /** Null when it was named by URL and key. */
  readonly run: RunFile | null
}

/** No node, or more than one; the message says what to do. */
export class NoNodeError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'NoNodeError'
  }
}

/** An address without its key, or a key without its address. */
export class HalfAddressError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'HalfAddressError'
  }
}

export interface Where {
  readonly url: string | null
  readonly key: string | null
  readonly data: string | null
  readonly project: string | null
  /** `$XDG_STATE_HOME/mayfly/nodes`: a pointer file for each node that this user runs. */
  readonly stateFolder: string
}

/** The folder in which a user's running nodes leave a pointer. */
export const stateFolderOf = (environment: Readonly<Record<string, string | undefined>>, home: string): string =>
  path.join(environment.XDG_STATE_HOME || path.join(home, '.local', 'state'), 'mayfly', 'nodes')

/** By URL and key, else by data directory, else the one node that runs on this machine. @throws NoNodeError, HalfAddressError */
export function findNode(where: Where): FoundNode {
  if (where.url !== null || where.key !== null) {
    if (where.url === null || where.key === null) throw new HalfAddressError('--url and --key (or MAYFLY_URL with MAYFLY_KEY or MAYFLY_TOKEN) go together.')
    return { url: where.url, key: where.key, project: where.project ?? 'demo', run: null }
  }
  if (where.data !== null) {
    const file = path.join(where.data, 'run.json')
    const run = readRun(file)
    if (!run)
      throw new NoNodeError(`No node is running on ${where.data} (there is no live ${file}). Start one: npx mayfly up --data ${JSON.stringify(where.data)}`)
    return found(run, where.project)
  }
  // By their folder: a node that was killed has left its pointer beside that of its next start.
  const live = new Map<string, RunFile>()
  for (const name of names(where.stateFolder)) {
    try {
      const pointer = JSON.parse(readFileSync(path.join(where.stateFolder, name), 'utf8')) as { data?: unknown }
      const run = typeof pointer.data === 'string' ? readRun(path.join(pointer.data, 'run.json')) : null
      if (run) live.set(run.data, run)
    } catch {
      // a pointer that is being written or was left behind
    }
  }
  const runs = [...live.values()]
  if (runs.length === 0)
    throw new NoNodeError('No node is running on this machine for this user. Start one with `npx mayfly up`, or name one with --data, or with --url and --key.')
  if (runs.length > 1)
    throw new NoNodeError(
      `Several nodes are running; choose one with --data:\n${runs.map((run) => `  --data ${JSON.stringify(run.data)}   ${run.url}`).join('\n')}`,
    )
  return found(runs[0] as RunFile, where.project)
}

const found = (run: RunFile, project: string | null): FoundNode => ({
  url: run.listens ?? run.url,
  key: run.operatorToken,
  project: project ?? run.project.ref,
  run,
})

function names(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith('.json'))
  } catch {
    return []
  }
}

function readRun(file: string): RunFile | null {
  try {
    const run = JSON.parse(readFileSync(file, 'utf8')) as RunFile
    return isAlive(run.pid, run.startTicks) ? run : null
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES')
      throw new NoNodeError(`${file} is not readable for this user: the node was started by another one. Use sudo, or --url and --key.`)
    return null
  }
}

/** The same process, not another that was given its number. */
function isAlive(pid: number, startTicks: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]) === startTicks
  } catch {
    return false
  }
}
