import type { Auth } from './auth/index.ts'
import { DEFAULT_PROJECT } from './defaults.ts'
import { HTTP_ROUTES, type HttpRoutes } from './triggers/http.ts'
import type { FunctionUrls } from './functions/index.ts'
import type { ProjectRef } from './core/project.ts'
import type { CallAsked } from './gateway/index.ts'

/** Of a function: what its home is found by. The same for each of its versions, so that a new one comes where the old one is. */
export const homeKey = (project: string, functionName: string): string => `${project}/${functionName}`
export const homeOf = (key: string): { project: string; functionName: string } => {
  const mark = key.indexOf('/')
  return { project: key.slice(0, mark), functionName: key.slice(mark + 1) }
}

const CREDENTIAL = /Credential=(AKIA[A-Z2-7]{16})\//
const PRESIGNED = /[?&]X-Amz-Credential=(AKIA[A-Z2-7]{16})(?:%2F|\/)/

/**
 * Which function a call is for, as far as that can be seen before anything was checked: it only says where the call goes,
 * and whoever serves it checks all. Null where that is not to be seen: it is served where it came in.
 */
export function homeKeyOf(
  { route, params, ref, request, relay }: CallAsked,
  deps: { readonly auth: Pick<Auth, 'accessKey'>; readonly urls: Pick<FunctionUrls, 'find'>; readonly httpRoutes: Pick<HttpRoutes, 'match'> },
): string | null | Promise<string | null> {
  if (route.path.startsWith('/lambda-url/')) return deps.urls.find(params.id ?? '').then((url) => url && homeKey(url.project, url.functionName))
  if (route.path === `${HTTP_ROUTES}/*`)
    return homeOfRoute(request.method ?? 'GET', (relay?.project ?? ref ?? DEFAULT_PROJECT) as ProjectRef, params['*'] ?? '', deps.httpRoutes)
  const name = nameOf(params.name ?? '')
  if (relay) return homeKey(relay.project, name)
  if (route.access !== 'aws') return homeKey(params.ref ?? ref ?? DEFAULT_PROJECT, name)
  const id = CREDENTIAL.exec(request.headers.authorization ?? '')?.[1] ?? PRESIGNED.exec(request.url ?? '')?.[1]
  return id === undefined ? null : deps.auth.accessKey(id).then((key) => key && homeKey(key.project, name))
}

async function homeOfRoute(method: string, project: ProjectRef, rest: string, routes: Pick<HttpRoutes, 'match'>): Promise<string | null> {
  // What is wrong with it is told by who serves it.
  const match = await routes.match(project, method, rest).catch(() => null)
  return match?.kind === 'found' ? homeKey(project, match.route.functionName) : null
}

/** The name in what the Lambda API takes for one: `name`, `name:qualifier`, `account:function:name`, an ARN. */
const nameOf = (text: string): string => (text.split('function:').at(-1) ?? '').split(':')[0] ?? ''
