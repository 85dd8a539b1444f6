import type { Client } from './client.ts'

export interface SentInfo {
  readonly id: string
  /** How many functions it starts. */
  readonly started: number
  /** Its id was seen before: it starts nothing a second time. */
  readonly seen: boolean
}

/** Resolves when the event is on disk. */
export async function sendEvent(client: Pick<Client, 'request'>, project: string, bus: string, event: object): Promise<SentInfo> {
  const path = `/api/v1/projects/${encodeURIComponent(project)}/events?bus=${encodeURIComponent(bus)}`
  const response = await client.request('POST', path, JSON.stringify(event), { 'content-type': 'application/json' })
  const [sent] = ((await response.json()) as { events: SentInfo[] }).events
  return sent as SentInfo
}
