// Where the runtime that waited cannot be the one that runs the code: AWS_LAMBDA_EXEC_WRAPPER names a program that starts it, so
// that it may add to its arguments and environment, or the environment holds what Node reads only when it starts. It starts
// another, hands over what it holds, and stays to tell how it ends.
import { spawn } from 'node:child_process'
import net from 'node:net'
import os from 'node:os'
import { errorBytes } from './errors.mjs'
import { T, u32 } from './frames.mjs'
import { spendLogs, spentLogs } from './logs.mjs'
import { leavePorts, relayAddress } from './relay.mjs'
import { control, exit, relay } from './wire.mjs'

/** Says to the runtime that is started that it goes on, and the port of the relay. */
const MARK = '_MAYFLY_HANDED_OVER'
/** What is handed over comes by it. */
const HANDING = 5

/** Read by Node before its first line. */
const AT_START = ['NODE_OPTIONS', 'NODE_EXTRA_CA_CERTS']
/** Of the memory, what objects may take, as on Lambda: here it is known when Node starts. */
const HEAP_SHARE = 0.9
const HEAP = /^--max[-_]old[-_]space[-_]size/

/** At deploy nothing of the function's environment is there, and the code is loaded as it is. */
export const isWrapped = ({ build, environment }) => !build && ['AWS_LAMBDA_EXEC_WRAPPER', ...AT_START].some((name) => environment[name])

/** A limit of the function's own is in its environment, or comes by its wrapper behind this one. */
function flagsFor({ memoryMb, environment }) {
  const others = process.execArgv.filter((flag) => !HEAP.test(flag))
  const isOwn = String(environment.NODE_OPTIONS ?? '')
    .split(/\s+/)
    .some((flag) => HEAP.test(flag))
  return isOwn ? others : [...others, `--max-old-space-size=${Math.floor(memoryMb * HEAP_SHARE)}`]
}

const REASONS = { ENOENT: 'no such file or directory', EACCES: 'permission denied', ENOEXEC: 'exec format error' }

/** @param listener  the relay's, which the other runtime opens again */
export function handOver(fields, listener) {
  const command = [process.execPath, ...flagsFor(fields), process.argv[1]]
  // The script is the last argument, as on Lambda: wrappers put options before it.
  const [program, ...args] = [fields.environment.AWS_LAMBDA_EXEC_WRAPPER, ...command].filter(Boolean)
  listener.close()
  leavePorts()
  control.letGo()
  relay.letGo()
  const env = Object.fromEntries(Object.entries(fields.environment).map(([name, value]) => [name, String(value).replaceAll('{relay}', relayAddress.origin)]))
  // What is written past the other runtime goes where it would without one between: later it would be in the log of another call.
  const stdio = ['ignore', 1, 2, 3, 4, 'pipe']
  const child = spawn(program, args, { cwd: fields.codePath, env: { ...env, [MARK]: String(relayAddress.port) }, stdio })
  let started = false
  const hand = child.stdio[HANDING]
  hand.on('error', () => {})
  hand.once('data', () => {
    // From then on descriptor 3 is the other's to write to.
    started = true
    control.flush()
    const go = () => hand.end(JSON.stringify({ fields: { ...fields, environment: {} }, spent: spentLogs() }))
    if (control.socket.writableLength === 0) go()
    else control.socket.once('drain', go)
  })
  child.once('error', (error) => {
    const errorMessage = `Error: fork/exec ${program}: ${REASONS[error.code] ?? error.code ?? error.message}`
    control.send(T.loadError, 0, 0, errorBytes({ errorType: 'Runtime.InvalidEntrypoint', errorMessage, trace: [] }))
  })
  // Programs that it leaves behind may hold what it had open.
  child.once('exit', (code, signal) => {
    if (!started) {
      control.sendData(T.exiting, 0, 0, u32(signal === null ? code : os.constants.signals[signal] << 8))
      control.flushNow()
    }
    if (signal !== null) process.kill(process.pid, signal) // where it is the first process, this does nothing, and it ends silently
    exit(code ?? 1)
  })
}

/** The port of the relay that this runtime goes on with; null for one that waits for a function. */
export function handedPort() {
  const port = process.env[MARK]
  delete process.env[MARK]
  return port === undefined ? null : Number(port)
}

/** What the other runtime was told. The environment is what the wrapper made of it. */
export async function takeOver() {
  const hand = new net.Socket({ fd: HANDING })
  hand.write('.')
  const parts = []
  for await (const part of hand) parts.push(part)
  const { fields, spent } = JSON.parse(Buffer.concat(parts).toString('utf8'))
  spendLogs(spent)
  return { ...fields, environment: { ...process.env } }
}
