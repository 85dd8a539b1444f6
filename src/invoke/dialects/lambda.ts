import { LIMITS } from '../../core/limits.ts'
import { MayflyError } from '../../core/errors.ts'
import type { ProjectRef } from '../../core/project.ts'
import type { Reply, RequestContext, Route } from '../../core/route.ts'
import { functionArn, type Functions, LambdaError, lambdaFail, notFound, parseFunctionName, regionOf } from '../../functions/index.ts'
import { eventContent, eventPayload, eventReply } from '../event.ts'
import type { Queue } from '../queue.ts'
import type { Invoker } from '../service.ts'

export interface LambdaInvokeDeps {
  readonly invoker: Invoker
  readonly queue: Queue
  readonly functions: Functions
  /** Ends when the node stops; a call runs on when its client has left. */
  readonly stopping: AbortSignal
}

const MAX_CLIENT_CONTEXT = 3583

/** Invoke of the Lambda API. It also stands on the relay: a function may call functions with its own handle. */
export const lambdaInvokeRoutes = (deps: LambdaInvokeDeps): Route[] => [
  {
    method: 'POST',
    path: '/2015-03-31/functions/:name/invocations',
    access: 'aws',
    plane: 'data-plane',
    adds: 'records',
    doc: 'Lambda: Invoke.',
    bodyBytes: LIMITS.invocationBody.value,
    fail: invokeFail,
    handle: (context) => invoke(deps, context),
  },
]

/** As the rest of the API says it, but for what Invoke has words of its own for. */
function invokeFail(error: unknown, context: { readonly id: string }): Reply {
  const code = error instanceof MayflyError ? error.code : null
  if (code === 'payload_too_large') {
    const message = `Request must be smaller than ${LIMITS.invocationBody.value} bytes for the InvokeFunction operation`
    return lambdaFail(new LambdaError('RequestTooLargeException', 413, message), context)
  }
  // To the others it is code that finds no room; to who calls, a fault of the node that is worth another try.
  if (code === 'storage_full') return lambdaFail(new LambdaError('ServiceException', 500, (error as MayflyError).message), context)
  return lambdaFail(error, context)
}

async function invoke(deps: LambdaInvokeDeps, context: RequestContext): Promise<Reply> {
  const { principal } = context
  if (principal.kind !== 'access-key' && !(principal.kind === 'function' && principal.role !== 'none'))
    throw new MayflyError('not_allowed', 'Invoke needs an access key of the project.')
  const project: ProjectRef = principal.project
  const region = regionOf(context.headers, context.query)
  const { name, qualifier } = parseFunctionName(context.params.name ?? '', { region, kind: 'namespaced', qualifier: context.query.get('Qualifier') })
  const type = header(context, 'x-amz-invocation-type') ?? 'RequestResponse'
  if (!['RequestResponse', 'Event', 'DryRun'].includes(type)) {
    throw new LambdaError(
      'ValidationException',
      400,
      `1 validation error detected: Value '${type.slice(0, 100)}' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: [Event, RequestResponse, DryRun]`,
    )
  }
  const logType = header(context, 'x-amz-log-type') ?? 'None'
  if (logType !== 'None' && logType !== 'Tail') {
    throw new LambdaError(
      'ValidationException',
      400,
      `1 validation error detected: Value '${logType.slice(0, 100)}' at 'logType' failed to satisfy constraint: Member must satisfy enum value set: [None, Tail]`,
    )
  }
  const clientContext = clientContextOf(header(context, 'x-amz-client-context'))
  const payload = eventPayload(await context.body(LIMITS.invocationBody.value))
  const missing = () => notFound(`Function not found: ${functionArn(region, name, qualifier ?? '$LATEST')}`)
  const version = await deps.functions.resolve(project, name, qualifier).catch((error: unknown) => {
    throw error instanceof MayflyError && error.code === 'function_not_found' ? missing() : error
  })
  const common = { 'x-amzn-requestid': context.id, 'content-type': 'application/json' }
  if (type === 'DryRun') return { status: 204, headers: common }
  if (type === 'Event') {
    await deps.queue.enqueue({
      id: context.id,
      project,
      functionId: version.functionId,
      functionName: name,
      qualifier,
      traceId: header(context, 'x-amzn-trace-id'),
      clientContext,
      depth: context.depth,
      payload,
    })
    return { status: 202, headers: common }
  }
  const outcome = await deps.invoker.invoke(
    {
      id: context.id,
      project,
      functionName: name,
      qualifier,
      traceId: header(context, 'x-amzn-trace-id'),
      clientContext,
      depth: context.depth,
      bytesIn: () => payload.byteLength,
      content: async (kind) => eventContent(kind, payload),
    },
    deps.stopping,
  )
  const body = await eventReply(outcome)
  const tail = logType === 'Tail' ? { 'x-amz-log-result': (await outcome.over).logTail.toString('base64') } : {}
  return {
    status: 200,
    headers: {
      ...common,
      ...tail,
      'x-amz-executed-version': outcome.version.version,
      'x-amzn-trace-id': outcome.traceId,
      'x-amzn-remapped-content-length': '0',
      ...(outcome.result.kind === 'error' ? { 'x-amz-function-error': 'Unhandled' } : {}),
      ...(outcome.cold === null ? {} : { 'x-mayfly-cold': outcome.cold }),
    },
    body,
  }
}

const header = (context: RequestContext, name: string): string | null => {
  const value = context.headers[name]
  return typeof value === 'string' ? value : null
}

function clientContextOf(text: string | null): string | null {
  if (text === null) return null
  const bad = (why: string) => new LambdaError('InvalidRequestContentException', 400, `Client context must be a valid Base64-encoded JSON object: ${why}`)
  if (text.length > MAX_CLIENT_CONTEXT) throw bad(`it has ${text.length} bytes; ${MAX_CLIENT_CONTEXT} are allowed`)
  const decoded = Buffer.from(text, 'base64').toString('utf8')
  try {
    const value: unknown = JSON.parse(decoded)
    if (typeof value !== 'object' || value === null) throw new Error('not an object')
  } catch {
    throw bad('it cannot be parsed')
  }
  return decoded
}
