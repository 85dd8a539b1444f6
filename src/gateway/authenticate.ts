import type { IncomingHttpHeaders } from 'node:http'
import { MayflyError } from '../core/errors.ts'
import type { Principal } from '../core/principal.ts'
import type { ProjectRef } from '../core/project.ts'
import type { Access, Route } from '../core/route.ts'
import type { RelayIdentity } from '../sandbox/index.ts'
import { mayDeployBy } from './deploy-rows.ts'

/** What the gateway asks of `auth`. */
export interface Credentials {
  /** The principal of a publishable, secret or operator key; null when nobody has it. */
  verifyKey(key: string): Promise<Principal | null>
  /** Whom a token speaks for in a project. @throws MayflyError token_invalid, token_expired, token_refused */
  verifyToken(project: ProjectRef, token: string): Promise<Principal>
  /** The identity behind a handle that was given to a sandbox; null when it is none. */
  verifyHandle(key: string): RelayIdentity | null
}

const isDeployToken = (text: string) => text.startsWith('mayfly_token_')
const isKey = (text: string) => text.startsWith('sb_') || text.startsWith('mayfly_operator_') || isDeployToken(text)
const isToken = (text: string) => !isKey(text) && text.split('.').length === 3

export interface Shown {
  readonly keys: readonly string[]
  /** What says who the user is, beside the keys. */
  readonly userToken: string | null
}

/** The keys that a request carries, in `apikey` and as Bearer; a token stands apart, in `apikey` too where no Bearer says more. */
export function keysOf(headers: IncomingHttpHeaders): Shown {
  const keys: string[] = []
  let userToken: string | null = null
  const apikey = headers.apikey
  if (typeof apikey === 'string' && apikey !== '') {
    if (isToken(apikey)) userToken = apikey
    else keys.push(apikey)
  }
  const authorization = headers.authorization
  if (authorization !== undefined) {
    const bearer = /^bearer +(\S+)$/i.exec(authorization)?.[1]
    if (bearer !== undefined) {
      if (!isKey(bearer)) userToken = bearer
      else if (!keys.includes(bearer)) keys.push(bearer)
    }
  }
  return { keys, userToken }
}

/** Whether a request has anything that says who asks. */
export const showsAnything = ({ apikey, authorization }: IncomingHttpHeaders): boolean => apikey !== undefined || authorization !== undefined

/**
 * The one principal of a request from outside. A token decides over the key beside it, which says no more than the project.
 * @param project  whose tokens are believed here; null where no user has anything to ask for
 * @throws MayflyError deploy_token_invalid, key_invalid when a key is unknown, or when two keys speak for different principals; token_invalid, token_expired, token_refused
 */
export async function authenticate(headers: IncomingHttpHeaders, credentials: Credentials, project: ProjectRef | null): Promise<Principal> {
  const { keys, userToken } = keysOf(headers)
  let principal: Principal | null = null
  for (const key of keys) {
    const found = await credentials.verifyKey(key)
    if (!found && isDeployToken(key)) throw new MayflyError('deploy_token_invalid', 'this deploy token was revoked, or is none of this node')
    if (!found) throw new MayflyError('key_invalid', 'the key is not known to this node')
    if (principal && !samePlace(principal, found)) throw new MayflyError('key_invalid', '`apikey` and `Authorization` carry keys of different projects')
    // Of two keys of one project the one in `apikey` came first and stays.
    principal ??= found
  }
  if (userToken === null) return principal ?? { kind: 'nobody' }
  if (project === null) throw new MayflyError('key_invalid', 'the Bearer token is no key, and tokens of users open nothing here')
  if (principal && placeOf(principal) !== project) throw new MayflyError('key_invalid', 'the key belongs to another project than the host or path names')
  return await credentials.verifyToken(project, userToken)
}

/** The principal of a request that came out of a sandbox: its own function, if it shows its own handle; beside that, a user whose token it was given. */
export async function authenticateRelay(headers: IncomingHttpHeaders, identity: RelayIdentity, credentials: Credentials): Promise<Principal> {
  const { keys, userToken } = keysOf(headers)
  for (const key of keys) {
    const of = credentials.verifyHandle(key)
    if (!of || !sameIdentity(of, identity)) throw new MayflyError('key_invalid', 'inside a function only its own MAYFLY_KEY is valid')
  }
  if (userToken === null) return keys.length > 0 ? relayPrincipal(identity) : { kind: 'nobody' }
  if (keys.length === 0) throw new MayflyError('key_invalid', "inside a function a user's token is valid beside its own MAYFLY_KEY in `apikey`")
  return await credentials.verifyToken(identity.project as ProjectRef, userToken)
}

export const relayPrincipal = (identity: RelayIdentity): Principal => ({
  kind: 'function',
  project: identity.project as ProjectRef,
  functionName: identity.functionName,
  version: identity.version,
  role: identity.role,
})

export const sameIdentity = (a: RelayIdentity, b: RelayIdentity): boolean =>
  a.project === b.project && a.functionName === b.functionName && a.version === b.version && a.role === b.role

const placeOf = (principal: Principal) => ('project' in principal ? principal.project : principal.kind)
const samePlace = (a: Principal, b: Principal) => placeOf(a) === placeOf(b)

/**
 * Does the route let this principal in?
 * @param route  null for a WebSocket
 * @param pathRef  the project that the path of a management route names
 * @throws MayflyError key_missing, key_invalid (another project's key) or not_allowed
 */
export function authorise(
  access: Access,
  principal: Principal,
  project: ProjectRef | null,
  pathRef: string | null,
  route: Pick<Route, 'method' | 'path'> | null,
): void {
  if (access === 'open' || access === 'own' || access === 'aws') return
  const deploys = principal.kind === 'deployer'
  if (deploys && (route === null || !mayDeployBy(route)))
    throw new MayflyError('not_allowed', 'a deploy token asks for what `mayfly deploy` asks for, in its project, and for nothing else')
  if (principal.kind === 'nobody') {
    if (access === 'project') return // the handler knows whether the function is public
    throw new MayflyError('key_missing', 'No API key found in request')
  }
  if (access === 'operator') {
    if (principal.kind !== 'operator') throw new MayflyError('not_allowed', 'this route needs the operator token')
    return
  }
  if (principal.kind === 'operator') return
  const wanted = access === 'manage' ? pathRef : project
  if (principal.project !== wanted) throw new MayflyError('key_invalid', 'the key belongs to another project than the host or path names')
  if (access === 'manage' && principal.kind !== 'service' && !deploys)
    throw new MayflyError('not_allowed', "this route needs the project's secret key or the operator token")
}
