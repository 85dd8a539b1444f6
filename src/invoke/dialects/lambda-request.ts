import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { ProjectRef } from '../../core/project.ts'
import type { FailContext, Reply, RequestContext } from '../../core/route.ts'
import { functionArn, type Functions, invalidParameter, LambdaError, lambdaFail, notFound, parseFunctionName, regionOf } from '../../functions/index.ts'
import { eventPayload } from '../event.ts'
import type { Queue } from '../queue.ts'
import type { Invocation, Invoker } from '../service.ts'
import type { NewEntry } from '../store.ts'

export interface LambdaInvokeDeps {
  readonly invoker: Invoker
  readonly queue: Pick<Queue, 'enqueue' | 'maxPayloadBytes'>
  readonly functions: Functions
  /** Ends when the node stops; a call runs on when its client has left. */
  readonly stopping: AbortSignal
}

export type InvokeOperation = 'Invoke' | 'InvokeAsync' | 'InvokeWithResponseStream'
type InvocationType = 'RequestResponse' | 'Event' | 'DryRun'

/** The invocation types that an operation takes, in the order in which its refusal lists them. */
const TYPES: Readonly<Record<InvokeOperation, readonly InvocationType[]>> = {
  Invoke: ['Event', 'RequestResponse', 'DryRun'],
  InvokeAsync: ['Event'],
  InvokeWithResponseStream: ['RequestResponse', 'DryRun'],
}
/** As refusals of a body's size name them. */
const SHOWN: Readonly<Record<InvokeOperation, string>> = {
  Invoke: 'InvokeFunction',
  InvokeAsync: 'InvokeAsync',
  InvokeWithResponseStream: 'InvokeWithResponseStream',
}
const MAX_CLIENT_CONTEXT = 3583

/** What one request asks for, as all forms of Invoke have it. */
export interface Asked {
  readonly type: InvocationType
  /** The end of the log is wanted. */
  readonly tail: boolean
  readonly payload: Uint8Array
  readonly invocation: Omit<Invocation, 'content'>
  readonly entry: NewEntry
  readonly headers: Readonly<Record<string, string>>
}

/** @throws LambdaError, MayflyError for what is refused before anything runs */
export async function askedOf(deps: LambdaInvokeDeps, context: RequestContext, operation: InvokeOperation): Promise<Asked> {
  const project = projectOf(context)
  const region = regionOf(context.headers, context.query)
  const { name, qualifier } = parseFunctionName(context.params.name ?? '', { region, kind: 'namespaced', qualifier: context.query.get('Qualifier') })
  const type = typeOf(context, operation)
  const logType = header(context, 'x-amz-log-type') ?? 'None'
  if (logType !== 'None' && logType !== 'Tail') throw notOneOf('logType', logType, ['None', 'Tail'])
  refuseAbsent(context)
  const clientContext = clientContextOf(header(context, 'x-amz-client-context'))
  const bodyBytes = bodyBytesOf(operation, type, deps.queue.maxPayloadBytes(project))
  const body = await context.body(LIMITS.invocationBody.value)
  if (body.length > bodyBytes) throw tooLarge(operation, bodyBytes)
  const payload = eventPayload(body)
  const missing = () => notFound(`Function not found: ${functionArn(region, name, qualifier ?? '$LATEST')}`)
  const version = await deps.functions.resolve(project, name, qualifier).catch((error: unknown) => {
    throw error instanceof MayflyError && error.code === 'function_not_found' ? missing() : error
  })
  const common = { id: context.id, project, functionName: name, qualifier, traceId: header(context, 'x-amzn-trace-id'), depth: context.depth }
  return {
    type,
    tail: logType === 'Tail',
    payload,
    invocation: { ...common, clientContext, bytesIn: () => payload.byteLength },
    // The client context is of calls that are waited for.
    entry: { ...common, functionId: version.functionId, clientContext: null, payload },
    headers: { 'x-amzn-requestid': context.id, 'content-type': 'application/json' },
  }
}

/** As the rest of the API says it, but for what Invoke has words of its own for. */
export const invokeFailOf =
  (operation: InvokeOperation) =>
  (error: unknown, context: FailContext): Reply => {
    const code = error instanceof MayflyError ? error.code : null
    if (code === 'payload_too_large') {
      const type = operation === 'Invoke' && context.headers['x-amz-invocation-type'] === 'Event' ? 'Event' : 'RequestResponse'
      return lambdaFail(tooLarge(operation, bodyBytesOf(operation, type)), context)
    }
    // To the others it is code that finds no room; to who calls, a fault of the node that is worth another try.
    if (code === 'storage_full') return lambdaFail(new LambdaError('ServiceException', 500, (error as MayflyError).message), context)
    return lambdaFail(error, context)
  }

/** @param queued  how large the event of an entry may be */
const bodyBytesOf = (operation: InvokeOperation, type: InvocationType, queued: number = LIMITS.queuedPayload.value): number => {
  if (operation === 'InvokeAsync') return Math.min(LIMITS.invokeAsyncBody.value, queued)
  return type === 'Event' ? queued : LIMITS.invocationBody.value
}

const tooLarge = (operation: InvokeOperation, bodyBytes: number) =>
  new LambdaError('RequestTooLargeException', 413, `Request must be smaller than ${bodyBytes} bytes for the ${SHOWN[operation]} operation`)

function projectOf({ principal }: RequestContext): ProjectRef {
  if (principal.kind === 'access-key' || (principal.kind === 'function' && principal.role !== 'none')) return principal.project
  throw new MayflyError('not_allowed', 'Invoke needs an access key of the project.')
}

function typeOf(context: RequestContext, operation: InvokeOperation): InvocationType {
  const types = TYPES[operation]
  if (operation === 'InvokeAsync') return 'Event'
  const told = header(context, 'x-amz-invocation-type') ?? 'RequestResponse'
  const type = types.find((one) => one === told)
  if (type === undefined) throw notOneOf('invocationType', told, types)
  return type
}

/** What this version does not do is better refused than passed over: a tenant would share sandboxes with others. */
function refuseAbsent(context: RequestContext): void {
  if (header(context, 'x-amz-tenant-id') !== null) {
    throw invalidParameter('The invoked function is not enabled with tenancy configuration. Remove the tenant ID from your request and try again.')
  }
  if (header(context, 'x-amz-durable-execution-name') !== null) {
    throw invalidParameter('The invoked function is not durable. Remove the durable execution name from your request and try again.')
  }
}

const notOneOf = (member: string, value: string, values: readonly string[]) =>
  new LambdaError(
    'ValidationException',
    400,
    `1 validation error detected: Value '${value.slice(0, 100)}' at '${member}' failed to satisfy constraint: Member must satisfy enum value set: [${values.join(', ')}]`,
  )

const header = (context: RequestContext, name: string): string | null => {
  const value = context.headers[name]
  return typeof value === 'string' ? value : null
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/

function clientContextOf(text: string | null): string | null {
  if (text === null) return null
  const bad = (why: string) => new LambdaError('InvalidRequestContentException', 400, `Client context must be a valid Base64-encoded JSON object: ${why}`)
  if (text.length > MAX_CLIENT_CONTEXT) throw bad(`it has ${text.length} bytes; ${MAX_CLIENT_CONTEXT} are allowed`)
  if (!BASE64.test(text)) throw bad('it is not Base64')
  const decoded = Buffer.from(text, 'base64').toString('utf8')
  try {
    const value: unknown = JSON.parse(decoded)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('not an object')
  } catch {
    throw bad('it cannot be parsed')
  }
  return decoded
}
