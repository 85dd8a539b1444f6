import type { Duplex } from 'node:stream'
import type { Client } from './client.ts'
import { openSocket } from './web-socket.ts'

/** Where any PostgreSQL client reaches a project; host and port are null where the node listens for none. */
export interface DatabasePlace {
  readonly host: string | null
  readonly port: number | null
  readonly tls: boolean
  readonly user: string
  readonly database: string
}
export interface DatabaseLogin extends DatabasePlace {
  readonly password: string
  readonly url: string | null
}

/** @param rotate  makes another password, which ends the sessions of the one before */
export async function databaseLogin(client: Client, project: string, rotate: boolean): Promise<DatabaseLogin> {
  const at = `/api/v1/projects/${encodeURIComponent(project)}/database/password`
  return (await (await client.request('POST', at, JSON.stringify({ rotate }), { 'content-type': 'application/json' })).json()) as DatabaseLogin
}

/**
 * The bytes of a session in the project's database, as any PostgreSQL client speaks them, by the node's own door.
 * @throws ApiError when the node refuses, UnreachableError
 */
export async function openDatabaseStream(url: string, key: string, project: string): Promise<Duplex> {
  const socket = await openSocket(`${url}/p/${encodeURIComponent(project)}/database/v1/websocket`, { url, key })
  const { createWebSocketStream } = await import('ws')
  const stream = createWebSocketStream(socket)
  // A WebSocket closes both ways; of a stream that is read to its end and not written to its own nobody would hear that it is closed.
  return stream.once('end', () => stream.destroy())
}
