// The HTTP functions of an Azure app behind one address.
import { Buffer } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { ownWords } from '../errors.mjs'
import { core } from './azure-core.mjs'
import { answerOf, lightAnswer } from './azure-answer.mjs'
import { routerOf } from './azure-http.mjs'
import { invoke } from './azure-invoke.mjs'
import { mayCall, ownKeysOf } from './azure-keys.mjs'

const env = process.env

/** @param start  starts any function by an event */
export async function doorOf(functions, host, start) {
  const route = routerOf(functions, host)
  const ownKeys = ownKeysOf(functions)
  const custom = Object.entries(host.extensions?.http?.customHeaders ?? {})
  const isHanded = core.capabilities.HttpUri === undefined && (await takesRequests(functions))
  return async (request, _env, context) => {
    const call = { id: context.awsRequestId, traceId: env._X_AMZN_TRACE_ID, failures: 0 }
    const url = new URL(request.url)
    if (url.pathname.startsWith('/admin/')) return await administer(functions, start, request, url, context)
    const found = route(request.method, url.pathname)
    if (found === null) return new Response(null, { status: 404 })
    if (!mayCall(found.level, ownKeys.get(found.one.metadata.name), request.headers, url)) return new Response(null, { status: 401 })
    const answer = await serve(found, call, request, url, isHanded)
    for (const [name, value] of custom) if (!answer.headers.has(name)) answer.headers.set(name, String(value))
    return answer
  }
}

async function serve({ one, params }, call, request, url, isHanded) {
  const streamed = core.capabilities.HttpUri ? stream(core.capabilities.HttpUri, request, url, params) : null
  try {
    const http = streamed ? {} : await dataOf(request, params, isHanded)
    if (streamed) call = { ...call, id: streamed.id }
    const run = invoke(one, call, { http }, streamed ? streamed.metadata : {}, streamed ? null : lightAnswer)
    if (streamed) return await Promise.race([streamed.answer, run.then(() => streamed.answer)])
    const { answer, returned } = await run
    return answer ?? answerOf(returned?.http)
  } catch (error) {
    // As Azure does: what went wrong is for the log.
    console.error(ownWords(error))
    return new Response(null, { status: 500 })
  }
}

/** The request as the library takes it; whole where it cannot be handed on as it is. */
async function dataOf(request, params, isHanded) {
  const { method } = request
  // Without a query of its own the library reads that of the address, where a name may stand twice.
  const common = { method, url: request.url, params }
  if (isHanded) return new Handed(common, request)
  const bytes = request.body ? Buffer.from(await request.arrayBuffer()) : undefined
  return { ...common, headers: Object.fromEntries(request.headers), ...(bytes ? { body: { bytes } } : {}) }
}

/** Its headers are seldom asked for. */
class Handed {
  constructor({ method, url, params }, request) {
    this.method = method
    this.url = url
    this.params = params
    this.nativeRequest = request
  }
  get headers() {
    return Object.fromEntries(this.nativeRequest.headers)
  }
}

/** Whether the app's library takes a request of the language as it is: its versions differ in that. */
async function takesRequests(functions) {
  const http = functions.find(({ metadata }) => Object.values(metadata.bindings).some(({ type }) => type.toLowerCase() === 'httptrigger'))
  if (http === undefined) return false
  const { name, bindings } = http.metadata
  const [binding] = Object.entries(bindings).find(([, { type }]) => type.toLowerCase() === 'httptrigger')
  const nativeRequest = new Request('http://handed.invalid/')
  const data = { http: { method: 'GET', url: 'http://other.invalid/', headers: {}, query: {}, params: {}, nativeRequest } }
  const request = { invocationId: '-', inputData: [{ name: binding, data }], triggerMetadata: {} }
  try {
    const model = await core.model.getInvocationModel({ invocationId: '-', request, metadata: { name, bindings }, log: () => {} })
    return (await model.getArguments()).inputs[0]?.url === nativeRequest.url
  } catch {
    return false
  }
}

/** Apps with `enableHttpStream` take the request itself at a port of theirs, and answer there. */
function stream(to, request, url, params) {
  const id = randomUUID()
  const headers = new Headers(request.headers)
  for (const name of ['host', 'content-length', 'connection']) headers.delete(name)
  headers.set('x-ms-invocation-id', id)
  headers.set('x-forwarded-host', url.host)
  headers.set('x-forwarded-proto', url.protocol.slice(0, -1))
  const at = new URL(url.pathname + url.search, to)
  const answer = fetch(at, { method: request.method, headers, body: request.body, duplex: 'half', redirect: 'manual' }).then(asOurs)
  answer.catch(() => {})
  return { id, answer, metadata: Object.fromEntries(Object.entries(params).map(([name, value]) => [name, { string: value }])) }
}

/** An answer to `fetch` takes no further header, and was unpacked if it came packed. */
function asOurs({ status, headers: given, body }) {
  const headers = new Headers(given)
  if (headers.has('content-encoding')) for (const name of ['content-encoding', 'content-length']) headers.delete(name)
  return new Response(body, { status, headers })
}

/** What Azure's host answers to who has the master key. */
async function administer(functions, start, request, url, context) {
  if (!mayCall('admin', '', request.headers, url)) return new Response(null, { status: 401 })
  const [, , what, name, more] = url.pathname.split('/')
  if (request.method === 'GET' && what === 'host' && name === 'status') return Response.json({ state: 'Running', version: '4.1036.0' })
  if (request.method === 'GET' && what === 'functions' && name === undefined)
    return Response.json(functions.map(({ metadata }) => ({ name: metadata.name, config: { bindings: Object.values(metadata.bindings) } })))
  const one = functions.find(({ metadata }) => metadata.name === name)
  if (request.method !== 'POST' || what !== 'functions' || one === undefined || more !== undefined) return new Response(null, { status: 404 })
  const { input } = (await request.json().catch(() => null)) ?? {}
  const run = start(one, eventOf(input), context, env._X_AMZN_TRACE_ID).catch((error) => console.error(ownWords(error)))
  context.waitUntil(run)
  return new Response(null, { status: 202 })
}

/** What is given is a text, which may be JSON. */
function eventOf(input) {
  try {
    return JSON.parse(input)
  } catch {
    return input ?? null
  }
}
