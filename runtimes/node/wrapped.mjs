// AWS_LAMBDA_EXEC_WRAPPER: a program that the function brings starts the runtime, so that it may add to its arguments and
// environment. The runtime that waited for a function starts it, hands over what it holds, and stays to tell how it ends.
import { spawn } from 'node:child_process'
import net from 'node:net'
import os from 'node:os'
import { errorBytes } from './errors.mjs'
import { F, T, u32 } from './frames.mjs'
import { spendLogs, spentLogs, writeLog } from './logs.mjs'
import { leavePorts, relayAddress } from './relay.mjs'
import { control, exit, relay } from './wire.mjs'

/** Says to the runtime that is started that it goes on, and the port of the relay. */
const MARK = '_MAYFLY_HANDED_OVER'
/** What is handed over comes by it. */
const HANDING = 5

/** At deploy nothing of the function's environment is there, and the code is loaded as it is. */
export const isWrapped = ({ build, environment }) => !build && Boolean(environment.AWS_LAMBDA_EXEC_WRAPPER)

const REASONS = { ENOENT: 'no such file or directory', EACCES: 'permission denied', ENOEXEC: 'exec format error' }

/** @param listener  the relay's, which the other runtime opens again */
export function handOver(fields, listener) {
  const wrapper = fields.environment.AWS_LAMBDA_EXEC_WRAPPER
  listener.close()
  leavePorts()
  control.letGo()
  relay.letGo()
  const env = Object.fromEntries(Object.entries(fields.environment).map(([name, value]) => [name, String(value).replaceAll('{relay}', relayAddress.origin)]))
  // The script is the last argument, as on Lambda: wrappers put options before it.
  const command = [process.execPath, ...process.execArgv, process.argv[1]]
  const stdio = ['ignore', 'pipe', 'pipe', 3, 4, 'pipe']
  const child = spawn(wrapper, command, { cwd: fields.codePath, env: { ...env, [MARK]: String(relayAddress.port) }, stdio })
  let started = false
  // From then on descriptor 3 is the other's to write to.
  child.stdout.on('data', (bytes) => started || writeLog(F.stdout, bytes))
  child.stderr.on('data', (bytes) => started || writeLog(F.stderr, bytes))
  const hand = child.stdio[HANDING]
  hand.on('error', () => {})
  hand.once('data', () => {
    started = true
    control.flush()
    const go = () => hand.end(JSON.stringify({ fields: { ...fields, environment: {} }, spent: spentLogs() }))
    if (control.socket.writableLength === 0) go()
    else control.socket.once('drain', go)
  })
  child.once('error', (error) => {
    const errorMessage = `Error: fork/exec ${wrapper}: ${REASONS[error.code] ?? error.code ?? error.message}`
    control.send(T.loadError, 0, 0, errorBytes({ errorType: 'Runtime.InvalidEntrypoint', errorMessage, trace: [] }))
  })
  child.once('close', (code, signal) => {
    if (!started && child.pid !== undefined) {
      control.sendData(T.exiting, 0, 0, u32(signal === null ? code : os.constants.signals[signal] << 8))
      control.flushNow()
    }
    if (child.pid === undefined) return
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
