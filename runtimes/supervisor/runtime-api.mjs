// Lambda's Runtime API, version 2018-06-01, as runtimes outside of this process speak it: one invocation at a time,
// over only when the runtime asks for the next one.
import { accepted, type as contentType, fail, json, readBody, readPieces, TOO_LARGE } from './http.mjs'

/** The largest response of an invocation: 6 MiB and room for what wraps it. */
export const MAX_RESPONSE = 6 * 1024 * 1024 + 100
const ERROR_TYPE = 'lambda-runtime-function-error-type'
const ERROR_BODY = 'lambda-runtime-function-error-body'
const RESPONSE_MODE = 'lambda-runtime-function-response-mode'
const KNOWN_TYPE = /^(Runtime|Function)\.[A-Z][a-zA-Z]+$/

/** What a runtime may be called in reports, whatever it says. */
const reportedType = (given) => (KNOWN_TYPE.test(given ?? '') ? given : given?.startsWith('Function.') ? 'Function.Unknown' : 'Runtime.Unknown')

export class RuntimeApi {
  /**
   * @param hears  `ready()`: the runtime has asked for its first invocation; `initError(error)`; `result(pieces)`, the bytes in the pieces in which they came;
   *   `error(error)`; `stream(contentType)`, which gives {write, end}, or null where nobody takes a stream;
   *   `over()`: the runtime asked for another one. An error is {type, body}, body as the runtime sent it
   */
  constructor(hears) {
    this.hears = hears
    this.state = 'Started'
    this.invocation = null
    /** Answers to `next` that are still to be given. */
    this.waiting = new Set()
  }

  /** @param invocation  {id, payload, headers}: what the runtime gets; one at a time */
  offer(invocation) {
    this.invocation = invocation
    this.delivered = false
    this.#deliver()
  }

  /** The invocation is over, and nothing more is said of it. */
  forget() {
    this.invocation = null
  }

  /** @returns whether the path was one of this API */
  take(request, response, path) {
    const { method } = request
    if (method === 'GET' && path === '/runtime/invocation/next') this.#next(response)
    else if (method === 'POST' && path === '/runtime/init/error') void this.#initError(request, response)
    else if (path === '/runtime/restore/next' || path === '/runtime/restore/error')
      this.#refuse(response, path.endsWith('next') ? 'RestoreReady' : 'RestoreError')
    else {
      const [, id, what] = /^\/runtime\/invocation\/([^/]*)\/(response|error)$/.exec(path) ?? []
      if (what === undefined || method !== 'POST') return false
      void (what === 'response' ? this.#response(request, response, id) : this.#error(request, response, id))
    }
    return true
  }

  #next(response) {
    switch (this.state) {
      case 'Started':
        this.state = 'Ready'
        this.#wait(response)
        return this.hears.ready()
      case 'RuntimeResponseSentState':
        this.state = 'Ready'
        this.#wait(response)
        return this.hears.over()
      case 'Ready':
        this.#wait(response)
        return this.#deliver()
      case 'Running':
        // A runtime that lost its answer, or was started again by its wrapper, gets the same one once more.
        this.#wait(response)
        return this.#deliver(true)
      default:
        return this.#refuse(response, 'Ready')
    }
  }

  #wait(response) {
    this.waiting.add(response)
    response.once('close', () => this.waiting.delete(response))
  }

  #deliver(again = false) {
    const [response] = this.waiting
    if (response === undefined || this.invocation === null || (this.delivered && !again)) return
    this.waiting.delete(response)
    this.delivered = true
    this.state = 'Running'
    const { payload, headers } = this.invocation
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': payload.length, ...headers })
    response.end(payload)
  }

  #isCurrent(id, response) {
    if (this.invocation !== null && this.delivered && decode(id) === this.invocation.id) return true
    fail(response, 400, 'InvalidRequestID', 'Invalid request ID')
    return false
  }

  #enter(response, state) {
    if (this.state === 'Running') {
      this.state = state
      return true
    }
    this.#refuse(response, state)
    return false
  }

  #refuse(response, to) {
    fail(response, 403, 'InvalidStateTransition', `State transition from ${this.state} to ${to} failed for runtime. Error: State transition is not allowed`)
  }

  async #response(request, response, id) {
    if (!this.#isCurrent(id, response) || !this.#enter(response, 'InvocationResponse')) return
    const mode = request.headers[RESPONSE_MODE]
    if (mode !== undefined && mode.toLowerCase() !== 'streaming') {
      this.#sent()
      this.hears.error(plain('Runtime.InvalidResponseModeHeader', this.#text(`Invalid response mode header: ${mode.slice(0, 200)}`)))
      return fail(response, 400, 'InvalidFunctionResponseMode', 'Invalid function response mode')
    }
    const stream = mode === undefined && !comesInPieces(request) ? null : this.hears.stream(contentType(request))
    if (stream !== null) return await this.#streamed(request, response, stream)
    const body = await readPieces(request, MAX_RESPONSE)
    this.#sent()
    if (body === TOO_LARGE) {
      this.hears.error(plain('Function.ResponseSizeTooLarge', `Response payload size exceeded maximum allowed payload size (${MAX_RESPONSE} bytes).`))
      return fail(response, 413, 'RequestEntityTooLarge', `Exceeded maximum allowed payload size (${MAX_RESPONSE} bytes).`)
    }
    if (body === null) {
      this.hears.error(this.#truncated())
      return fail(response, 400, 'TruncatedHTTPRequest', 'HTTP request is truncated')
    }
    const broken = trailersOf(request)
    if (broken !== null) this.hears.error(broken)
    else this.hears.result(body)
    accepted(response)
  }

  async #streamed(request, response, stream) {
    let whole = false
    try {
      for await (const chunk of request) await stream.write(chunk)
      whole = request.complete
    } catch {
      // told below
    }
    const broken = whole ? trailersOf(request) : this.#truncated()
    this.#sent()
    await stream.end(broken)
    if (whole) accepted(response)
    else fail(response, 400, 'TruncatedHTTPRequest', 'HTTP request is truncated')
  }

  async #error(request, response, id) {
    if (!this.#isCurrent(id, response) || !this.#enter(response, 'InvocationErrorResponse')) return
    const error = await this.#errorOf(request)
    this.#sent()
    this.hears.error(error ?? this.#truncated())
    accepted(response)
  }

  async #initError(request, response) {
    if (this.state !== 'Started') return this.#refuse(response, 'InitError')
    this.state = 'InitError'
    const error = await this.#errorOf(request)
    this.hears.initError(error ?? this.#truncated())
    accepted(response)
  }

  /** Null when the request broke off. */
  async #errorOf(request) {
    const body = await readBody(request, MAX_RESPONSE)
    const type = reportedType(request.headers[ERROR_TYPE])
    if (body === TOO_LARGE) return plain(type, `The error of the runtime exceeded maximum allowed payload size (${MAX_RESPONSE} bytes).`)
    return body === null ? null : { type, body }
  }

  #sent() {
    this.state = 'RuntimeResponseSentState'
  }
  #truncated() {
    return plain('Runtime.TruncatedResponse', this.#text('The response of the runtime broke off'))
  }
  #text(message) {
    return this.invocation === null ? `Error: ${message}` : `RequestId: ${this.invocation.id} Error: ${message}`
  }
}

function decode(id) {
  try {
    return decodeURIComponent(id)
  } catch {
    return null
  }
}

/** An error in Lambda's words that the runtime did not send. */
export const plain = (errorType, errorMessage) => ({ type: errorType, body: Buffer.from(JSON.stringify({ errorType, errorMessage })) })

/**
 * Go's client never says that it streams: a reader is sent in chunks that may be followed by an error, a JSON result in
 * the same form.
 */
const comesInPieces = ({ headers }) =>
  headers.trailer?.toLowerCase().includes(ERROR_TYPE) === true && headers['content-type'] !== undefined && !/^application\/json\b/.test(headers['content-type'])

/** A response that went wrong half-way says so behind its body; null when it did not. */
function trailersOf(request) {
  const { [ERROR_TYPE]: type, [ERROR_BODY]: body } = request.trailers
  if (!type && !body) return null
  const bytes = Buffer.from(body ?? '', 'base64')
  return bytes.length > 0 ? { type: reportedType(type), body: bytes } : plain(type, 'The response of the runtime broke off')
}

/** Paths that are answered whatever the state is. */
export function ping(request, response) {
  if (request.method !== 'GET') return false
  json(response, 200, 'pong')
  return true
}
