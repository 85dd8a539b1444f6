import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import path from 'node:path'
import { isGroupSignal } from '../../lib/group-signal.ts'
import { standBehind } from '../../lib/stand-behind.ts'

export const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const LIMIT_MS = 20_000
const MAX_COMPLAINT = 500

/** The programs that networks are made with, and where they come from on Debian. */
const NEEDED = { ip: 'iproute2', nft: 'nftables', nsenter: 'util-linux', mount: 'mount', umount: 'mount' }
/** An ordinary user may link no network to the host's: a program of that user connects for it. */
const NEEDED_BY_USERS = { ...NEEDED, unshare: 'util-linux', slirp4netns: 'slirp4netns' }

/** The packages of what is not installed here. */
export function packagesMissing(asRoot: boolean): string[] {
  const isThere = (program: string) => PATH.split(':').some((folder) => isProgram(path.join(folder, program)))
  return [...new Set(Object.entries(asRoot ? NEEDED : NEEDED_BY_USERS).flatMap(([program, from]) => (isThere(program) ? [] : [from])))]
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** How often a program is begun that a Ctrl-C for the node meets before it has a group of its own. */
const TRIES = 3

/** Runs a program to its end. @returns what it wrote. @throws Error with what it complained of */
export async function run(program: string, args: readonly string[], input = ''): Promise<string> {
  for (let left = TRIES; ; left--) {
    const { code, signal, out, complaint } = await runOnce(program, args, input)
    if (code === 0) return out
    if (left > 1 && complaint === '' && isGroupSignal(signal)) continue
    throw new Error(`${program} ${args.slice(0, 4).join(' ')}: ${complaint.trim() || (signal ?? `exit code ${code}`)}`)
  }
}

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly complaint: string
}

function runOnce(program: string, args: readonly string[], input: string): Promise<Ended> {
  return new Promise((resolve, reject) => {
    // In a group of its own: a Ctrl-C for the node must not end what tidies up behind it.
    // To give nothing to one that has ended meanwhile is an error, of which Node asks for the stack, and for that reads the maps of the sources.
    const child = spawn(program, args, {
      stdio: [input === '' ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      env: { PATH },
      cwd: '/',
      timeout: LIMIT_MS,
      killSignal: 'SIGKILL',
      detached: true,
    })
    if (child.pid !== undefined) standBehind(child.pid, 5)
    const heard = { out: '', complaint: '' }
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      heard.out += text
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      heard.complaint = (heard.complaint + text).slice(0, MAX_COMPLAINT)
    })
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, ...heard }))
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
  })
}
