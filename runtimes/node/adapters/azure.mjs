// Azure's functions (v4): what the app registers with its own @azure/functions, run as its host would. A sandbox is
// either the door of the app's HTTP functions, or one of the others.
import { Buffer } from 'node:buffer'
import fs from 'node:fs'
import path from 'node:path'
import { HandlerError, inOwnLines, ownWords } from '../errors.mjs'
import { kindOf, triggerOf } from './azure-bindings.mjs'
import { core, offerCore } from './azure-core.mjs'
import { describeFunctions } from './azure-describe.mjs'
import { doorOf } from './azure-door.mjs'
import { startsOf } from './azure-events.mjs'
import { isOn, readJson } from './azure-host.mjs'
import { givesUp } from './azure-poison.mjs'
import { invoke } from './azure-invoke.mjs'

/** The handler of the sandbox that answers HTTP; no function is named so, as names have no dot. */
const DOOR = 'app.http'
/** What that was called before: apps that were deployed then have it still. */
const FORMER_DOOR = 'app'
/** How long the hooks of the app's end may take. */
const END_MS = 2_000
const env = process.env

export async function loadAzure(root, handler, moduleAt) {
  const host = readJson(path.join(root, 'host.json'), {})
  offerCore()
  for (const file of filesOf(root)) await moduleAt(path.join(root, file))
  await core.start()
  const functions = [...core.functions.values()].filter(({ metadata }) => isOn(metadata.name, host))
  if (functions.length === 0) throw new HandlerError('Runtime.HandlerNotFound', nothingIn(root))
  if (env._MAYFLY_DESCRIBE) return { kind: 'fetch', run: () => Response.json(describeFunctions(functions, host)) }
  const end = core.hooks.appTerminate.length > 0 ? { shutdownMs: END_MS, end: core.end } : {}
  const one = functions.find(({ metadata }) => metadata.name === handler)
  const start = starter(host)
  if (handler === DOOR || (handler === FORMER_DOOR && !isStartedByEvents(one))) return { kind: 'fetch', run: await doorOf(functions, host, start), ...end }
  if (!one) throw new HandlerError('Runtime.HandlerNotFound', `the app registers no function '${handler}'`)
  const run = async (request, _env, context) => {
    const traceId = env._X_AMZN_TRACE_ID
    return await start(one, JSON.parse(await request.text()), context, traceId)
  }
  return { kind: 'fetch', run, ...end }
}

const isStartedByEvents = (one) => one !== undefined && kindOf(triggerOf(one.metadata)) !== 'httptrigger'

/** What the glob in package.json names. */
function filesOf(root) {
  const { main, scripts = {} } = readJson(path.join(root, 'package.json'), {})
  const wrong = (message) => new HandlerError('Runtime.ImportModuleError', `Error: ${message}`)
  if (typeof main !== 'string') throw wrong('package.json has no "main" that names the files of the functions')
  const files = fs.globSync(main, { cwd: root }).toSorted()
  if (files.length > 0) return files
  const hint = scripts.build === undefined ? '' : '; its script "build" makes them, as `npm run build` before the deploy does'
  throw wrong(`"main" of package.json, ${main}, names no file${hint}`)
}

const nothingIn = (root) =>
  fs.globSync('*/function.json', { cwd: root }).length > 0
    ? 'the app registers no function: function.json is of the former programming model; only that of v4, `app.http(…)`, is served'
    : 'the app registers no function'

/** Starts a function by an event, which may be several messages: then one after the other. */
const starter = (host) => async (one, event, context, traceId) => {
  const { failures = 0, lastError = null } = context
  let returned
  try {
    for (const { data, beside, count = 1 } of await startsOf(one.metadata, event)) {
      const call = { id: context.awsRequestId, traceId, failures: Math.max(failures, count - 1), lastError }
      returned = (await invoke(one, call, data, beside)).returned
    }
  } catch (error) {
    const gaveUp = await givesUp(one.metadata, host, event)
    if (gaveUp === null) throw inOwnLines(error)
    console.error(ownWords(error))
    console.error(gaveUp)
    return new Response(null, { status: 204 })
  }
  const value = returned?.string ?? returned?.json ?? (returned?.bytes ? Buffer.from(returned.bytes).toString('base64') : undefined)
  return value === undefined
    ? new Response(null, { status: 204 })
    : new Response(value, { headers: { 'content-type': returned.json === undefined ? 'text/plain' : 'application/json' } })
}
