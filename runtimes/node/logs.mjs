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

/** Of the credit that a runtime begins with, what another one before it has used. */
export const spendLogs = (bytes) => grantLogs(-bytes)
export const spentLogs = () => LOG_WINDOW - logLeft

export function writeLog(flag, bytes) {
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

const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL']
const METHODS = { trace: 'TRACE', debug: 'DEBUG', info: 'INFO', log: 'INFO', warn: 'WARN', error: 'ERROR', fatal: 'FATAL' }
const ON_STDERR = new Set(['TRACE', 'WARN', 'ERROR', 'FATAL'])
let inJson = false
let least = 0

/** What the code's environment says of its log. */
export function shapeLogs({ AWS_LAMBDA_LOG_FORMAT: format, AWS_LAMBDA_LOG_LEVEL: level }) {
  inJson = format?.toUpperCase() === 'JSON'
  least = Math.max(0, LEVELS.indexOf(level?.toUpperCase()))
}

export function captureConsole() {
  for (const [name, level] of Object.entries(METHODS)) {
    const rank = LEVELS.indexOf(level)
    console[name] = (...parts) => {
      if (rank < least) return
      if (inJson) return writeLine(level, jsonLine(level, parts))
      let text = util.format(...parts)
      if (name === 'trace') text += `\n${new Error().stack.split('\n').slice(2).join('\n')}`
      writeLine(level, textLine(level, text))
    }
  }
}

const writeLine = (level, line) => writeLog(ON_STDERR.has(level) ? F.stderr : F.stdout, Buffer.from(`${line}\n`))
const requestId = () => activeCall()?.context.invocationId

const textLine = (level, text) => `${new Date(clock()).toISOString()}\t${requestId() ?? 'undefined'}\t${level}\t${text.replaceAll('\n', '\r')}`

function jsonLine(level, parts) {
  const line = { timestamp: new Date(clock()).toISOString(), level, requestId: requestId() }
  if (parts.length === 1) {
    try {
      return stringify({ ...line, message: parts[0] }, withErrors)
    } catch {
      // what is no JSON is told as text
    }
  }
  const error = parts.length > 1 ? parts.find((part) => part instanceof Error) : undefined
  return stringify({ ...line, message: util.format(...parts), ...(error ? errorFields(error) : {}) })
}
const linesOf = (stack) => (typeof stack === 'string' ? stack.split('\n') : [])
const errorFields = (error) => ({ errorType: error.constructor?.name ?? 'UnknownError', errorMessage: error.message, stackTrace: linesOf(error.stack) })
const withErrors = (_, value) => (value instanceof Error ? { ...errorFields(value), ...value } : value)

/** A line of the runtime's own. */
export function logLine(level, text) {
  if (LEVELS.indexOf(level) >= least) writeLine(level, inJson ? jsonLine(level, [text]) : textLine(level, text))
}

/** An error of the code, with what its owner put on it. */
export function logError(what, error) {
  if (LEVELS.indexOf('ERROR') < least) return
  try {
    if (inJson) return writeLine('ERROR', jsonLine('ERROR', [error instanceof Error ? error : new Error(String(error))]))
    const { errorType, errorMessage, trace } = errorPayload(error)
    const own = error instanceof Error ? { code: error.code, ...error } : {}
    writeLine('ERROR', textLine('ERROR', `${what} \t${stringify({ errorType, errorMessage, ...own, stack: trace })}`))
  } catch {
    // An error that cannot be shown is told all the same.
    writeLine('ERROR', textLine('ERROR', `${what} \t${stringify(errorPayload(error))}`))
  }
}
