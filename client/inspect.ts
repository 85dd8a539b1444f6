import { WebSocket } from 'ws'
import { ApiError, UnreachableError } from './client.ts'

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
export function openDebugger({ url, key, project, name }: InspectedAt): Promise<WebSocket> {
  const at = `${url.replace(/^http/, 'ws')}/p/${encodeURIComponent(project)}/inspect/v1/websocket?function=${encodeURIComponent(name)}`
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(at, { headers: { apikey: key }, perMessageDeflate: false, maxPayload: MAX_FRAME })
    ws.once('open', () => {
      ws.pause()
      resolve(ws)
    })
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
