import { ERRORS, MayflyError } from '../../core/errors.ts'
import { json } from '../../core/json-reply.ts'
import type { Project } from '../../core/project.ts'
import type { Reply, RequestContext, Route } from '../../core/route.ts'
import type { HttpSpec } from '../../core/web-triggers.ts'
import type { Cors } from '../../functions/index.ts'
import { callOverHttp, type Invoker, preflightOf, withCors } from '../../invoke/index.ts'
import type { HttpRoutes } from './service.ts'
import type { RouteMatch } from './table.ts'

export { HttpRoutes } from './service.ts'

export interface HttpRoutesDoor {
  readonly routes: HttpRoutes
  readonly invoker: Pick<Invoker, 'invoke'>
  readonly now: () => number
  /** How long a call may wait for its turn. */
  readonly patienceMs: number
}

export const HTTP_ROUTES = '/routes/v1'

/** What functions answer by path and method, below one address of each project. */
export const httpRoutes = (deps: HttpRoutesDoor): Route[] => [
  {
    method: '*',
    path: `${HTTP_ROUTES}/*`,
    access: 'project',
    judgesKeys: true,
    plane: 'data-plane',
    adds: 'records',
    answersCors: true,
    doc: 'Calls the function whose `http` trigger has the rest of the path: the most literal one that has the method, or 405 with `Allow`.',
    runs: () => true,
    handle: (context) => serve(deps, context),
  },
]

type Found = Extract<RouteMatch, { kind: 'found' }>

async function serve(deps: HttpRoutesDoor, context: RequestContext): Promise<Reply> {
  const project = (context.project as Project).ref
  const rest = context.params['*'] ?? ''
  const preflight = await preflightFor(deps, context, rest)
  if (preflight) return preflight
  const match = await deps.routes.match(project, context.method, rest)
  if (match.kind === 'none') throw new MayflyError('route_not_found', `no function answers at /${rest.length > 200 ? `${rest.slice(0, 200)}…` : rest}`)
  if (match.kind === 'wrong-method') {
    const refused = new MayflyError('method_not_allowed', `this path is answered for ${match.allow.join(', ')}`)
    return { ...failed(refused, context), headers: { 'content-type': 'application/json', allow: match.allow.join(', ') } }
  }
  const cors = corsOf(match.route.http)
  if (!cors) return await called(deps, context, match, rest)
  // What is refused may be read by who may read what is answered.
  const reply = await called(deps, context, match, rest).catch((error: unknown) => {
    if (error instanceof MayflyError) return failed(error, context)
    throw error
  })
  return withCors(cors, reply, context.headers)
}

async function called(deps: HttpRoutesDoor, context: RequestContext, { route, parameters }: Found, rest: string): Promise<Reply> {
  const { http, functionName } = route
  const { principal } = context
  checkCaller(http, context)
  const method = http.methods === undefined ? 'ANY' : context.method === 'HEAD' && !http.methods.includes('HEAD') ? 'GET' : context.method
  const path = `/${rest}`
  return await callOverHttp(deps, context, {
    functionName,
    path,
    seenBy: () => path,
    // The route alone says who may call it.
    admit: () => {},
    by: { route: { key: `${method} ${http.path}`, parameters }, ...(http.auth !== 'none' && principal.kind === 'user' ? { claims: principal.claims } : {}) },
  })
}

/** @throws MayflyError key_missing, or what is wrong with the key or token that came */
function checkCaller({ auth }: HttpSpec, { principal, keyFault }: RequestContext): void {
  if (auth === 'none' || (auth === 'key' ? principal.kind !== 'nobody' : principal.kind === 'user')) return
  if (keyFault) throw keyFault
  if (auth === 'key') throw new MayflyError('key_missing', 'No API key found in request')
  throw new MayflyError('token_invalid', 'this route asks for the token of a user')
}

/** Null where the request is none, or the function answers for itself. */
async function preflightFor({ routes }: HttpRoutesDoor, context: RequestContext, rest: string): Promise<Reply | null> {
  const asked = context.headers['access-control-request-method']
  if (context.method !== 'OPTIONS' || asked === undefined) return null
  const match = await routes.match((context.project as Project).ref, asked, rest)
  const cors = match.kind === 'found' ? corsOf(match.route.http) : null
  return cors && preflightOf(cors, context.method, context.headers)
}

function corsOf({ cors, methods }: HttpSpec): Cors | null {
  if (!cors) return null
  const said = Object.entries(cors).filter(([, value]) => value !== undefined)
  return { allowMethods: methods ?? ['*'], ...Object.fromEntries(said) }
}

function failed({ code, message, hint, status }: MayflyError, { id }: RequestContext): Reply {
  const reply = json(status, { code, message, hint, requestId: id })
  return ERRORS[code].retry === 'after' ? { ...reply, headers: { ...reply.headers, 'retry-after': '1' } } : reply
}
