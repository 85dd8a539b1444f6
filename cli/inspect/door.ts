import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'

const MAX_FRAME = 64 * 1024 * 1024

export interface DoorDeps {
  readonly name: string
  /** A debugger has come. */
  readonly joined: (debugging: WebSocket) => void
}

/**
 * What a debugger finds where Node itself would listen. Pages in a browser cannot use it: they cannot read the name behind
 * which the WebSocket is, and come by other host names than that of this machine.
 */
export class Door implements AsyncDisposable {
  readonly #deps: DoorDeps
  readonly #id = randomUUID()
  readonly #server = createServer((request, response) => this.#answer(request, response))
  readonly #sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: MAX_FRAME })

  constructor(deps: DoorDeps) {
    this.#deps = deps
    this.#server.on('upgrade', (request, socket, head) => {
      socket.on('error', () => socket.destroy())
      if (!isOfThisMachine(request) || request.url !== `/${this.#id}`) return void socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n')
      this.#sockets.handleUpgrade(request, socket, head, (ws) => this.#deps.joined(ws))
    })
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** @throws Error with code EADDRINUSE or EACCES */
  async listen(port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, '127.0.0.1', resolve)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const ws of this.#sockets.clients) ws.terminate()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const found = isOfThisMachine(request) ? this.#documents().get(request.url ?? '') : undefined
    response.writeHead(found === undefined ? 404 : 200, { 'content-type': 'application/json; charset=UTF-8', connection: 'close' })
    response.end(found === undefined ? '' : JSON.stringify(found))
  }

  #documents(): Map<string, unknown> {
    const at = `127.0.0.1:${this.port}/${this.#id}`
    const list = [
      {
        description: 'a function of Mayfly',
        devtoolsFrontendUrl: `devtools://devtools/bundled/js_app.html?experiments=true&v8only=true&ws=${at}`,
        faviconUrl: 'https://nodejs.org/static/images/favicons/favicon.ico',
        id: this.#id,
        title: this.#deps.name,
        type: 'node',
        url: 'file:///var/task/',
        webSocketDebuggerUrl: `ws://${at}`,
      },
    ]
    return new Map<string, unknown>([
      ['/json', list],
      ['/json/list', list],
      ['/json/version', { Browser: 'node.js/mayfly', 'Protocol-Version': '1.1' }],
    ])
  }
}

/** By a name that somebody else decides over, a page could be made to lead here. */
const isOfThisMachine = ({ headers }: IncomingMessage): boolean => /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i.test(headers.host ?? '')
