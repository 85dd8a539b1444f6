import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { RequestContext } from '../core/route.ts'

/** The body of a request on its way into a function: counted, and read once. */
export class Incoming {
  readonly #context: RequestContext
  #whole: Promise<Buffer> | null = null
  bytes = 0
  /** What went wrong with it on its way in: the caller's fault is told as such, whatever the function made of it. */
  refusal: MayflyError | null = null

  constructor(context: RequestContext) {
    this.#context = context
  }

  /** All of it, for whoever asks. @throws MayflyError payload_too_large, request_timeout */
  whole(): Promise<Buffer> {
    this.#whole ??= this.#context.body(LIMITS.invocationBody.value).then((body) => {
      this.bytes = body.length
      return body
    })
    return this.#whole
  }

  /** As it comes; null when there is none. @throws MayflyError payload_too_large */
  streamed(): AsyncIterable<Uint8Array> | null {
    const { headers, method } = this.#context
    if (Number(headers['content-length'] ?? 0) > LIMITS.httpBody.value) {
      throw new MayflyError('payload_too_large', `the body may have ${LIMITS.httpBody.value} bytes here`)
    }
    if (method === 'GET' || method === 'HEAD' || (headers['content-length'] === undefined && headers['transfer-encoding'] === undefined)) return null
    return this.#whole ? once(this.#whole) : this.#counted(this.#context.stream(LIMITS.httpBody.value))
  }

  async *#counted(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of body) {
        this.bytes += chunk.byteLength
        yield chunk
      }
    } catch (error) {
      if (error instanceof MayflyError) this.refusal = error
      throw error
    }
  }
}

async function* once(body: Promise<Buffer>): AsyncGenerator<Uint8Array> {
  yield await body
}
