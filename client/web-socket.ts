import type { WebSocket } from 'ws'
import { ApiError, UnreachableError } from './client.ts'
import { trustSystem } from './system-ca.ts'
import { isOfUnknownIssuer } from './unknown-issuer.ts'

interface SocketOptions {
  readonly url: string
  readonly key: string
  readonly maxPayload?: number
}

/**
 * A WebSocket of the node. What it sends waits until it is listened to: it is paused.
 * @param at  the address, with its `http`
 * @throws ApiError when the node refuses, UnreachableError
 */
export async function openSocket(at: string, options: SocketOptions): Promise<WebSocket> {
  return await open(at, options).catch(async (error: Error) => {
    if (error instanceof UnreachableError && isOfUnknownIssuer(error.cause as Error) && (await trustSystem())) return await open(at, options)
    throw error
  })
}

async function open(at: string, { url, key, maxPayload }: SocketOptions): Promise<WebSocket> {
  // To load it takes a quarter of a short command, and few commands need it.
  const { WebSocket } = await import('ws')
  return await new Promise((resolve, reject) => {
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
