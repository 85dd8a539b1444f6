import { json } from '../../core/json-reply.ts'
import { MayflyError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Project, ProjectRef } from '../../core/project.ts'
import type { Reply, RequestContext, Route } from '../../core/route.ts'
import { isAliasName } from '../aliases.ts'
import type { FunctionUrl, FunctionUrls, UrlSettings } from './service.ts'

export interface UrlRoutesDeps {
  readonly urls: FunctionUrls
  /** Where the address of an id is, for who came by this origin. */
  readonly urlAddress: (origin: string, id: string) => string
}

/** Addresses of functions by the management API. What browsers are told of other origins is the Lambda API's to set. */
export function urlRoutes({ urls, urlAddress }: UrlRoutesDeps): Route[] {
  const row = (method: string, path: string, doc: string, handle: (context: RequestContext, project: ProjectRef, name: string) => Promise<Reply>): Route => ({
    ...(method === 'PUT' ? { adds: 'data' } : {}),
    method,
    path: `/api/v1/projects/:ref/functions/:name/${path}`,
    access: 'manage',
    plane: 'management',
    doc,
    handle: async (context) => await handle(context, (context.project as Project).ref, context.params.name ?? ''),
  })
  const shown = (context: RequestContext, url: FunctionUrl) => ({
    url: urlAddress(context.origin, url.id),
    function: url.functionName,
    alias: url.alias,
    auth: url.authType === 'NONE' ? 'none' : 'iam',
    stream: url.invokeMode === 'RESPONSE_STREAM',
    createdAt: url.createdAt.toISOString(),
    modifiedAt: url.modifiedAt.toISOString(),
  })
  const strictness = (method: string, doc: string, handle: (context: RequestContext, project: Project) => Promise<Reply>): Route => ({
    method,
    path: '/api/v1/projects/:ref/function-urls',
    access: 'manage',
    plane: 'management',
    doc,
    handle: async (context) => await handle(context, context.project as Project),
  })
  return [
    strictness(
      'GET',
      'Lists the addresses of all functions of a project, and tells whether those that ask for no signature ask for a policy instead (`strict`).',
      async (context, project) =>
        json(200, { strict: await urls.isStrict(project.ref), urls: (await urls.listAll(project.ref)).map((url) => shown(context, url)) }),
    ),
    strictness(
      'PUT',
      'Has addresses with `auth` none let in only whom a policy lets in, as on AWS (`{"strict": true}`), or anyone.',
      async (context, project) => {
        const { strict } = parsed(await context.body(LIMITS.managementBody.value))
        if (typeof strict !== 'boolean') throw new MayflyError('bad_request', 'strict: must be true or false')
        await urls.setStrict(project, strict)
        return json(200, { strict })
      },
    ),
    row('GET', 'urls', 'Lists the addresses of a function and of its aliases.', async (context, project, name) =>
      json(200, { urls: (await urls.list(project, name)).map((url) => shown(context, url)) }),
    ),
    row(
      'PUT',
      'url',
      'Gives a function, or its `alias`, an address of its own (`{"auth": "none", "stream": false}`); the same again changes nothing.',
      async (context, project, name) => {
        const alias = aliasOf(context)
        const settings = settingsOf(await context.body(LIMITS.managementBody.value))
        const before = await urls.get(project, name, alias)
        if (!before)
          return json(201, {
            url: shown(context, await urls.create(project, name, alias, { cors: null, authType: 'NONE', invokeMode: 'BUFFERED', ...settings })),
            changed: true,
          })
        const changed = Object.entries(settings).some(([field, value]) => before[field as keyof UrlSettings] !== value)
        return json(200, { url: shown(context, changed ? await urls.update(project, name, alias, settings) : before), changed })
      },
    ),
    row('DELETE', 'url', 'Takes the address of a function, or of its `alias`, away.', async (context, project, name) => {
      await urls.delete(project, name, aliasOf(context))
      return { status: 204 }
    }),
  ]
}

function aliasOf(context: RequestContext): string | null {
  const alias = context.query.get('alias')
  if (alias !== null && !isAliasName(alias)) throw new MayflyError('bad_request', 'alias: must be the name of an alias')
  return alias
}

function parsed(body: Buffer): Record<string, unknown> {
  let value: unknown
  try {
    value = body.length === 0 ? {} : JSON.parse(body.toString('utf8'))
  } catch {
    throw new MayflyError('body_not_json', 'the body is not JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new MayflyError('bad_request', 'the body must be a JSON object')
  return value as Record<string, unknown>
}

function settingsOf(body: Buffer): Partial<Pick<UrlSettings, 'authType' | 'invokeMode'>> {
  const { auth, stream, ...more } = parsed(body)
  const [unknown] = Object.keys(more)
  if (unknown !== undefined) throw new MayflyError('bad_request', `unknown settings: ${JSON.stringify(unknown.slice(0, 100))}`)
  if (auth !== undefined && auth !== 'none' && auth !== 'iam') throw new MayflyError('bad_request', 'auth: must be `none` or `iam`')
  if (stream !== undefined && typeof stream !== 'boolean') throw new MayflyError('bad_request', 'stream: must be true or false')
  return {
    ...(auth === undefined ? {} : { authType: auth === 'none' ? 'NONE' : 'AWS_IAM' }),
    ...(stream === undefined ? {} : { invokeMode: stream ? 'RESPONSE_STREAM' : 'BUFFERED' }),
  }
}
