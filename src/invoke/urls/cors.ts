import type { IncomingHttpHeaders } from 'node:http'
import type { Reply } from '../../core/route.ts'
import type { Cors } from '../../functions/index.ts'

const isPreflight = (method: string, headers: IncomingHttpHeaders): boolean =>
  method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined

/** The answer to a preflight by what is configured; null when it is none. The function is not asked. */
export function preflightOf(cors: Cors, method: string, headers: IncomingHttpHeaders): Reply | null {
  if (!isPreflight(method, headers)) return null
  const vary = { vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers' }
  const origin = allowedOrigin(cors, headers.origin)
  const asked = headers['access-control-request-method'] ?? ''
  if (origin === null || !(cors.allowMethods ?? []).some((one) => one === '*' || one === asked)) return { status: 200, headers: vary, body: null }
  return {
    status: 200,
    headers: {
      ...vary,
      'access-control-allow-origin': origin,
      'access-control-allow-methods': (cors.allowMethods ?? []).join(','),
      ...(cors.allowHeaders?.length ? { 'access-control-allow-headers': cors.allowHeaders.join(',') } : {}),
      ...(cors.maxAge === undefined ? {} : { 'access-control-max-age': String(cors.maxAge) }),
      ...(cors.allowCredentials ? { 'access-control-allow-credentials': 'true' } : {}),
    },
    body: null,
  }
}

/** A reply as what is configured lets browsers see it. What the function says of it itself is replaced: both together would break them. */
export function withCors(cors: Cors, reply: Reply, headers: IncomingHttpHeaders): Reply {
  const kept = Object.entries(reply.headers ?? {}).filter(([name]) => !name.startsWith('access-control-'))
  const origin = allowedOrigin(cors, headers.origin)
  const { vary } = reply.headers ?? {}
  const told: Record<string, string> = { vary: vary === undefined ? 'Origin' : `${[vary].flat().join(', ')}, Origin` }
  if (origin !== null) {
    told['access-control-allow-origin'] = origin
    if (cors.exposeHeaders?.length) told['access-control-expose-headers'] = cors.exposeHeaders.join(',')
    if (cors.allowCredentials) told['access-control-allow-credentials'] = 'true'
  }
  return { ...reply, headers: { ...Object.fromEntries(kept), ...told } }
}

/** `*` where all are allowed, the origin itself where a pattern takes it; null where none does. */
function allowedOrigin({ allowOrigins = [] }: Cors, origin: string | undefined): string | null {
  if (origin === undefined) return null
  if (allowOrigins.includes('*')) return '*'
  return allowOrigins.some((pattern) => fits(pattern, origin)) ? origin : null
}

/** A `*` in a pattern stands for labels of a host name, and never reaches beyond them. */
function fits(pattern: string, origin: string): boolean {
  const lower = origin.toLowerCase()
  const [first = '', ...rest] = pattern.toLowerCase().split('*')
  if (rest.length === 0) return lower === first
  if (!lower.startsWith(first)) return false
  let at = first.length
  for (const [index, part] of rest.entries()) {
    const isLast = index === rest.length - 1
    const found = isLast ? lower.length - part.length : lower.indexOf(part, at)
    if (found < at || !lower.endsWith(isLast ? part : '') || !/^[a-z0-9.-]+$/.test(lower.slice(at, found))) return false
    at = found + part.length
  }
  return true
}
