import type { IncomingHttpHeaders } from 'node:http'
import { LIMITS } from '../../core/limits.ts'
import type { Reply, RequestContext, Route } from '../../core/route.ts'
import { eventContent, eventReply } from '../event.ts'
import { askedOf, type InvokeOperation, invokeFailOf, type LambdaInvokeDeps } from './lambda-request.ts'
import { invokeWithResponseStream } from './lambda-stream.ts'

export type { LambdaInvokeDeps } from './lambda-request.ts'

/** Invoke of the Lambda API in all its forms. They also stand on the relay: a function may call functions with its own handle. */
export function lambdaInvokeRoutes(deps: LambdaInvokeDeps): Route[] {
  const row = (path: string, operation: InvokeOperation, handle: (deps: LambdaInvokeDeps, context: RequestContext) => Promise<Reply>): Route => ({
    method: 'POST',
    path,
    access: 'aws',
    plane: 'data-plane',
    adds: 'records',
    doc: `Lambda: ${operation}.`,
    bodyBytes: LIMITS.invocationBody.value,
    // What is queued is the main process's.
    ...(operation === 'InvokeAsync' ? {} : { runs: (headers: IncomingHttpHeaders) => headers['x-amz-invocation-type'] !== 'Event' }),
    fail: invokeFailOf(operation),
    handle: (context) => handle(deps, context),
  })
  return [
    row('/2015-03-31/functions/:name/invocations', 'Invoke', invoke),
    row('/2021-11-15/functions/:name/response-streaming-invocations', 'InvokeWithResponseStream', invokeWithResponseStream),
    row('/2014-11-13/functions/:name/invoke-async', 'InvokeAsync', invokeAsync),
    row('/2014-11-13/functions/:name/invoke-async/', 'InvokeAsync', invokeAsync),
  ]
}

async function invoke(deps: LambdaInvokeDeps, context: RequestContext): Promise<Reply> {
  const asked = await askedOf(deps, context, 'Invoke')
  const { payload } = asked
  if (asked.type === 'DryRun') return { status: 204, headers: asked.headers }
  if (asked.type === 'Event') {
    await deps.queue.enqueue(asked.entry)
    return { status: 202, headers: asked.headers }
  }
  const outcome = await deps.invoker.invoke(
    { ...asked.invocation, content: async (kind) => eventContent(kind, payload) },
    // A call runs on when its client has left.
    deps.stopping,
  )
  const reply = await eventReply(outcome)
  const tail = asked.tail ? { 'x-amz-log-result': (await outcome.over).logTail().toString('base64') } : {}
  return {
    status: 200,
    headers: {
      ...asked.headers,
      ...tail,
      'x-amz-executed-version': outcome.version.version,
      'x-amzn-trace-id': outcome.traceId,
      'x-amzn-remapped-content-length': '0',
      ...(reply.errorType === null ? {} : { 'x-amz-function-error': 'Unhandled' }),
      ...(outcome.cold === null ? {} : { 'x-mayfly-cold': outcome.cold }),
    },
    body: reply.payload,
  }
}

/** Older than `InvocationType: Event`, and the same. */
async function invokeAsync(deps: LambdaInvokeDeps, context: RequestContext): Promise<Reply> {
  const asked = await askedOf(deps, context, 'InvokeAsync')
  await deps.queue.enqueue(asked.entry)
  return { status: 202, headers: asked.headers, body: '{"Status":202}' }
}
