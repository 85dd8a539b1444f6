import { WebSocket } from 'ws'
import { ApiError, UnreachableError } from './client.ts'

/**
 * A WebSocket of the node. What it sends waits until it is listened to: it is paused.
 * @param at  the address, with its `http`
 * @throws ApiError when the node refuses, UnreachableError
 */
export function openSocket(
  at: string,
  { url, key, maxPayload }: { readonly url: string; readonly key: string; readonly maxPayload?: number },
): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(at.replace(/^http/, 'ws'), {
      headers: { apikey: key },
      perMessageDeflate: false,
      ...(maxPayload === undefined ? {} : { maxPayload }),
    })
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
