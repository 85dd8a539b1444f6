import type { WebSocket } from 'ws'
import { openSocket } from './web-socket.ts'

/** Where a debugger of a function is reached. */
export interface InspectedAt {
  readonly url: string
  readonly key: string
  readonly project: string
  readonly name: string
}

/** As large as the node takes and gives. */
const MAX_FRAME = 64 * 1024 * 1024

/**
 * Opens the debugger of a sandbox of the function. What it sends waits until it is listened to: it is paused.
 * @throws ApiError when the node refuses, UnreachableError
 */
export async function openDebugger({ url, key, project, name }: InspectedAt): Promise<WebSocket> {
  const at = `${url}/p/${encodeURIComponent(project)}/inspect/v1/websocket?function=${encodeURIComponent(name)}`
  return await openSocket(at, { url, key, maxPayload: MAX_FRAME })
}
