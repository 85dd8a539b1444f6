import type { Duplex } from 'node:stream'
import { createWebSocketStream, WebSocket } from 'ws'
import { ApiError, type Client, UnreachableError } from './client.ts'

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
export function openDatabaseStream(url: string, key: string, project: string): Promise<Duplex> {
  const at = `${url.replace(/^http/, 'ws')}/p/${encodeURIComponent(project)}/database/v1/websocket`
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(at, { headers: { apikey: key }, perMessageDeflate: false })
    ws.once('open', () => resolve(createWebSocketStream(ws)))
    ws.once('error', (error) => reject(new UnreachableError(url, error)))
    ws.once('unexpected-response', (request, answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (more: string) => {
        text += more
      })
      answer.once('end', () => {
        request.destroy()
        reject(new ApiError(answer.statusCode ?? 0, bodyOf(text)))
      })
    })
  })
}

function bodyOf(text: string): ConstructorParameters<typeof ApiError>[1] {
  try {
    return JSON.parse(text) as ConstructorParameters<typeof ApiError>[1]
  } catch {
    return {}
  }
}
