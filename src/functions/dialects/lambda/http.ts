import { LIMITS } from '../../../core/limits.ts'
import type { ProjectRef } from '../../../core/project.ts'
import type { Reply, RequestContext, Route } from '../../../core/route.ts'
import type { FunctionRecord } from '../../builds.ts'
import type { Change, FunctionsService } from '../../service.ts'
import type { ArtefactLinks } from '../../links.ts'
import type { FunctionDefinition } from '../../types.ts'
import { sha256Hex } from '../../artefacts.ts'
import { readArchive } from '../../archive.ts'
import { MayflyError } from '../../../core/errors.ts'
import { configuration, type Progress } from './configuration.ts'
import { invalidParameter, LambdaError, lambdaFail, lambdaFailOf, notFound, validation } from './errors.ts'
import { type FunctionName, functionArn, type NameRules, parseFunctionName, regionOf } from './identifiers.ts'
import { checkArchitectures, codeOf, type Json, optional, parseBody, parseConfiguration, refusePublish, tagsOf, textOf, Violations, zipOf } from './request.ts'

export interface LambdaRoutesDeps {
  readonly functions: FunctionsService
  readonly links: ArtefactLinks
  /** What Lambda calls this machine. */
  readonly architecture: 'x86_64' | 'arm64'
}

/** The archive in base64 and all else. */
const CODE_BODY_BYTES = 70_167_211
const PAGE = 50
const DATED = [
  '2014-11-13',
  '2015-03-31',
  '2016-08-19',
  '2017-03-31',
  '2017-10-31',
  '2018-10-31',
  '2019-09-25',
  '2019-09-30',
  '2020-04-22',
  '2020-06-30',
  '2021-07-20',
  '2021-10-31',
  '2021-11-15',
  '2024-08-31',
  '2025-11-30',
  '2025-12-01',
  '2026-07-09',
]

/** The control plane of the Lambda API. Invoke belongs to the room that runs functions. */
export function lambdaRoutes(deps: LambdaRoutesDeps): Route[] {
  const row = (
    method: string,
    path: string,
    operation: string,
    handle: (call: Call) => Promise<Reply>,
    bodyBytes: number = LIMITS.managementBody.value,
  ): Route => ({
    ...(method === 'POST' || method === 'PUT' ? { adds: 'data' } : {}),
    method,
    path,
    access: 'aws',
    plane: 'management',
    doc: `Lambda: ${operation}.`,
    bodyBytes,
    fail: lambdaFailOf(operation, bodyBytes),
    handle: async (context) => withRequestId(await handle(callOf(deps, context, bodyBytes)), context.id),
  })
  const functions = '/2015-03-31/functions'
  return [
    row('POST', functions, 'CreateFunction', createFunction, CODE_BODY_BYTES),
    row('POST', `${functions}/`, 'CreateFunction', createFunction, CODE_BODY_BYTES), // older SDKs end it with a slash
    row('GET', functions, 'ListFunctions', listFunctions),
    row('GET', `${functions}/`, 'ListFunctions', listFunctions),
    row('GET', `${functions}/:name`, 'GetFunction', getFunction),
    row('DELETE', `${functions}/:name`, 'DeleteFunction', deleteFunction),
    row('GET', `${functions}/:name/configuration`, 'GetFunctionConfiguration', getFunctionConfiguration),
    row('PUT', `${functions}/:name/configuration`, 'UpdateFunctionConfiguration', updateFunctionConfiguration),
    row('PUT', `${functions}/:name/code`, 'UpdateFunctionCode', updateFunctionCode, CODE_BODY_BYTES),
    row('GET', `${functions}/:name/versions`, 'ListVersionsByFunction', listVersions),
    row('GET', '/2020-06-30/functions/:name/code-signing-config', 'GetFunctionCodeSigningConfig', getCodeSigningConfig),
    row('GET', '/2017-03-31/tags/:resource', 'ListTags', listTags),
    row('POST', '/2017-03-31/tags/:resource', 'TagResource', tagResource),
    row('DELETE', '/2017-03-31/tags/:resource', 'UntagResource', untagResource),
    ...DATED.map(
      (date): Route => ({
        method: '*',
        path: `/${date}/*`,
        access: 'aws',
        plane: 'management',
        doc: 'Lambda: operations that this version does not have.',
        bodyBytes: LIMITS.managementBody.value,
        fail: lambdaFail,
        handle: async (context) => {
          throw new LambdaError('UnknownOperationException', 404, `This version of Mayfly has no operation ${context.method} ${context.rawPath.slice(0, 200)}`)
        },
      }),
    ),
  ]
}

interface Call extends LambdaRoutesDeps {
  readonly context: RequestContext
  readonly project: ProjectRef
  readonly region: string
  readonly body: () => Promise<Json>
}

function callOf(deps: LambdaRoutesDeps, context: RequestContext, bodyBytes: number): Call {
  const { principal } = context
  // A function's handle may call functions, not change them.
  if (principal.kind !== 'access-key') throw new MayflyError('not_allowed', 'The Lambda API needs an access key of the project.')
  return {
    ...deps,
    context,
    project: principal.project,
    region: regionOf(context.headers, context.query),
    body: async () => parseBody(await context.body(bodyBytes)),
  }
}

const withRequestId = (reply: Reply, id: string): Reply => ({
  ...reply,
  headers: { 'x-amzn-requestid': id, ...reply.headers },
})
const json = (status: number, body: unknown): Reply => ({
  status,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
})
const empty: Reply = { status: 204 }

const nameOf = (call: Call, kind: NameRules['kind'] = 'control', qualifier: string | null = null): FunctionName =>
  parseFunctionName(call.context.params.name ?? '', {
    region: call.region,
    kind,
    qualifier,
  })

/** The function itself: in this version every qualifier but $LATEST names nothing. */
async function recordOf(call: Call, { name, qualifier }: FunctionName): Promise<FunctionRecord> {
  const missing = () => notFound(`Function not found: ${functionArn(call.region, name, qualifier)}`)
  if (qualifier !== null && qualifier !== '$LATEST') throw missing()
  const record = await call.functions.find(call.project, name)
  if (!record) throw missing()
  return record
}

const shown = (call: Call, record: FunctionRecord, progress: Progress, qualifier: string | null = null) =>
  configuration(record, {
    region: call.region,
    architecture: call.architecture,
    qualifier,
    progress,
  })

async function createFunction(call: Call): Promise<Reply> {
  const body = await call.body()
  const violations = new Violations()
  const text = textOf(body, 'FunctionName')
  const runtime = textOf(body, 'Runtime')
  const handler = textOf(body, 'Handler')
  if (text === null) violations.missing('functionName')
  if (textOf(body, 'Role') === null) violations.missing('role')
  const code = codeOf(body)
  if (code === null) violations.missing('code')
  const wanted = parseConfiguration(body, violations)
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
  refusePublish(body)
  checkArchitectures(body, call.architecture)
  const tags = tagsOf(body) ?? {}
  const zip = zipOf(code ?? {})
  if (await call.functions.find(call.project, name)) throw new MayflyError('function_exists', `Function already exist: ${name}`)
  const artefact = await call.functions.storeArtefact(call.project, zip)
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
    egress: 'none',
    role: 'service_role',
    verifyJwt: true,
    async: { maxAttempts: null, maxAgeSeconds: null },
    awsRole: wanted.role,
    tags,
  }
  return json(201, shown(call, await call.functions.create(call.project, definition, wanted.environment, artefact), 'created'))
}

async function getFunction(call: Call): Promise<Reply> {
  const name = nameOf(call, 'namespaced', call.context.query.get('Qualifier'))
  const record = await recordOf(call, name)
  const { tags } = record.definition
  return json(200, {
    Configuration: shown(call, record, 'settled', name.qualifier),
    Code: {
      RepositoryType: 'S3',
      Location: `${call.context.origin}${call.links.path(call.project, record.artefact)}`,
    },
    ...(name.qualifier === null && Object.keys(tags).length > 0 ? { Tags: tags } : {}),
  })
}

async function getFunctionConfiguration(call: Call): Promise<Reply> {
  const name = nameOf(call, 'namespaced', call.context.query.get('Qualifier'))
  return json(200, shown(call, await recordOf(call, name), 'settled', name.qualifier))
}

async function listFunctions(call: Call): Promise<Reply> {
  const { query } = call.context
  const violations = new Violations()
  const size = pageSize(query, violations)
  const all = query.get('FunctionVersion')
  if (all !== null && all !== 'ALL') violations.add('functionVersion', all, 'Member must satisfy enum value set: [ALL]')
  violations.check()
  const records = await call.functions.list(call.project, afterMarker(query.get('Marker')), size + 1)
  const page = records.slice(0, size)
  const last = page.at(-1)
  return json(200, {
    ...(records.length > size && last ? { NextMarker: Buffer.from(last.name).toString('base64url') } : {}),
    Functions: page.map((record) => shown(call, record, 'listed', all === null ? null : '$LATEST')),
  })
}

function pageSize(query: URLSearchParams, violations: Violations): number {
  const text = query.get('MaxItems')
  if (text === null) return PAGE
  const value = /^-?\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (Number.isNaN(value)) violations.add('maxItems', text, 'Member must be a whole number')
  else violations.range('maxItems', value, 1, 10_000)
  return Math.min(PAGE, value)
}

function afterMarker(marker: string | null): string {
  if (marker === null || marker === '') return ''
  const name = Buffer.from(marker, 'base64url').toString('utf8')
  if (!/^[a-zA-Z0-9_-]{1,64}$/.test(name)) throw invalidParameter('The Marker is not one that this API returned.')
  return name
}

async function listVersions(call: Call): Promise<Reply> {
  const violations = new Violations()
  pageSize(call.context.query, violations)
  violations.check()
  const record = await recordOf(call, nameOf(call, 'namespaced'))
  return json(200, { Versions: [shown(call, record, 'listed', '$LATEST')] })
}

const latestOnly = (name: FunctionName): void => {
  if (name.qualifier !== null && name.qualifier !== '$LATEST') throw invalidParameter('Only $LATEST can be changed: name the function without a qualifier.')
}

async function updateFunctionCode(call: Call): Promise<Reply> {
  const name = nameOf(call)
  latestOnly(name)
  const body = await call.body()
  refusePublish(body)
  checkArchitectures(body, call.architecture)
  const revisionId = textOf(body, 'RevisionId')
  const dryRun = optional<boolean>(body, 'DryRun', 'boolean') === true
  const record = await recordOf(call, name)
  const zip = zipOf(body)
  if (revisionId !== null && revisionId !== record.revisionId) throw new MayflyError('revision_mismatch', 'another revision')
  if (dryRun) {
    if (zip.length > LIMITS.zippedCode.value) throw new MayflyError('payload_too_large', `Zipped size must be smaller than ${LIMITS.zippedCode.value} bytes`)
    await readArchive(zip)
    return json(200, shown(call, { ...record, artefact: sha256Hex(zip), codeBytes: zip.length }, 'settled'))
  }
  const artefact = await call.functions.storeArtefact(call.project, zip)
  return json(200, shown(call, await changed(call, record, { artefact }, revisionId), 'updated'))
}

async function updateFunctionConfiguration(call: Call): Promise<Reply> {
  const name = nameOf(call)
  latestOnly(name)
  const body = await call.body()
  const violations = new Violations()
  const wanted = parseConfiguration(body, violations)
  const revisionId = textOf(body, 'RevisionId')
  const record = await recordOf(call, name)
  const definition = {
    ...(wanted.role === null ? {} : { awsRole: wanted.role }),
    ...(wanted.runtime === null ? {} : { runtime: wanted.runtime }),
    ...(wanted.handler === null ? {} : { handler: wanted.handler }),
    ...(wanted.description === null ? {} : { description: wanted.description }),
    ...(wanted.timeoutSeconds === null ? {} : { timeoutSeconds: wanted.timeoutSeconds }),
    ...(wanted.memoryMb === null ? {} : { memoryMb: wanted.memoryMb }),
    ...(wanted.tmpMb === null ? {} : { tmpMb: wanted.tmpMb }),
  }
  const change: Change = {
    definition,
    ...(wanted.environment === null ? {} : { environment: wanted.environment }),
  }
  return json(200, shown(call, await changed(call, record, change, revisionId), 'updated'))
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

async function deleteFunction(call: Call): Promise<Reply> {
  const { name, qualifier } = nameOf(call, 'namespaced', call.context.query.get('Qualifier'))
  await recordOf(call, { name, qualifier })
  if (qualifier === '$LATEST') throw invalidParameter('$LATEST version cannot be deleted without deleting the function.')
  try {
    await call.functions.delete(call.project, name)
  } catch (error) {
    if (error instanceof MayflyError && error.code === 'function_not_found') throw notFound(`Function not found: ${functionArn(call.region, name)}`)
    throw error
  }
  return json(200, {}) // its only member, StatusCode, is the status itself
}

async function getCodeSigningConfig(call: Call): Promise<Reply> {
  await recordOf(call, nameOf(call))
  return json(200, {})
}

/** Tags are named by the whole ARN of a function, without a qualifier. */
async function taggedFunction(call: Call): Promise<FunctionRecord> {
  const resource = call.context.params.resource ?? ''
  if (!resource.startsWith('arn:')) {
    throw validation([
      `Value '${resource.slice(0, 300)}' at 'resource' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*):lambda:[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:\\d{12}:function:[a-zA-Z0-9-_]+`,
    ])
  }
  const name = parseFunctionName(resource, {
    region: call.region,
    kind: 'control',
  })
  if (name.qualifier !== null) throw invalidParameter('Tags on function aliases and versions are not supported. Please specify a function ARN.')
  return await recordOf(call, name)
}

async function listTags(call: Call): Promise<Reply> {
  return json(200, { Tags: (await taggedFunction(call)).definition.tags })
}

async function tagResource(call: Call): Promise<Reply> {
  const tags = tagsOf(await call.body())
  if (tags === null) throw validation(["Value null at 'tags' failed to satisfy constraint: Member must not be null"])
  const { name } = await taggedFunction(call)
  await call.functions.changeTags(call.project, name, (before) => ({
    ...before,
    ...tags,
  }))
  return empty
}

async function untagResource(call: Call): Promise<Reply> {
  const keys = new Set(call.context.query.getAll('tagKeys'))
  if (keys.size === 0) throw validation(["Value null at 'tagKeys' failed to satisfy constraint: Member must not be null"])
  const { name } = await taggedFunction(call)
  await call.functions.changeTags(call.project, name, (before) => Object.fromEntries(Object.entries(before).filter(([key]) => !keys.has(key))))
  return empty
}
