import { json } from '../core/json-reply.ts'
import { ERRORS, MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Project } from '../core/project.ts'
import type { Reply, RequestContext, Route } from '../core/route.ts'
import type { Functions, Version } from '../functions/index.ts'
import { eventContent, eventPayload, eventReply } from './event.ts'
import { type ByTrigger, functionUrlEvent, inferReply, setHeader, withSandboxPolicy } from './function-url.ts'
import { replyOfStream } from './stream-reply.ts'
import { Incoming } from './incoming.ts'
import type { Queue } from './queue.ts'
import type { Content, Invoker, Outcome } from './service.ts'

export interface InvokeHttpDeps {
  readonly invoker: Invoker
  readonly queue: Pick<Queue, 'enqueue'>
  readonly functions: Functions
  readonly now: () => number
  /** How long a call by name may wait for its turn. */
  readonly patienceMs: number
  /** Ends when the node stops; a Lambda call runs on when its client has left. */
  readonly stopping: AbortSignal
}

const always = () => true
const unlessQueued = (_headers: unknown, query: string) => new URLSearchParams(query).get('async') !== '1'

/** The calls of functions by URL and by the management API. The Lambda API's Invoke stands in dialects/lambda/. */
export function callRoutes(deps: InvokeHttpDeps): Route[] {
  const byName = (context: RequestContext) => callByName(deps, context)
  return [
    {
      method: '*',
      path: '/functions/v1/:name',
      access: 'project',
      judgesKeys: true,
      plane: 'data-plane',
      adds: 'records',
      doc: 'Calls a function as `supabase.functions.invoke` does.',
      runs: always,
      handle: byName,
      fail: relayFailure,
    },
    {
      method: '*',
      path: '/functions/v1/:name/*',
      access: 'project',
      judgesKeys: true,
      plane: 'data-plane',
      adds: 'records',
      doc: 'The same with a path of its own.',
      runs: always,
      handle: byName,
      fail: relayFailure,
    },
    {
      method: 'POST',
      path: '/api/v1/projects/:ref/functions/:name/invoke',
      access: 'manage',
      plane: 'management',
      adds: 'records',
      doc: 'Runs a function, or `name:qualifier` for a version or alias of it, with the JSON body as its event; the reply is what it returned. With `async=1` it is queued: 202 once that is on disk; then `Idempotency-Key` names the event, so that it is queued once, and `X-Mayfly-Order-Key` what it stays in order with.',
      runs: unlessQueued,
      handle: (context) => callWithEvent(deps, context),
    },
  ]
}

/** Platform failures carry `x-relay-error`, so that functions-js tells them from the function's own answers. */
function relayFailure(error: unknown, { id }: { id: string }): Reply {
  const known = error instanceof MayflyError ? error : new MayflyError('internal', 'the request failed by a fault of this node')
  const entry = ERRORS[known.code]
  return {
    status: entry.status,
    headers: {
      'content-type': 'application/json',
      // What the function itself did wrong is not the platform's.
      ...(known.code === 'function_reply_invalid' ? {} : { 'x-relay-error': 'true' }),
      ...(entry.retry === 'after' ? { 'retry-after': '1' } : {}),
    },
    body: JSON.stringify({ code: known.code, message: known.message, hint: entry.hint, requestId: id }),
  }
}

function callByName(deps: InvokeHttpDeps, context: RequestContext): Promise<Reply> {
  const name = context.params.name ?? ''
  const rest = context.params['*'] === undefined ? '' : `/${context.params['*']}`
  const checkKey = (version: Version) => {
    if (!version.definition.verifyJwt || context.principal.kind !== 'nobody') return
    throw context.keyFault ?? new MayflyError('key_missing', 'No API key found in request')
  }
  // Supabase's functions see their own name in the path, those of other clouds what follows it.
  const seenBy = ({ definition }: Version) => (definition.framework !== null ? rest || '/' : `/${encodeURIComponent(name)}${rest}`)
  return callOverHttp(deps, context, { functionName: name, path: rest === '' ? '/' : rest, seenBy, admit: checkKey })
}

/** How a request calls a function. */
export interface CalledOverHttp {
  readonly functionName: string
  /** What its event says of the path, encoded as it came. */
  readonly path: string
  /** The path that a `fetch` handler sees. */
  readonly seenBy: (version: Version) => string
  /** May it be called so? @throws MayflyError */
  readonly admit: (version: Version) => void
  readonly by?: ByTrigger
}

/** A function of the request's project answers it. What it answers is kept from the origin that it is answered by. */
export async function callOverHttp(
  deps: Pick<InvokeHttpDeps, 'now' | 'patienceMs'> & { readonly invoker: Pick<Invoker, 'invoke'> },
  context: RequestContext,
  { functionName, path, seenBy, admit, by }: CalledOverHttp,
): Promise<Reply> {
  const project = context.project as Project
  const incoming = new Incoming(context)
  let url = path
  const outcome = await deps.invoker.invoke(
    {
      id: context.id,
      project: project.ref,
      functionName,
      traceId: headerOf(context, 'x-amzn-trace-id'),
      clientContext: null,
      depth: context.depth,
      bytesIn: () => incoming.bytes,
      admit: (version) => {
        url = seenBy(version)
        admit(version)
      },
      patienceMs: deps.patienceMs,
      content: (kind): Content | Promise<Content> => {
        if (kind === 'lambda')
          return incoming.whole().then((body) => {
            let event: Buffer | null = null
            return { kind: 'event', payload: () => (event ??= functionUrlEvent(context, path, body, deps.now(), null, by)), takesStream: true }
          })
        const query = context.rawQuery === '' ? '' : `?${context.rawQuery}`
        return {
          kind: 'http',
          method: context.method,
          url: `${context.origin}${url}${query}`,
          headers: requestHeaders(context),
          body: incoming.streamed(),
        }
      },
    },
    context.leaving ?? context.signal,
  )
  if (outcome.result.kind === 'error' && incoming.refusal) throw incoming.refusal
  const reply = replyOf(outcome, context.id)
  return withSandboxPolicy(reply instanceof Promise ? await reply : reply)
}

/** A stream's is waited for, as its head is in it. */
function replyOf(outcome: Outcome, id: string): Reply | Promise<Reply> {
  const { result } = outcome
  const known = { 'x-mayfly-invocation-id': id, ...(outcome.cold === null ? {} : { 'x-mayfly-cold': outcome.cold }) }
  if (result.kind === 'error') {
    const code = result.errorType === 'Sandbox.Timedout' ? 'function_timeout' : 'function_failed'
    const entry = ERRORS[code]
    // The message of user code is for its owner's log, not for whoever calls a public URL.
    const body = JSON.stringify({ code, message: `the function ended with ${result.errorType}`, hint: entry.hint, requestId: id })
    // What never came to user code, or had no end in it, is told as functions-js tells faults of the platform.
    const relay = outcome.handlerKind === null || result.errorType === 'Sandbox.Timedout' ? { 'x-relay-error': 'true' } : {}
    return { status: entry.status, headers: { 'content-type': 'application/json', ...known, ...relay }, body }
  }
  if (result.kind === 'event') {
    // functions-js parses what is called JSON.
    const reply = inferReply(result.payload, setHeader, 'text/plain; charset=utf-8')
    return { ...reply, headers: { ...reply.headers, ...known } }
  }
  if (result.kind === 'stream') return replyOfStream(result).then((reply) => ({ ...reply, headers: { ...reply.headers, ...known } }))
  const headers: Record<string, string | string[]> = {}
  for (const [name, value] of result.headers) setHeader(headers, name, value)
  return { status: result.status, headers: Object.assign(headers, known), body: result.body.takeWhole() ?? result.body }
}

async function callWithEvent(deps: InvokeHttpDeps, context: RequestContext): Promise<Reply> {
  const project = context.project as Project
  const body = await context.body(LIMITS.invocationBody.value)
  const payload = eventPayload(body)
  const { name, qualifier } = asked(context.params.name ?? '')
  if (context.query.get('async') === '1') {
    const version = await deps.functions.resolve(project.ref, name, qualifier)
    const { functionId, functionName } = version
    const entry = {
      id: context.id,
      project: project.ref,
      functionId,
      functionName,
      qualifier,
      traceId: null,
      clientContext: null,
      depth: context.depth,
      payload,
      orderKey: givenKey(context, 'x-mayfly-order-key'),
    }
    const invocation = await deps.queue.enqueue(entry, givenKey(context, 'idempotency-key'))
    return json(202, { invocation, ...(invocation === context.id ? {} : { duplicate: true }) })
  }
  const outcome = await deps.invoker.invoke(
    {
      id: context.id,
      project: project.ref,
      functionName: name,
      qualifier,
      traceId: null,
      clientContext: null,
      depth: context.depth,
      bytesIn: () => body.length,
      content: async (kind) => eventContent(kind, payload),
    },
    deps.stopping,
  )
  const { payload: bytes, errorType } = await eventReply(outcome)
  const over = await outcome.over
  return {
    status: 200,
    headers: {
      'content-type': 'application/json',
      'x-mayfly-invocation-id': context.id,
      'x-mayfly-version': outcome.version.version,
      'x-mayfly-duration-ms': over.durationMs.toFixed(2),
      'x-mayfly-init-ms': over.initMs.toFixed(2),
      ...(outcome.cold === null ? {} : { 'x-mayfly-cold': outcome.cold }),
      ...(errorType !== null ? { 'x-mayfly-function-error': 'Unhandled' } : {}),
    },
    body: bytes,
  }
}

/** Null where there is none. @throws MayflyError bad_request */
function givenKey(context: RequestContext, name: string): string | null {
  const key = headerOf(context, name)
  if (key === '' || (key !== null && key.length > 1_024)) throw new MayflyError('bad_request', `${name}: 1 to 1024 characters`)
  return key
}

/** `name`, or `name:qualifier` as the Lambda API takes it. */
function asked(text: string): { name: string; qualifier: string | null } {
  const at = text.indexOf(':')
  return at === -1 ? { name: text, qualifier: null } : { name: text.slice(0, at), qualifier: text.slice(at + 1) }
}

const headerOf = (context: RequestContext, name: string): string | null => {
  const value = context.headers[name]
  return typeof value === 'string' ? value : null
}

const CONNECTION = new Set(['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'te', 'trailer', 'expect', 'sb-api-key', 'x-forwarded-for'])

function requestHeaders(context: RequestContext): [string, string][] {
  const headers: [string, string][] = []
  for (let i = 0; i + 1 < context.rawHeaders.length; i += 2) {
    const name = (context.rawHeaders[i] as string).toLowerCase()
    if (context.principal.kind === 'operator' && (name === 'authorization' || name === 'apikey')) continue // opens the whole node
    if (!CONNECTION.has(name)) headers.push([name, context.rawHeaders[i + 1] as string])
  }
  const key = headerOf(context, 'apikey')
  // Only of a key that holds: functions that ask for none by themselves look here.
  if (key !== null && context.principal.kind !== 'operator' && context.principal.kind !== 'nobody') headers.push(['sb-api-key', key])
  headers.push(['x-forwarded-for', context.remoteAddress])
  return headers
}
