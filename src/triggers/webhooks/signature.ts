import { createHmac, timingSafeEqual } from 'node:crypto'
import { MayflyError } from '../../core/errors.ts'
import type { WebhookSpec } from '../../core/web-triggers.ts'

/** What came, as far as a signature speaks of it. */
export interface SignedRequest {
  /** Header lines in order as they came: name, value, name, value… */
  readonly rawHeaders: readonly string[]
  /** The very bytes: a signature is over nothing else. */
  readonly body: Buffer
  readonly nowMs: number
}

/** What a delivery is known by, and what it tells of; null where it does not say. */
export interface Delivery {
  readonly id: string | null
  readonly event: string | null
}

/** How far the time in a signature may be from now. */
export const WEBHOOK_TOLERANCE_MS = 300_000
const DIGEST_BYTES = 32

/**
 * Was a request signed by one of these secrets, and of late?
 * @see https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
 * @see https://docs.stripe.com/webhooks/signature
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 * @throws MayflyError webhook_signature_invalid, which says nothing more; webhook_too_old to who has the secret
 */
export function verifyWebhook(spec: WebhookSpec, secrets: readonly string[], request: SignedRequest): Delivery {
  switch (spec.provider) {
    case 'generic': {
      const given = once(request, spec.header ?? 'x-signature')
      const { prefix = '', encoding = 'hex' } = spec
      const isSigned = given?.startsWith(prefix) === true && isSignedBy(secrets, [decoded(given.slice(prefix.length), encoding)], request.body)
      if (!isSigned) throw invalid()
      return { id: spec.idHeader === undefined ? null : once(request, spec.idHeader), event: null }
    }
    case 'standard':
      return verifyStandard(secrets, request)
    case 'github': {
      const given = once(request, 'x-hub-signature-256')
      if (given?.startsWith('sha256=') !== true || !isSignedBy(secrets, [decoded(given.slice('sha256='.length), 'hex')], request.body)) throw invalid()
      return { id: once(request, 'x-github-delivery'), event: once(request, 'x-github-event') }
    }
    case 'stripe':
      return verifyStripe(secrets, request)
  }
}

function verifyStandard(secrets: readonly string[], request: SignedRequest): Delivery {
  const id = once(request, 'webhook-id')
  const timestamp = once(request, 'webhook-timestamp')
  const given = once(request, 'webhook-signature')
  if (!id || timestamp === null || given === null) throw invalid()
  const signatures = given.split(' ').flatMap((one) => (one.startsWith('v1,') ? [decoded(one.slice('v1,'.length), 'base64')] : []))
  const keys = secrets.map((secret) => (secret.startsWith('whsec_') ? Buffer.from(secret.slice('whsec_'.length), 'base64') : secret))
  if (!isSignedBy(keys, signatures, request.body, `${id}.${timestamp}.`)) throw invalid()
  checkTime(timestamp, request.nowMs)
  return { id, event: null }
}

function verifyStripe(secrets: readonly string[], request: SignedRequest): Delivery {
  const fields = (once(request, 'stripe-signature') ?? '').split(',').map((field) => field.trim().split('=', 2))
  const [timestamp, ...more] = fields.flatMap(([name, value]) => (name === 't' && value !== undefined ? [value] : []))
  const signatures = fields.flatMap(([name, value = '']) => (name === 'v1' ? [decoded(value, 'hex')] : []))
  if (timestamp === undefined || more.length > 0 || !isSignedBy(secrets, signatures, request.body, `${timestamp}.`)) throw invalid()
  checkTime(timestamp, request.nowMs)
  const { id, type } = jsonObject(request.body)
  return { id: typeof id === 'string' ? id : null, event: typeof type === 'string' ? type : null }
}

/** All secrets and all signatures are tried, however early one fits. An empty secret signs nothing. */
function isSignedBy(secrets: readonly (string | Buffer)[], signatures: readonly (Buffer | null)[], body: Buffer, head = ''): boolean {
  let isSigned = false
  for (const secret of secrets) {
    if (secret.length === 0) continue
    const wanted = createHmac('sha256', secret).update(head).update(body).digest()
    for (const signature of signatures) if (signature !== null && timingSafeEqual(signature, wanted)) isSigned = true
  }
  return isSigned
}

function checkTime(timestamp: string, nowMs: number): void {
  const atMs = /^\d{1,12}$/.test(timestamp) ? Number(timestamp) * 1_000 : Number.NaN
  if (!(Math.abs(nowMs - atMs) <= WEBHOOK_TOLERANCE_MS))
    throw new MayflyError('webhook_too_old', `the webhook was signed more than ${WEBHOOK_TOLERANCE_MS / 60_000} minutes from now`)
}

/** The bytes of a digest; null when it is none. */
function decoded(text: string, encoding: 'hex' | 'base64'): Buffer | null {
  const isOne = encoding === 'hex' ? /^[0-9a-f]{64}$/i.test(text) : /^[A-Za-z0-9+/]{43}=$/.test(text)
  const bytes = isOne ? Buffer.from(text, encoding) : null
  return bytes?.length === DIGEST_BYTES ? bytes : null
}

/** The value of a header that came once; null of one that is absent, or came twice: who of us reads which of them is not to be known. */
function once({ rawHeaders }: SignedRequest, name: string): string | null {
  const values = rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name)
  return values.length === 1 ? (values[0] as string) : null
}

function jsonObject(body: Buffer): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

const invalid = () => new MayflyError('webhook_signature_invalid', 'the signature of the webhook is missing or wrong')
