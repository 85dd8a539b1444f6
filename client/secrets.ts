import type { Client } from './client.ts'

/** What a node tells of a secret: never its value. */
export interface SecretInfo {
  readonly name: string
  /** The same for the same value. */
  readonly digest: string
  readonly createdAt: string
  readonly modifiedAt: string
}

const at = (project: string) => `/api/v1/projects/${encodeURIComponent(project)}/secrets`

export async function listSecrets(client: Client, project: string): Promise<readonly SecretInfo[]> {
  return ((await (await client.request('GET', at(project))).json()) as { secrets: SecretInfo[] }).secrets
}

/** Sets all of them, or none. @returns the names whose value is another than before */
export async function setSecrets(client: Client, project: string, secrets: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const response = await client.request('PUT', at(project), JSON.stringify({ secrets }), { 'content-type': 'application/json' })
  return ((await response.json()) as { changed: string[] }).changed
}

/** Removes all of them, or none. @throws ApiError with the status 404 when one is not there */
export async function removeSecrets(client: Client, project: string, names: readonly string[]): Promise<void> {
  await client.request('DELETE', `${at(project)}?${new URLSearchParams(names.map((name): [string, string] => ['name', name]))}`)
}
