import { createHash } from 'node:crypto'
import { type Ready, zipOf } from '../acceptance/harness.ts'

/** How a call ended for its caller. `lost`: it had no answer, or half of one, because the node or its sandbox was killed; `left`: the caller did not wait for it. */
export type Outcome = 'ok' | 'failed' | 'refused' | 'lost' | 'left'

const code = (version: number) => ({
  warm: `let n = 0; exports.handler = async () => ({ version: ${version}, n: ++n })`,
  once: `exports.handler = async () => ${version}`,
  shared: `exports.fetch = async (request) => { const { searchParams } = new URL(request.url); await new Promise((done) => setTimeout(done, Number(searchParams.get('ms')))); if (searchParams.has('die')) process.exit(3); return new Response('${version}'.padEnd(Number(searchParams.get('bytes') ?? 1), 'x')) }`,
  throws: `exports.handler = async () => { throw new Error('as it should ${version}') }`,
  exits: `exports.handler = async () => process.exit(${version % 200})`,
  late: `exports.handler = async () => await new Promise(() => setInterval(() => {}, 1000))`,
  queued: `exports.handler = async () => ${version}`,
})
export type Name = keyof ReturnType<typeof code>
export const NAMES = Object.keys(code(0)) as Name[]

/** The functions of a soak on a node, however often that is started again. */
export class Functions {
  #ready: Ready
  #versions = 0

  constructor(ready: Ready) {
    this.#ready = ready
  }

  /** It has been started again, at another address. */
  moved(ready: Ready): void {
    this.#ready = ready
  }

  /** Makes it, or a new version of it. */
  async put(name: Name): Promise<void> {
    const zip = await zipOf({ 'index.js': code(++this.#versions)[name] })
    const artefact = createHash('sha256').update(zip).digest('hex')
    await this.#manage('PUT', `artefacts/${artefact}`, zip)
    const spec = { runtime: 'nodejs24.x', memory: 128, timeout: name === 'late' ? 1 : 20, artefact, ...SPECS[name] }
    await this.#manage('PUT', `functions/${name}`, JSON.stringify(spec))
  }

  async remove(name: Name): Promise<void> {
    await this.#manage('DELETE', `functions/${name}`)
  }

  /** Through the address that browsers use. */
  async call(name: Name, query: string, signal: AbortSignal): Promise<Outcome> {
    const { url, publishableKey } = this.#ready.project
    const response = await fetch(`${url}/functions/v1/${name}${query}`, { headers: { apikey: publishableKey }, signal })
    const body = await response.text()
    if (response.ok) return 'ok'
    const { code: error = '' } = JSON.parse(body) as { code?: string }
    if (error === 'function_failed' || error === 'function_timeout') return 'failed'
    // The last of them where the sandbox that was started for it was one that was killed.
    if (['too_many_invocations', 'sandbox_lost', 'function_not_found', 'shutting_down', 'function_not_ready', 'sandbox_unavailable'].includes(error))
      return 'refused'
    throw new Error(`${name} answered ${response.status}: ${body}`)
  }

  /** Resolves when it is in the queue. */
  async enqueue(name: Name): Promise<void> {
    await this.#manage('POST', `functions/${name}/invoke?async=1`, '{}')
  }

  /** What was metered, by function. */
  async metered(): Promise<Map<string, { executions: number; cut: number }>> {
    const { usage } = (await this.#manage('GET', 'usage?by=function')) as { usage: { functionName: string; executions: number; cut: number }[] }
    return new Map(usage.map((row) => [row.functionName, row]))
  }

  /** How many events wait, or are being tried. */
  async queued(): Promise<number> {
    const { waiting, running } = (await this.#manage('GET', 'queue')) as { waiting: number; running: number }
    return waiting + running
  }

  async #manage(method: string, at: string, body?: string | Buffer): Promise<unknown> {
    const { url, project } = this.#ready
    const headers = { apikey: project.secretKey, 'content-type': typeof body === 'string' ? 'application/json' : 'application/zip' }
    const response = await fetch(`${url}/api/v1/projects/${project.ref}/${at}`, {
      method,
      headers,
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : new Uint8Array(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${at}: ${response.status} ${text}`)
    return text === '' ? null : JSON.parse(text)
  }
}

const SPECS: Partial<Record<Name, object>> = { once: { reuse: 'never' }, shared: { concurrency: 8, handler: 'index.fetch' } }
