import type { IncomingHttpHeaders } from 'node:http'
import type { Reply } from '../core/route.ts'

// What browser clients of the data plane read from an answer (supabase-js, tus, S3 in a browser).
const EXPOSED = [
  'content-range',
  'content-location',
  'content-profile',
  'location',
  'preference-applied',
  'proxy-status',
  'x-total-count',
  'link',
  'etag',
  'content-disposition',
  'x-supabase-api-version',
  'x-sb-error-code',
  'sb-error-code',
  'x-relay-error',
  'x-request-id',
  'tus-resumable',
  'tus-version',
  'tus-extension',
  'tus-max-size',
  'upload-offset',
  'upload-length',
  'upload-metadata',
  'upload-expires',
  'retry-after',
  'x-amzn-requestid',
  'x-amzn-errortype',
  'x-amz-function-error',
].join(', ')

/** Keys are sent by hand, never by cookie: every origin may call, and credentials mode is never allowed. */
export const CORS_HEADERS: Readonly<Record<string, string>> = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers': EXPOSED,
}

export const isPreflight = (method: string, headers: IncomingHttpHeaders): boolean =>
  method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined

export function preflightReply(headers: IncomingHttpHeaders): Reply {
  const asked = headers['access-control-request-headers']
  return {
    status: 204,
    headers: {
      'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
      'access-control-allow-headers': asked && /^[\w\-, ]{1,4096}$/.test(asked) ? asked : 'authorization, apikey, content-type, x-client-info',
      'access-control-max-age': '3600',
    },
  }
}
