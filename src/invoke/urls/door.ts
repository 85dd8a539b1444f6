import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Principal } from '../../core/principal.ts'
import type { Project, ProjectRef } from '../../core/project.ts'
import type { FailContext, Reply, RequestContext, Route } from '../../core/route.ts'
import { ACCOUNT_ID, type FunctionSettings, type FunctionUrl, type FunctionUrls, LambdaError, lambdaFail } from '../../functions/index.ts'
import { functionUrlEvent, type IamIdentity, inferReply, setUrlHeader, withSandboxPolicy } from '../function-url.ts'
import { Incoming } from '../incoming.ts'
import { type Content, type Invoker, type Outcome, traceIdOf } from '../service.ts'
import { replyOfStream } from '../stream-reply.ts'
import { letsAnyoneIn, userArnOf } from './access.ts'
import { preflightOf, withCors } from './cors.ts'

/** What is signed of a request. */
export interface SignedParts {
  readonly method: string
  readonly rawPath: string
  readonly rawQuery: string
  readonly headers: RequestContext['headers']
  readonly rawHeaders: readonly string[]
  readonly body: () => Promise<Uint8Array>
}

export interface UrlDoorDeps {
  readonly invoker: Pick<Invoker, 'invoke'>
  readonly urls: Pick<FunctionUrls, 'find' | 'isStrict'>
  readonly settings: Pick<FunctionSettings, 'policyOf'>
  readonly project: (ref: ProjectRef) => Promise<Project | null>
  /** Whose signature it is; `from` says which function it came out of, whose own handle alone is valid then. @throws LambdaError */
  readonly verifySignature: (request: SignedParts, from: Principal) => Promise<{ readonly principal: Principal; readonly accessKeyId: string }>
  readonly now: () => number
  /** How long a call may wait for its turn. */
  readonly patienceMs: number
}

const DOC = 'Calls a function at its own address, also at `<id>.lambda-url.localhost`; its AuthType says who may.'

/** Functions at addresses of their own. The host name or the path says which; the rest of the path is the function's. */
export function urlDoorRoutes(deps: UrlDoorDeps): Route[] {
  const row = (path: string): Route => ({
    method: '*',
    path,
    access: 'own',
    plane: 'data-plane',
    adds: 'records',
    answersCors: true,
    doc: DOC,
    runs: () => true,
    fail: failed,
    handle: (context) => serve(deps, context),
  })
  return [row('/lambda-url/:id'), row('/lambda-url/:id/*')]
}

const FORBIDDEN = 'Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html'

/** Nobody is told whether an address is there that does not let him in. */
class Refused extends Error {
  readonly text: string | null
  constructor(text: string | null) {
    super('refused')
    this.text = text
  }
}

async function serve(deps: UrlDoorDeps, context: RequestContext): Promise<Reply> {
  const traceId = traceIdOf(headerOf(context, 'x-amzn-trace-id'), deps.now())
  const common = { 'x-amzn-requestid': context.id, 'x-amzn-trace-id': rootOf(traceId) }
  const url = await addressed(deps, context)
  const preflight = url?.cors ? preflightOf(url.cors, context.method, context.headers) : null
  const reply =
    preflight ?? (await (url ? called(deps, context, url, traceId) : Promise.reject(new Refused(null))).catch((error: unknown) => failed(error, context)))
  const told = { ...reply, headers: { ...reply.headers, ...common } }
  return url?.cors && !preflight ? withCors(url.cors, told, context.headers) : told
}

/** Null where there is nothing, also for what came out of another project's sandbox. */
async function addressed(deps: UrlDoorDeps, context: RequestContext): Promise<FunctionUrl | null> {
  const { principal } = context
  const url = await deps.urls.find(context.params.id ?? '')
  if (!url || (principal.kind === 'function' && principal.project !== url.project)) return null
  return (await deps.project(url.project))?.state === 'active' ? url : null
}

async function called(deps: UrlDoorDeps, context: RequestContext, url: FunctionUrl, traceId: string): Promise<Reply> {
  const incoming = new Incoming(context)
  context.belongsTo?.(url.project)
  const iam = url.authType === 'AWS_IAM' ? await signer(deps, context, url, incoming) : await anyone(deps, url)
  const path = `/${context.params['*'] ?? ''}`
  const outcome = await deps.invoker.invoke(
    {
      id: context.id,
      project: url.project,
      functionName: url.functionName,
      qualifier: url.alias,
      traceId,
      clientContext: null,
      depth: context.depth,
      bytesIn: () => incoming.bytes,
      patienceMs: deps.patienceMs,
      // Deleted and made again under its name it is another function, of which this is no address.
      admit: (version) => {
        if (version.functionId !== url.functionId) throw new Refused(FORBIDDEN)
      },
      content: async (kind): Promise<Content> => {
        if (kind === 'lambda') {
          const own = { apiId: url.id, traceId, iam }
          return { kind: 'event', payload: functionUrlEvent(context, path, await incoming.whole(), deps.now(), own), takesStream: true }
        }
        const query = context.rawQuery === '' ? '' : `?${context.rawQuery}`
        const body = incoming.streamed()
        return { kind: 'http', method: context.method, url: `${context.origin}${path}${query}`, headers: requestHeaders(context, traceId), body }
      },
    },
    context.leaving ?? context.signal,
  )
  if (outcome.result.kind === 'error' && incoming.refusal) throw incoming.refusal
  const reply = await replyOf(outcome, url)
  // At a host name of its own it may do what it likes with its origin; elsewhere it shares one.
  return context.ownHost ? reply : withSandboxPolicy(reply)
}

async function anyone({ urls, settings }: UrlDoorDeps, url: FunctionUrl): Promise<null> {
  if (!(await urls.isStrict(url.project))) return null
  if (!letsAnyoneIn(url, await settings.policyOf(url.project, url.functionName, url.alias))) throw new Refused(FORBIDDEN)
  return null
}

/** Access keys have all rights of their project, and so those of its own addresses; another project's have none. */
async function signer(deps: UrlDoorDeps, context: RequestContext, url: FunctionUrl, incoming: Incoming): Promise<IamIdentity> {
  if (context.headers.authorization === undefined && !context.query.has('X-Amz-Signature')) throw new Refused(FORBIDDEN)
  const { method, rawPath, rawQuery, headers, rawHeaders, principal: from } = context
  const signed = { method, rawPath, rawQuery, headers, rawHeaders, body: () => incoming.whole() }
  const { principal, accessKeyId } = await deps.verifySignature(signed, from)
  const mayCall = 'project' in principal && principal.project === url.project && !(principal.kind === 'function' && principal.role === 'none')
  if (!mayCall) throw new Refused(FORBIDDEN)
  return { accessKey: accessKeyId, accountId: ACCOUNT_ID, userArn: userArnOf(principal, ACCOUNT_ID) }
}

async function replyOf(outcome: Outcome, url: FunctionUrl): Promise<Reply> {
  const { result } = outcome
  switch (result.kind) {
    case 'error':
      return BAD_GATEWAY
    case 'event':
      return inferReply(result.payload, setUrlHeader)
    case 'http': {
      const headers: Record<string, string | string[]> = {}
      for (const [name, value] of result.headers) setUrlHeader(headers, name, value)
      return { status: result.status, headers, body: result.body.takeWhole() ?? result.body }
    }
    case 'stream': {
      const reply = await replyOfStream(result, setUrlHeader)
      return url.invokeMode === 'BUFFERED' ? await collected(reply) : reply
    }
  }
}

const BAD_GATEWAY: Reply = { status: 502, headers: { 'content-type': 'text/plain' }, body: 'Internal Server Error' }

/** A stream as one piece; one that fails, or is too large for it, is an error of the function. */
async function collected(reply: Reply): Promise<Reply> {
  if (reply.body === null || reply.body === undefined || typeof reply.body === 'string' || reply.body instanceof Uint8Array) return reply
  const chunks: Uint8Array[] = []
  let bytes = 0
  try {
    for await (const chunk of reply.body) {
      bytes += chunk.byteLength
      if (bytes > LIMITS.invocationReply.value) return BAD_GATEWAY
      chunks.push(chunk)
    }
  } catch {
    return BAD_GATEWAY
  }
  return { ...reply, body: Buffer.concat(chunks) }
}

/** As the addresses of functions tell what they refuse, and what the function did wrong. */
function failed(error: unknown, context: Pick<FailContext, 'id'>): Reply {
  if (error instanceof Refused) return refusal(error.text, context.id)
  const code = error instanceof MayflyError ? error.code : null
  if (code === 'function_not_found') return refusal(FORBIDDEN, context.id)
  if (code === 'function_reply_invalid' || code === 'function_not_ready')
    return { ...BAD_GATEWAY, headers: { ...BAD_GATEWAY.headers, 'x-amzn-requestid': context.id } }
  if (code === 'payload_too_large') {
    const message = `Request must be smaller than ${LIMITS.invocationBody.value} bytes for the InvokeFunction operation`
    return lambdaFail(new LambdaError('RequestEntityTooLargeException', 413, message), context)
  }
  return lambdaFail(error, context)
}

const refusal = (text: string | null, id: string): Reply => ({
  status: 403,
  headers: { 'content-type': 'application/json', 'x-amzn-requestid': id, 'x-amzn-errortype': 'AccessDeniedException' },
  body: JSON.stringify({ Message: text }),
})

const headerOf = (context: RequestContext, name: string): string | null => {
  const value = context.headers[name]
  return typeof value === 'string' ? value : null
}

const rootOf = (traceId: string): string => /Root=[^;]+/.exec(traceId)?.[0] ?? traceId

const OF_THE_CONNECTION = new Set(['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'te', 'trailer', 'expect', 'x-forwarded-for', 'x-amzn-trace-id'])

/** What a `fetch` handler sees: all that came, for at this address nothing of it is meant for the platform. */
function requestHeaders(context: RequestContext, traceId: string): [string, string][] {
  const headers: [string, string][] = []
  for (let i = 0; i + 1 < context.rawHeaders.length; i += 2) {
    const name = (context.rawHeaders[i] as string).toLowerCase()
    if (!OF_THE_CONNECTION.has(name)) headers.push([name, context.rawHeaders[i + 1] as string])
  }
  headers.push(['x-amzn-trace-id', traceId], ['x-forwarded-for', context.remoteAddress])
  return headers
}
