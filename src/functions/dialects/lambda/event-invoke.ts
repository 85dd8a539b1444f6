import type { EventInvoke, StoredEventInvoke } from '../../settings/types.ts'
import { invalidParameter, LambdaError, notFound } from './errors.ts'
import { type FunctionName, functionArn, parseFunctionName } from './identifiers.ts'
import { afterMarker, type Call, markerOf, nameOf, type Operation, pageSize, recordOf, settable } from './operation.ts'
import { Violations } from './request.ts'
import { ANY_ARN, object, type Of, take, text, whole } from './shapes.ts'

const AT = '/2019-09-25/functions/:name/event-invoke-config'

/** How asynchronous calls are tried, and where their outcome is told; for each qualifier by itself. */
export const eventInvokeOperations: readonly Operation[] = [
  { name: 'PutFunctionEventInvokeConfig', method: 'PUT', path: AT, status: 200, handle: put },
  { name: 'UpdateFunctionEventInvokeConfig', method: 'POST', path: AT, status: 200, handle: update },
  { name: 'GetFunctionEventInvokeConfig', method: 'GET', path: AT, status: 200, handle: get },
  { name: 'ListFunctionEventInvokeConfigs', method: 'GET', path: `${AT}/list`, status: 200, handle: listAll },
  { name: 'DeleteFunctionEventInvokeConfig', method: 'DELETE', path: AT, status: 204, handle: remove },
]

const DESTINATION = object({ Destination: text(350, `$|kafka://([^.]([a-zA-Z0-9\\-_.]{0,248}))|${ANY_ARN}`) })
export const DESTINATIONS = object({ OnSuccess: DESTINATION, OnFailure: DESTINATION })
export const EVENT_INVOKE = object({
  MaximumRetryAttempts: whole(0, 2),
  MaximumEventAgeInSeconds: whole(60, 21_600),
  DestinationConfig: DESTINATIONS,
})

/** What each outcome may be told to; a bucket takes what failed only. */
const KINDS = { onSuccess: ['lambda', 'sqs', 'sns', 'events'], onFailure: ['lambda', 'sqs', 'sns', 'events', 's3'] } as const

const named = (call: Call) => nameOf(call, 'namespaced', call.query.get('Qualifier'))
const absent = (call: Call, { name, qualifier }: FunctionName) =>
  notFound(`The function ${functionArn(call.region, name, qualifier ?? '$LATEST')} doesn't have an EventInvokeConfig`)

async function put(call: Call): Promise<unknown> {
  return await save(call, (_before, wanted) => ({ maxRetries: null, maxAgeSeconds: null, onSuccess: null, onFailure: null, ...wanted }))
}

async function update(call: Call): Promise<unknown> {
  const name = named(call)
  return await save(call, (before, wanted) => {
    if (before === null) throw absent(call, name)
    return { ...before, ...wanted }
  })
}

async function save(call: Call, make: (before: EventInvoke | null, wanted: Partial<EventInvoke>) => EventInvoke): Promise<unknown> {
  const name = named(call)
  const body = await call.body()
  const violations = new Violations()
  const given = take(EVENT_INVOKE, body, violations)
  violations.check()
  if (Object.keys(given).length === 0) throw invalidParameter('You must specify at least one of error handling or destination setting.')
  const record = await recordOf(call, name)
  const wanted: Partial<EventInvoke> = {
    ...(given.MaximumRetryAttempts === undefined ? {} : { maxRetries: given.MaximumRetryAttempts }),
    ...(given.MaximumEventAgeInSeconds === undefined ? {} : { maxAgeSeconds: given.MaximumEventAgeInSeconds }),
    ...(given.DestinationConfig === undefined ? {} : await destinations(call, name, given.DestinationConfig)),
  }
  return shown(call, name, await call.settings.changeEventInvoke(call.project, settable(record, name), (before) => make(before, wanted)))
}

async function destinations(call: Call, name: FunctionName, given: Of<typeof DESTINATIONS>): Promise<Partial<EventInvoke>> {
  const wanted: { onSuccess?: string | null; onFailure?: string | null } = {}
  for (const [side, destination] of [
    ['onSuccess', given.OnSuccess],
    ['onFailure', given.OnFailure],
  ] as const) {
    if (destination === undefined) continue
    const arn = destination.Destination ?? ''
    wanted[side] = arn === '' ? null : arn
    if (arn !== '') await checkDestination(call, name, arn, KINDS[side])
  }
  return wanted
}

async function checkDestination(call: Call, name: FunctionName, arn: string, kinds: readonly string[]): Promise<void> {
  const kind = arn.split(':')[2] ?? ''
  if (!kinds.includes(kind)) throw invalidParameter(`The destination ARN ${arn} is invalid.`)
  if (kind !== 'lambda') return
  const other = parseFunctionName(arn, { region: call.region, kind: 'control' })
  if (other.name === name.name) throw invalidParameter("You can't specify the function as a destination for itself.")
  try {
    await recordOf(call, other)
  } catch (error) {
    if (!(error instanceof LambdaError) || error.code !== 'ResourceNotFoundException') throw error
    throw invalidParameter(`The destination ARN ${arn} is invalid: there is no such function.`)
  }
}

async function get(call: Call): Promise<unknown> {
  const name = named(call)
  const found = await call.settings.eventInvoke((await recordOf(call, name)).id, name.qualifier ?? '$LATEST')
  if (!found) throw absent(call, name)
  return shown(call, name, found)
}

async function listAll(call: Call): Promise<unknown> {
  const violations = new Violations()
  const size = pageSize(call.query, violations, 50, 50)
  violations.check()
  const name = nameOf(call, 'namespaced')
  const after = afterMarker(call.query.get('Marker'), /^[a-zA-Z0-9_$-]{1,128}$/)
  const found = await call.settings.eventInvokes((await recordOf(call, name)).id, after, size + 1)
  const page = found.slice(0, size)
  return {
    FunctionEventInvokeConfigs: page.map((one) => shown(call, { name: name.name, qualifier: one.qualifier }, one)),
    ...(found.length > size ? { NextMarker: markerOf((page.at(-1) as StoredEventInvoke).qualifier) } : {}),
  }
}

async function remove(call: Call): Promise<unknown> {
  const name = named(call)
  const record = await recordOf(call, name)
  if (!(await call.settings.deleteEventInvoke(call.project, settable(record, name)))) throw absent(call, name)
  return null
}

const shown = (call: Call, { name, qualifier }: FunctionName, found: StoredEventInvoke) => ({
  LastModified: found.modifiedAt.getTime() / 1000,
  FunctionArn: functionArn(call.region, name, qualifier ?? '$LATEST'),
  ...(found.maxRetries === null ? {} : { MaximumRetryAttempts: found.maxRetries }),
  ...(found.maxAgeSeconds === null ? {} : { MaximumEventAgeInSeconds: found.maxAgeSeconds }),
  DestinationConfig: {
    OnSuccess: found.onSuccess === null ? {} : { Destination: found.onSuccess },
    OnFailure: found.onFailure === null ? {} : { Destination: found.onFailure },
  },
})
