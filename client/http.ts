import type { Agent as HttpAgent, ClientRequest, IncomingMessage } from 'node:http'
import { text as textOf } from 'node:stream/consumers'
import type { Answer, Asked } from './client.ts'
import { isOfUnknownIssuer } from './unknown-issuer.ts'

class Message implements Answer {
  readonly status: number
  readonly headers: Answer['headers']
  readonly #message: IncomingMessage
  #isRead = false

  constructor(message: IncomingMessage) {
    this.#message = message
    this.status = message.statusCode ?? 0
    this.headers = { get: (name) => (message.headers[name] as string | undefined) ?? null }
    // What nobody reads would keep its connection, and so this process. Who reads does so as soon as it is there.
    setImmediate(() => this.#isRead || message.resume())
  }
  get ok(): boolean {
    return this.status >= 200 && this.status < 300
  }
  get body(): AsyncIterable<Uint8Array> {
    this.#isRead = true
    return this.#message
  }
  text(): Promise<string> {
    this.#isRead = true
    return textOf(this.#message)
  }
  async json(): Promise<unknown> {
    return JSON.parse(await this.text())
  }
}

// `import` would ask for each of its exports, and some of them load WebSocket and fetch: half of what a short command takes.
const { Agent, request: plainRequest } = process.getBuiltinModule('node:http')
const agent = new Agent({ keepAlive: true })
/** Only who speaks to a node elsewhere loads what TLS takes. */
let tls: Promise<{ request: typeof plainRequest; agent: HttpAgent }> | null = null
const loadTls = async () => {
  const { Agent: TlsAgent, request } = await import('node:https')
  return { request: request as typeof plainRequest, agent: new TlsAgent({ keepAlive: true }) }
}

/**
 * A request to a node. That of Node's `fetch` takes a sixth of the start of a short command to load, and gives up on an answer
 * after five minutes, which is less than a function may take.
 * @throws what the connection met, or the signal's reason
 */
export async function ask(url: string, asked: Asked): Promise<Answer> {
  if (url.startsWith('https:')) tls ??= loadTls()
  const to = (url.startsWith('https:') ? await tls : null) ?? { request: plainRequest, agent }
  const once = () =>
    new Promise<Answer>((resolve, reject) => {
      const { method, headers, body, signal } = asked
      const length =
        body === undefined ? (method === 'GET' || method === 'HEAD' ? {} : { 'content-length': '0' }) : { 'content-length': String(Buffer.byteLength(body)) }
      const sent = to.request(url, { method, agent: to.agent, headers: { ...headers, ...length }, ...(signal ? { signal } : {}) }, (message) =>
        resolve(new Message(message)),
      )
      sent.once('error', (error) => reject(signal?.aborted ? signal.reason : new Failure(error, sent)))
      sent.end(body)
    })
  try {
    return await once()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    // The node may close a connection in the moment in which it is used again. It has read nothing then, nor where it was not trusted.
    if (!error.onKept && !(await isTrustedNow(error.cause))) throw error.cause
    return await once().catch((second: unknown) => {
      throw second instanceof Failure ? second.cause : second
    })
  }
}

/** Most commands meet no certificate at all. */
async function isTrustedNow(error: Error): Promise<boolean> {
  if (tls === null || !isOfUnknownIssuer(error)) return false
  const { trustSystem } = await import('./system-ca.ts')
  return await trustSystem()
}

class Failure extends Error {
  declare readonly cause: Error
  readonly onKept: boolean
  constructor(cause: Error, sent: ClientRequest) {
    super(cause.message, { cause })
    this.onKept = sent.reusedSocket && (cause as NodeJS.ErrnoException).code === 'ECONNRESET'
  }
}
