// Azure's functions (v4): what the app registers with its own @azure/functions, run as its host would. A sandbox is
// either the door of the app's HTTP functions, or one of the others.
import { Buffer } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { HandlerError } from '../errors.mjs'
import { describeFunctions } from './azure-describe.mjs'
import { inputsOf, outputsOf, triggerData } from './azure-bindings.mjs'
import { mayCall, routerOf } from './azure-http.mjs'
import { core, offerCore } from './azure-core.mjs'

/** The handler of the sandbox that answers HTTP. */
const DOOR = 'app'
const env = process.env

export async function loadAzure(root, handler, moduleAt) {
  const host = readJson(path.join(root, 'host.json'), {})
  const { main } = readJson(path.join(root, 'package.json'), {})
  if (typeof main !== 'string') throw new HandlerError('Runtime.ImportModuleError', 'Error: package.json has no "main" that names the files of the functions')
  const files = fs.globSync(main, { cwd: root }).toSorted()
  if (files.length === 0) throw new HandlerError('Runtime.ImportModuleError', `Error: "main" of package.json, ${main}, names no file`)
  offerCore()
  for (const file of files) await moduleAt(path.join(root, file))
  await core.start()
  const functions = [...core.functions.values()]
  if (functions.length === 0) throw new HandlerError('Runtime.HandlerNotFound', 'the app registers no function')
  if (env._MAYFLY_DESCRIBE) return { kind: 'fetch', run: () => Response.json(describeFunctions(functions, host)) }
  if (handler === DOOR) {
    const route = routerOf(functions, host)
    return { kind: 'fetch', run: (request, _env, context) => serve(route, request, context) }
  }
  const one = functions.find(({ metadata }) => metadata.name === handler)
  if (!one) throw new HandlerError('Runtime.HandlerNotFound', `the app registers no function '${handler}'`)
  return { kind: 'fetch', run: (request, _env, context) => start(one, request, context) }
}

function readJson(file, otherwise) {
  return fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : otherwise
}

async function serve(route, request, context) {
  const url = new URL(request.url)
  const found = route(request.method, url.pathname)
  if (found === null) return new Response(null, { status: 404 })
  if (!mayCall(found.level, request.headers, url)) return new Response(null, { status: 401 })
  const { one, params } = found
  const bytes = request.body ? Buffer.from(await request.arrayBuffer()) : undefined
  const headers = Object.fromEntries(request.headers)
  const http = { method: request.method, url: request.url, headers, query: Object.fromEntries(url.searchParams), params, ...(bytes ? { body: { bytes } } : {}) }
  const streamed = core.capabilities.HttpUri ? stream(core.capabilities.HttpUri, { request, url, bytes, params }) : null
  const id = streamed?.id ?? context.awsRequestId
  const run = invoke(one, id, { http }, streamed ? streamed.metadata : {}).then(({ returned }) => answerOf(returned?.http))
  return streamed ? await Promise.race([streamed.answer, run.then(() => streamed.answer)]) : await run
}

/** Apps with `enableHttpStream` take the request itself at a port of theirs, and answer there. */
function stream(to, { request, url, bytes, params }) {
  const id = randomUUID()
  const headers = new Headers(request.headers)
  for (const name of ['host', 'content-length', 'connection']) headers.delete(name)
  headers.set('x-ms-invocation-id', id)
  headers.set('x-forwarded-host', url.host)
  headers.set('x-forwarded-proto', url.protocol.slice(0, -1))
  const answer = fetch(new URL(url.pathname + url.search, to), { method: request.method, headers, body: bytes, redirect: 'manual' })
  answer.catch(() => {})
  return { id, answer, metadata: Object.fromEntries(Object.entries(params).map(([name, value]) => [name, { string: value }])) }
}

const SAME_SITE = { lax: 'Lax', strict: 'Strict', explicitNone: 'None' }

function answerOf(http) {
  if (http === undefined || http === null) return new Response(null, { status: 204 })
  const headers = new Headers(http.headers)
  for (const { name, value, domain, path: at, expires, secure, httpOnly, sameSite, maxAge } of http.cookies ?? []) {
    const date = expires?.value?.seconds !== undefined ? new Date(Number(expires.value.seconds) * 1000) : null
    const parts = [
      `${name}=${encodeURIComponent(value)}`,
      domain?.value && `Domain=${domain.value}`,
      at?.value && `Path=${at.value}`,
      date && `Expires=${date.toUTCString()}`,
    ]
    const flags = [
      maxAge?.value !== undefined && `Max-Age=${maxAge.value}`,
      secure?.value && 'Secure',
      httpOnly?.value && 'HttpOnly',
      SAME_SITE[sameSite] && `SameSite=${SAME_SITE[sameSite]}`,
    ]
    headers.append('set-cookie', [...parts, ...flags].filter(Boolean).join('; '))
  }
  const status = Number(http.statusCode)
  const { bytes, string } = http.body ?? {}
  return new Response([204, 205, 304].includes(status) ? null : (bytes ?? string ?? null), { status, headers })
}

async function start(one, request, context) {
  const { data, metadata } = await triggerData(one.metadata, JSON.parse(await request.text()))
  const { returned } = await invoke(one, context.awsRequestId, data, metadata)
  const value = returned?.string ?? returned?.json ?? (returned?.bytes ? Buffer.from(returned.bytes).toString('base64') : undefined)
  return value === undefined
    ? new Response(null, { status: 204 })
    : new Response(value, { headers: { 'content-type': returned.json === undefined ? 'text/plain' : 'application/json' } })
}

/** One invocation, in the order of Azure's own worker. */
async function invoke({ metadata, callback }, invocationId, trigger, triggerMetadata) {
  const inputData = await inputsOf(metadata, trigger, triggerMetadata)
  const request = {
    invocationId,
    functionId: metadata.functionId ?? metadata.name,
    inputData,
    triggerMetadata,
    traceContext: { traceParent: '', traceState: '', attributes: {} },
  }
  const coreContext = { invocationId, request, metadata: { name: metadata.name, bindings: metadata.bindings }, state: undefined, log: core.log }
  const model = await core.model.getInvocationModel(coreContext)
  const { context, inputs } = await model.getArguments()
  const before = { hookData: {}, appHookData: core.appHookData, invocationContext: context, inputs, functionCallback: callback }
  coreContext.state = 'preInvocationHooks'
  await core.runHooks('preInvocation', before)
  const after = { hookData: before.hookData, appHookData: core.appHookData, invocationContext: context, inputs: before.inputs, result: null, error: null }
  coreContext.state = 'invocation'
  try {
    after.result = await model.invokeFunction(context, before.inputs, before.functionCallback)
  } catch (error) {
    after.error = error
  }
  coreContext.state = 'postInvocationHooks'
  await core.runHooks('postInvocation', after)
  if (after.error) throw after.error
  const response = await model.getResponse(context, after.result)
  await outputsOf(metadata, response, triggerMetadata)
  return { returned: response.returnValue }
}
