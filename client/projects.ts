import type { Client } from './client.ts'
import type { GivenKeys } from './keys.ts'

export interface ProjectInfo {
  readonly ref: string
  readonly name: string
  readonly state: string
  /** The name of its limit profile. */
  readonly profile: string
  /** A port of its own, where its API is at the root. */
  readonly apiPort?: number
}

interface Range {
  readonly least: number
  readonly most: number
}

/** What functions of a project may be set to: MB, seconds, calls at once in a sandbox, bytes. */
export interface ProjectLimits {
  readonly about: string
  readonly memory: Range
  readonly timeout: Range
  readonly tmp: Range
  readonly concurrency: Range
  readonly queuedPayload: number
}

const at = (ref: string) => `/api/v1/projects/${encodeURIComponent(ref)}`
const JSON_BODY = { 'content-type': 'application/json' }

/** @throws ApiError: the operator's token is needed */
export async function listProjects(client: Client): Promise<readonly ProjectInfo[]> {
  return ((await (await client.request('GET', '/api/v1/projects')).json()) as { projects: ProjectInfo[] }).projects
}

/** With a database and keys of its own. @throws ApiError: the operator's token is needed */
export async function createProject(
  client: Client,
  ref: string,
  name: string = ref,
  keys?: GivenKeys,
  port?: number,
): Promise<{ readonly project: ProjectInfo; readonly keys: { readonly publishableKey: string; readonly secretKey: string } }> {
  const response = await client.request('POST', '/api/v1/projects', JSON.stringify({ ref, name, keys, port }), JSON_BODY)
  return (await response.json()) as { project: ProjectInfo; keys: { publishableKey: string; secretKey: string } }
}

/** It has no server and no connection until its next request. @throws ApiError: the operator's token is needed */
export async function pauseProject(client: Client, ref: string): Promise<ProjectInfo> {
  return ((await (await client.request('POST', `${at(ref)}/pause`)).json()) as { project: ProjectInfo }).project
}

/** @throws ApiError: the operator's token is needed */
export async function resumeProject(client: Client, ref: string): Promise<ProjectInfo> {
  return ((await (await client.request('POST', `${at(ref)}/resume`)).json()) as { project: ProjectInfo }).project
}

/** A project with the rows and objects that another has now, and keys of its own. @throws ApiError: the operator's token is needed */
export async function cloneProject(client: Client, source: string, ref: string): Promise<ProjectInfo> {
  const response = await client.request('POST', `${at(source)}/clone`, JSON.stringify({ ref }), JSON_BODY)
  return ((await response.json()) as { project: ProjectInfo }).project
}

/** With all that it has. @throws ApiError: the operator's token is needed */
export async function removeProject(client: Client, ref: string): Promise<void> {
  await client.request('DELETE', at(ref))
}

export async function showProject(client: Client, ref: string): Promise<{ readonly project: ProjectInfo; readonly limits: ProjectLimits }> {
  return (await (await client.request('GET', at(ref))).json()) as { project: ProjectInfo; limits: ProjectLimits }
}

/** The TypeScript types of what its data API serves. */
export async function typesOf(client: Client, ref: string): Promise<string> {
  return await (await client.request('GET', `${at(ref)}/types`)).text()
}

/** @throws ApiError: the operator's token is needed */
export async function listLimitProfiles(client: Client): Promise<readonly (ProjectLimits & { readonly name: string })[]> {
  return ((await (await client.request('GET', '/api/v1/limit-profiles')).json()) as { profiles: (ProjectLimits & { name: string })[] }).profiles
}

/** From the next deploy on. @throws ApiError: the operator's token is needed */
export async function setLimitProfile(client: Client, ref: string, profile: string): Promise<ProjectInfo> {
  return ((await (await client.request('PATCH', at(ref), JSON.stringify({ profile }), JSON_BODY)).json()) as { project: ProjectInfo }).project
}

/** Another port of its own; null: none. @throws ApiError: the operator's token is needed */
export async function setPort(client: Client, ref: string, port: number | null): Promise<ProjectInfo> {
  return ((await (await client.request('PATCH', at(ref), JSON.stringify({ port }), JSON_BODY)).json()) as { project: ProjectInfo }).project
}

/** What a project has of the node beside others. */
export interface ProjectShare {
  /** How many of its calls run at once; null: as the node is set. */
  readonly concurrency: number | null
  /** How much of a full node it has. */
  readonly weight: number
}

export async function showShare(client: Client, ref: string): Promise<ProjectShare> {
  return (await (await client.request('GET', `${at(ref)}/concurrency`)).json()) as ProjectShare
}

/** @throws ApiError: the operator's token is needed */
export async function setShare(client: Client, ref: string, share: ProjectShare): Promise<ProjectShare> {
  return (await (await client.request('PUT', `${at(ref)}/concurrency`, JSON.stringify(share), JSON_BODY)).json()) as ProjectShare
}
