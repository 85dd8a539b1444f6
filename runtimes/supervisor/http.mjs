// How the APIs inside a sandbox answer.

export function json(response, status, value, headers = {}) {
  const bytes = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
  response.writeHead(status, {
    'Content-Type': typeof value === 'string' ? 'text/plain; charset=utf-8' : 'application/json',
    'Content-Length': bytes.length,
    ...headers,
  })
  response.end(bytes)
}
export const accepted = (response) => json(response, 202, { status: 'OK' })

export function fail(response, status, errorType, errorMessage) {
  // What was not read of the request must not be taken for the next one.
  const unread = !response.req.complete
  json(response, status, { errorMessage, errorType }, unread ? { Connection: 'close' } : {})
  if (unread) response.req.resume()
}

export const TOO_LARGE = Symbol('too large')

/** The whole body in the pieces in which it came; null when it broke off; TOO_LARGE when it is longer than `limit`, and then it was read to its end. */
export async function readPieces(request, limit) {
  const parts = []
  let bytes = 0
  try {
    for await (const chunk of request) {
      bytes += chunk.length
      if (bytes <= limit) parts.push(chunk)
      else parts.length = 0
    }
  } catch {
    return null
  }
  if (!request.complete) return null
  return bytes > limit ? TOO_LARGE : parts
}

/** The same in one piece. */
export async function readBody(request, limit) {
  const parts = await readPieces(request, limit)
  return Array.isArray(parts) ? Buffer.concat(parts) : parts
}

export const type = (request) => request.headers['content-type'] ?? 'application/octet-stream'
