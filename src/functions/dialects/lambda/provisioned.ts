import { keptOf, targetsOf } from '../../concurrency/targets.ts'
import { isNumber } from '../../resolver.ts'
import type { FunctionRecord } from '../../service.ts'
import { timestamp } from './configuration.ts'
import { invalidParameter, LambdaError, notFound, validation } from './errors.ts'
import { functionArn } from './identifiers.ts'
import { afterMarker, type Call, markerOf, nameOf, type Operation, pageSize, recordOf } from './operation.ts'
import { optional, Violations } from './request.ts'

const AT = '/2019-09-30/functions/:name/provisioned-concurrency'
const QUALIFIER = /^[a-zA-Z0-9_-]{1,128}$/
const MAX_INTEGER = 2_147_483_647

/** Provisioned concurrency: sandboxes of a version, or of what an alias names, that are kept loaded. */
export const provisionedOperations: readonly Operation[] = [
  { name: 'PutProvisionedConcurrencyConfig', method: 'PUT', path: AT, status: 202, handle: putConfig },
  // Two operations share this row; `List=ALL` says which.
  { name: 'GetProvisionedConcurrencyConfig', method: 'GET', path: AT, status: 200, handle: getOrList },
  { name: 'DeleteProvisionedConcurrencyConfig', method: 'DELETE', path: AT, status: 204, handle: deleteConfig },
]

interface Named {
  readonly record: FunctionRecord
  readonly qualifier: string
}

/** @throws LambdaError when the qualifier is missing, says $LATEST (`latest` says so) or names nothing */
async function named(call: Call, latest: string): Promise<Named> {
  const { name, qualifier } = nameOf(call, 'control', call.query.get('Qualifier'))
  if (qualifier === null) throw validation(["Value null at 'qualifier' failed to satisfy constraint: Member must not be null"])
  if (qualifier === '$LATEST') throw invalidParameter(latest)
  const record = await recordOf(call, { name, qualifier: null })
  if (isNumber(qualifier)) await recordOf(call, { name, qualifier })
  else if (!(await call.functions.aliases.find(call.project, name, qualifier)))
    throw notFound(`Cannot find alias arn: ${functionArn(call.region, name, qualifier)}`)
  return { record, qualifier }
}

const NOT_PUBLISHED = 'The function resource provided must be an alias or a published version.'

async function putConfig(call: Call): Promise<unknown> {
  const violations = new Violations()
  const requested = optional<number>(await call.body(), 'ProvisionedConcurrentExecutions', 'number')
  if (requested === null) violations.missing('provisionedConcurrentExecutions')
  violations.range('provisionedConcurrentExecutions', requested, 1, MAX_INTEGER)
  violations.check()
  const unpublished = 'Provisioned Concurrency Configs cannot be applied to unpublished function versions.'
  const { record, qualifier } = await named(call, unpublished)
  const count = requested ?? 0
  const { name } = record
  const targets = await targetsOf(call.functions, call.project, name, { qualifier, requested: count })
  if (targets.some((target) => target.record.version === '$LATEST')) throw invalidParameter(unpublished)
  await refuseTwice(call, record, qualifier)
  const modifiedAt = await call.concurrency.provision(call.project, record.id, qualifier, count)
  return {
    RequestedProvisionedConcurrentExecutions: count,
    AvailableProvisionedConcurrentExecutions: 0,
    AllocatedProvisionedConcurrentExecutions: 0,
    Status: 'IN_PROGRESS',
    LastModified: timestamp(modifiedAt),
  }
}

/** A version is provisioned by its own number or by an alias, not by both. */
async function refuseTwice(call: Call, record: FunctionRecord, qualifier: string): Promise<void> {
  const conflict = (message: string) => new LambdaError('ResourceConflictException', 409, message)
  const versionsOf = async (name: string) => {
    const alias = await call.functions.aliases.find(call.project, record.name, name)
    return alias === null ? [] : [alias.version, ...(alias.other === null ? [] : [alias.other.version])]
  }
  const others = (await call.concurrency.provisioned(record.id)).filter((config) => config.qualifier !== qualifier)
  if (!isNumber(qualifier)) {
    const own = await versionsOf(qualifier)
    if (others.some((config) => own.includes(config.qualifier)))
      throw conflict("Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version")
    return
  }
  for (const config of others)
    if (!isNumber(config.qualifier) && (await versionsOf(config.qualifier)).includes(qualifier))
      throw conflict('Version is pointed by a Provisioned Concurrency alias')
}

interface Config {
  readonly qualifier: string
  readonly requested: number
  readonly modifiedAt: Date
}

async function shownConfig(call: Call, name: string, config: Config): Promise<Record<string, unknown>> {
  const { available, status, reason } = keptOf(await targetsOf(call.functions, call.project, name, config), call.provisioned)
  return {
    RequestedProvisionedConcurrentExecutions: config.requested,
    AvailableProvisionedConcurrentExecutions: available,
    AllocatedProvisionedConcurrentExecutions: available,
    Status: status,
    ...(reason === null ? {} : { StatusReason: reason }),
    LastModified: timestamp(config.modifiedAt),
  }
}

async function getOrList(call: Call): Promise<unknown> {
  return call.query.get('List') === 'ALL' ? await listConfigs(call) : await getConfig(call)
}

async function getConfig(call: Call): Promise<unknown> {
  const { record, qualifier } = await named(call, NOT_PUBLISHED)
  const config = (await call.concurrency.provisioned(record.id)).find((one) => one.qualifier === qualifier)
  if (!config) throw new LambdaError('ProvisionedConcurrencyConfigNotFoundException', 404, 'No Provisioned Concurrency Config found for this function')
  return await shownConfig(call, record.name, config)
}

async function listConfigs(call: Call): Promise<unknown> {
  const violations = new Violations()
  const size = pageSize(call.query, violations, 50, 50)
  violations.check()
  const record = await recordOf(call, { name: nameOf(call).name, qualifier: null })
  const after = afterMarker(call.query.get('Marker'), QUALIFIER)
  const all = (await call.concurrency.provisioned(record.id))
    .filter(({ qualifier }) => qualifier !== '$LATEST' && qualifier > after)
    .toSorted((a, b) => (a.qualifier < b.qualifier ? -1 : 1))
  const page = all.slice(0, size)
  const last = page.at(-1)
  const ProvisionedConcurrencyConfigs: unknown[] = []
  for (const config of page) {
    const FunctionArn = functionArn(call.region, record.name, config.qualifier)
    ProvisionedConcurrencyConfigs.push({ FunctionArn, ...(await shownConfig(call, record.name, config)) })
  }
  return { ProvisionedConcurrencyConfigs, ...(all.length > size && last ? { NextMarker: markerOf(last.qualifier) } : {}) }
}

async function deleteConfig(call: Call): Promise<unknown> {
  const { record, qualifier } = await named(call, NOT_PUBLISHED)
  await call.concurrency.unprovision(call.project, record.id, qualifier)
  return null
}
