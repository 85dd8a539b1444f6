import { MayflyError } from '../core/errors.ts'
import type { Reply, RequestContext } from '../core/route.ts'

/** Who signed a request, as the event of a function URL says it. */
export interface IamIdentity {
  readonly accessKey: string
  readonly accountId: string
  readonly userArn: string
}

/** What an event of a function's own address says beside what the request does. */
export interface AtOwnAddress {
  readonly apiId: string
  readonly traceId: string
  readonly iam: IamIdentity | null
}

/** What a trigger adds to it. */
export interface ByTrigger {
  /** How the request came in, beside the request itself. */
  readonly webhook?: object
  /** The route that it came by: `GET /orders/{id}`, with what stood in the place of each parameter. */
  readonly route?: { readonly key: string; readonly parameters: Readonly<Record<string, string>> }
  /** What the token of who called says. */
  readonly claims?: Readonly<Record<string, unknown>>
}

/**
 * The event of a function URL, payload format 2.0.
 * @param own  null for a call at /functions/v1, where the key of who calls is the platform's business and not the function's
 * @see faas-compat: header, cookie, query and body rules
 */
export function functionUrlEvent(
  context: RequestContext,
  path: string,
  body: Buffer,
  nowMs: number,
  own: AtOwnAddress | null = null,
  { route, claims, ...by }: ByTrigger = {},
): Buffer {
  const headers: Record<string, string> = Object.create(null)
  for (let i = 0; i + 1 < context.rawHeaders.length; i += 2) {
    const name = (context.rawHeaders[i] as string).toLowerCase()
    if (name === 'cookie' || OF_THE_CONNECTION.has(name) || (own === null && KEYS.has(name))) continue
    if (name === 'authorization' && context.principal.kind === 'operator') continue // opens the whole node
    const value = context.rawHeaders[i + 1] as string
    headers[name] = headers[name] === undefined ? value : `${headers[name]},${value}`
  }
  if (own !== null) headers['x-amzn-trace-id'] = own.traceId
  headers['x-forwarded-for'] = context.remoteAddress
  headers['x-forwarded-proto'] = context.origin.startsWith('https:') ? 'https' : 'http'
  const host = headers.host ?? 'localhost'
  headers['x-forwarded-port'] = /:(\d+)$/.exec(host)?.[1] ?? (headers['x-forwarded-proto'] === 'https' ? '443' : '80')
  const cookies = context.headers.cookie?.split('; ')
  const query: Record<string, string> = Object.create(null)
  if (context.rawQuery !== '') for (const [name, value] of context.query) query[name] = query[name] === undefined ? value : `${query[name]},${value}`
  const isText = TEXT.test(headers['content-type'] ?? '')
  const rawPath = decodeOnce(path)
  const routeKey = route?.key ?? '$default'
  return Buffer.from(
    JSON.stringify({
      version: '2.0',
      routeKey,
      rawPath,
      rawQueryString: context.rawQuery,
      ...(cookies ? { cookies } : {}),
      headers,
      ...(context.rawQuery === '' ? {} : { queryStringParameters: query }),
      requestContext: {
        accountId: own?.iam?.accountId ?? 'anonymous',
        apiId: own?.apiId ?? context.params.name ?? context.project?.ref ?? '',
        ...(own?.iam ? { authorizer: authorizerOf(own.iam) } : {}),
        ...(claims ? { authorizer: { jwt: { claims: textsOf(claims), scopes: null } } } : {}),
        domainName: host,
        domainPrefix: own?.apiId ?? host.split('.')[0],
        http: { method: context.method, path: rawPath, protocol: 'HTTP/1.1', sourceIp: context.remoteAddress, userAgent: headers['user-agent'] ?? '' },
        requestId: context.id,
        routeKey,
        stage: '$default',
        time: clfTime(nowMs),
        timeEpoch: nowMs,
      },
      ...(route && Object.keys(route.parameters).length > 0 ? { pathParameters: route.parameters } : {}),
      ...by,
      ...(body.length === 0 ? {} : { body: isText ? body.toString('utf8') : body.toString('base64') }),
      isBase64Encoded: body.length > 0 && !isText,
    }),
  )
}

/** As an HTTP API of AWS tells them. */
const textsOf = (claims: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(claims).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]))

const authorizerOf = ({ accessKey, accountId, userArn }: IamIdentity) => ({
  iam: { accessKey, accountId, callerId: accessKey, cognitoIdentity: null, principalOrgId: null, userArn, userId: accessKey },
})

const KEYS = new Set(['apikey', 'sb-api-key'])
const OF_THE_CONNECTION = new Set(['connection', 'transfer-encoding', 'keep-alive', 'te', 'upgrade', 'expect'])
const TEXT = /^(text\/|application\/(json|javascript|xml)\b|[^;]*\+(json|xml)\b)/i

/** Malformed escapes survive, as on the live service. */
const decodeOnce = (path: string): string =>
  path.includes('%')
    ? path.replace(/(?:%[0-9a-fA-F]{2})+/g, (escapes) => {
        try {
          return decodeURIComponent(escapes)
        } catch {
          return escapes
        }
      })
    : path

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
let lastSecond = { second: 0, text: '' }
/** Calls of one second share its text: making it costs more than the rest of the event. */
function clfTime(ms: number): string {
  const second = Math.floor(ms / 1000)
  if (lastSecond.second !== second) lastSecond = { second, text: clfText(ms) }
  return lastSecond.text
}
function clfText(ms: number): string {
  const [date = '', time = ''] = new Date(ms).toISOString().split('T')
  const [year, month, day] = date.split('-')
  return `${day}/${MONTHS[Number(month) - 1]}/${year}:${time.slice(0, 8)} +0000`
}

const JSON_TYPE = 'application/json'

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/**
 * What a Lambda handler returned, as an HTTP reply: an object with `statusCode` says it all, anything else is the
 * body of a 200 in JSON, a bare string its unquoted text.
 * @param textType of text that is no JSON where the function says no type; Lambda calls that JSON too, which clients that parse it trip over
 * @throws MayflyError function_reply_invalid when `statusCode` is none
 */
export function inferReply(payload: Uint8Array, set: SetHeader = setHeader, textType = JSON_TYPE): Reply {
  const text = Buffer.from(payload).toString('utf8')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { status: 200, headers: { 'content-type': textType }, body: text }
  }
  if (typeof value === 'string') return { status: 200, headers: { 'content-type': textType }, body: value }
  if (typeof value !== 'object' || value === null || !('statusCode' in value)) {
    return { status: 200, headers: { 'content-type': JSON_TYPE }, body: JSON.stringify(value) }
  }
  const answer = value as { statusCode: unknown; headers?: unknown; cookies?: unknown; body?: unknown; isBase64Encoded?: unknown }
  const status = typeof answer.statusCode === 'string' ? Number(answer.statusCode) : answer.statusCode
  if (typeof status !== 'number' || !Number.isInteger(status) || status < 200 || status > 599) {
    throw new MayflyError('function_reply_invalid', 'the function returned a statusCode that is not 200 to 599')
  }
  const { body } = answer
  const plain = textType !== JSON_TYPE && typeof body === 'string' && answer.isBase64Encoded !== true && !isJson(body)
  const headers: Record<string, string | string[]> = { 'content-type': plain ? textType : JSON_TYPE }
  if (typeof answer.headers === 'object' && answer.headers !== null) {
    for (const [name, item] of Object.entries(answer.headers)) set(headers, name, String(item))
  }
  if (Array.isArray(answer.cookies)) {
    const cookies = answer.cookies.map(String).filter((cookie) => VALUE.test(cookie))
    if (cookies.length > 0) headers['set-cookie'] = cookies
  }
  if (body === undefined || body === null) return { status, headers, body: null }
  const content = typeof body === 'string' ? body : JSON.stringify(body)
  return { status, headers, body: answer.isBase64Encoded === true ? Buffer.from(content, 'base64') : content }
}

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
// These describe the connection, which is ours, or the body's length, which we count.
const OURS = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'content-length',
  'te',
  'trailer',
  'proxy-authenticate',
  'x-request-id',
  'x-relay-error',
])

/** Sets a header that user code chose, when it is one and may be: a broken name or value must not break the reply. */
export type SetHeader = (headers: Record<string, string | string[]>, name: string, value: string) => void

export const setHeader: SetHeader = (headers, name, value) => {
  if (!OURS.has(name.toLowerCase())) put(headers, name, value)
}

// What a function's own address says itself, or what its connection is, is told under another name.
const REMAPPED = new Set(['connection', 'content-length', 'date', 'keep-alive', 'proxy-authenticate', 'te', 'trailer', 'transfer-encoding', 'upgrade'])

/** The same in an answer from a function's own address. */
export const setUrlHeader: SetHeader = (headers, name, value) => {
  const key = name.toLowerCase()
  put(headers, REMAPPED.has(key) || key.startsWith('x-amzn-') ? `x-amzn-remapped-${key}` : key, value)
}

function put(headers: Record<string, string | string[]>, name: string, value: string): void {
  const key = name.toLowerCase()
  if (!NAME.test(name) || !VALUE.test(value)) return
  const before = headers[key]
  if (key === 'set-cookie') headers[key] = [...(Array.isArray(before) ? before : before === undefined ? [] : [before]), value]
  else headers[key] = value
}

/**
 * What a browser shows without running anything in it. Everything else may turn out a document with scripts: any kind of
 * XML does, two types in one header do, and without a type (or with none that is one) a browser looks for itself.
 */
const INERT =
  /^(image\/(?!svg)[\w.+-]+|audio\/[\w.+-]+|video\/[\w.+-]+|font\/[\w.+-]+|text\/(plain|csv|css|event-stream)|application\/(json|x-ndjson|pdf|octet-stream|zip|gzip|wasm))(;[^,]*)?$/i

/** Content that a browser would run is kept from the API's origin, beside whatever policy it has of its own. */
export function withSandboxPolicy(reply: Reply): Reply {
  const type = reply.headers?.['content-type']
  if (typeof type === 'string' && INERT.test(type)) return reply
  const own = reply.headers?.['content-security-policy']
  return { ...reply, headers: { ...reply.headers, 'content-security-policy': own === undefined ? 'sandbox' : [...[own].flat(), 'sandbox'] } }
}
