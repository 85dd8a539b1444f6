import { lookup as lookUp } from 'node:dns'
import { request as http } from 'node:http'
import { request as https } from 'node:https'
import type { IncomingMessage } from 'node:http'
import { isIP, isIPv4, type LookupFunction } from 'node:net'
import { Readable } from 'node:stream'
import { isNeverReached, NEVER_REACHED_PORT } from './egress.ts'

/** What is asked of a host that a user names. */
export interface Asked {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
  /** Only by https, but where the operator allows the origin. */
  readonly encrypted?: boolean
  readonly body?: Uint8Array
  /** How often the answer may lie elsewhere; what has a body is sent to one place only. */
  readonly moves?: 0
}

const MOST_MOVES = 3
const MOVED = new Set([301, 302, 303, 307, 308])

/**
 * Asks a host that a user of the node named, and nobody that only the node can reach: each address is looked at when it is
 * connected to. Where the answer lies elsewhere it is followed, without credentials once it leaves the origin.
 * @param allowed  origins that the operator lets users name, wherever they are
 * @throws Error for an address that is not public
 */
export async function publicFetch(url: string, asked: Asked, allowed: readonly string[]): Promise<Response> {
  let at = new URL(url)
  let headers = { ...asked.headers }
  for (let moves = 0; ; moves++) {
    const answer = await once(at, { ...asked, headers }, allowed)
    const { statusCode = 502, headers: given } = answer
    if (!MOVED.has(statusCode) || given.location === undefined || asked.moves === 0) return responseOf(answer)
    answer.destroy()
    if (moves === MOST_MOVES) throw new Error('it leads from place to place')
    const to = new URL(given.location, at)
    if (at.protocol === 'https:' && to.protocol !== 'https:') throw new Error(`it leads from ${at.origin} to ${to.origin}, which is not encrypted`)
    if (to.origin !== at.origin) {
      const { authorization: _, ...others } = headers
      headers = others
    }
    at = to
  }
}

function once(url: URL, { method, headers, signal, encrypted, body }: Asked, allowed: readonly string[]): Promise<IncomingMessage> {
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw new Error(`${url.protocol} is no way to a host`)
  const isAllowed = allowed.includes(url.origin)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (!isAllowed && isIP(host) !== 0 && !isPublic(host)) throw notPublic(url.hostname)
  if (!isAllowed && url.port === String(NEVER_REACHED_PORT)) throw notPublic(url.host)
  if (encrypted && !isAllowed && url.protocol !== 'https:')
    throw new Error(`${url.origin} is not encrypted; the operator of the node may allow it (--auth-issuer-origins)`)
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const ask = url.protocol === 'https:' ? https : http
  const sent = ask(url, {
    method,
    headers: { ...headers, 'accept-encoding': 'identity', ...(body === undefined ? {} : { 'content-length': String(body.byteLength) }) },
    signal,
    agent: false,
    ...(isAllowed ? {} : { family: 4, lookup: publicAddresses }),
  })
  sent.on('response', resolve)
  sent.on('error', reject)
  sent.end(body)
  return promise
}

const isPublic = (address: string) => isIPv4(address) && !isNeverReached(address)
const notPublic = (host: string) =>
  new Error(`${host} is no public address; the operator of the node may allow it (--npm-registries, --auth-issuer-origins, --invoke-webhook-origins)`)

/** Asked for each connection: a name that leads elsewhere a moment later leads nowhere. */
const publicAddresses: LookupFunction = (hostname, options, done) => {
  lookUp(hostname, { ...options, family: 4, all: true }, (error, addresses) => {
    if (error) return done(error, [])
    if (addresses.some(({ address }) => !isPublic(address))) return done(notPublic(hostname) as NodeJS.ErrnoException, [])
    const [first] = addresses
    if (options.all || first === undefined) done(null, addresses)
    else done(null, first.address, first.family)
  })
}

function responseOf(answer: IncomingMessage): Response {
  const { statusCode: status = 502 } = answer
  const headers = new Headers()
  for (const [name, value] of Object.entries(answer.headers)) if (typeof value === 'string') headers.set(name, value)
  const bare = status === 204 || status === 304
  if (bare) answer.resume()
  return new Response(bare ? null : (Readable.toWeb(answer) as ReadableStream<Uint8Array>), { status, headers })
}
