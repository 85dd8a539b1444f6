// What a generic guest becomes: its environment, its limits, its code.
import module from 'node:module'
import v8 from 'node:v8'
import { hasCallbacks } from './callbacks.mjs'
import { load } from './loading.mjs'
import { shapeLogs } from './logs.mjs'
import { listenRelay, relayAddress } from './relay.mjs'
import { code, runConcurrently } from './running.mjs'
import { offerStreams } from './streams.mjs'

/** What can be done before the code is there. */
export function prepare(fields) {
  code.version = fields.context
  code.callbacks = hasCallbacks(fields.environment)
  runConcurrently(fields.concurrency > 1)
  replaceEnvironment(fields.environment)
  module._initPaths() // NODE_PATH, which Node reads at its start
  offerStreams(fields.environment)
  shapeLogs(fields.environment)
  for (const port of fields.relayPorts) if (port !== relayAddress.port) listenRelay(port)
  v8.setFlagsFromString(`--max-old-space-size=${Math.max(16, Math.floor(fields.memoryMb * 0.75))}`)
}

export async function specialise(fields) {
  if (fields.cachePath) module.enableCompileCache(fields.cachePath)
  process.chdir(fields.codePath)
  code.handler = await load(fields.codePath, fields.handler)
  if (fields.build) module.flushCompileCache()
  return code.handler.kind
}

// The whole environment is the function's own.
export function replaceEnvironment(values) {
  for (const name of Object.keys(realEnv)) delete realEnv[name]
  for (const [name, value] of Object.entries(values)) realEnv[name] = String(value).replaceAll('{relay}', relayAddress.origin)
}
const realEnv = process.env
