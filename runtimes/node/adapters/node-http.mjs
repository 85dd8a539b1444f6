// Hands requests to a server of Node's own HTTP as its network would, without a port: the request is an
// IncomingMessage, and what the ServerResponse writes to its socket is read back as a Response.
import { Buffer } from 'node:buffer'
import { Duplex } from 'node:stream'

const HEAD_END = Buffer.from('\r\n\r\n')
/** Statuses whose answers have no body. */
const BARE = new Set([101, 204, 205, 304])

/**
 * @param server  an http.Server, or whatever has the listeners of one
 * @returns {(request: { method: string, url: string, headers: [string, string][], body: ReadableStream | Uint8Array | null, signal?: AbortSignal }) => Promise<Response>}
 */
export function answeredBy(server) {
  const { IncomingMessage, ServerResponse } = process.getBuiltinModule('node:http')
  return ({ method, url, headers, body, signal }) => {
    const { promise, resolve, reject } = Promise.withResolvers()
    const socket = new AnswerSocket(resolve, reject)
    const request = new IncomingMessage(socket)
    request.method = method
    request.url = url
    request.headers = Object.fromEntries(headers)
    for (const [name, value] of headers) request.rawHeaders.push(name, value)
    feed(request, body)
    // A client of 1.0 is sent no chunks: what is written is the body itself.
    request.httpVersionMajor = 1
    request.httpVersionMinor = 0
    const response = new ServerResponse(request)
    request.httpVersionMinor = 1
    request.httpVersion = '1.1'
    response.assignSocket(socket)
    socket.response = response
    response.on('finish', () => socket.whole())
    if (signal) {
      const leave = () => {
        socket.destroy()
        request.destroy()
      }
      if (signal.aborted) leave()
      else {
        signal.addEventListener('abort', leave)
        socket.on('close', () => signal.removeEventListener('abort', leave))
      }
    }
    server.emit('request', request, response)
    return promise
  }
}

function feed(request, body) {
  const end = () => {
    request.complete = true
    request.push(null)
  }
  if (body === null) {
    request._read = () => {}
    end()
  } else if (body instanceof Uint8Array) {
    request._read = () => {}
    request.push(body)
    end()
  } else {
    // An IncomingMessage does not ask for more by itself: it is pushed to, until it has enough.
    let more = null
    request._read = () => {
      more?.()
      more = null
    }
    const pump = async () => {
      for await (const chunk of body) {
        if (!request.push(chunk)) await new Promise((resolve) => (more = resolve))
        if (request.destroyed) return
      }
      end()
    }
    pump().catch((error) => request.destroy(error))
  }
}

/** Looks like the socket of a client, and makes a Response of what is written to it. */
class AnswerSocket extends Duplex {
  remoteAddress = '127.0.0.1'
  remotePort = 0
  response = null
  #resolve
  #reject
  #head = Buffer.alloc(0)
  /** What came of the body before anybody reads it. */
  #chunks = []
  #controller = null
  #isWhole = false
  #told = false
  #room = null

  constructor(resolve, reject) {
    super({ allowHalfOpen: true })
    this.#resolve = resolve
    this.#reject = reject
    // As the server does for who writes to a full socket.
    this.on('drain', () => this.response?.emit('drain'))
    this.on('error', () => {})
  }
  _read() {}
  setTimeout() {
    return this
  }
  setNoDelay() {
    return this
  }
  setKeepAlive() {
    return this
  }
  ref() {
    return this
  }
  unref() {
    return this
  }

  _write(chunk, _encoding, done) {
    if (this.#head !== null) this.#readHead(chunk)
    else if (this.#controller) this.#controller.enqueue(new Uint8Array(chunk))
    else this.#chunks.push(chunk)
    if (this.#controller && this.#controller.desiredSize <= 0) this.#room = done
    else done()
  }

  #readHead(chunk) {
    this.#head = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk])
    const at = this.#head.indexOf(HEAD_END)
    if (at === -1) return
    const lines = this.#head.toString('latin1', 0, at).split('\r\n')
    const rest = this.#head.subarray(at + HEAD_END.length)
    const status = Number(lines[0].split(' ')[1])
    // 100 and 103 come before the answer.
    this.#head = status < 200 ? Buffer.alloc(0) : null
    if (status < 200) {
      if (rest.length > 0) this.#readHead(rest)
      return
    }
    if (rest.length > 0) this.#chunks.push(rest)
    // Most answers are written in one go: then they are whole by the next turn, and no stream is needed.
    process.nextTick(() => this.#answer(status, headersOf(lines)))
  }

  #answer(status, headers) {
    if (this.#told) return
    this.#told = true
    if (BARE.has(status)) return this.#resolve(new Response(null, { status, headers }))
    if (this.#isWhole || this.response.writableEnded) {
      const finished = () => this.#resolve(new Response(Buffer.concat(this.#chunks), { status, headers }))
      return this.#isWhole || this.response.writableFinished ? finished() : this.response.once('finish', finished)
    }
    const stream = new ReadableStream(
      {
        type: 'bytes',
        start: (controller) => {
          this.#controller = controller
          for (const chunk of this.#chunks.splice(0)) controller.enqueue(new Uint8Array(chunk))
        },
        pull: () => {
          const room = this.#room
          this.#room = null
          room?.()
        },
        cancel: () => void this.destroy(),
      },
      { highWaterMark: 16_384 },
    )
    this.#resolve(new Response(stream, { status, headers }))
  }

  /** The answer was written to its end. */
  whole() {
    this.#isWhole = true
    const controller = this.#controller
    this.#controller = null
    try {
      controller?.close()
      controller?.byobRequest?.respond(0)
    } catch {
      // Its reader left.
    }
    this.response.detachSocket(this)
    this.destroy()
  }

  _destroy(error, done) {
    if (!this.#isWhole) {
      const broken = error ?? new Error('the connection was closed before the answer was whole')
      if (this.#told) this.#controller?.error(broken)
      else this.#reject(broken)
      this.#told = true
    }
    done(null)
  }
}

/** Of hop-by-hop headers nobody is told. */
const OWN = new Set(['connection', 'keep-alive', 'transfer-encoding'])

/** As an object where no name stands twice: of such a Response the runtime makes less. */
function headersOf(lines) {
  const headers = []
  for (let i = 1; i < lines.length; i++) {
    const colon = lines[i].indexOf(':')
    const name = lines[i].slice(0, colon).toLowerCase()
    if (!OWN.has(name)) headers.push([name, lines[i].slice(colon + 1).trim()])
  }
  const alone = Object.fromEntries(headers)
  return Object.keys(alone).length === headers.length ? alone : headers
}
