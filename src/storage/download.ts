import type { IncomingHttpHeaders } from 'node:http'
import type { OpenBlob } from '../backends/blobs/blobs.ts'
import { MayflyError } from '../core/errors.ts'
import type { Reply, RequestContext } from '../core/route.ts'
import { isHeld, rangeOf } from '../lib/http-conditions.ts'
import { StorageError } from './errors.ts'
import type { Found } from './objects.ts'

/** Shown by a browser, these run nothing. Everything else is sent into a sandbox of its own. */
const INERT =
  /^(?:image\/(?!svg)[\w.+-]+|audio\/[\w.+-]+|video\/[\w.+-]+|font\/[\w.+-]+|text\/(?:plain|csv)|application\/(?:json|octet-stream|zip|gzip|wasm))$/i

const TRIES = 3

export interface Download {
  readonly find: () => Promise<Found>
  /** Null when the bytes are gone since. */
  readonly open: (found: Found) => Promise<OpenBlob | null>
  /** Whoever asks gets the same. */
  readonly isPublic: boolean
}

/**
 * Answers with an object, a part of it, or that the client has it already.
 * @throws StorageError NoSuchKey, InvalidRange…
 */
export async function downloadReply(context: RequestContext, { find, open, isPublic }: Download): Promise<Reply> {
  for (let tries = 1; ; tries++) {
    const found = await find()
    // A cache on the way must not give to one what another's key opened.
    const headers = { ...headersOf(found, context), ...(isPublic ? {} : { vary: 'apikey, authorization' }) }
    if (isFresh(found, context.headers)) return { status: 304, headers }
    const bytes = Number(found.blob.bytes)
    const asked = { range: context.headers.range, ifRange: context.headers['if-range'] as string | undefined }
    const range = rangeOf(asked, `"${found.blob.etag}"`, bytes)
    if (range === 'outside') throw new StorageError('InvalidRange', 'invalid range provided')
    const sent = range ? range.last - range.first + 1 : bytes
    const reply = {
      status: range ? 206 : 200,
      headers: {
        ...headers,
        'content-length': String(sent),
        ...(range ? { 'content-range': `bytes ${range.first}-${range.last}/${bytes}` } : {}),
      },
    }
    if (context.method === 'HEAD') return reply
    const blob = await open(found)
    if (blob) {
      // Whoever goes before the first byte is written leaves nothing open.
      context.signal.addEventListener('abort', () => void blob[Symbol.asyncDispose](), { once: true })
      return { ...reply, body: blob.read(range ?? undefined) }
    }
    // Written over since it was found: the next look finds the new bytes.
    if (tries === TRIES) throw new MayflyError('internal', 'the bytes of the object are not where they were stored')
  }
}

function headersOf({ object, blob }: Found, { query }: RequestContext): Record<string, string> {
  const download = query.get('download')
  return {
    'content-type': blob.contentType,
    'cache-control': blob.cacheControl,
    etag: `"${blob.etag}"`,
    'last-modified': blob.storedAt.toUTCString(),
    'accept-ranges': 'bytes',
    'x-robots-tag': 'none',
    'x-content-type-options': 'nosniff',
    ...(INERT.test((blob.contentType.split(';')[0] as string).trim()) ? {} : { 'content-security-policy': 'sandbox' }),
    ...(blob.contentEncoding === null ? {} : { 'content-encoding': blob.contentEncoding }),
    ...(download === null ? {} : { 'content-disposition': dispositionOf(download, object.name) }),
  }
}

/** @see RFC 6266, RFC 8187 */
function dispositionOf(asked: string, key: string): string {
  if (asked === '') return 'attachment;'
  const name = asked === 'true' ? (key.split('/').at(-1) as string) : asked
  const encoded = encodeURIComponent(name.slice(0, 500).toWellFormed()).replace(/['()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
  return `attachment; filename=${encoded}; filename*=UTF-8''${encoded};`
}

/** Has the client what it would get? @see RFC 9110, section 13.2.2 */
function isFresh({ blob }: Found, headers: IncomingHttpHeaders): boolean {
  const tags = headers['if-none-match']
  if (tags !== undefined) return isHeld(tags, `"${blob.etag}"`)
  const since = Date.parse(headers['if-modified-since'] ?? '')
  return !Number.isNaN(since) && Math.floor(blob.storedAt.getTime() / 1000) * 1000 <= since
}
