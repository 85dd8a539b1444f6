import type { Tx } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { ProjectRef } from '../core/project.ts'
import { ACCOUNT_ID, type DestinationSpec, type FunctionSettings, type FunctionsService, functionArn } from '../functions/index.ts'
import { type Outgoing, type Queues, type Sent, withDepth } from '../queues/index.ts'
import type { NewEntry, StillBorn, Webhook } from './store.ts'
import { addressId } from './webhooks.ts'

/** Who is told how calls from the queue end. */
export type Target = FunctionTarget | QueueTarget | EventTarget | (Webhook & { readonly of: string })

/** A queue of the project, by its name; `of` is the function whose calls it hears of. */
export interface QueueTarget {
  readonly queue: string
  readonly of: string
}

/** A bus of the project: whoever waits there for events of this name is started. */
export interface EventTarget {
  /** Null where the Lambda API names a bus alone: then as AWS tells of it. */
  readonly event: string | null
  readonly bus: string
  readonly of: string
  /** The functions that may go on where others are taken for a loop: asked before the transaction, which nothing else may hold up. */
  readonly loopers: ReadonlySet<string>
}

/** An event that tells of an outcome, as it is sent to a bus. */
export interface OutcomeEvent {
  readonly id: string
  readonly detailType: string
  readonly source: string
  readonly resources: readonly string[]
  readonly detail: unknown
}

/**
 * What an event starts, by the transaction in which that comes to be: entries, and what of it is given up at once. Nothing is written.
 * @param forms  of the event, the whole one first: the first that is not too long is sent
 */
export type StartedBy = (
  tx: Tx,
  project: ProjectRef,
  bus: string,
  forms: readonly OutcomeEvent[],
  depth: number,
  loopers: ReadonlySet<string>,
) => Promise<{ readonly entries: readonly NewEntry[]; readonly letters: readonly StillBorn[] }>

export interface FunctionTarget {
  /** Null when it is gone by now. */
  readonly functionId: string | null
  readonly functionName: string
  readonly qualifier: string | null
  /** Whether it may go on where others are taken for a loop. */
  readonly mayLoop: boolean
}

export interface Destinations {
  /** Of the function that was called, with its qualifier. */
  readonly functionArn: string
  readonly onSuccess: Target | null
  readonly onFailure: Target | null
  /** The queue that gets the events of calls that were given up: `DeadLetterConfig` of Lambda. */
  readonly letters?: string | null
}

/** Of the error message, as of Lambda. */
const LETTER_CHARS = 1_024

export type DestinationsOf = (project: ProjectRef, functionName: string, qualifier: string | null) => Promise<Destinations | null>

export type QueuesOf = Pick<Queues, 'get' | 'find' | 'sendIn'>

export interface DestinationsDeps {
  readonly functions: Pick<FunctionsService, 'find' | 'resolve'>
  readonly settings: Pick<FunctionSettings, 'eventInvokeOf' | 'mayLoop' | 'loopers'>
  readonly region: string
}

/** As the function's event invoke configuration says, else its mayfly.json. Other services are kept there, but nothing is delivered to them yet. */
export function destinationsOf({ functions, settings, region }: DestinationsDeps): DestinationsOf {
  const functionTarget = async (project: ProjectRef, functionName: string, qualifier: string | null): Promise<Target> => {
    const functionId = (await functions.find(project, functionName, qualifier))?.id ?? null
    return { functionId, functionName, qualifier, mayLoop: functionId !== null && (await settings.mayLoop(project, functionName)) }
  }
  const byArn = async (project: ProjectRef, of: string, arn: string): Promise<Target | null> => {
    const [, , service, where, account, kind, functionName, qualifier = null] = arn.split(':')
    if (service === 'events') {
      const bus = /^event-bus\/(.+)$/.exec(kind ?? '')?.[1]
      return bus !== undefined && where === region && account === ACCOUNT_ID ? { of, event: null, bus, loopers: await settings.loopers(project) } : null
    }
    if (service === 'sqs') return kind !== undefined && where === region && account === ACCOUNT_ID ? { of, queue: kind } : null
    return kind === 'function' && functionName !== undefined ? await functionTarget(project, functionName, qualifier) : null
  }
  const bySpec = async (project: ProjectRef, of: string, spec: DestinationSpec): Promise<Target> => {
    if ('queue' in spec) return { of, queue: spec.queue }
    if ('event' in spec) return { of, event: spec.event, bus: spec.bus ?? 'default', loopers: await settings.loopers(project) }
    if ('webhook' in spec) return { of, url: spec.webhook, secret: spec.secret }
    const [functionName = '', qualifier = null] = spec.function.split(':')
    return await functionTarget(project, functionName, qualifier)
  }
  return async (project, functionName, qualifier) => {
    const set = await settings.eventInvokeOf(project, functionName, qualifier)
    // A function that is gone by now has nothing to say.
    const own = await functions.resolve(project, functionName, qualifier).then(
      ({ definition }) => definition,
      () => null,
    )
    const target = async (arn: string | null, spec: DestinationSpec | undefined) =>
      arn !== null ? await byArn(project, functionName, arn) : spec === undefined ? null : await bySpec(project, functionName, spec)
    const onSuccess = await target(set?.onSuccess ?? null, own?.async.onSuccess)
    const onFailure = await target(set?.onFailure ?? null, own?.async.onFailure)
    const letters = await target(own?.kept?.deadLetterArn ?? null, undefined)
    const letterQueue = letters && 'queue' in letters ? letters.queue : null
    if (onSuccess === null && onFailure === null && letterQueue === null) return null
    return { functionArn: functionArn(region, functionName, qualifier ?? '$LATEST'), onSuccess, onFailure, letters: letterQueue }
  }
}

export const namedTarget = (target: Target): { kind: string; target: string } =>
  'url' in target
    ? { kind: 'webhook', target: target.url }
    : 'queue' in target
      ? { kind: 'queue', target: target.queue }
      : 'event' in target
        ? { kind: 'event', target: [...(target.bus === 'default' ? [] : [target.bus]), target.event ?? '*'].join(' ') }
        : { kind: 'function', target: target.qualifier === null ? target.functionName : `${target.functionName}:${target.qualifier}` }

export interface Told {
  readonly functionArn: string
  readonly condition: 'Success' | 'RetriesExhausted' | 'EventAgeExceeded'
  readonly invocationId: string
  /** How often it came to user code. */
  readonly attempts: number
  readonly request: Uint8Array
  /** Null when it never came to user code, or nothing is left of what it said. */
  readonly response: { readonly payload: Uint8Array; readonly executedVersion: string; readonly isError: boolean } | null
  readonly at: number
}

/** The destination record of Lambda, in its order of members; payloads stand in it as they were. */
export function destinationRecord(told: Told): Buffer {
  const { response } = told
  const context = { requestId: told.invocationId, functionArn: told.functionArn, condition: told.condition, approximateInvokeCount: told.attempts }
  const members = [
    '"version":"1.0"',
    `"timestamp":"${new Date(told.at).toISOString()}"`,
    `"requestContext":${JSON.stringify(context)}`,
    `"requestPayload":${asJson(told.request)}`,
  ]
  if (response !== null) {
    const { executedVersion, isError } = response
    const said = { statusCode: 200, executedVersion, ...(isError ? { functionError: 'Unhandled' } : {}) }
    members.push(`"responseContext":${JSON.stringify(said)}`, `"responsePayload":${asJson(response.payload)}`)
  }
  return Buffer.from(`{${members.join(',')}}`)
}

/** What is no JSON stands in it as a text. */
function asJson(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('utf8')
  if (text === '') return 'null'
  try {
    JSON.parse(text)
    return text
  } catch {
    return JSON.stringify(text)
  }
}

/**
 * Puts the record into a queue, in the transaction that ends the call; one that is too long for it goes without the response.
 * What cannot be told is a letter, and nothing was written.
 */
export async function toQueue(
  tx: Tx,
  queues: QueuesOf,
  { queue, of }: QueueTarget,
  from: { readonly id: string; readonly project: string; readonly depth: number },
  told: Told,
): Promise<Sent | { readonly letter: StillBorn }> {
  const bodies = [destinationRecord(told), ...(told.response === null ? [] : [destinationRecord({ ...told, response: null })])]
  for (const [at, payload] of bodies.entries())
    try {
      return await queues.sendIn(tx, queues.get(from.project as ProjectRef, queue), messageOf(payload, of, from.depth + 1))
    } catch (error) {
      if (!(error instanceof MayflyError)) throw error
      if (error.code === 'payload_too_large' && at < bodies.length - 1) continue
      const { code: errorType, message: errorMessage } = error
      return { letter: { id: from.id, project: from.project, functionName: of, payload, queue, reason: 'destination', errorType, errorMessage } }
    }
  throw new Error('unreachable: the last body is sent or a letter')
}

/** The event that tells a bus, whole and without the response. */
export function outcomeEvents({ event, of }: EventTarget, id: string, told: Told): OutcomeEvent[] {
  const condition = told.condition === 'Success' ? 'Success' : 'Failure'
  const base = {
    id,
    detailType: event ?? `Lambda Function Invocation Result - ${condition}`,
    source: event === null ? 'lambda' : `mayfly.functions.${of}`,
    resources: [told.functionArn],
  }
  const forms = told.response === null ? [told] : [told, { ...told, response: null }]
  return forms.map((one) => ({ ...base, detail: JSON.parse(destinationRecord(one).toString('utf8')) as unknown }))
}

/** The event itself, with why it was given up, as Lambda sends it to a dead-letter queue. */
export function letterOf(payload: Uint8Array, of: string, invocationId: string, errorMessage: string): Outgoing {
  const attribute = (DataType: 'String' | 'Number', StringValue: string) => ({ DataType, StringValue })
  // What XML cannot carry stands in no attribute.
  const message = errorMessage.replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd]/g, '\ufffd').slice(0, LETTER_CHARS)
  const attributes = JSON.stringify({
    RequestID: attribute('String', invocationId),
    ErrorCode: attribute('Number', '200'),
    ...(message === '' ? {} : { ErrorMessage: attribute('String', message) }),
  })
  return withAttributes(messageOf(payload, of), attributes)
}

export const withAttributes = (message: Outgoing, attributes: string | null): Outgoing =>
  attributes === null ? message : { ...message, attributes, bytes: message.bytes + Buffer.byteLength(attributes) }

/** As one that the function itself sent. */
export const messageOf = (payload: Uint8Array, of: string, depth = 0): Outgoing => ({
  body: Buffer.from(payload).toString(),
  sender: of,
  bytes: payload.length,
  traceHeader: withDepth(null, depth),
})

/** An entry that tells the target, or the letter that is left of it when that cannot be. */
export function deliveryOf(
  target: Exclude<Target, QueueTarget | EventTarget>,
  from: { readonly id: string; readonly project: string; readonly traceId: string | null; readonly depth: number },
  told: Told,
): { readonly entry: NewEntry } | { readonly letter: StillBorn } {
  if ('url' in target) return toWebhook(target, from, told)
  const { functionId, functionName, qualifier } = target
  const base = { id: from.id, project: from.project, functionName, qualifier }
  const depth = from.depth + 1
  const payload = destinationRecord(told)
  if (functionId === null)
    return {
      letter: { ...base, payload, reason: 'function_gone', errorType: 'function_not_found', errorMessage: `the function "${functionName}" was deleted` },
    }
  if (depth >= LIMITS.callDepth.value && !target.mayLoop) {
    const errorMessage = `the record stands behind ${depth} functions that caused each other`
    return { letter: { ...base, payload, reason: 'recursion', errorType: 'recursion_too_deep', errorMessage } }
  }
  if (payload.length > LIMITS.queuedPayload.value) {
    const errorMessage = `the record has ${payload.length} bytes; ${LIMITS.queuedPayload.value} may be queued`
    return { letter: { ...base, payload: destinationRecord({ ...told, response: null }), reason: 'destination', errorType: 'payload_too_large', errorMessage } }
  }
  return { entry: { ...base, functionId, traceId: from.traceId, clientContext: null, depth: Math.min(depth, LIMITS.callDepth.value), payload } }
}

function toWebhook({ of, url, secret }: Webhook & { readonly of: string }, from: Parameters<typeof deliveryOf>[1], told: Told): { readonly entry: NewEntry } {
  const { id, project, traceId, depth } = from
  const whole = destinationRecord(told)
  const payload = whole.length > LIMITS.queuedPayload.value ? destinationRecord({ ...told, response: null }) : whole
  return {
    entry: { id, project, functionId: addressId(project, url), functionName: of, traceId, clientContext: null, depth, payload, webhook: { url, secret } },
  }
}
