import { readArchive } from '../../archive.ts'
import { sha256Hex } from '../../artefacts.ts'
import { MayflyError } from '../../../core/errors.ts'
import { type FunctionRecord, LATEST } from '../../builds.ts'
import type { Change } from '../../service.ts'
import type { FunctionDefinition } from '../../types.ts'
import { CODE_BODY_BYTES, codeSource, withArchive } from './code.ts'
import { reservedOf } from './concurrency.ts'
import { invalidParameter, LambdaError, notFound } from './errors.ts'
import { functionArn, parseFunctionName } from './identifiers.ts'
import { checkArchitectures, takeKept } from './kept.ts'
import { layersOf } from './layer-names.ts'
import { afterMarker, type Call, markerOf, nameOf, type Operation, pageSize, recordOf, shown, unqualified } from './operation.ts'
import { codeOf, listOf, optional, parseConfiguration, tagsOf, textOf, Violations } from './request.ts'

const AT = '/2015-03-31/functions'

/** Functions: what they are and the code that they run. */
export const functionOperations: readonly Operation[] = [
  { name: 'CreateFunction', method: 'POST', path: AT, status: 201, handle: createFunction, bodyBytes: CODE_BODY_BYTES },
  { name: 'GetFunction', method: 'GET', path: `${AT}/:name`, status: 200, handle: getFunction },
  { name: 'GetFunctionConfiguration', method: 'GET', path: `${AT}/:name/configuration`, status: 200, handle: getFunctionConfiguration },
  { name: 'ListFunctions', method: 'GET', path: AT, status: 200, handle: listFunctions },
  { name: 'UpdateFunctionCode', method: 'PUT', path: `${AT}/:name/code`, status: 200, handle: updateFunctionCode, bodyBytes: CODE_BODY_BYTES },
  { name: 'UpdateFunctionConfiguration', method: 'PUT', path: `${AT}/:name/configuration`, status: 200, handle: updateFunctionConfiguration },
  // Declared with 200, but this is what the service answers.
  { name: 'DeleteFunction', method: 'DELETE', path: `${AT}/:name`, status: 204, handle: deleteFunction },
]

async function createFunction(call: Call): Promise<unknown> {
  const body = await call.body()
  const violations = new Violations()
  const text = textOf(body, 'FunctionName')
  const runtime = textOf(body, 'Runtime')
  const handler = textOf(body, 'Handler')
  if (text === null) violations.missing('functionName')
  if (textOf(body, 'Role') === null) violations.missing('role')
  const code = codeOf(body)
  if (code === null) violations.missing('code')
  const kept = takeKept(body, violations)
  const wanted = parseConfiguration(body, violations)
  kept?.refuse()
  const { name, qualifier } = parseFunctionName(text ?? '', {
    region: call.region,
    kind: 'control',
  })
  if (qualifier !== null) throw invalidParameter('FunctionName: a function is created without a qualifier.')
  if (name.length > 64) {
    throw invalidParameter(
      `1 validation error detected: Value '${name}' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64`,
    )
  }
  if (runtime === null || handler === null)
    throw invalidParameter('Runtime and Handler are mandatory parameters for functions created with deployment packages.')
  const publish = optional<boolean>(body, 'Publish', 'boolean') === true
  checkArchitectures(body, call.architecture)
  const tags = tagsOf(body) ?? {}
  const source = codeSource(code ?? {})
  const layers = layersOf(listOf(body, 'Layers') ?? [], call.region)
  if (await call.functions.find(call.project, name)) throw new MayflyError('function_exists', `Function already exist: ${name}`)
  await call.functions.layers.admit(call.project, layers)
  const artefact = await withArchive(call, source, async (zip, limitBytes) => await call.functions.storeArtefact(call.project, zip, limitBytes))
  const definition: FunctionDefinition = {
    name,
    runtime,
    handler,
    description: wanted.description ?? '',
    memoryMb: wanted.memoryMb ?? 128,
    timeoutSeconds: wanted.timeoutSeconds ?? 3,
    tmpMb: wanted.tmpMb ?? 512,
    concurrency: 1,
    reuse: 'function',
    driver: null,
    framework: null,
    // As on Lambda.
    egress: 'internet',
    role: 'service_role',
    verifyJwt: true,
    reservedConcurrency: null,
    provisioned: 0,
    secrets: [],
    async: { maxAttempts: null, maxAgeSeconds: null },
    layers,
    awsRole: wanted.role,
    ...(kept === null ? {} : { kept: kept.over(undefined) }),
    tags,
  }
  const made = await call.functions.create(call.project, definition, wanted.environment, artefact)
  return shown(call, publish ? (await call.functions.versions.publish(call.project, name)).record : made, 'created')
}

async function getFunction(call: Call): Promise<unknown> {
  const name = nameOf(call, 'namespaced', call.query.get('Qualifier'))
  const record = await recordOf(call, name)
  const { tags } = record.definition
  const reserved = await reservedOf(call, record)
  return {
    Configuration: shown(call, record, 'settled', name.qualifier),
    Code: {
      RepositoryType: 'S3',
      Location: `${call.context.origin}${call.links.path(call.project, record.artefact)}`,
    },
    ...(name.qualifier === null && Object.keys(tags).length > 0 ? { Tags: tags } : {}),
    ...(reserved.ReservedConcurrentExecutions === undefined ? {} : { Concurrency: reserved }),
  }
}

async function getFunctionConfiguration(call: Call): Promise<unknown> {
  const name = nameOf(call, 'namespaced', call.query.get('Qualifier'))
  return shown(call, await recordOf(call, name), 'settled', name.qualifier)
}

async function listFunctions(call: Call): Promise<unknown> {
  const { query } = call.context
  const violations = new Violations()
  const size = pageSize(query, violations)
  const all = query.get('FunctionVersion')
  if (all !== null && all !== 'ALL') violations.add('functionVersion', all, 'Member must satisfy enum value set: [ALL]')
  violations.check()
  const marker = query.get('Marker')
  const records =
    all === null
      ? await call.functions.list(call.project, afterMarker(marker), size + 1)
      : await call.functions.versions.list(call.project, null, placeOf(afterMarker(marker, /^[a-zA-Z0-9_-]{1,64}:\d{1,10}$/)), size + 1)
  const page = records.slice(0, size)
  const last = page.at(-1)
  const key = (record: FunctionRecord) => (all === null ? record.name : `${record.name}:${record.version === LATEST ? 0 : record.version}`)
  return {
    ...(records.length > size && last ? { NextMarker: markerOf(key(last)) } : {}),
    Functions: page.map((record) => shown(call, record, 'listed', all === null ? null : record.version)),
  }
}

/** Of a page of versions of all functions: behind `name:number`. */
function placeOf(key: string): { name: string; number: number } {
  const at = key.indexOf(':')
  return at === -1 ? { name: '', number: -1 } : { name: key.slice(0, at), number: Number(key.slice(at + 1)) }
}

async function updateFunctionCode(call: Call): Promise<unknown> {
  const name = unqualified(call)
  const body = await call.body()
  const publish = optional<boolean>(body, 'Publish', 'boolean') === true
  checkArchitectures(body, call.architecture)
  const revisionId = textOf(body, 'RevisionId')
  const dryRun = optional<boolean>(body, 'DryRun', 'boolean') === true
  const record = await recordOf(call, { name, qualifier: null })
  const source = codeSource(body)
  if (revisionId !== null && revisionId !== record.revisionId) throw new MayflyError('revision_mismatch', 'another revision')
  if (dryRun)
    return await withArchive(call, source, async (zip, limitBytes) => {
      if (zip.length > limitBytes) throw new MayflyError('payload_too_large', `Zipped size must be smaller than ${limitBytes} bytes`)
      await readArchive(zip)
      return shown(call, { ...record, artefact: sha256Hex(zip), codeBytes: zip.length }, 'settled')
    })
  const artefact = await withArchive(call, source, async (zip, limitBytes) => await call.functions.storeArtefact(call.project, zip, limitBytes))
  const updated = await changed(call, record, { artefact }, revisionId)
  if (!publish || updated.refused !== null) return shown(call, updated, 'updated')
  const { record: published } = await call.functions.versions.publish(call.project, name)
  return shown(call, published, 'created', published.version)
}

async function updateFunctionConfiguration(call: Call): Promise<unknown> {
  const name = unqualified(call)
  const body = await call.body()
  const violations = new Violations()
  const kept = takeKept(body, violations)
  const wanted = parseConfiguration(body, violations)
  kept?.refuse()
  const revisionId = textOf(body, 'RevisionId')
  const layers = listOf(body, 'Layers')
  const record = await recordOf(call, { name, qualifier: null })
  const definition = {
    ...(wanted.role === null ? {} : { awsRole: wanted.role }),
    ...(wanted.runtime === null ? {} : { runtime: wanted.runtime }),
    ...(wanted.handler === null ? {} : { handler: wanted.handler }),
    ...(wanted.description === null ? {} : { description: wanted.description }),
    ...(wanted.timeoutSeconds === null ? {} : { timeoutSeconds: wanted.timeoutSeconds }),
    ...(wanted.memoryMb === null ? {} : { memoryMb: wanted.memoryMb }),
    ...(wanted.tmpMb === null ? {} : { tmpMb: wanted.tmpMb }),
    ...(kept === null ? {} : { kept: kept.over(record.definition.kept) }),
    ...(layers === null ? {} : { layers: layersOf(layers, call.region) }),
  }
  const change: Change = {
    definition,
    ...(wanted.environment === null ? {} : { environment: wanted.environment }),
  }
  return shown(call, await changed(call, record, change, revisionId), 'updated')
}

/** An update that another one overtook is told with the ARN, as tools look for its text. */
async function changed(call: Call, record: FunctionRecord, change: Change, revisionId: string | null): Promise<FunctionRecord> {
  try {
    return await call.functions.update(call.project, record.name, change, revisionId)
  } catch (error) {
    const arn = functionArn(call.region, record.name)
    if (error instanceof MayflyError && error.code === 'function_changing') {
      throw new LambdaError('ResourceConflictException', 409, `The operation cannot be performed at this time. An update is in progress for resource: ${arn}`)
    }
    if (error instanceof MayflyError && error.code === 'function_not_found') throw notFound(`Function not found: ${arn}`)
    throw error
  }
}

async function deleteFunction(call: Call): Promise<unknown> {
  const { name, qualifier } = nameOf(call, 'namespaced', call.query.get('Qualifier'))
  if (qualifier === LATEST) throw invalidParameter('$LATEST version cannot be deleted without deleting the function.')
  const isVersion = qualifier !== null && /^\d+$/.test(qualifier)
  await recordOf(call, { name, qualifier: isVersion ? qualifier : null })
  if (qualifier !== null && !isVersion) throw invalidParameter('Deletion of aliases is not currently supported.')
  try {
    if (isVersion) await call.functions.versions.delete(call.project, name, Number(qualifier))
    else await call.functions.delete(call.project, name)
  } catch (error) {
    if (error instanceof MayflyError && error.code === 'function_not_found') throw notFound(`Function not found: ${functionArn(call.region, name, qualifier)}`)
    throw error
  }
  return null // its only member, StatusCode, is the status itself
}
