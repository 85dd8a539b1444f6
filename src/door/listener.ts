import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import type { Door } from './service.ts'
import { WireError } from './wire.ts'

const KEEPALIVE_MS = 60_000

/** Where PostgreSQL clients connect. */
export class DoorListener implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  /** @param demandsTls  no password and no row goes over the network in the clear */
  constructor(door: Pick<Door, 'serve'>, tls: { readonly cert: string; readonly key: string } | null, demandsTls: boolean) {
    const context = tls === null ? null : createSecureContext({ ...tls, minVersion: 'TLSv1.2' })
    const secure = context === null ? null : (stream: Duplex) => secured(stream as Socket, context)
    this.#server = createServer({ keepAlive: true, keepAliveInitialDelay: KEEPALIVE_MS, noDelay: true }, (socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
      void door.serve(socket, { secure, demandsTls })
    })
  }

  /** @returns the port. @throws Error with code EADDRINUSE or EACCES */
  async listen(host: string, port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port }, () => {
        this.#server.removeListener('error', reject)
        resolve()
      })
    })
    return (this.#server.address() as AddressInfo).port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve))
  }
}

async function secured(socket: Socket, secureContext: SecureContext): Promise<Duplex> {
  const stream = new TLSSocket(socket, { isServer: true, secureContext })
  stream.on('error', () => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    stream.once('secure', resolve)
    socket.once('close', () => reject(new WireError('no TLS came about')))
  })
  return stream
}
