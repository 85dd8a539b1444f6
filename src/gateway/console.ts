import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { LIMITS } from '../core/limits.ts'
import type { HostNames } from './doors.ts'

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Mayfly console</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 0; min-height: 100vh; display: grid; align-content: center; justify-content: center; background: light-dark(#fafaf7, #16181b); color: light-dark(#1d2125, #e8e6e1) }
main { max-width: 38rem; padding: 2rem 1.5rem }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .75rem }
p, dd { color: light-dark(#4c5560, #aab2bb) }
p { margin: 0 0 1.5rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .6rem 1.25rem; margin: 0; align-items: baseline }
dd { margin: 0 }
code { font: .9em ui-monospace, monospace; background: light-dark(#ecece6, #24282d); padding: .2em .45em; border-radius: .25em; white-space: nowrap }
@media (max-width: 34rem) {
  dl { grid-template-columns: 1fr; gap: .2rem }
  dd { margin: 0 0 .75rem }
}
</style>
</head>
<body>
<main>
<h1>Mayfly is running</h1>
<p>This is the console's own address. Its pages come with a later version; until then the command line shows what they will:</p>
<dl>
<dt><code>npx mayfly status</code></dt><dd>addresses, keys and sandboxes of this node</dd>
<dt><code>npx mayfly ls</code></dt><dd>the functions that are deployed</dd>
<dt><code>npx mayfly logs -f NAME</code></dt><dd>what a function writes, as it writes it</dd>
<dt><code>npx mayfly usage</code></dt><dd>executions and GB-seconds</dd>
</dl>
</main>
</body>
</html>
`

/** The console's door: an origin of its own, the only one that will ever accept a cookie. */
export class ConsoleListener implements AsyncDisposable {
  readonly #server: Server

  constructor(hosts: HostNames) {
    this.#server = createServer({ maxHeaderSize: LIMITS.requestHeaders.value, headersTimeout: LIMITS.requestHeadTime.value }, (request, response) => {
      response.setHeader(
        'content-security-policy',
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
      )
      response.setHeader('x-content-type-options', 'nosniff')
      response.setHeader('referrer-policy', 'no-referrer')
      response.setHeader('cache-control', 'no-store')
      try {
        hosts.check(request.headers.host)
      } catch {
        response.writeHead(421, { 'content-type': 'text/plain' }).end('This node does not serve that host name.\n')
        return
      }
      if (request.method !== 'GET' && request.method !== 'HEAD') response.writeHead(405, { allow: 'GET, HEAD' }).end()
      else if (request.url?.split('?')[0] !== '/') response.writeHead(404, { 'content-type': 'text/plain' }).end('Nothing is here.\n')
      else response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(request.method === 'HEAD' ? undefined : PAGE)
    })
    this.#server.on('clientError', (_error, socket) => socket.destroy())
  }

  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port }, () => {
        this.#server.removeListener('error', reject)
        resolve((this.#server.address() as AddressInfo).port)
      })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}
