// Google's functions: the app's own functions-framework makes the server, and each request is handed to it.
import { createRequire } from 'node:module'
import path from 'node:path'
import { HandlerError, inOwnLines } from '../errors.mjs'
import { cloudEventRequest } from './cloud-events.mjs'
import { answeredBy } from './node-http.mjs'

const FRAMEWORK = '@google-cloud/functions-framework'
const TYPES = ['http', 'cloudevent', 'event']
const env = process.env

/** @param moduleAt  loads a module of either form */
export async function loadGoogle(root, target, moduleAt) {
  const require = createRequire(path.join(root, 'package.json'))
  const signature = env.FUNCTION_SIGNATURE_TYPE || 'http'
  if (!TYPES.includes(signature))
    throw new HandlerError('Runtime.HandlerNotFound', `FUNCTION_SIGNATURE_TYPE must be one of ${TYPES.join(', ')}, not '${signature}'`)
  const framework = require(FRAMEWORK)
  const registered = namesIn(require)
  const loaded = await moduleAt(mainOf(require, path.resolve(root, env.FUNCTION_SOURCE || '.')))
  const server = serverOf(require, framework, target, signature, loaded, registered)
  const answer = answeredBy(server)
  if (env._MAYFLY_DESCRIBE) return { kind: 'fetch', run: () => Response.json({ functions: [{ name: target, trigger: 'http', details: {} }], warnings: [] }) }
  return { kind: 'fetch', run: (request) => (isEvent(request) ? runEvent(answer, request) : answer(requestOf(request))) }
}

/** The names that the app registers, as it does: the framework tells whether it has one, and not which it has. */
function namesIn(require) {
  const names = []
  try {
    const registry = require(path.join(path.dirname(require.resolve(FRAMEWORK)), 'function_registry.js'))
    for (const how of ['http', 'cloudEvent', 'typed']) {
      const register = registry[how]
      if (typeof register !== 'function') continue
      registry[how] = (name, ...more) => {
        names.push(name)
        return register(name, ...more)
      }
    }
  } catch {
    // A version that keeps them elsewhere: then they are not told.
  }
  return names
}

/** As the framework finds it: what `package.json` names, `index.js`, `function.js`. */
function mainOf(require, source) {
  for (const at of [source, path.join(source, 'function.js')]) {
    try {
      return require.resolve(at)
    } catch {
      // The next one, or the error below.
    }
  }
  throw new HandlerError(
    'Runtime.ImportModuleError',
    `Error: the app has no module to load: neither what "main" in package.json names, nor index.js, nor function.js`,
  )
}

/** What was registered by its name counts before what is exported, and so does its signature. */
function serverOf(require, framework, target, signature, loaded, registered) {
  const testing = require(`${FRAMEWORK}/testing`)
  if (testing.getFunction(target)) return testing.getTestServer(target)
  const pick = (from) => target.split('.').reduce((value, name) => value?.[name], from)
  const run = pick(loaded) ?? pick(loaded?.default)
  if (typeof run !== 'function') {
    const exported = Object.keys(loaded?.default ?? loaded ?? {}).filter((name) => typeof (loaded[name] ?? loaded.default?.[name]) === 'function')
    const names = (does, all) => (all.length > 0 ? ` It ${does} ${all.join(', ')}.` : '')
    const there = names('registers', registered) + names('exports', exported)
    throw new HandlerError('Runtime.HandlerNotFound', `the app neither registers nor exports a function '${target}'; name another with --entry-point.${there}`)
  }
  if (signature === 'event') return serverOfEvents(require, run)
  framework[signature === 'http' ? 'http' : 'cloudEvent']('target', run)
  return testing.getTestServer('target')
}

/** Functions of events and their context have no registration: the framework's own file makes their server. */
function serverOfEvents(require, run) {
  const { getServer } = require(path.join(path.dirname(require.resolve(FRAMEWORK)), 'server.js'))
  // Versions before 3.4 were told the type alone.
  const takesOptions = /\boptions\b/.test(String(getServer))
  return getServer(run, takesOptions ? { signatureType: 'event', enableExecutionId: false, timeoutMilliseconds: 0, ignoredRoutes: null } : 'event')
}

/** Whoever comes by HTTP came from some address. */
const isEvent = (request) => !request.headers.has('x-forwarded-for')

function requestOf(request) {
  const { pathname, search } = new URL(request.url)
  const headers = [...request.headers]
  // Its length was not said: a parser takes a body only where there is a sign of one.
  if (request.body && !request.headers.has('content-length')) headers.push(['transfer-encoding', 'chunked'])
  return { method: request.method, url: pathname + search, headers, body: request.body, signal: request.signal }
}

/** An event that fails is one that is tried again: its status alone would be an answer. */
async function runEvent(answer, request) {
  const response = await answer({ method: 'POST', url: '/', ...cloudEventRequest(await request.text()), signal: request.signal })
  if (response.status < 400) return response
  // Where the user's own code failed, the framework wrote in the log.
  throw inOwnLines(new HandlerError('Function.Failed', `the function answered ${response.status}: ${(await response.text()).slice(0, 2_000)}`))
}
