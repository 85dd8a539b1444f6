import type { Reply } from '../core/route.ts'
import { codingOf, isHeld, rangeOf } from '../lib/http-conditions.ts'
import { CODINGS, isCompressible } from './compressed.ts'
import { RESERVED } from './manifest.ts'
import type { Site, SiteFile, Sites } from './service.ts'

export interface SiteRequest {
  readonly method: string
  /** Percent-encoded, as it came. */
  readonly rawPath: string
  /** Without the question mark; empty when there was none. */
  readonly rawQuery: string
  readonly ifNoneMatch: string | undefined
  readonly range: string | undefined
  readonly ifRange: string | undefined
  readonly acceptEncoding: string | undefined
}
type Reader = Pick<Sites, 'read' | 'readCompressed'>

const HASH = /[-.]([A-Za-z0-9_-]{8,64})\.[a-z0-9]+$/
/** Is a hash in the name, as bundlers write them? Then other content has another name, for ever. A word or a date is none. */
export function isHashed(path: string): boolean {
  const part = HASH.exec(path)?.[1]
  if (part === undefined || !/[0-9]/.test(part)) return false
  if (/^[0-9a-f]{8,64}$/.test(part)) return /[a-f]/.test(part)
  if (part.length !== 8) return false
  return /^[A-Z2-7]{8}$/.test(part) || (/[A-Z]/.test(part) && /[a-z]/.test(part))
}

/** What a site answers: a file, the way to a folder's page, or that there is none. Nothing else is behind its host name. */
export async function siteReply(sites: Reader, site: Site, request: SiteRequest, describe: () => Promise<object>): Promise<Reply> {
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return { ...textReply(405, 'A site answers GET and HEAD.'), headers: { ...TEXT, allow: 'GET, HEAD' } }
  const path = decoded(request.rawPath)
  if (path === null) return textReply(400, 'The path holds a broken percent-encoding.')
  if (path === `${RESERVED}/project.json`)
    return { status: 200, headers: { ...NOSNIFF, 'content-type': 'application/json', 'cache-control': 'no-store' }, body: JSON.stringify(await describe()) }
  const exact = path === '' || path.endsWith('/') ? `${path}index.html` : path
  const file = site.files.get(exact)
  if (file) return await fileReply(sites, site, exact, file, request, 200)
  if (path !== '' && !path.endsWith('/') && site.files.has(`${path}/index.html`)) {
    // Made of the path that was found, so that it never leads to another host.
    const location = `/${path.split('/').map(encodeURIComponent).join('/')}/${request.rawQuery === '' ? '' : `?${request.rawQuery}`}`
    return { status: 308, headers: { ...NOSNIFF, location } }
  }
  const own = site.files.get('404.html')
  return own
    ? await fileReply(sites, site, '404.html', own, { ...request, ifNoneMatch: undefined, range: undefined }, 404)
    : textReply(404, 'This site has no such page.')
}

/** The path without its first slash, decoded once; null when it cannot be. */
function decoded(rawPath: string): string | null {
  try {
    return decodeURIComponent(rawPath.slice(1)).normalize('NFC')
  } catch {
    return null
  }
}

async function fileReply(sites: Reader, site: Site, path: string, file: SiteFile, request: SiteRequest, status: number): Promise<Reply> {
  const { sha256, bytes, type } = file
  const compressible = isCompressible(type, bytes)
  // A part is one of the bytes as they are, whatever the client would take of the whole.
  const coding = compressible && request.range === undefined ? codingOf(request.acceptEncoding, CODINGS) : null
  // Other bytes are another representation, with a strong tag of its own.
  const etag = coding === null ? `"${sha256}"` : `"${sha256}-${coding}"`
  const headers = {
    ...NOSNIFF,
    etag,
    'cache-control': status === 200 && isHashed(path) ? 'public, max-age=31536000, immutable' : 'no-cache',
    ...(compressible ? { vary: 'accept-encoding' } : {}),
    ...(status === 200 ? { 'accept-ranges': 'bytes' } : {}),
  }
  if (request.ifNoneMatch !== undefined && isHeld(request.ifNoneMatch, etag)) return { status: 304, headers }
  const headOnly = request.method === 'HEAD'
  const of = (length: number, more: Readonly<Record<string, string>> = {}) => ({ ...headers, 'content-type': type, 'content-length': String(length), ...more })
  if (coding !== null) {
    const compressed = await sites.readCompressed(site, file, coding)
    if (compressed === null) return await fileReply(sites, site, path, file, { ...request, acceptEncoding: undefined }, status)
    return { status, headers: of(compressed.length, { 'content-encoding': coding }), body: headOnly ? null : compressed }
  }
  const range = status === 200 && !headOnly ? rangeOf(request, etag, bytes) : null
  if (range === 'outside') return { status: 416, headers: { ...headers, 'content-range': `bytes */${bytes}`, 'content-length': '0' } }
  if (range === null) return { status, headers: of(bytes), body: headOnly ? null : await sites.read(site, file) }
  const part = of(range.last - range.first + 1, { 'content-range': `bytes ${range.first}-${range.last}/${bytes}` })
  return { status: 206, headers: part, body: await sites.read(site, file, range) }
}

const NOSNIFF = { 'x-content-type-options': 'nosniff' } as const
const TEXT = { ...NOSNIFF, 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' } as const

/** A sentence for whoever looks at it in a browser. */
export const textReply = (status: number, text: string): Reply => ({ status, headers: TEXT, body: `${text}\n` })
