import { MayflyError } from '../../../core/errors.ts'
import { LATEST } from '../../builds.ts'
import type { AuthType, Cors, FunctionUrl, InvokeMode, UrlSettings } from '../../urls/service.ts'
import { invalidParameter, LambdaError, notFound, validation } from './errors.ts'
import { functionArn, parseFunctionName } from './identifiers.ts'
import { afterMarker, type Call, markerOf, type Operation, pageSize } from './operation.ts'
import { type Json, Violations } from './request.ts'
import { choice, flag, list, object, type Of, take, text, whole } from './shapes.ts'

const AT = '/2021-10-31/functions/:name/url'

/** Addresses of functions: at most one for a function, and one for each of its aliases. */
export const urlOperations: readonly Operation[] = [
  { name: 'CreateFunctionUrlConfig', method: 'POST', path: AT, status: 201, handle: createFunctionUrlConfig },
  { name: 'GetFunctionUrlConfig', method: 'GET', path: AT, status: 200, handle: getFunctionUrlConfig },
  { name: 'ListFunctionUrlConfigs', method: 'GET', path: `${AT}s`, status: 200, handle: listFunctionUrlConfigs },
  { name: 'UpdateFunctionUrlConfig', method: 'PUT', path: AT, status: 200, handle: updateFunctionUrlConfig },
  { name: 'DeleteFunctionUrlConfig', method: 'DELETE', path: AT, status: 204, handle: deleteFunctionUrlConfig },
]

const ALIAS_PATTERN = String.raw`((?!^\d+$)^[0-9a-zA-Z-_]+$)`
const ALIAS = /^(?!\d+$)[0-9a-zA-Z-_]{1,128}$/

interface Named {
  readonly name: string
  readonly alias: string | null
}

/** A function or an alias of it: a version has no address. */
function namedOf(call: Call): Named {
  const { name, qualifier } = parseFunctionName(call.context.params.name ?? '', {
    region: call.region,
    kind: 'control',
    qualifier: aliasOrNull(call.query.get('Qualifier')),
  })
  return { name, alias: aliasOrNull(qualifier) }
}

function aliasOrNull(qualifier: string | null): string | null {
  if (qualifier === null || ALIAS.test(qualifier)) return qualifier
  throw validation([
    `Value '${qualifier.slice(0, 300)}' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: ${ALIAS_PATTERN}`,
  ])
}

const arnOf = (call: Call, { name, alias }: Named) => functionArn(call.region, name, alias)
const missing = () => notFound('The resource you requested does not exist.')

async function createFunctionUrlConfig(call: Call): Promise<unknown> {
  const named = namedOf(call)
  const wanted = settingsOf(CREATE_URL, await call.body())
  const settings = { authType: wanted.authType ?? 'NONE', invokeMode: wanted.invokeMode ?? 'BUFFERED', cors: wanted.cors ?? null } as const
  const url = await call.urls.create(call.project, named.name, named.alias, settings).catch((error: unknown) => {
    const code = error instanceof MayflyError ? error.code : null
    if (code === 'function_not_found' || code === 'alias_not_found') throw notFound('Function does not exist')
    if (code !== 'function_url_exists') throw error
    const why = `Failed to create function url config for [functionArn = ${arnOf(call, named)}]. Error message:  FunctionUrlConfig exists for this Lambda function`
    throw new LambdaError('ResourceConflictException', 409, why)
  })
  const { InvokeMode: mode, LastModifiedTime: _, ...shown } = configurationOf(call, url)
  return { ...shown, ...(wanted.invokeMode === undefined ? {} : { InvokeMode: mode }) }
}

async function getFunctionUrlConfig(call: Call): Promise<unknown> {
  const { name, alias } = namedOf(call)
  const url = await call.urls.get(call.project, name, alias)
  if (!url) throw missing()
  return configurationOf(call, url)
}

async function listFunctionUrlConfigs(call: Call): Promise<unknown> {
  const { name } = parseFunctionName(call.context.params.name ?? '', { region: call.region, kind: 'control' })
  const violations = new Violations()
  const size = pageSize(call.query, violations, 50, 50)
  violations.check()
  const after = afterMarker(call.query.get('Marker'), /^(\$LATEST|[a-zA-Z0-9_-]{1,128})$/)
  if (!(await call.functions.find(call.project, name))) throw notFound('Function does not exist')
  const all = await call.urls.list(call.project, name)
  const keyOf = (url: FunctionUrl) => url.alias ?? LATEST
  const begin = after === '' ? 0 : all.findIndex((url) => url.alias !== null && (after === LATEST || url.alias > after))
  const page = begin === -1 ? [] : all.slice(begin, begin + size)
  const last = page.at(-1)
  return {
    ...(last && begin + size < all.length ? { NextMarker: markerOf(keyOf(last)) } : {}),
    FunctionUrlConfigs: page.map((url) => configurationOf(call, url)),
  }
}

async function updateFunctionUrlConfig(call: Call): Promise<unknown> {
  const { name, alias } = namedOf(call)
  const settings = settingsOf(UPDATE_URL, await call.body())
  return configurationOf(call, await told(call.urls.update(call.project, name, alias, settings)))
}

async function deleteFunctionUrlConfig(call: Call): Promise<unknown> {
  const { name, alias } = namedOf(call)
  await told(call.urls.delete(call.project, name, alias))
  return null
}

async function told<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw error instanceof MayflyError && error.code === 'function_url_not_found' ? missing() : error
  }
}

const configurationOf = (call: Call, url: FunctionUrl) => ({
  FunctionUrl: call.urlAddress(call.context.origin, url.id),
  FunctionArn: arnOf(call, { name: url.functionName, alias: url.alias }),
  AuthType: url.authType,
  ...(url.cors === null ? {} : { Cors: shownCors(url.cors) }),
  CreationTime: url.createdAt.toISOString(),
  LastModifiedTime: url.modifiedAt.toISOString(),
  InvokeMode: url.invokeMode,
})

const CORS = object({
  AllowCredentials: flag,
  AllowHeaders: list(text(1024), 100),
  AllowMethods: list(text(6), 6),
  AllowOrigins: list(text(253, '.*', 1), 100),
  ExposeHeaders: list(text(1024), 100),
  MaxAge: whole(0, 86_400),
})
const SETTINGS = { AuthType: choice('NONE', 'AWS_IAM'), InvokeMode: choice('BUFFERED', 'RESPONSE_STREAM'), Cors: CORS } as const
export const CREATE_URL = object(SETTINGS, ['AuthType'])
export const UPDATE_URL = object(SETTINGS)

/** What is absent is absent; a Cors without members takes away what was there. */
function settingsOf(shape: typeof CREATE_URL | typeof UPDATE_URL, body: Json): Partial<UrlSettings> {
  const violations = new Violations()
  const { AuthType: authType, InvokeMode: invokeMode, Cors: cors } = take(shape, body, violations)
  violations.check()
  const wanted = cors === undefined ? undefined : corsOf(cors)
  return {
    ...(authType === undefined ? {} : { authType: authType as AuthType }),
    ...(invokeMode === undefined ? {} : { invokeMode: invokeMode as InvokeMode }),
    ...(wanted === undefined ? {} : { cors: Object.keys(wanted).length === 0 ? null : wanted }),
  }
}

function corsOf(cors: Of<typeof CORS>): Cors {
  for (const member of ['AllowHeaders', 'AllowMethods', 'AllowOrigins', 'ExposeHeaders'] as const) {
    // They become headers of answers.
    const wrong = cors[member]?.find((value) => !/^[\x21-\x7e]+$/.test(value))
    if (wrong !== undefined) throw invalidParameter(`Cors.${member}: ${JSON.stringify(wrong.slice(0, 100))} is no value of a header.`)
  }
  return {
    ...(cors.AllowCredentials === undefined ? {} : { allowCredentials: cors.AllowCredentials }),
    ...(cors.AllowHeaders ? { allowHeaders: cors.AllowHeaders } : {}),
    ...(cors.AllowMethods ? { allowMethods: cors.AllowMethods } : {}),
    ...(cors.AllowOrigins ? { allowOrigins: cors.AllowOrigins } : {}),
    ...(cors.ExposeHeaders ? { exposeHeaders: cors.ExposeHeaders } : {}),
    ...(cors.MaxAge === undefined ? {} : { maxAge: cors.MaxAge }),
  }
}

const shownCors = (cors: Cors) => ({
  ...(cors.allowCredentials === undefined ? {} : { AllowCredentials: cors.allowCredentials }),
  ...(cors.allowHeaders ? { AllowHeaders: cors.allowHeaders } : {}),
  ...(cors.allowMethods ? { AllowMethods: cors.allowMethods } : {}),
  ...(cors.allowOrigins ? { AllowOrigins: cors.allowOrigins } : {}),
  ...(cors.exposeHeaders ? { ExposeHeaders: cors.exposeHeaders } : {}),
  ...(cors.maxAge === undefined ? {} : { MaxAge: cors.maxAge }),
})
