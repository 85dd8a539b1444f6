// What an HTTP function of Azure gave, as an answer.
const BARE = new Set([204, 205, 304])
const KNOWN = new Set(['status', 'headers', 'body', 'jsonBody', 'enableContentNegotiation'])
const SAME_SITE = { lax: 'Lax', strict: 'Strict', explicitNone: 'None' }

/** An object with a status, headers and a body is what the library would make of it; null for what says more, or what only that understands. */
export function lightAnswer(result) {
  if (typeof result !== 'object' || result === null || Object.getPrototypeOf(result) !== Object.prototype) return null
  for (const name in result) if (!KNOWN.has(name)) return null
  const { status = 200, headers, body, jsonBody } = result
  if (typeof status !== 'number' || BARE.has(status)) return null
  if (jsonBody === undefined || jsonBody === null) return new Response(body, headers === undefined ? { status } : { status, headers })
  if (headers === undefined) return new Response(JSON.stringify(jsonBody), { status, headers: { 'content-type': 'application/json' } })
  const all = new Headers(headers)
  if (!all.has('content-type')) all.set('content-type', 'application/json')
  return new Response(JSON.stringify(jsonBody), { status, headers: all })
}

/** @param http  what the library made of it; nothing where the function gave nothing */
export function answerOf(http) {
  if (http === undefined || http === null) return new Response(null, { status: 204 })
  const headers = new Headers(http.headers)
  for (const cookie of http.cookies ?? []) headers.append('set-cookie', lineOf(cookie))
  const status = Number(http.statusCode)
  const { bytes, string } = http.body ?? {}
  return new Response(BARE.has(status) ? null : (bytes ?? string ?? null), { status, headers })
}

function lineOf({ name, value, domain, path, expires, secure, httpOnly, sameSite, maxAge }) {
  const date = expires?.value?.seconds !== undefined ? new Date(Number(expires.value.seconds) * 1000) : null
  const parts = [
    `${name}=${encodeURIComponent(value)}`,
    domain?.value && `Domain=${domain.value}`,
    path?.value && `Path=${path.value}`,
    date && `Expires=${date.toUTCString()}`,
    maxAge?.value !== undefined && `Max-Age=${maxAge.value}`,
    secure?.value && 'Secure',
    httpOnly?.value && 'HttpOnly',
    SAME_SITE[sameSite] && `SameSite=${SAME_SITE[sameSite]}`,
  ]
  return parts.filter(Boolean).join('; ')
}
