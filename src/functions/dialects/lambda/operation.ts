import { MayflyError } from '../../../core/errors.ts'
import { LIMITS } from '../../../core/limits.ts'
import type { ProjectRef } from '../../../core/project.ts'
import type { RequestContext, Route } from '../../../core/route.ts'
import type { Concurrency } from '../../concurrency/concurrency.ts'
import type { Kept } from '../../concurrency/targets.ts'
import type { ArtefactLinks } from '../../links.ts'
import type { FunctionRecord, FunctionsService } from '../../service.ts'
import type { FunctionSettings, Settable } from '../../settings/service.ts'
import type { StoredArchives } from '../../stored-archives.ts'
import type { FunctionUrls } from '../../urls/service.ts'
import { configuration, type Progress } from './configuration.ts'
import { invalidParameter, LambdaError, lambdaFailOf, notFound } from './errors.ts'
import { type FunctionName, functionArn, type NameRules, parseFunctionName, regionOf } from './identifiers.ts'
import { type Json, parseBody, type Violations } from './request.ts'

export interface LambdaRoutesDeps {
  readonly functions: FunctionsService
  readonly concurrency: Concurrency
  /** How it stands with what is kept loaded of a version; null where nothing is to be. */
  readonly provisioned: (versionId: string) => Kept | null
  readonly links: ArtefactLinks
  readonly settings: FunctionSettings
  readonly archives: StoredArchives
  readonly urls: FunctionUrls
  /** Where the address of an id is, for who came by this origin. */
  readonly urlAddress: (origin: string, id: string) => string
  /** Whether a project has the queue of an ARN; null when it is that of no queue that this node serves. */
  readonly hasQueue: (project: ProjectRef, arn: string) => boolean | null
  /** What Lambda calls this machine. */
  readonly architecture: 'x86_64' | 'arm64'
}

/** One operation of the Lambda API: a row of the table. */
export interface Operation {
  readonly name: string
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly path: string
  /** Of the answer; one of 204 has no body. */
  readonly status: number
  readonly bodyBytes?: number
  /** @returns the body of the answer */
  readonly handle: (call: Call) => Promise<unknown>
}

/** A call of an operation, whose signature was found good. */
export interface Call extends LambdaRoutesDeps {
  readonly context: RequestContext
  readonly project: ProjectRef
  readonly region: string
  readonly query: URLSearchParams
  readonly body: () => Promise<Json>
}

export function routeOf(deps: LambdaRoutesDeps, operation: Operation): Route {
  const { method, path, name, status, handle, bodyBytes = LIMITS.managementBody.value } = operation
  return {
    ...(method === 'POST' || method === 'PUT' ? { adds: 'data' } : {}),
    method,
    path,
    access: 'aws',
    plane: 'management',
    doc: `Lambda: ${name}.`,
    bodyBytes,
    fail: lambdaFailOf(name, bodyBytes),
    handle: async (context) => {
      const body = await handle(callOf(deps, context, bodyBytes))
      const headers = { 'x-amzn-requestid': context.id }
      return status === 204 ? { status, headers } : { status, headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(body) }
    },
  }
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
    query: context.query,
    body: async () => parseBody(await context.body(bodyBytes)),
  }
}

/** The function that the path names; its `Qualifier` is that of the query where the operation has one. */
export const nameOf = (call: Call, kind: NameRules['kind'] = 'control', qualifier: string | null = null): FunctionName =>
  parseFunctionName(call.context.params.name ?? '', { region: call.region, kind, qualifier })

/** The version that the qualifier names, itself or by an alias; without one the function itself. */
export async function recordOf(call: Call, { name, qualifier }: FunctionName): Promise<FunctionRecord> {
  const record = await call.functions.find(call.project, name, qualifier)
  if (!record) throw notFound(`Function not found: ${functionArn(call.region, name, qualifier)}`)
  return record
}

/** The name of a function whose versions and aliases are meant, not one of them. */
export function unqualified(call: Call): string {
  const { name, qualifier } = nameOf(call)
  if (qualifier !== null && qualifier !== '$LATEST') throw invalidParameter('Only $LATEST can be changed: name the function without a qualifier.')
  return name
}

/** The same, but where there is none the operation has words of its own. */
export async function recordOr(call: Call, name: FunctionName, message: string): Promise<FunctionRecord> {
  try {
    return await recordOf(call, name)
  } catch (error) {
    throw error instanceof LambdaError && error.code === 'ResourceNotFoundException' ? notFound(message) : error
  }
}

/** The revision id of what the name says: the function's, that of a version, or an alias's own. */
export async function revisionOf(call: Call, name: FunctionName): Promise<string> {
  const { name: functionName, qualifier } = name
  const alias = qualifier === null || /^(\$|\d+$)/.test(qualifier) ? null : await call.functions.aliases.find(call.project, functionName, qualifier)
  return alias?.revisionId ?? (await recordOf(call, name)).revisionId
}

/** As settings name it; without a qualifier they are those of $LATEST. */
export const settable = (record: FunctionRecord, { qualifier }: FunctionName): Settable => ({
  id: record.id,
  name: record.name,
  qualifier: qualifier ?? '$LATEST',
})

/** A revision id that is not the last one is told with the operation that says it. */
export async function withRevision<T>(source: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof MayflyError) || error.code !== 'revision_mismatch') throw error
    const message = `The Revision Id provided does not match the latest Revision Id. Call the ${source} API to retrieve the latest Revision Id`
    throw new LambdaError('PreconditionFailedException', 412, message)
  }
}

export const shown = (call: Call, record: FunctionRecord, progress: Progress, qualifier: string | null = null) =>
  configuration(record, { region: call.region, architecture: call.architecture, qualifier, progress })

const PAGE = 50

/** How many items a page has: MaxItems up to `most`. */
export function pageSize(query: URLSearchParams, violations: Violations, most: number = PAGE, declared = 10_000): number {
  const text = query.get('MaxItems')
  if (text === null) return most
  const value = /^-?\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (Number.isNaN(value)) violations.add('maxItems', text, 'Member must be a whole number')
  else violations.range('maxItems', value, 1, declared)
  return Math.min(most, value)
}

export const markerOf = (key: string) => Buffer.from(key).toString('base64url')

/** The key after which a page begins; empty for the first. @throws LambdaError when the marker is none of ours */
export function afterMarker(marker: string | null, form: RegExp = /^[a-zA-Z0-9_-]{1,64}$/): string {
  if (marker === null || marker === '') return ''
  const key = Buffer.from(marker, 'base64url').toString('utf8')
  if (!form.test(key)) throw invalidParameter('The Marker is not one that this API returned.')
  return key
}
