import type { Reply, RequestContext } from '../../core/route.ts'
import { eventContent } from '../event.ts'
import type { Outcome } from '../service.ts'
import { integrationPrelude } from '../stream-reply.ts'
import { eventHeaders, eventMessage } from './event-stream.ts'
import { askedOf, type LambdaInvokeDeps } from './lambda-request.ts'

/** A result that is there already goes out in pieces of this size. */
const PIECE_BYTES = 64 * 1024

const headersOf = (eventType: string, contentType: string) =>
  eventHeaders([
    [':event-type', eventType],
    [':content-type', contentType],
    [':message-type', 'event'],
  ])
const CHUNK = headersOf('PayloadChunk', 'application/octet-stream')
const COMPLETE = headersOf('InvokeComplete', 'application/json')
const FAULT = eventHeaders([
  [':exception-type', 'ServiceException'],
  [':content-type', 'application/json'],
  [':message-type', 'exception'],
])

/** InvokeWithResponseStream: what the function sends goes out as it comes; errors stand in the last event. */
export async function invokeWithResponseStream(deps: LambdaInvokeDeps, context: RequestContext): Promise<Reply> {
  const asked = await askedOf(deps, context, 'InvokeWithResponseStream')
  const { payload } = asked
  if (asked.type === 'DryRun') return { status: 204, headers: asked.headers }
  const outcome = await deps.invoker.invoke(
    {
      ...asked.invocation,
      content: async (kind) => {
        const content = eventContent(kind, payload)
        return content.kind === 'event' ? { ...content, takesStream: true } : content
      },
    },
    context.signal,
  )
  return {
    status: 200,
    headers: {
      ...asked.headers,
      'content-type': 'application/vnd.amazon.eventstream',
      'x-amz-executed-version': outcome.version.version,
      'x-amzn-trace-id': outcome.traceId,
      ...(outcome.cold === null ? {} : { 'x-mayfly-cold': outcome.cold }),
    },
    body: eventsOf(outcome, asked.tail),
  }
}

async function* eventsOf(outcome: Outcome, tail: boolean): AsyncGenerator<Uint8Array> {
  const { result } = outcome
  let broke = false
  if (result.kind !== 'error') {
    try {
      for await (const chunk of piecesOf(result)) yield eventMessage(CHUNK, chunk)
    } catch {
      // Why, its end knows.
      broke = true
    }
  }
  const over = await outcome.over
  // A handler may fail when all that it streamed has gone out.
  const error = result.kind === 'error' ? result : broke || result.kind === 'stream' ? over.error : null
  if (broke && error === null) {
    yield eventMessage(FAULT, Buffer.from(JSON.stringify({ Message: 'The function broke its response off.' })))
    return
  }
  const complete = {
    ...(error === null ? {} : { ErrorCode: 'Unhandled', ErrorDetails: Buffer.from(error.payload).toString('utf8') }),
    ...(tail ? { LogResult: over.logTail().toString('base64') } : {}),
  }
  yield eventMessage(COMPLETE, Buffer.from(JSON.stringify(complete)))
}

/** The Response of a `fetch` handler comes as a handler would stream it: its head, eight zero bytes, its body. */
async function* piecesOf(result: Exclude<Outcome['result'], { kind: 'error' }>): AsyncGenerator<Uint8Array> {
  if (result.kind === 'event') {
    for (let at = 0; at < result.payload.byteLength; at += PIECE_BYTES) yield result.payload.subarray(at, at + PIECE_BYTES)
    return
  }
  if (result.kind === 'http') yield integrationPrelude(result.status, result.headers)
  yield* result.body
}
