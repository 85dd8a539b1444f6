import { MayflyError } from '../../../core/errors.ts'
import { isPlainLines } from '../../../core/plain-text.ts'
import { type Alias, isAliasName, type Share } from '../../aliases.ts'
import { LATEST } from '../../builds.ts'
import { invalidParameter, LambdaError, notFound, validation } from './errors.ts'
import { functionArn } from './identifiers.ts'
import { afterMarker, type Call, markerOf, type Operation, pageSize, recordOf, unqualified } from './operation.ts'
import { content, type Json, objectOf, textOf, Violations } from './request.ts'

const AT = '/2015-03-31/functions/:name/aliases'

/** Aliases of functions. */
export const aliasOperations: readonly Operation[] = [
  { name: 'CreateAlias', method: 'POST', path: AT, status: 201, handle: createAlias },
  { name: 'GetAlias', method: 'GET', path: `${AT}/:alias`, status: 200, handle: getAlias },
  { name: 'ListAliases', method: 'GET', path: AT, status: 200, handle: listAliases },
  { name: 'UpdateAlias', method: 'PUT', path: `${AT}/:alias`, status: 200, handle: updateAlias },
  { name: 'DeleteAlias', method: 'DELETE', path: `${AT}/:alias`, status: 204, handle: deleteAlias },
]

const NAME_PATTERN = '(?!^[0-9]+$)([a-zA-Z0-9-_]+)'
const VERSION = /^(\$LATEST|[0-9]+)$/
const VERSION_PATTERN = '(\\$LATEST|[0-9]+)'

const configurationOf = (call: Call, functionName: string, alias: Alias) => ({
  AliasArn: functionArn(call.region, functionName, alias.name),
  Name: alias.name,
  FunctionVersion: alias.version,
  Description: alias.description,
  ...(alias.other === null ? {} : { RoutingConfig: { AdditionalVersionWeights: { [alias.other.version]: alias.other.weight } } }),
  RevisionId: alias.revisionId,
})

async function createAlias(call: Call): Promise<unknown> {
  const functionName = unqualified(call)
  const body = await call.body()
  const violations = new Violations()
  const name = textOf(body, 'Name')
  if (name === null) violations.missing('name')
  else checkName(name, violations)
  const version = versionOf(body, violations)
  if (version === null) violations.missing('functionVersion')
  const description = descriptionOf(body, violations)
  violations.check()
  await recordOf(call, { name: functionName, qualifier: null })
  const other = await routingOf(call, functionName, body, version ?? '')
  return await told(call, functionName, name ?? '', version, other, () =>
    call.functions.aliases.create(call.project, functionName, name ?? '', { version: version ?? '', other: other ?? null, description }),
  )
}

async function getAlias(call: Call): Promise<unknown> {
  const functionName = unqualified(call)
  const name = aliasOf(call)
  const alias = await call.functions.aliases.find(call.project, functionName, name)
  if (alias) return configurationOf(call, functionName, alias)
  await recordOf(call, { name: functionName, qualifier: null })
  throw notFound(`Cannot find alias arn: ${functionArn(call.region, functionName, name)}`)
}

async function listAliases(call: Call): Promise<unknown> {
  const functionName = unqualified(call)
  const violations = new Violations()
  const size = pageSize(call.query, violations)
  const version = call.query.get('FunctionVersion')
  if (version !== null && !VERSION.test(version))
    violations.add('functionVersion', version, `Member must satisfy regular expression pattern: ${VERSION_PATTERN}`)
  violations.check()
  await recordOf(call, { name: functionName, qualifier: null })
  const after = afterMarker(call.query.get('Marker'), /^[a-zA-Z0-9_-]{1,128}$/)
  const aliases = await call.functions.aliases.list(call.project, functionName, version, after, size + 1)
  const page = aliases.slice(0, size)
  const last = page.at(-1)
  return {
    ...(aliases.length > size && last ? { NextMarker: markerOf(last.name) } : {}),
    Aliases: page.map((alias) => configurationOf(call, functionName, alias)),
  }
}

async function updateAlias(call: Call): Promise<unknown> {
  const functionName = unqualified(call)
  const name = aliasOf(call)
  const body = await call.body()
  const violations = new Violations()
  const version = versionOf(body, violations)
  const description = descriptionOf(body, violations)
  violations.check()
  await recordOf(call, { name: functionName, qualifier: null })
  const before = await call.functions.aliases.find(call.project, functionName, name)
  if (!before) throw notFound(`Alias not found: ${functionArn(call.region, functionName, name)}`)
  const other = await routingOf(call, functionName, body, version ?? before.version)
  const change = { ...(version === null ? {} : { version }), ...(other === undefined ? {} : { other }), description }
  return await told(call, functionName, name, version, other, () =>
    call.functions.aliases.update(call.project, functionName, name, change, textOf(body, 'RevisionId')),
  )
}

async function deleteAlias(call: Call): Promise<unknown> {
  const functionName = unqualified(call)
  const name = aliasOf(call)
  await recordOf(call, { name: functionName, qualifier: null })
  await told(call, functionName, name, null, null, async () => {
    await call.functions.aliases.delete(call.project, functionName, name)
    return null
  })
  return null
}

/** Runs a change; what it throws is told with ARNs, as tools look for them. */
async function told(
  call: Call,
  functionName: string,
  name: string,
  version: string | null,
  other: Share | null | undefined,
  change: () => Promise<Alias | null>,
): Promise<unknown> {
  const arn = (qualifier: string | null) => functionArn(call.region, functionName, qualifier)
  try {
    const alias = await change()
    return alias && configurationOf(call, functionName, alias)
  } catch (error) {
    if (!(error instanceof MayflyError)) throw error
    switch (error.code) {
      case 'alias_exists':
        throw new LambdaError('ResourceConflictException', 409, `Alias already exists: ${arn(name)}`)
      case 'alias_not_found':
        throw notFound(`Alias not found: ${arn(name)}`)
      case 'version_not_found':
        // Which of the two it is, the look at the additional one has told already.
        throw notFound(`Function not found: ${arn(version ?? other?.version ?? null)}`)
      case 'function_not_found':
        throw notFound(`Function not found: ${arn(null)}`)
      case 'function_changing':
        throw new LambdaError(
          'ResourceConflictException',
          409,
          `The operation cannot be performed at this time. An update is in progress for resource: ${arn(name)}`,
        )
      default:
        throw error
    }
  }
}

function aliasOf(call: Call): string {
  const name = call.context.params.alias ?? ''
  const violations = new Violations()
  checkName(name, violations)
  violations.check()
  return name
}

function checkName(name: string, violations: Violations): void {
  if (name.length > 128) violations.add('name', name, 'Member must have length less than or equal to 128')
  else if (!isAliasName(name)) violations.add('name', name, `Member must satisfy regular expression pattern: ${NAME_PATTERN}`)
}

function versionOf(body: Json, violations: Violations): string | null {
  const version = textOf(body, 'FunctionVersion')
  if (version !== null && !VERSION.test(version))
    violations.add('functionVersion', version, `Member must satisfy regular expression pattern: ${VERSION_PATTERN}`)
  return version
}

function descriptionOf(body: Json, violations: Violations): string | null {
  const description = textOf(body, 'Description')
  if (description === null) return null
  if (description.length > 256) violations.add('description', description, 'Member must have length less than or equal to 256')
  else if (!isPlainLines(description)) throw invalidParameter('Description must not hold control characters.')
  return description
}

/** @returns undefined when nothing is said of it; null when it is to have no share */
async function routingOf(call: Call, functionName: string, body: Json, version: string): Promise<Share | null | undefined> {
  const routing = objectOf(body, 'RoutingConfig')
  if (routing === null) return undefined
  const weights = Object.entries(objectOf(routing, 'AdditionalVersionWeights') ?? {})
  const [first] = weights
  if (!first) return null
  if (weights.length > 1) throw invalidParameter('Number of items in AdditionalVersionWeights cannot be greater than 1')
  const [other, weight] = first
  if (typeof weight !== 'number') throw content('AdditionalVersionWeights: each weight must be a number')
  const at = `Value '{${other.slice(0, 100)}=${Number.isInteger(weight) ? weight.toFixed(1) : weight}}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint`
  if (!(weight >= 0 && weight <= 1))
    throw validation([
      `${at}: Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0]`,
    ])
  if (other === version) throw invalidParameter(`Invalid function version ${other}. Function version ${other} is already included in routing configuration.`)
  if (version === LATEST) throw invalidParameter('$LATEST is not supported for an alias pointing to more than 1 version')
  if (!/^[0-9]{1,1024}$/.test(other))
    throw validation([
      `${at}: Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+, Member must not be null]`,
    ])
  await recordOf(call, { name: functionName, qualifier: other })
  return { version: other, weight }
}
