// How a call ends: with bytes, with its error, or with the process.
import util from 'node:util'
import { errorBytes, errorPayload, HandlerError } from './errors.mjs'
import { F, MAX, STREAM_WINDOW, T, u32 } from './frames.mjs'
import { logError, logLine, tellLost } from './logs.mjs'
import { calls, finish } from './running.mjs'
import { control, exit, sandboxCredit } from './wire.mjs'

/** A stream that is not read holds an eighth of what is free at most: however many stand still, others find room. */
const SHARE = 1 / 8
const LEAST = 1024

export async function sendBytes(call, bytes) {
  for (let at = 0; at < bytes.length; ) {
    const share = Math.floor(sandboxCredit.left * SHARE)
    const held = STREAM_WINDOW - call.credit.left
    if (held > 0 && held >= share && !call.credit.closed) {
      await call.credit.change()
      continue
    }
    const piece = bytes.subarray(at, at + Math.min(MAX, Math.max(LEAST, share)))
    at += piece.length
    await call.credit.take(piece.length)
    if (call.credit.closed) return
    await sandboxCredit.take(piece.length)
    await control.room()
    control.sendData(T.data, 0, call.id, piece)
  }
}

export function fail(call, error) {
  if (call.answered) {
    logLine('ERROR', util.inspect(error))
    return
  }
  call.answered = true
  logError('Invoke Error', error)
  tellLost()
  control.send(T.callError, call.pending === 0 ? F.done : 0, call.id, errorBytes(errorPayload(error)))
  finish(call, call.pending === 0)
}

/** The code is being loaded: what ends the process then is the load's error. */
export const loading = { now: false }

function farewell(code) {
  tellLost()
  // As data: nothing comes after it.
  control.sendData(T.exiting, 0, 0, u32(code))
  control.flushNow()
}

/** User code ended the process, or left an error to nobody: what runs gets it as its outcome first. */
function crash(error, code) {
  const payload = errorPayload(error)
  for (const call of calls.values()) {
    if (call.answered && !call.open) continue
    call.answered = true
    // As data, for it must not overtake an answer that is on its way.
    control.sendData(T.callError, F.done, call.id, errorBytes(payload))
  }
  if (loading.now) control.send(T.loadError, 0, 0, errorBytes(payload))
  farewell(code)
  exit(code)
}

export function hearEnds() {
  process.on('uncaughtException', (error) => {
    logError('Uncaught Exception', error)
    crash(error, 129)
  })
  process.on('unhandledRejection', (reason) => {
    const payload = errorPayload(reason)
    const error = new HandlerError(
      'Runtime.UnhandledPromiseRejection',
      util.types.isNativeError(reason) ? `${payload.errorType}: ${payload.errorMessage}` : payload.errorMessage,
    )
    error.stack = [`${error.name}: ${error.message}`, ...(payload.trace ?? []).slice(1)].join('\n')
    logError('Unhandled Promise Rejection', error)
    crash(error, 128)
  })
  process.on('exit', farewell)
}
