import { MayflyError } from '../core/errors.ts'
import { jsonOf } from '../core/json-body.ts'
import { json } from '../core/json-reply.ts'
import { LIMITS } from '../core/limits.ts'
import type { Principal } from '../core/principal.ts'
import type { Project } from '../core/project.ts'
import type { RequestContext, Route } from '../core/route.ts'
import type { DeployToken, DeployTokens } from './deploy-tokens.ts'

export interface AuthHttpDeps {
  readonly tokens: DeployTokens
  readonly audit: (what: string, project: string) => void
}

/** Who somebody is, and the tokens by which build servers deploy. */
export const routes = ({ tokens, audit }: AuthHttpDeps): Route[] => [
  {
    method: 'GET',
    path: '/api/v1/whoami',
    access: 'open',
    plane: 'management',
    doc: 'Tells what the key of the request is (`operator`, `service`, `anon`, `deployer`, or `nobody` without one), and of which project.',
    handle: async ({ principal }) => json(200, { kind: principal.kind, project: 'project' in principal ? principal.project : null }),
  },
  {
    method: 'GET',
    path: '/api/v1/projects/:ref/tokens',
    access: 'manage',
    plane: 'management',
    doc: 'Lists the deploy tokens of a project by name, with when each ends and was used last; never a token itself.',
    handle: async (context) => json(200, { tokens: (await tokens.list(projectOf(context))).map(shown) }),
  },
  {
    method: 'POST',
    path: '/api/v1/projects/:ref/tokens',
    access: 'manage',
    plane: 'management',
    adds: 'data',
    doc: 'Makes a deploy token (`name`, `hours`): it deploys to this project and does nothing else. It is in the answer and nowhere after.',
    handle: async (context) => {
      const { name, hours } = wishOf(await context.body(LIMITS.managementBody.value))
      const { token, row } = await tokens.create(projectOf(context), name, hours)
      audit(`the deploy token ${name} was made by ${nameOf(context.principal)}`, projectOf(context).ref)
      const made = json(201, { token, ...shown(row) })
      return { ...made, headers: { ...made.headers, 'cache-control': 'no-store' } }
    },
  },
  {
    method: 'DELETE',
    path: '/api/v1/projects/:ref/tokens/:name',
    access: 'manage',
    plane: 'management',
    doc: 'Revokes a deploy token: from the answer on it opens nothing.',
    handle: async (context) => {
      const name = context.params.name ?? ''
      await tokens.revoke(projectOf(context), name)
      audit(`the deploy token ${name} was revoked by ${nameOf(context.principal)}`, projectOf(context).ref)
      return { status: 204 }
    },
  },
]

const projectOf = (context: RequestContext): Project => context.project as Project
const nameOf = (principal: Principal) => ('keyId' in principal ? `key ${principal.keyId}` : principal.kind)

const shown = ({ name, createdAt, expiresAt, lastUsedAt, hasEnded }: DeployToken) => ({
  name,
  createdAt: createdAt.toISOString(),
  expiresAt: expiresAt.toISOString(),
  lastUsedAt: lastUsedAt?.toISOString() ?? null,
  hasEnded,
})

function wishOf(body: Buffer): { name: string; hours: number } {
  const value = jsonOf(body)
  const { name, hours } = (typeof value === 'object' && value !== null ? value : {}) as { name?: unknown; hours?: unknown }
  if (typeof name !== 'string') throw new MayflyError('bad_request', 'name: what the token is called')
  if (typeof hours !== 'number') throw new MayflyError('bad_request', 'hours: how long it is valid')
  return { name, hours }
}
