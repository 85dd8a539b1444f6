import { createHash } from 'node:crypto'
import { type IncomingMessage, request as httpRequest } from 'node:http'
import { request as tlsRequest } from 'node:https'
import assert from 'node:assert/strict'
import { type Ready, zipOf } from './harness.ts'

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
  readonly code: unknown
}

/** As a browser would send it, every header by hand. */
export function send(to: string, method: string, headers: Readonly<Record<string, string>> = {}, body: string | null = null): Promise<Answer> {
  const url = new URL(to)
  const ask = url.protocol === 'https:' ? tlsRequest : httpRequest
  return new Promise((resolve, reject) => {
    const options = {
      // Browsers know where names below localhost lead; the resolver of this machine may not.
      host: url.hostname.endsWith('.localhost') ? '127.0.0.1' : url.hostname,
      port: url.port,
      method,
      path: url.pathname + url.search,
      headers: { host: url.host, ...headers },
      rejectUnauthorized: false,
    }
    const request = ask(options, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          code: text.startsWith('{') ? (JSON.parse(text) as { code?: unknown }).code : undefined,
        })
      })
    })
    request.on('error', reject)
    request.end(body ?? undefined)
  })
}

/** Makes a function of some files, as the command line does. */
export async function deployFiles(ready: Ready, name: string, files: Readonly<Record<string, string>>, more: object = {}): Promise<void> {
  const zip = await zipOf(files)
  const sha256 = createHash('sha256').update(zip).digest('hex')
  const at = `${ready.url}/api/v1/projects/${ready.project.ref}`
  const headers = { authorization: `Bearer ${ready.project.secretKey}` }
  const sent = await fetch(`${at}/artefacts/${sha256}`, { method: 'PUT', headers, body: new Uint8Array(zip) })
  assert.equal(sent.status, 201)
  const made = await fetch(`${at}/functions/${name}`, { method: 'PUT', headers, body: JSON.stringify({ artefact: sha256, ...more }) })
  assert.ok(made.ok, await made.text())
}
