// What a generic guest becomes: its environment, its limits, its code.
import module from 'node:module'
import v8 from 'node:v8'
import { hasCallbacks } from './callbacks.mjs'
import { errorBytes, errorPayload } from './errors.mjs'
import { T } from './frames.mjs'
import { load } from './loading.mjs'
import { logError, shapeLogs, tellLost } from './logs.mjs'
import { loading } from './outcomes.mjs'
import { listenTo, relayAddress } from './relay.mjs'
import { code, runConcurrently } from './running.mjs'
import { offerStreams } from './streams.mjs'
import { control } from './wire.mjs'

const { stringify } = JSON

/** What can be done before the code is there. */
export function prepare(fields) {
  code.version = fields.context
  code.callbacks = hasCallbacks(fields.environment)
  runConcurrently(fields.concurrency > 1)
  control.alone = fields.concurrency === 1
  const { NODE_PATH } = realEnv
  replaceEnvironment(fields.environment)
  if (realEnv.NODE_PATH !== NODE_PATH) module._initPaths() // Node reads it at its start
  offerStreams(fields.environment)
  shapeLogs(fields.environment)
  listenTo(fields.relayPorts)
  v8.setFlagsFromString(`--heap-growing-percent=${growth(fields.memoryMb)}`)
}

/**
 * By how many percent the heap may grow before it is collected again: what V8 would choose, had it been told the memory when it
 * started, where only that of the largest function was known. Its other limits are fixed from then on. Of a large one V8 would let
 * it grow to the middle between what is in use and its limit; half as much again keeps below that for whoever uses half of it.
 */
function growth(memoryMb) {
  if (memoryMb >= LARGE_MB) return LARGE_GROWTH
  return LEAST_GROWTH + Math.floor(((100 - LEAST_GROWTH) * Math.max(0, memoryMb - SMALL_MB)) / (LARGE_MB - SMALL_MB))
}
const LEAST_GROWTH = 30
const SMALL_MB = 256
const LARGE_MB = 2048
const LARGE_GROWTH = 50

/** Loads the code, and tells how that went. */
export async function become(fields) {
  loading.now = true
  try {
    const { kind, shutdownMs } = await specialise(fields)
    loading.now = false
    tellLost()
    control.send(T.loaded, 0, 0, Buffer.from(stringify({ kind, shutdownMs })))
  } catch (error) {
    loading.now = false
    // As on Lambda: who reads the log of a queued call has nothing else to learn it from.
    logError('Uncaught Exception', error)
    tellLost()
    control.send(T.loadError, 0, 0, errorBytes(errorPayload(error)))
  }
}

async function specialise(fields) {
  if (fields.cachePath) module.enableCompileCache(fields.cachePath)
  process.chdir(fields.codePath)
  code.handler = await load(fields.codePath, fields.handler, fields.framework)
  if (fields.build) module.flushCompileCache()
  return code.handler
}

/** The sandbox ends: what the code does then is over before it does. */
export async function shutDown() {
  await code.handler?.end?.().catch((error) => logError('Shutdown Error', error))
  process.exit(0)
}

// The whole environment is the function's own. What stays is not touched: to set the time zone alone takes longer than the rest.
export function replaceEnvironment(values) {
  const former = standing ?? { ...realEnv }
  const now = {}
  const { origin } = relayAddress
  for (const name of Object.keys(former)) if (!Object.hasOwn(values, name)) delete realEnv[name]
  for (const name of Object.keys(values)) {
    const value = String(values[name]).replaceAll('{relay}', origin)
    if (former[name] !== value) realEnv[name] = value
    now[name] = value
  }
  standing = now
}
/** What it is, where that is known: to read all of it asks the C library for each variable. Nobody else changes it before user code is there. */
let standing = null
const realEnv = process.env
