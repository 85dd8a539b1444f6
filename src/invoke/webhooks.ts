import { createHash, createHmac } from 'node:crypto'
import type { Asked } from '../core/public-fetch.ts'
import type { ProjectRef } from '../core/project.ts'
import type { RetryAfter } from '../core/spec-parts.ts'
import { storableText } from '../lib/text.ts'
import type { LeasedEntry, Webhook } from './store.ts'

export interface WebhooksDeps {
  /** `publicFetch`: the one way out of this node to what users name. */
  readonly fetch: (url: string, asked: Asked) => Promise<Response>
  /** The value of a project's secret; null when there is none of that name. */
  readonly secretOf: (project: ProjectRef, name: string) => Promise<string | null>
  /** Wall time, ms since 1970. */
  readonly now: () => number
}

/** A receiver is told this often and for so long, at first within seconds, in the end every few hours; as Standard Webhooks advises. */
export const WEBHOOK_TRIES = { maxAttempts: 12, maxAgeSeconds: 3 * 86_400, retryAfter: { least: 5, most: 36_000 } } as const satisfies {
  maxAttempts: number
  maxAgeSeconds: number
  retryAfter: RetryAfter
}
export const WEBHOOK_MS = 15_000
const TOLD = 256

/** One receiver counts as one function in the queue: who is slow holds up nobody else. */
export function addressId(project: string, url: string): string {
  const bytes = createHash('sha256')
    .update(`${project}\n${new URL(url).origin}`)
    .digest()
    .subarray(0, 16)
  bytes[6] = 0x80 | ((bytes[6] ?? 0) & 0x0f)
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/**
 * The headers by which a receiver knows who sent a body, and when.
 * @param secret  `whsec_` and base64, or any other text, whose bytes are the key then
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
export function webhookHeaders(id: string, atMs: number, body: Uint8Array, secret: string): Record<string, string> {
  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice('whsec_'.length), 'base64') : Buffer.from(secret)
  const timestamp = String(Math.floor(atMs / 1_000))
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` }
}

export interface WebhookFailure {
  readonly errorType: string
  readonly errorMessage: string
  readonly stack: null
  /** How long the receiver asks to be left alone, in ms; null when it does not. */
  readonly afterMs: number | null
}

/** Sends once what an entry carries. @returns why it was not taken; null when it was */
export async function sendWebhook(entry: LeasedEntry & { readonly webhook: Webhook }, deps: WebhooksDeps, signal: AbortSignal): Promise<WebhookFailure | null> {
  const { url, secret: name } = entry.webhook
  const failed = (errorType: string, message: string, afterMs: number | null = null): WebhookFailure => ({
    errorType,
    errorMessage: storableText(message.slice(0, TOLD)),
    stack: null,
    afterMs,
  })
  const secret = await deps.secretOf(entry.project as ProjectRef, name)
  if (secret === null) return failed('Webhook.NoSecret', `the project has no secret named ${name}`)
  let response: Response
  try {
    response = await deps.fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': 'Mayfly-Webhooks/1',
        ...webhookHeaders(entry.id, deps.now(), entry.payload, secret),
      },
      body: entry.payload,
      moves: 0,
      signal: AbortSignal.any([signal, AbortSignal.timeout(WEBHOOK_MS)]),
    })
  } catch (error) {
    return failed('Webhook.Unreachable', (error as Error).message)
  }
  // What a receiver says is not read: its status is its answer.
  await response.body?.cancel().catch(() => {})
  if (response.status >= 200 && response.status < 300) return null
  const seconds = /^\d{1,5}$/.exec(response.headers.get('retry-after') ?? '')?.[0]
  return failed('Webhook.Refused', `it answered ${response.status}`, seconds === undefined ? null : Number(seconds) * 1_000)
}
