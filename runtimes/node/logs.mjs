// What user code writes: sent while there is credit, else dropped and counted; never waited for.
import util from 'node:util'
import { errorPayload } from './errors.mjs'
import { F, LOG_WINDOW, MAX, T, u32 } from './frames.mjs'
import { activeCall } from './running.mjs'
import { control } from './wire.mjs'

const { stringify } = JSON
const clock = Date.now

let logLeft = LOG_WINDOW
const lost = new Map()

export const grantLogs = (bytes) => {
  logLeft += bytes
}

function writeLog(flag, bytes) {
  const stream = activeCall()?.id ?? 0
  if (bytes.length > logLeft) {
    lost.set(stream, (lost.get(stream) ?? 0) + bytes.length)
    return
  }
  logLeft -= bytes.length
  for (let at = 0; at < bytes.length; at += MAX) control.send(T.log, flag, stream, bytes.subarray(at, at + MAX))
}

export function tellLost() {
  for (const [stream, bytes] of lost) control.send(T.logLost, 0, stream, u32(Math.min(bytes, 0xffffffff)))
  lost.clear()
}

export function captureStream(stream, flag) {
  stream.write = (chunk, encoding, callback) => {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, typeof encoding === 'string' ? encoding : 'utf8') : Buffer.from(chunk)
    writeLog(flag, bytes)
    const done = typeof encoding === 'function' ? encoding : callback
    if (typeof done === 'function') process.nextTick(done)
    return true
  }
}

const LEVELS = { log: 'INFO', info: 'INFO', warn: 'WARN', error: 'ERROR', debug: 'DEBUG', trace: 'TRACE' }
export function captureConsole() {
  for (const [name, level] of Object.entries(LEVELS)) {
    const flag = level === 'ERROR' || level === 'WARN' || level === 'TRACE' ? F.stderr : F.stdout
    console[name] = (...parts) => {
      let text = util.format(...parts)
      if (name === 'trace') text += `\n${new Error().stack.split('\n').slice(2).join('\n')}`
      logLine(flag, level, text)
    }
  }
}
export function logLine(flag, level, text) {
  const id = activeCall()?.context.invocationId ?? 'undefined'
  writeLog(flag, Buffer.from(`${new Date(clock()).toISOString()}\t${id}\t${level}\t${text.replaceAll('\n', '\r')}\n`))
}

export function logInvokeError(error) {
  const { errorType, errorMessage, trace } = errorPayload(error)
  try {
    logLine(F.stderr, 'ERROR', `Invoke Error \t${stringify({ errorType, errorMessage, stack: trace })}`)
  } catch {
    // an error that cannot be shown is told all the same
  }
}
