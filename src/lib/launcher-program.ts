import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { argv, exit, pid, stdin, stdout } from 'node:process'
import type { Descriptor, HowEnded, Launch } from './launched.ts'
import { standBehind } from './stand-behind.ts'

// What `Launcher` starts: reads lines of JSON that say what to start, and tells in such lines how that ended. Each stream of a
// program is a connection to the socket that the first argument names, which begins with whose it is.

/** A line that it reads. */
export type Told = { readonly id: number; readonly launch: Launch } | { readonly id: number; readonly kill: NodeJS.Signals }
/** A line that it writes. */
export type Tells = { readonly id: number } & ({ readonly pid: number } | { readonly error: string } | HowEnded)

/** The id of what it tells first. */
export const HELLO = 0

/** How many characters a stream begins with. */
export const NAMED_BYTES = 12
export const nameOf = (id: number, descriptor: number): string => `${id.toString(16).padStart(NAMED_BYTES - 2, '0')}${descriptor.toString(16).padStart(2, '0')}`

/**
 * Node makes each of its sockets one that does not wait, for all who have it, and has only the first three descriptors of what
 * it starts wait again. So two more come by those that are nothing, and a shell puts them where they belong.
 */
export function placed(descriptors: readonly Descriptor[]): { readonly slots: readonly (number | null)[]; readonly script: string } {
  const slots: (number | null)[] = descriptors.map((one, at) => (one === 'nothing' ? null : at))
  const moves: string[] = []
  const free = [0, 1].filter((at) => descriptors[at] === 'nothing')
  for (const [at, one] of descriptors.entries()) {
    const by = at > 2 && one === 'stream' ? free.shift() : undefined
    if (by === undefined) continue
    slots[by] = at
    slots[at] = null
    moves.push(`${at}<&${by}`, `${by}<>/dev/null`)
  }
  return { slots, script: `${moves.length > 0 ? `exec ${moves.join(' ')}; ` : ''}exec "$@"` }
}

if (import.meta.main) {
  const [, , at = ''] = argv
  const running = new Map<number, ChildProcess>()
  const tell = (said: Tells) => void stdout.write(`${JSON.stringify(said)}\n`)

  const stream = (id: number, descriptor: number) =>
    new Promise<Socket>((resolve, reject) => {
      const socket = connect({ path: at })
      socket.once('error', reject)
      socket.write(nameOf(id, descriptor), () => resolve(socket))
    })

  const start = async (id: number, { command, env, descriptors, nice }: Launch) => {
    const streams = await Promise.all(descriptors.map((one, descriptor) => (one === 'stream' ? stream(id, descriptor) : null)))
    const files = descriptors.map((one) => (typeof one === 'object' ? openSync(one.file, 'r') : null))
    const { slots, script } = placed(descriptors)
    const stdio = slots.map((from) => (from === null ? 'ignore' : (streams[from] ?? files[from] ?? 'ignore')))
    const child = spawn('/bin/sh', ['-c', script, 'sh', ...command], { stdio, cwd: '/', env, detached: true })
    for (const socket of streams) socket?.destroy()
    for (const file of files) if (file !== null) closeSync(file)
    if (nice !== null && child.pid !== undefined) standBehind(child.pid, nice)
    running.set(id, child)
    // From here on nobody but the program reads what its streams are sent.
    if (child.pid !== undefined) tell({ id, pid: child.pid })
    child.once('exit', (code, signal) => {
      running.delete(id)
      tell({ id, code, signal })
    })
    child.once('error', (error) => tell({ id, error: error.message }))
  }

  let rest = ''
  stdin.setEncoding('utf8')
  stdin.on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const told = JSON.parse(line) as Told
      if ('kill' in told) running.get(told.id)?.kill(told.kill)
      else start(told.id, told.launch).catch((error: Error) => tell({ id: told.id, error: error.message }))
    }
  })
  // Whoever it starts programs for has ended.
  stdin.once('close', () => exit(0))
  stdout.on('error', () => exit(0))
  tell({ id: HELLO, pid })
}
