import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { promises as fs, readFileSync } from 'node:fs'
import path from 'node:path'
import { startTicks } from './data-directory.ts'

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
/** Says in a run-time folder whose it is. */
export const OWNER_FILE = 'owner'
/** What holds it removes it, which takes no longer. */
const WAIT_SECONDS = 20

/** A run-time folder whose process has ended without removing it. */
export interface DeadFolder {
  readonly folder: string
  /** What follows the prefix of its name. */
  readonly name: string
  /** Removes it by `remove`, unless it was somebody's again meanwhile, or somebody else removes it. */
  readonly take: (remove: () => Promise<void>, how?: 'try' | 'wait') => Promise<void>
}

/** A process, when it began, and the namespaces that it counts in: another's processes cannot be asked for. No more than the number when there is no such process. */
export async function ownerOf(pid: number): Promise<string> {
  const spaces = await Promise.all(['net', 'pid'].map((kind) => fs.readlink(`/proc/${pid}/ns/${kind}`).catch(() => '')))
  return `${pid} ${startTicks(pid)} ${spaces.join('+')}`
}

/**
 * Makes a run-time folder this process's, which a former life may have left.
 * @param clear  takes away what that left; nobody else does at the same time
 */
export async function ownFolder(folder: string, mode: number, clear: () => Promise<void> = async () => {}): Promise<void> {
  const there = await fs.lstat(folder).catch(() => null)
  const held = there === null ? null : await lock(folder, 'wait')
  try {
    await clear()
    await fs.mkdir(folder, { recursive: true, mode })
    await fs.writeFile(path.join(folder, OWNER_FILE), await ownerOf(process.pid), { mode: 0o644 })
  } finally {
    held?.[Symbol.dispose]()
  }
}

/** Those in `base` whose names begin so, of processes of this one's namespaces that have ended. */
export async function deadFolders(base: string, prefix: string): Promise<DeadFolder[]> {
  const [, , own] = (await ownerOf(process.pid)).split(' ')
  const dead: DeadFolder[] = []
  for (const entry of await fs.readdir(base).catch(() => [])) {
    if (!entry.startsWith(prefix)) continue
    const folder = path.join(base, entry)
    const owner = await readOwner(folder)
    const [, pid, ticks, space] = /^(\d+) (\d+) (\S+)$/.exec(owner ?? '') ?? []
    if (owner === null || pid === undefined || space !== own || !hasEnded(Number(pid), Number(ticks))) continue
    const take: DeadFolder['take'] = async (remove, how = 'try') => {
      using held = await lock(folder, how)
      // Who starts again writes its name into it first.
      if (held !== null && (await readOwner(folder)) === owner) await remove()
    }
    dead.push({ folder, name: entry.slice(prefix.length), take })
  }
  return dead
}

/**
 * Whether a process of this one's namespaces has ended that began then. What cannot be told is no: its namespaces
 * may not be asked for by who has fewer rights, nor, on some hosts, its state, and this process may have no descriptor left.
 */
function hasEnded(pid: number, ticks: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return state === 'Z' || Number(fields[18]) !== ticks
  } catch {
    try {
      process.kill(pid, 0)
      return false
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ESRCH'
    }
  }
}

/** Null where it says nothing, or is not ours: below `/tmp` anybody may have made it. */
async function readOwner(folder: string): Promise<string | null> {
  const found = await fs.lstat(folder).catch(() => null)
  if (!found?.isDirectory() || found.uid !== process.getuid?.()) return null
  return await fs.readFile(path.join(folder, OWNER_FILE), 'utf8').catch(() => null)
}

/** Holds a folder until this is disposed of, or this process ends; null where another does. The kernel's own lock, which takes a program. */
async function lock(folder: string, how: 'try' | 'wait'): Promise<Disposable | null> {
  // With the slash it is not made where it is gone.
  const args = [...(how === 'try' ? ['-n'] : ['-w', String(WAIT_SECONDS)]), `${folder}/`, 'sh', '-c', 'echo held; exec cat > /dev/null']
  const holder = spawn('flock', args, { stdio: ['pipe', 'pipe', 'ignore'], cwd: '/', env: { PATH }, detached: true })
  holder.stdin.on('error', () => {})
  const [said] = (await Promise.race([once(holder.stdout, 'data'), once(holder, 'close')]).catch(() => [null])) as [unknown]
  if (!Buffer.isBuffer(said)) return null
  return { [Symbol.dispose]: () => void holder.stdin.end() }
}
