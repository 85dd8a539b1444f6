import type { Client } from './client.ts'

/** A token by which a build server deploys to one project. */
export interface DeployTokenInfo {
  readonly name: string
  readonly createdAt: string
  readonly expiresAt: string
  /** Null while nobody has used it. */
  readonly lastUsedAt: string | null
  readonly hasEnded: boolean
}

const at = (project: string) => `/api/v1/projects/${encodeURIComponent(project)}/tokens`

export async function listTokens(client: Client, project: string): Promise<readonly DeployTokenInfo[]> {
  return ((await (await client.request('GET', at(project))).json()) as { tokens: DeployTokenInfo[] }).tokens
}

/** The token itself is in the answer, and nowhere after. */
export async function createToken(client: Client, project: string, name: string, hours: number): Promise<DeployTokenInfo & { readonly token: string }> {
  const response = await client.request('POST', at(project), JSON.stringify({ name, hours }), { 'content-type': 'application/json' })
  return (await response.json()) as DeployTokenInfo & { token: string }
}

export async function revokeToken(client: Client, project: string, name: string): Promise<void> {
  await client.request('DELETE', `${at(project)}/${encodeURIComponent(name)}`)
}

export interface Self {
  readonly kind: 'operator' | 'service' | 'anon' | 'deployer' | 'nobody'
  /** Null for the operator. */
  readonly project: string | null
}

/** What the client's key is. @throws ApiError with the status 401 when it is none */
export async function whoAmI(client: Client): Promise<Self> {
  return (await (await client.request('GET', '/api/v1/whoami')).json()) as Self
}

/** The project that a deploy token says it is of; null for any other key. */
export const projectOfToken = (key: string): string | null => /^mayfly_token_([a-z][a-z0-9-]{1,39})_/.exec(key)?.[1] ?? null
