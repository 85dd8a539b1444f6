import type { IncomingMessage } from 'node:http'
import type { Reply } from '../core/route.ts'

/**
 * The console's cookie, and how the API's door keeps away from it. Cookies are kept apart by host name and not by port:
 * a browser sends the console's also to the API on the same host, and keeps under its name what an answer of the API
 * sets. So on the way in the API's door takes it away before any function could read it, and on the way out nothing
 * that a function or a stored file says may set or clear it.
 */
const PLAIN = 'mayfly_console'
/** A browser takes a name that begins so only from this very host, over TLS. */
const OVER_TLS = `__Host-${PLAIN}`
const OURS: ReadonlySet<string> = new Set([PLAIN, OVER_TLS.toLowerCase()])

export const consoleCookieName = (secure: boolean): string => (secure ? OVER_TLS : PLAIN)

/** How it is set; an empty token takes it away. */
export const consoleCookie = (secure: boolean, token: string, lastsMs: number): string =>
  `${consoleCookieName(secure)}=${token}; Path=/; Max-Age=${Math.floor(lastsMs / 1000)}; HttpOnly; SameSite=Strict${secure ? '; Secure' : ''}`

// Another page of the same host may have set one beside ours, by another path: a few are looked at, ours is among them.
const LOOKED_AT = 8

/** The values that a Cookie header has for a name. */
export function cookiesNamed(header: string | undefined, name: string): string[] {
  const values: string[] = []
  for (const part of header?.split(';') ?? []) {
    const mark = part.indexOf('=')
    if (mark === -1 || part.slice(0, mark).trim() !== name) continue
    values.push(part.slice(mark + 1).trim())
    if (values.length === LOOKED_AT) break
  }
  return values
}

type Heard = Pick<IncomingMessage, 'headers' | 'rawHeaders'>

const mayHoldOurs = (text: string) => text.toLowerCase().includes(PLAIN)
const isOurs = (part: string) => OURS.has((part.split('=')[0] as string).trim().toLowerCase())
const othersOf = (cookies: string) =>
  cookies
    .split(';')
    .filter((part) => !isOurs(part))
    .map((part) => part.trim())
    .join('; ')

/** A request as everything behind the API's door hears it. */
export function withoutConsoleCookie(request: Heard): Heard {
  const { headers, rawHeaders } = request
  if (headers.cookie === undefined || !mayHoldOurs(headers.cookie)) return request
  const { cookie, ...kept } = headers
  const rest = othersOf(cookie)
  const raw: string[] = []
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const [name, value] = [rawHeaders[i] as string, rawHeaders[i + 1] as string]
    const left = name.toLowerCase() === 'cookie' ? othersOf(value) : value
    if (left !== '' || value === '') raw.push(name, left)
  }
  return { headers: rest === '' ? kept : { ...kept, cookie: rest }, rawHeaders: raw }
}

/** A request as it is heard for who is signed in: what it says of keys counts for nothing. */
export function withoutCredentials(request: Heard): Heard {
  const { cookie: _, authorization: __, apikey: ___, ...headers } = request.headers
  const rawHeaders: string[] = []
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    const name = request.rawHeaders[i] as string
    if (!/^(cookie|authorization|apikey)$/i.test(name)) rawHeaders.push(name, request.rawHeaders[i + 1] as string)
  }
  return { headers, rawHeaders }
}

/**
 * Would a browser keep this under our cookie's name? A name may stand behind spaces, and a cookie without a name is sent
 * as its value alone: `=mayfly_console=x` comes back as `mayfly_console=x`.
 */
const setsOurs = (line: string): boolean => mayHoldOurs(line) && isOurs((line.split(';')[0] as string).replace(/^[\s=]+/, ''))

// What speaks for the whole host, and so for the console on another port of it.
const OF_THE_HOST: ReadonlySet<string> = new Set(['clear-site-data', 'strict-transport-security', 'public-key-pins'])

/** A reply of the API's door without what would reach the console on another port of its host. */
export function sparingTheConsole(reply: Reply): Reply {
  let headers: Record<string, string | readonly string[]> | null = null
  for (const name in reply.headers) {
    // The lengths of the four names: most headers are told apart by that.
    if (name.length !== 10 && name.length !== 15 && name.length !== 25) continue
    const lower = name.toLowerCase()
    if (lower === 'set-cookie') {
      const value = reply.headers[name] as string | readonly string[]
      const lines = typeof value === 'string' ? [value] : value
      const kept = lines.filter((line) => !setsOurs(line))
      if (kept.length === lines.length) continue
      headers ??= { ...reply.headers }
      if (kept.length === 0) delete headers[name]
      else headers[name] = kept
    } else if (OF_THE_HOST.has(lower)) {
      headers ??= { ...reply.headers }
      delete headers[name]
    }
  }
  return headers === null ? reply : { ...reply, headers }
}
