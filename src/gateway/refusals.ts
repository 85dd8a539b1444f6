import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type ErrorCode, ERRORS, MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'

/** A request for its own sake (TRACE mirrors keys, and no `Request` of a function may have it) or for another place. */
const NO_METHODS: ReadonlySet<string> = new Set(['TRACE', 'CONNECT'])

/** What every door refuses. @throws MayflyError method_not_allowed, bad_request */
export function checkRequestLine(request: IncomingMessage): void {
  if (NO_METHODS.has(request.method ?? '')) throw new MayflyError('method_not_allowed', `${request.method} is not served`)
  if (!request.url?.startsWith('/')) throw new MayflyError('bad_request', 'the request line must hold a path')
  if (hostsIn(request.rawHeaders) > 1) throw new MayflyError('bad_request', 'the request names more than one host')
}

function hostsIn(rawHeaders: readonly string[]): number {
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i]?.length === 4 && rawHeaders[i]?.toLowerCase() === 'host') hosts++
  return hosts
}

/** What the HTTP parser itself refuses never reaches a route: it gets the catalogue's words here. */
export function refuseMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const [status, code, message]: [string, ErrorCode, string] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', 'bad_request', `the headers may have ${LIMITS.requestHeaders.value} bytes together`]
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', 'request_timeout', `the headers were not complete after ${LIMITS.requestHeadTime.value} ms`]
        : ['400 Bad Request', 'bad_request', 'the request is not well-formed HTTP/1.1']
  endWith(socket, status, code, message)
}

/** A refusal from before there is a request. */
export function endWith(socket: Duplex, status: string, code: ErrorCode, message: string): void {
  const body = JSON.stringify({ code, message, hint: ERRORS[code].hint })
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
}
