// What the runtime writes: sent while there is credit, else dropped and counted; never waited for.
import { LOG_WINDOW, MAX, T, u32 } from '../node/frames.mjs'
import { control } from '../node/wire.mjs'

let left = LOG_WINDOW
const lost = new Map()

export const grantLogs = (bytes) => {
  left += bytes
}

/** Of the credit that a runtime begins with, what another one before it has used. */
export const spendLogs = (bytes) => grantLogs(-bytes)

/** @param stream  whose it is: the id of a call, or 0 */
export function writeLog(stream, flag, bytes) {
  if (bytes.length > left) {
    lost.set(stream, (lost.get(stream) ?? 0) + bytes.length)
    return
  }
  left -= bytes.length
  for (let at = 0; at < bytes.length; at += MAX) control.send(T.log, flag, stream, bytes.subarray(at, at + MAX))
}

export function tellLost() {
  for (const [stream, bytes] of lost) control.send(T.logLost, 0, stream, u32(Math.min(bytes, 0xffffffff)))
  lost.clear()
}
