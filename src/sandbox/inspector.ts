import { type SendHandle, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { WebSocket } from 'ws'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { PATH } from './egress/programs.ts'
import type { Entrance } from './types.ts'

const LIMIT_MS = 20_000
const PORT = 9229
/**
 * Waits until Node listens, asks for the name of its debugger and hands over a connection. What it hears may be of the
 * user's making: of it no more than that name is believed.
 */
const REACH = `
const http = require('node:http'), net = require('node:net')
const at = { host: '127.0.0.1', port: ${PORT} }
const again = () => setTimeout(look, 20)
const look = () => http.get({ ...at, path: '/json/list', agent: false, timeout: 2000 }, (answer) => {
  let text = ''
  answer.setEncoding('latin1').on('data', (more) => { text += more; if (text.length > 65536) answer.destroy() })
  answer.once('close', () => {
    const id = /"id": ?"([0-9a-f-]{36})"/.exec(text)?.[1]
    if (id === undefined) return again()
    const socket = net.connect(at, () => process.send(id, socket))
    socket.once('error', again)
  })
}).once('timeout', function () { this.destroy() }).once('error', again)
process.once('disconnect', () => process.exit())
look()`

/** A connection to the debugger of Node in a sandbox. */
export class Inspector implements Disposable {
  readonly #ws: WebSocket

  constructor(ws: WebSocket) {
    this.#ws = ws
    ws.on('error', () => ws.terminate())
  }
  get buffered(): number {
    return this.#ws.bufferedAmount
  }
  send(frame: string): void {
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.send(frame)
  }
  listen(on: boolean): void {
    if (on) this.#ws.resume()
    else this.#ws.pause()
  }
  onFrame(take: (frame: string) => void): void {
    this.#ws.on('message', (data) => take(String(data)))
  }
  onClose(take: () => void): void {
    if (this.#ws.readyState === this.#ws.CLOSED) take()
    else this.#ws.once('close', take)
  }
  [Symbol.dispose](): void {
    // A sandbox that was stopped on a line goes on when this is closed.
    this.#ws.terminate()
  }
}

/**
 * Has Node in a sandbox listen for a debugger, in its own network where nobody else comes, and connects to it.
 * @throws MayflyError not_inspectable
 */
export async function openInspector({ guest, network }: Entrance, signal: AbortSignal): Promise<Inspector> {
  try {
    // The number was looked up in this very turn, so it is nobody else's yet.
    process.kill(guest, 'SIGUSR1')
    const { id, socket } = await reach(network, signal)
    return new Inspector(await opened(id, socket))
  } catch (error) {
    signal.throwIfAborted()
    throw new MayflyError('not_inspectable', `the debugger of the sandbox was not reached: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    })
  }
}

async function reach(network: readonly string[], signal: AbortSignal): Promise<{ readonly id: string; readonly socket: Socket }> {
  const child = spawn('nsenter', [...network, process.execPath, '-e', REACH], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    cwd: '/',
    detached: true,
    timeout: LIMIT_MS,
    killSignal: 'SIGKILL',
    env: { PATH },
  })
  let complaint = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(0, 500)
  })
  const stop = () => child.kill('SIGKILL')
  signal.addEventListener('abort', stop)
  try {
    return await new Promise((resolve, reject) => {
      child.once('message', (id, handle?: SendHandle) =>
        handle === undefined ? reject(new Error('no connection was handed over')) : resolve({ id: String(id), socket: handle as Socket }),
      )
      child.once('error', reject)
      child.once('close', (code, how) => reject(new Error(complaint.trim() || `nobody answered (${how ?? `exit code ${code}`})`)))
    })
  } finally {
    signal.removeEventListener('abort', stop)
    if (child.connected) child.disconnect()
  }
}

function opened(id: string, socket: Socket): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(`ws://127.0.0.1:${PORT}/${id}`, {
      createConnection: () => socket,
      perMessageDeflate: false,
      maxPayload: LIMITS.inspectFrame.value,
      handshakeTimeout: LIMIT_MS,
    })
    ws.once('open', () => resolve(ws))
    ws.once('error', reject)
  })
}
