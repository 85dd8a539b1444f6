import type { EventSource } from '../../settings/types.ts'
import { ACCOUNT_ID, invalidParameter, LambdaError, notFound } from './errors.ts'
import {
  checkSource,
  CREATE_EVENT_SOURCE,
  defaultsOf,
  filterFault,
  isStream,
  kindOf,
  merged,
  type SourceSettings,
  UPDATE_EVENT_SOURCE,
} from './event-source-rules.ts'
import { type FunctionName, functionArn, parseFunctionName } from './identifiers.ts'
import { afterMarker, type Call, markerOf, type Operation, pageSize, recordOf } from './operation.ts'
import { tagsOf, Violations } from './request.ts'
import { ANY_ARN, take, text } from './shapes.ts'

const AT = '/2015-03-31/event-source-mappings'
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** What brings events of other services to functions. Queues are read; what other sources there are is kept and shown. */
export const eventSourceOperations: readonly Operation[] = [
  { name: 'CreateEventSourceMapping', method: 'POST', path: AT, status: 202, handle: create },
  { name: 'CreateEventSourceMapping', method: 'POST', path: `${AT}/`, status: 202, handle: create }, // older SDKs end it with a slash
  { name: 'GetEventSourceMapping', method: 'GET', path: `${AT}/:uuid`, status: 200, handle: get },
  { name: 'ListEventSourceMappings', method: 'GET', path: AT, status: 200, handle: listAll },
  { name: 'ListEventSourceMappings', method: 'GET', path: `${AT}/`, status: 200, handle: listAll },
  { name: 'UpdateEventSourceMapping', method: 'PUT', path: `${AT}/:uuid`, status: 202, handle: update },
  { name: 'DeleteEventSourceMapping', method: 'DELETE', path: `${AT}/:uuid`, status: 202, handle: remove },
]

const PAGE = 100
const SOURCE_ARN = text(10_000, ANY_ARN)
const ABSENT = 'The resource you requested does not exist.'
/** Said of every mapping whose source is no queue. */
const NOT_READ = 'PROBLEM: This version of Mayfly keeps event source mappings, but does not read this source.'
const NO_QUEUE = 'PROBLEM: The queue does not exist.'

export const eventSourceArn = (region: string, id: string) => `arn:aws:lambda:${region}:${ACCOUNT_ID}:event-source-mapping:${id}`

async function create(call: Call): Promise<unknown> {
  const body = await call.body()
  const violations = new Violations()
  const { EventSourceArn: sourceArn = null, FunctionName = '', Enabled = true, ...given } = take(CREATE_EVENT_SOURCE, body, violations)
  violations.check()
  const name = functionOf(call, FunctionName)
  const kind = kindOf(sourceArn, given)
  const settings = merged(defaultsOf(kind), given)
  checkSource(kind, sourceArn, settings, given)
  await recordOf(call, name)
  if (sourceArn !== null && call.hasQueue(call.project, sourceArn) === false)
    throw invalidParameter(
      'Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue does not exist.',
    )
  const tags = tagsOf(body) ?? {}
  const wanted = { functionName: name.name, qualifier: name.qualifier, sourceArn, enabled: Enabled, settings, tags }
  const made = await call.settings.createEventSource(call.project, wanted, refuseSame)
  return shown(call, made, 'Creating')
}

async function get(call: Call): Promise<unknown> {
  const found = await call.settings.eventSource(call.project, idOf(call))
  if (!found) throw notFound(ABSENT)
  return shown(call, found)
}

async function listAll(call: Call): Promise<unknown> {
  const { query } = call
  const violations = new Violations()
  const size = pageSize(query, violations, PAGE)
  const sourceArn = query.get('EventSourceArn')
  if (sourceArn !== null) take(SOURCE_ARN, sourceArn, violations, 'eventSourceArn')
  violations.check()
  const functionText = query.get('FunctionName')
  const name = functionText === null ? null : functionOf(call, functionText)
  const after = afterMarker(query.get('Marker'), UUID)
  const filter = { functionName: name?.name ?? null, qualifier: name?.qualifier ?? null, sourceArn }
  const found = await call.settings.eventSources(call.project, filter, after === '' ? null : after, size + 1)
  const page = found.slice(0, size)
  return {
    EventSourceMappings: page.map((one) => shown(call, one)),
    ...(found.length > size ? { NextMarker: markerOf((page.at(-1) as EventSource).id) } : {}),
  }
}

async function update(call: Call): Promise<unknown> {
  const id = idOf(call)
  const body = await call.body()
  const violations = new Violations()
  const { FunctionName, Enabled, ...given } = take(UPDATE_EVENT_SOURCE, body, violations)
  violations.check()
  const name = FunctionName === undefined ? null : functionOf(call, FunctionName)
  if (name) await recordOf(call, name)
  const change = (before: EventSource) => {
    const settings = merged(before.settings as SourceSettings, given)
    checkSource(kindOf(before.sourceArn, settings), before.sourceArn, settings, given)
    return { ...before, ...(name ? { functionName: name.name, qualifier: name.qualifier } : {}), enabled: Enabled ?? before.enabled, settings }
  }
  const changed = await call.settings.changeEventSource(call.project, id, change, refuseSame)
  if (!changed) throw notFound(ABSENT)
  const { before, after } = changed
  return shown(call, after, before.enabled === after.enabled ? 'Updating' : after.enabled ? 'Enabling' : 'Disabling')
}

/** A source is read for a function once. */
function refuseSame({ id, functionName, sourceArn }: EventSource): never {
  const message =
    sourceArn?.split(':')[2] === 'sqs'
      ? `An event source mapping with SQS arn (" ${sourceArn} ") and function (" ${functionName} ") already exists. Please update or delete the existing mapping with UUID ${id}`
      : `The event source arn (" ${sourceArn} ") and function (" ${functionName} ") provided mapping already exists. Please update or delete the existing mapping with UUID ${id}`
  throw new LambdaError('ResourceConflictException', 409, message)
}

async function remove(call: Call): Promise<unknown> {
  const found = await call.settings.deleteEventSource(call.project, idOf(call))
  if (!found) throw notFound(ABSENT)
  return shown(call, found, 'Deleting')
}

/** Another one than 36 characters is a violation; one that cannot be an id is that of no mapping. */
function idOf(call: Call): string {
  const id = call.context.params.uuid ?? ''
  const violations = new Violations()
  if (id.length < 36) violations.add('uUID', id, 'Member must have length greater than or equal to 36')
  if (id.length > 36) violations.add('uUID', id, 'Member must have length less than or equal to 36')
  violations.check()
  if (!UUID.test(id.toLowerCase())) throw notFound(ABSENT)
  return id.toLowerCase()
}

/** `$LATEST` is what an unqualified name means. */
function functionOf(call: Call, named: string): FunctionName {
  const { name, qualifier } = parseFunctionName(named, { region: call.region, kind: 'namespaced' })
  return { name, qualifier: qualifier === '$LATEST' ? null : qualifier }
}

/** Nothing of a queue that is read, as of AWS. */
function resultOf(hasQueue: boolean | null, fault: string | null): object {
  if (hasQueue === true && fault === null) return {}
  return { LastProcessingResult: hasQueue === null ? NOT_READ : hasQueue ? `PROBLEM: ${fault}` : NO_QUEUE }
}

const shown = (call: Call, one: EventSource, state: string = one.enabled ? 'Enabled' : 'Disabled') => ({
  UUID: one.id,
  ...one.settings,
  ...(one.sourceArn === null ? {} : { EventSourceArn: one.sourceArn }),
  EventSourceMappingArn: eventSourceArn(call.region, one.id),
  FunctionArn: functionArn(call.region, one.functionName, one.qualifier),
  LastModified: one.modifiedAt.getTime() / 1000,
  ...resultOf(call.hasQueue(call.project, one.sourceArn ?? ''), filterFault(one.settings as SourceSettings)),
  State: state,
  StateTransitionReason: isStream(kindOf(one.sourceArn, one.settings as SourceSettings)) ? 'User action' : 'USER_INITIATED',
})
