import type { IncomingMessage } from 'node:http'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'

const NO_BYTES = Buffer.alloc(0)

/** Whether bytes of a body can follow a head; one that says nothing of a body has none (RFC 9112, 6.3). */
export const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || (headers['content-length'] !== undefined && headers['content-length'] !== '0')

/** Streams a request body, counted against `limitBytes`; a sender that stalls is given up. */
export async function* streamBody(request: IncomingMessage, limitBytes: number): AsyncGenerator<Uint8Array> {
  if (!hasBody(request)) return
  const declared = request.headers['content-length']
  if (declared !== undefined && Number(declared) > limitBytes) throw tooLarge(limitBytes)
  let seen = 0
  const stall = setTimeout(
    () => request.destroy(new MayflyError('request_timeout', `no byte of the body came for ${LIMITS.bodyStall.value} ms`)),
    LIMITS.bodyStall.value,
  )
  stall.unref()
  try {
    // A body that is refused half-way must not take the connection with it: the reply still has to go out.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      stall.refresh()
      seen += chunk.length
      if (seen > limitBytes) throw tooLarge(limitBytes)
      yield chunk
    }
  } finally {
    clearTimeout(stall)
  }
}

const leastBytes = (LIMITS.bodyPace.value * LIMITS.bodyStall.value) / 1000

/** The whole body at once; it has to come with at least `bodyPace`. @param held  told of what comes, and may refuse it */
export function readBody(request: IncomingMessage, limitBytes: number, held: { readonly hold: (bytes: number) => void } | null = null): Promise<Buffer> {
  if (!hasBody(request)) return Promise.resolve(NO_BYTES)
  const declared = request.headers['content-length']
  if (declared !== undefined && Number(declared) > limitBytes) return Promise.reject(tooLarge(limitBytes))
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let seen = 0
    let seenBefore = 0
    // One look for who stops and for who sends a byte now and then and would hold what waits for the body for days.
    const pace = setInterval(() => {
      if (seen - seenBefore < leastBytes) fail(new MayflyError('request_timeout', `the body came with less than ${LIMITS.bodyPace.value} bytes a second`))
      seenBefore = seen
    }, LIMITS.bodyStall.value)
    pace.unref()
    const fail = (error: Error) => {
      clearInterval(pace)
      request.removeAllListeners('data')
      reject(error)
    }
    request.on('data', (chunk: Buffer) => {
      seen += chunk.length
      if (seen > limitBytes) return fail(tooLarge(limitBytes))
      try {
        held?.hold(chunk.length)
      } catch (error) {
        return fail(error as MayflyError)
      }
      chunks.push(chunk)
    })
    request.on('end', () => {
      clearInterval(pace)
      resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks))
    })
    // The client went: its own doing, and no fault of this node that its log must tell.
    request.on('error', (error) => fail(error instanceof MayflyError ? error : brokenOff(error)))
    request.on('close', () => {
      if (!request.complete) fail(brokenOff())
    })
  })
}

const brokenOff = (cause?: Error) => new MayflyError('bad_request', 'the connection closed before the body was complete', { cause })
const tooLarge = (limitBytes: number) => new MayflyError('payload_too_large', `the body may have ${limitBytes} bytes here`)

/**
 * Reads on what nobody wants, within bounds, before a refusal is sent: a client that is still sending would
 * otherwise find its connection closed and never read why.
 */
export function discardBody(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    if (request.complete || request.destroyed) return resolve()
    let seen = 0
    const timer = setTimeout(done, LIMITS.refusedBodyTime.value)
    function done() {
      clearTimeout(timer)
      request.removeListener('data', count)
      resolve()
    }
    function count(chunk: Buffer) {
      seen += chunk.length
      if (seen > LIMITS.refusedBody.value) done()
    }
    request.on('data', count)
    request.once('end', done)
    request.once('close', done)
    request.resume()
  })
}
