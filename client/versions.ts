import type { Client, DeploymentPlan, ProvisionedInfo } from './client.ts'

export interface VersionInfo {
  readonly version: string
  readonly description: string
  readonly runtime: string
  readonly memory: number
  readonly codeBytes: number
  readonly publishedAt: string
  /** The aliases that name it. */
  readonly aliases: readonly string[]
  /** Of it, or of aliases that name it; null where none are to be kept loaded. */
  readonly provisioned: ProvisionedInfo | null
}

export interface AliasInfo {
  readonly name: string
  readonly version: string
  /** Another version that gets a share of the calls. */
  readonly other: { readonly version: string; readonly weight: number } | null
  readonly description: string
  readonly modifiedAt: string
  /** What it named before, the last one at the end. */
  readonly former: readonly string[]
}

const at = (project: string, name: string) => `/api/v1/projects/${encodeURIComponent(project)}/functions/${encodeURIComponent(name)}`
const aliasAt = (project: string, name: string, alias: string) => `${at(project, name)}/aliases/${encodeURIComponent(alias)}`
const query = (alias: string | null) => (alias === null ? '' : `?alias=${encodeURIComponent(alias)}`)

async function send<T>(client: Client, method: string, path: string, body?: object): Promise<T> {
  const response = await client.request(method, path, body && JSON.stringify(body), body ? { 'content-type': 'application/json' } : {})
  return (await response.json()) as T
}

/** All published versions, the newest last; `latest` is the one that the function equals now. */
export async function listVersions(client: Client, project: string, name: string): Promise<{ versions: readonly VersionInfo[]; latest: string | null }> {
  const versions: VersionInfo[] = []
  for (let after = ''; ; ) {
    const page = await send<{ versions: VersionInfo[]; next: string | null; latest: string | null }>(client, 'GET', `${at(project, name)}/versions${after}`)
    versions.push(...page.versions)
    if (page.next === null) return { versions, latest: page.latest }
    after = `?after=${page.next}`
  }
}

export async function listAliases(client: Client, project: string, name: string): Promise<readonly AliasInfo[]> {
  return (await send<{ aliases: AliasInfo[] }>(client, 'GET', `${at(project, name)}/aliases`)).aliases
}

/** Makes an alias, or changes what is given of it. */
export async function putAlias(
  client: Client,
  project: string,
  name: string,
  alias: string,
  change: { readonly version?: string; readonly other?: AliasInfo['other'] },
): Promise<AliasInfo> {
  return (await send<{ alias: AliasInfo }>(client, 'PUT', aliasAt(project, name, alias), change)).alias
}

export async function removeAlias(client: Client, project: string, name: string, alias: string): Promise<void> {
  await client.request('DELETE', aliasAt(project, name, alias))
}

/** Gives all calls of an alias to a version; without one to what the function is now, published if need be. */
export function promote(
  client: Client,
  project: string,
  name: string,
  alias: string,
  version: string | null,
): Promise<{ alias: AliasInfo; published: boolean; changed: boolean }> {
  return send(client, 'POST', `${aliasAt(project, name, alias)}/promote`, version === null ? {} : { version })
}

/** Gives all calls of an alias back to the version that it named before. @throws ApiError nothing_before */
export async function rollback(client: Client, project: string, name: string, alias: string): Promise<AliasInfo> {
  return (await send<{ alias: AliasInfo }>(client, 'POST', `${aliasAt(project, name, alias)}/rollback`, {})).alias
}

/** What deploying a function would change, and pointing an alias at it; changes nothing. */
export function planFunction(
  client: Client,
  project: string,
  name: string,
  definition: object,
  alias: string | null,
): Promise<Pick<DeploymentPlan, 'changes' | 'warnings'>> {
  return send(client, 'POST', `${at(project, name)}/plan${query(alias)}`, definition)
}
