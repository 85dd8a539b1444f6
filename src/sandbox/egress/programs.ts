import { accessSync, constants } from 'node:fs'
import path from 'node:path'
import type { Duplex } from 'node:stream'
import { isGroupSignal } from '../../lib/group-signal.ts'
import { type HowEnded, type Launch, type Launched, launchHere } from '../../lib/launched.ts'

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

/** How one is started. */
export type Starter = (launch: Launch) => Promise<Launched>

/** Runs a program to its end. @returns what it wrote. @throws Error with what it complained of */
export async function run(program: string, args: readonly string[], input = '', start: Starter = async (launch) => launchHere(launch)): Promise<string> {
  for (let left = TRIES; ; left--) {
    const { code, signal, out, complaint } = await runOnce([program, ...args], input, start)
    if (code === 0) return out
    if (left > 1 && complaint === '' && isGroupSignal(signal)) continue
    throw new Error(`${program} ${args.slice(0, 4).join(' ')}: ${complaint.trim() || (signal ?? `exit code ${code}`)}`)
  }
}

interface Ended extends HowEnded {
  readonly out: string
  readonly complaint: string
}

async function runOnce(command: readonly string[], input: string, start: Starter): Promise<Ended> {
  // To give nothing to one that has ended meanwhile is an error, of which Node asks for the stack, and for that reads the maps of the sources.
  const child = await start({ command, env: { PATH }, descriptors: [input === '' ? 'nothing' : 'stream', 'stream', 'stream'], nice: 5 })
  const [stdin, stdout, stderr] = child.streams as readonly [Duplex | null, Duplex, Duplex]
  const heard = { out: '', complaint: '' }
  const over = [stdout, stderr].map((stream) => new Promise<void>((resolve) => stream.once('close', resolve)))
  for (const stream of [stdin, stdout, stderr]) stream?.on('error', () => {})
  stdout.setEncoding('utf8').on('data', (text: string) => {
    heard.out += text
  })
  stderr.setEncoding('utf8').on('data', (text: string) => {
    heard.complaint = (heard.complaint + text).slice(0, MAX_COMPLAINT)
  })
  stdin?.end(input)
  const late = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS)
  try {
    const how = await child.exited
    await Promise.all(over)
    return { ...how, ...heard }
  } finally {
    clearTimeout(late)
    stdin?.destroy()
  }
}
