import type { Client } from './client.ts'

/** An address of a function, or of one of its aliases. */
export interface FunctionUrlInfo {
  readonly url: string
  readonly function: string
  readonly alias: string | null
  readonly auth: 'none' | 'iam'
  readonly stream: boolean
  readonly createdAt: string
  readonly modifiedAt: string
}

export interface UrlWish {
  readonly auth?: 'none' | 'iam'
  readonly stream?: boolean
}

const project = (ref: string) => `/api/v1/projects/${encodeURIComponent(ref)}`
const at = (ref: string, name: string) => `${project(ref)}/functions/${encodeURIComponent(name)}`
const query = (alias: string | null) => (alias === null ? '' : `?alias=${encodeURIComponent(alias)}`)

export async function listUrls(client: Client, ref: string, name: string): Promise<readonly FunctionUrlInfo[]> {
  return ((await (await client.request('GET', `${at(ref, name)}/urls`)).json()) as { urls: FunctionUrlInfo[] }).urls
}

/** Makes an address, or changes the one that is there; what is not said stays. */
export async function putUrl(
  client: Client,
  ref: string,
  name: string,
  alias: string | null,
  wish: UrlWish,
): Promise<{ url: FunctionUrlInfo; changed: boolean }> {
  const response = await client.request('PUT', `${at(ref, name)}/url${query(alias)}`, JSON.stringify(wish), { 'content-type': 'application/json' })
  return (await response.json()) as { url: FunctionUrlInfo; changed: boolean }
}

export async function removeUrl(client: Client, ref: string, name: string, alias: string | null): Promise<void> {
  await client.request('DELETE', `${at(ref, name)}/url${query(alias)}`)
}

/** Whether addresses without signatures ask for a policy that lets anyone in. */
export async function setUrlPolicies(client: Client, ref: string, strict: boolean): Promise<void> {
  await client.request('PUT', `${project(ref)}/function-urls`, JSON.stringify({ strict }), { 'content-type': 'application/json' })
}
