import type { IncomingHttpHeaders } from 'node:http'
import { MayflyError } from '../../../core/errors.ts'
import { LIMITS } from '../../../core/limits.ts'
import type { Reply, RequestContext, Route } from '../../../core/route.ts'
import type { Queues } from '../../service.ts'
import { asSqsError, invalidValue, SqsError } from './errors.ts'
import { isObject, type Json } from './fields.ts'
import { type Call, OPERATIONS } from './operations.ts'
import { readForm, xmlError, xmlReply } from './query.ts'

const TARGET = 'AmazonSQS.'
const JSON_TYPE = 'application/x-amz-json-1.0'

/** SQS, in both of its protocols: JSON, which the clients of today speak, and the form of those before them. */
export const sqsRoutes = (queues: Queues): Route[] =>
  // Older clients send a request to the address of its queue.
  ['/', '/000000000000/:queue'].map((path) => ({
    method: 'POST',
    path,
    access: 'aws',
    signs: 'sqs',
    plane: 'data-plane',
    doc: 'Amazon SQS: every operation, by `X-Amz-Target` or `Action`.',
    bodyBytes: LIMITS.queueRequest.value,
    fail: (error, context) => failReply(error, context),
    handle: (context) => handle(queues, context),
  }))

const isJson = (headers: IncomingHttpHeaders) => headers['x-amz-target'] !== undefined || String(headers['content-type']).startsWith('application/x-amz-json')

async function handle(queues: Queues, context: RequestContext): Promise<Reply> {
  const body = (await context.body(LIMITS.queueRequest.value)).toString('utf8')
  const call = callOf(queues, context)
  if (isJson(context.headers)) {
    const target = context.headers['x-amz-target']
    const name = typeof target === 'string' && target.startsWith(TARGET) ? target.slice(TARGET.length) : ''
    const output = await operationOf(name)(call, readJson(body))
    return { status: 200, headers: { 'content-type': JSON_TYPE, 'x-amzn-requestid': context.id }, body: output === null ? '' : JSON.stringify(output) }
  }
  const { action, input } = readForm(body)
  const output = await operationOf(action)(call, input.QueueUrl === undefined && context.params.queue ? { ...input, QueueUrl: context.params.queue } : input)
  return { status: 200, headers: { 'content-type': 'text/xml', 'x-amzn-requestid': context.id }, body: xmlReply(action, output, context.id) }
}

function operationOf(name: string) {
  const found = OPERATIONS.get(name)
  if (!found) throw new SqsError('UnknownOperationException', 'InvalidAction', 400, `The action ${name.slice(0, 100)} is not valid for this endpoint.`)
  return found
}

function readJson(text: string): Json {
  try {
    const value: unknown = JSON.parse(text === '' ? '{}' : text)
    if (isObject(value)) return value
  } catch {
    // told below
  }
  throw new SqsError('SerializationException', 'MalformedInput', 400, 'The body is no JSON object.')
}

function callOf(queues: Queues, context: RequestContext): Call {
  const { principal, project } = context
  const known = principal.kind === 'access-key' || (principal.kind === 'function' && principal.role === 'service_role')
  if (!known || project === null) throw new MayflyError('not_allowed', 'Access to the resource is denied.')
  const authorization = context.headers.authorization ?? context.query.get('X-Amz-Credential') ?? ''
  return {
    queues,
    project: project.ref,
    region: /\/\d{8}\/([a-z0-9-]{1,64})\/sqs\/aws4_request/.exec(authorization)?.[1] ?? 'us-east-1',
    origin: context.origin,
    sender: principal.kind === 'access-key' ? principal.keyId : principal.functionName,
    depth: context.depth,
    signal: context.signal,
  }
}

function failReply(error: unknown, { id, headers }: { readonly id: string; readonly headers: IncomingHttpHeaders }): Reply {
  const known = error instanceof SyntaxError ? invalidValue('The request cannot be read.') : asSqsError(error)
  const { type, code, status, message } = known
  const again: Record<string, string> = status === 429 || status === 503 ? { 'retry-after': '1' } : {}
  const common = { 'x-amzn-requestid': id, 'x-amzn-errortype': type, ...again }
  if (!isJson(headers)) return { status, headers: { 'content-type': 'text/xml', ...common }, body: xmlError(code, message, status, id) }
  return {
    status,
    headers: {
      'content-type': JSON_TYPE,
      ...common,
      // By this the clients of today name errors as those before them did.
      'x-amzn-query-error': `${code};${status >= 500 ? 'Receiver' : 'Sender'}`,
    },
    body: JSON.stringify({ __type: `com.amazonaws.sqs#${type}`, message }),
  }
}
