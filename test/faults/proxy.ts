import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'

/** Stands between the node and a PostgreSQL, and breaks what it is told to break. */
export class CuttingProxy implements AsyncDisposable {
  readonly #server: Server
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  #isShut = false
  #cuts: { how: 'before' | 'after'; left: number; done: () => void } | null = null

  private constructor(port: number) {
    this.#server = createServer((near) => {
      if (this.#isShut) return void near.destroy()
      const far = connect(port, '127.0.0.1')
      const pair = [near, far] as const
      this.#pairs.add(pair)
      for (const one of pair) {
        one.setNoDelay(true)
        one.on('error', () => {})
        one.on('close', () => this.#cut(pair))
      }
      near.on('data', (chunk: Buffer) => this.#onward(pair, chunk))
      near.on('end', () => far.end())
      far.pipe(near)
    })
  }

  static async open(port: number): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(port)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /**
   * Of the next commits so many lose their connection: before the server hears of them, or when it has and the node
   * has no answer yet. Ends sooner after `mostMs`.
   */
  async cutCommits(how: 'before' | 'after', times: number, mostMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#cuts = { how, left: times, done: resolve }
    const late = setTimeout(resolve, mostMs)
    await promise
    clearTimeout(late)
    this.#cuts = null
  }

  /** Nobody gets through for so long. */
  async cutAll(ms: number): Promise<void> {
    this.#isShut = true
    for (const pair of this.#pairs) this.#cut(pair)
    await new Promise((resolve) => setTimeout(resolve, ms))
    this.#isShut = false
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pair of this.#pairs) this.#cut(pair)
    this.#server.close()
  }

  #onward(pair: readonly [Socket, Socket], chunk: Buffer): void {
    const [near, far] = pair
    const cuts = this.#cuts
    if (cuts === null || cuts.left === 0 || !/commit/i.test(chunk.toString('latin1'))) {
      if (!far.write(chunk)) {
        near.pause()
        far.once('drain', () => near.resume())
      }
      return
    }
    if (--cuts.left === 0) cuts.done()
    if (cuts.how === 'before') {
      this.#cut(pair)
      return
    }
    far.unpipe(near)
    // The server has it all before it sees the end of the connection.
    far.write(chunk, () => this.#cut(pair))
  }

  #cut(pair: readonly [Socket, Socket]): void {
    const [near, far] = pair
    if (!this.#pairs.delete(pair)) return
    near.destroy()
    if (far.writableLength === 0) far.destroySoon()
    else far.destroy()
  }
}
