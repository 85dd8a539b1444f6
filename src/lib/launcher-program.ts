import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { argv, exit, pid, stdin, stdout } from 'node:process'
import { HELLO, nameOf, placed, type Tells, type Told } from './launch-wire.ts'
import type { Launch } from './launched.ts'
import { standBehind } from './stand-behind.ts'

// What `Launcher` starts: reads lines of JSON that say what to start, and tells in such lines how that ended. Each stream of a
// program is a connection to the socket that the first argument names, which begins with whose it is.

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
