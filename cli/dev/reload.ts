import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Tells open pages that there is something new. */
export class Reloads implements AsyncDisposable {
  readonly #pages = new Set<ServerResponse>()
  readonly #server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'access-control-allow-origin': '*' })
    response.write(': here\n\n')
    this.#pages.add(response)
    response.on('error', () => {})
    response.on('close', () => this.#pages.delete(response))
  })

  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(0, '127.0.0.1', resolve)
    })
  }

  /** What is put into pages while they are being written. */
  page(html: Buffer): Buffer {
    const { port } = this.#server.address() as AddressInfo
    const script = `<script>new EventSource('http://127.0.0.1:${port}/').addEventListener('reload', () => location.reload())</script>`
    const text = html.toString('latin1')
    const at = text.search(/<\/body\s*>(?![\s\S]*<\/body\s*>)/i)
    return Buffer.from(at === -1 ? `${text}${script}` : `${text.slice(0, at)}${script}${text.slice(at)}`, 'latin1')
  }

  tell(): void {
    for (const page of this.#pages) page.write('event: reload\ndata: \n\n')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const page of this.#pages) page.end()
    this.#server.closeAllConnections()
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve))
  }
}
