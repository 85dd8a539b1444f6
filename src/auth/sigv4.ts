import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

export interface SignedRequest {
  readonly method: string
  /** As on the wire, percent-encoded. */
  readonly rawPath: string
  readonly rawQuery: string
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  /** Asked for when all else of the request is as it must be: who has no key is not read to his end. */
  readonly body: () => Promise<Uint8Array>
}

/** A signature that does not hold, in AWS's own words. */
export class SignatureError extends Error {
  readonly type: string
  readonly status: number
  constructor(type: string, status: number, message: string) {
    super(message)
    this.name = 'SignatureError'
    this.type = type
    this.status = status
  }
}

const missing = () => new SignatureError('MissingAuthenticationTokenException', 403, 'Missing Authentication Token')
const incomplete = (message: string) => new SignatureError('IncompleteSignatureException', 400, message)
const unknownKey = () => new SignatureError('UnrecognizedClientException', 403, 'The security token included in the request is invalid.')
const mismatch = () =>
  new SignatureError(
    'InvalidSignatureException',
    403,
    'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.',
  )

const SKEW_MS = 5 * 60_000
const MAX_SIGNED_HEADERS = 100

interface Claimed {
  readonly accessKeyId: string
  readonly date: string
  readonly region: string
  readonly service: string
  readonly signedHeaders: readonly string[]
  readonly signature: string
  readonly at: string
  readonly presigned: boolean
  readonly expiresSeconds: number
}

/**
 * Verifies a SigV4 signature, in the header or in the query, and says whose it is.
 * @param service   the signing name that the scope must carry
 * @param secretOf  the secret of an access key, or null when it is unknown
 * @throws SignatureError
 * @see AWS General Reference, "Signature Version 4 signing process"
 */
export async function verifySigV4<K extends { readonly secret: string }>(
  request: SignedRequest,
  service: string,
  secretOf: (accessKeyId: string) => Promise<K | null>,
  nowMs: number,
): Promise<K> {
  const claimed = request.headers.authorization !== undefined ? fromHeader(request) : fromQuery(request)
  const time = parseTime(claimed.at)
  if (time === null) throw incomplete('The date of the request must have the form yyyymmddThhmmssZ.')
  if (claimed.date !== claimed.at.slice(0, 8))
    throw new SignatureError(
      'InvalidSignatureException',
      403,
      `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${claimed.date}' != '${claimed.at.slice(0, 8)}'`,
    )
  if (claimed.service !== service) throw new SignatureError('InvalidSignatureException', 403, `Credential should be scoped to correct service: '${service}'.`)
  const now = stamp(nowMs)
  const lastMs = claimed.presigned ? time + claimed.expiresSeconds * 1000 : time + SKEW_MS
  if (nowMs > lastMs)
    throw new SignatureError(
      'InvalidSignatureException',
      403,
      `Signature expired: ${claimed.at} is now earlier than ${stamp(nowMs - SKEW_MS)} (${now} - 5 min.)`,
    )
  if (time - nowMs > SKEW_MS)
    throw new SignatureError(
      'InvalidSignatureException',
      403,
      `Signature not yet current: ${claimed.at} is still later than ${stamp(nowMs + SKEW_MS)} (${now} + 5 min.)`,
    )
  if (!claimed.signedHeaders.includes('host')) throw mismatch()
  const key = await secretOf(claimed.accessKeyId)
  if (!key) throw unknownKey()
  const expected = sign(request, await request.body(), claimed, key.secret)
  const given = Buffer.from(claimed.signature, 'hex')
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw mismatch()
  return key
}

function sign(request: SignedRequest, body: Uint8Array, claimed: Claimed, secret: string): Buffer {
  const scope = `${claimed.date}/${claimed.region}/${claimed.service}/aws4_request`
  const canonical = [
    request.method,
    canonicalPath(request.rawPath),
    canonicalQuery(request.rawQuery),
    claimed.signedHeaders.map((name) => `${name}:${headerValue(request.rawHeaders, name)}\n`).join(''),
    claimed.signedHeaders.join(';'),
    payloadHash(request, body, claimed.presigned),
  ].join('\n')
  const text = ['AWS4-HMAC-SHA256', claimed.at, scope, createHash('sha256').update(canonical).digest('hex')].join('\n')
  const hmac = (key: string | Buffer, data: string) => createHmac('sha256', key).update(data).digest()
  const signingKey = hmac(hmac(hmac(hmac(`AWS4${secret}`, claimed.date), claimed.region), claimed.service), 'aws4_request')
  return hmac(signingKey, text)
}

function payloadHash(request: SignedRequest, body: Uint8Array, presigned: boolean): string {
  const actual = createHash('sha256').update(body).digest('hex')
  const given = request.headers['x-amz-content-sha256']
  if (given === undefined) return actual // botocore sends none and signs the body all the same
  if (Array.isArray(given)) throw incomplete('x-amz-content-sha256 stands twice.')
  if (given.startsWith('STREAMING-')) throw incomplete('Streamed signatures are not used by this service.')
  if (given === 'UNSIGNED-PAYLOAD') {
    if (presigned) return given
    throw incomplete('The payload must be signed.')
  }
  if (given.toLowerCase() !== actual) throw mismatch()
  return given
}

/** Every segment is encoded once more: all services but S3 do so. */
function canonicalPath(rawPath: string): string {
  const out: string[] = []
  for (const segment of rawPath.split('/')) {
    if (segment === '' || segment === '.') continue
    if (segment === '..') out.pop()
    else out.push(encode(segment))
  }
  return `/${out.join('/')}${out.length > 0 && rawPath.endsWith('/') ? '/' : ''}`
}

function canonicalQuery(rawQuery: string): string {
  if (rawQuery === '') return ''
  const pairs: [string, string][] = []
  for (const part of rawQuery.split('&')) {
    if (part === '') continue
    const mark = part.indexOf('=')
    const name = decode(mark === -1 ? part : part.slice(0, mark))
    if (name === 'X-Amz-Signature') continue
    pairs.push([encode(name), encode(decode(mark === -1 ? '' : part.slice(mark + 1)))])
  }
  const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)
  return pairs
    .sort((a, b) => compare(a[0], b[0]) || compare(a[1], b[1]))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
}

const encode = (text: string) => encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', '%20'))
  } catch {
    throw incomplete('The query holds a broken percent-encoding.')
  }
}

function headerValue(rawHeaders: readonly string[], name: string): string {
  const values: string[] = []
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if ((rawHeaders[i] as string).toLowerCase() === name) values.push((rawHeaders[i + 1] as string).trim().replace(/\s+/g, ' '))
  }
  if (values.length === 0) throw mismatch()
  return values.join(',')
}

function fromHeader(request: SignedRequest): Claimed {
  const text = request.headers.authorization ?? ''
  if (!text.startsWith('AWS4-HMAC-SHA256')) throw text.startsWith('AWS4-') ? incomplete('Only AWS4-HMAC-SHA256 is supported.') : missing()
  const parts = new Map<string, string>()
  for (const part of text.slice('AWS4-HMAC-SHA256'.length).split(',')) {
    const mark = part.indexOf('=')
    if (mark === -1) throw incomplete(`Authorization header requires 'Credential', 'Signature' and 'SignedHeaders' parameters.`)
    const name = part.slice(0, mark).trim()
    if (parts.has(name)) throw incomplete(`'${name.slice(0, 20)}' stands twice in the Authorization header.`)
    parts.set(name, part.slice(mark + 1).trim())
  }
  const at = request.headers['x-amz-date']
  return claim(parts.get('Credential'), parts.get('SignedHeaders'), parts.get('Signature'), typeof at === 'string' ? at : undefined, false, 0)
}

function fromQuery(request: SignedRequest): Claimed {
  const query = new URLSearchParams(request.rawQuery)
  if (!query.has('X-Amz-Signature') && !query.has('X-Amz-Credential')) throw missing()
  for (const name of ['X-Amz-Algorithm', 'X-Amz-Credential', 'X-Amz-SignedHeaders', 'X-Amz-Signature', 'X-Amz-Date', 'X-Amz-Expires']) {
    if (query.getAll(name).length > 1) throw incomplete(`${name} stands twice.`)
  }
  if (query.get('X-Amz-Algorithm') !== 'AWS4-HMAC-SHA256') throw incomplete('Only AWS4-HMAC-SHA256 is supported.')
  const expires = query.get('X-Amz-Expires') ?? ''
  if (!/^\d{1,6}$/.test(expires) || Number(expires) < 1 || Number(expires) > 604_800) throw incomplete('X-Amz-Expires must be 1 to 604800 seconds.')
  return claim(
    query.get('X-Amz-Credential') ?? undefined,
    query.get('X-Amz-SignedHeaders') ?? undefined,
    query.get('X-Amz-Signature') ?? undefined,
    query.get('X-Amz-Date') ?? undefined,
    true,
    Number(expires),
  )
}

function claim(
  credential: string | undefined,
  signedHeaders: string | undefined,
  signature: string | undefined,
  at: string | undefined,
  presigned: boolean,
  expiresSeconds: number,
): Claimed {
  if (!credential || !signedHeaders || !signature) throw incomplete(`Authorization header requires 'Credential', 'Signature' and 'SignedHeaders' parameters.`)
  if (!at) throw incomplete(`Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.`)
  const scope = /^(\w{1,128})\/(\d{8})\/([a-z0-9-]{1,64})\/([a-z0-9-]{1,64})\/aws4_request$/.exec(credential)
  if (!scope) throw incomplete('Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.')
  if (!/^[0-9a-f]{64}$/.test(signature)) throw mismatch()
  const names = signedHeaders.split(';')
  if (names.length > MAX_SIGNED_HEADERS || names.some((name) => !/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name)) || new Set(names).size !== names.length)
    throw incomplete('SignedHeaders must be lower-case header names, each once, separated by ;.')
  return {
    accessKeyId: scope[1] as string,
    date: scope[2] as string,
    region: scope[3] as string,
    service: scope[4] as string,
    signedHeaders: names.toSorted(),
    signature,
    at,
    presigned,
    expiresSeconds,
  }
}

function parseTime(text: string): number | null {
  const match = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/.exec(text)
  if (!match) return null
  const time = Date.parse(`${match[1]}-${match[2]}-${match[3]}T${match[4]}:${match[5]}:${match[6]}Z`)
  return Number.isNaN(time) ? null : time
}

const stamp = (ms: number) => new Date(ms).toISOString().replace(/[-:]|\.\d{3}/g, '')
