// The calls of a sandbox that takes one at a time: events in, outcomes out, as runtimes/PROTOCOL.md has it.
import { Credit, F, MAX, STREAM_WINDOW, T, u32 } from '../node/frames.mjs'
import { control, sandboxCredit } from '../node/wire.mjs'
import { tellLost } from './logs.mjs'

/** After an event or a result of more than this the memory that it took is given back at once: it is the function's. */
const LARGE = 512 * 1024
const collect = globalThis.gc
const MAX_TEXT = 16_000
const MAX_LINES = 20
const MAX_LINE = 500

export class Calls {
  /** @param begin  told of each call whose event is whole */
  constructor(begin) {
    this.begin = begin
    this.current = null
  }

  start(id, flags, payload) {
    const headBytes = payload.readUInt32LE(0)
    const head = JSON.parse(payload.toString('utf8', 4, 4 + headBytes))
    const inline = payload.subarray(4 + headBytes)
    const call = {
      id,
      context: head.context,
      deadlineMs: Date.now() + head.remainingMs,
      credit: new Credit(STREAM_WINDOW),
      parts: inline.length > 0 ? [Buffer.from(inline)] : [],
      answered: false,
      /** Resolves when the last of a long result is on its way. */
      sending: null,
      /** A stream that has begun and has no end. */
      open: false,
    }
    this.current = call
    if (flags & F.fin) this.#whole(call)
  }

  data(id, payload) {
    control.send(T.credit, 0, id, u32(payload.length))
    if (this.current?.id === id) this.current.parts.push(Buffer.from(payload))
  }

  end(id) {
    if (this.current?.id === id) this.#whole(this.current)
  }

  grant(id, bytes) {
    sandboxCredit.give(bytes)
    if (this.current?.id === id) this.current.credit.give(bytes)
  }

  #whole(call) {
    const event = call.parts.length === 1 ? call.parts[0] : Buffer.concat(call.parts)
    call.parts = []
    call.isLarge = event.length > LARGE
    this.begin(call, event)
  }

  /** What the runtime answered with, in pieces. */
  result(pieces) {
    const call = this.current
    if (call === null || call.answered) return
    call.answered = true
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0)
    if (bytes <= MAX) return control.send(T.result, F.fin, call.id, Buffer.concat(pieces))
    control.send(T.result, 0, call.id)
    call.sending = this.#sendAll(call, pieces).then(() => control.sendData(T.end, F.fin, call.id))
    call.isLarge ||= bytes > LARGE
  }
  async #sendAll(call, pieces) {
    for (let next = pieces.shift(); next; next = pieces.shift()) await this.#send(call, next)
  }

  async #send(call, bytes) {
    if (call.credit.closed) return
    for (let at = 0; at < bytes.length; at += MAX) {
      const piece = bytes.subarray(at, at + MAX)
      await call.credit.take(piece.length)
      if (call.credit.closed) return
      await sandboxCredit.take(piece.length)
      await control.room()
      control.sendData(T.data, 0, call.id, piece)
    }
  }

  /** The runtime answers as it goes. @returns what takes it, or null when there is nothing to answer */
  stream(contentType) {
    const call = this.current
    if (call === null || call.answered) return null
    call.answered = true
    call.open = true
    const ended = Promise.withResolvers()
    call.sending = ended.promise
    control.send(T.stream, 0, call.id, Buffer.from(JSON.stringify({ contentType })))
    return {
      write: (bytes) => this.#send(call, bytes),
      end: (error) => {
        call.open = false
        // As data: none of it must overtake the body.
        if (call.credit.closed) control.sendData(T.end, 0, call.id)
        else if (error === null) control.sendData(T.end, F.fin, call.id)
        else {
          const { flags, payload } = errorFrame(error)
          control.sendData(T.callError, flags, call.id, payload)
        }
        ended.resolve()
      },
    }
  }

  /** Nobody waits for it any more: a stream under way is taken to its end and goes nowhere. */
  cancel(id) {
    if (this.current?.id === id && this.current.open) this.current.credit.close()
  }

  /** @param error  {type, body}: body goes to the caller as it is, where it fits a frame */
  error(error) {
    const call = this.current
    if (call === null || call.answered) return
    call.answered = true
    const { flags, payload } = errorFrame(error)
    control.send(T.callError, flags, call.id, payload)
  }

  /** The call is over: what it wrote was sent before. */
  async done() {
    const call = this.current
    if (call === null || !call.answered) return
    if (call.sending !== null) await call.sending
    tellLost()
    this.current = null
    // As data: it must not overtake the end of a long result.
    control.sendData(T.done, 0, call.id)
    if (call.isLarge && collect) setImmediate(() => collect())
  }

  /** The process ends: nothing is waited for any more. */
  doneNow() {
    const call = this.current
    if (call === null || !call.answered || call.sending !== null) return
    this.current = null
    control.send(T.done, 0, call.id)
  }
}

/** An error as a frame has it: the runtime's own JSON where it says its type, else any bytes behind the type. */
export function errorFrame({ type, body }) {
  const own = objectOf(body)
  if (typeof own?.errorType === 'string') {
    if (body.length <= MAX) return { flags: 0, payload: body }
    const short = Buffer.from(JSON.stringify(shortened(own)))
    if (short.length <= MAX) return { flags: 0, payload: short }
  }
  const head = Buffer.from(JSON.stringify({ errorType: type }))
  return { flags: F.raw, payload: Buffer.concat([u32(head.length), head, body.subarray(0, MAX - 4 - head.length)]) }
}

function objectOf(bytes) {
  try {
    const value = JSON.parse(bytes.toString('utf8'))
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null
  } catch {
    return null
  }
}

function shortened(error) {
  const lines = (list) =>
    Array.isArray(list) ? list.slice(0, MAX_LINES).map((line) => (typeof line === 'string' ? line.slice(0, MAX_LINE) : line)) : undefined
  return {
    errorMessage: typeof error.errorMessage === 'string' ? error.errorMessage.slice(0, MAX_TEXT) : undefined,
    errorType: error.errorType.slice(0, 200),
    requestId: typeof error.requestId === 'string' ? error.requestId.slice(0, 100) : undefined,
    stackTrace: lines(error.stackTrace),
    trace: lines(error.trace),
  }
}

/** What is told of a call to those who speak HTTP. No header is empty: some clients parse whatever is there. */
export function headersOf(call, version) {
  const { context } = call
  const optional = {
    'Lambda-Runtime-Trace-Id': context.traceId,
    'Lambda-Runtime-Client-Context': jsonHeader(context.clientContext),
  }
  return {
    'Lambda-Runtime-Aws-Request-Id': context.invocationId,
    'Lambda-Runtime-Deadline-Ms': String(Math.floor(call.deadlineMs)),
    'Lambda-Runtime-Invoked-Function-Arn': context.invokedArn ?? version.functionArn,
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value)),
  }
}

/** JSON in one line, its characters as UTF-8 bytes, and the one that no header may hold escaped; null for what is no JSON. */
function jsonHeader(text) {
  if (!text) return null
  try {
    return Buffer.from(JSON.stringify(JSON.parse(text)).replaceAll('\x7f', '\\u007f')).toString('latin1')
  } catch {
    return null
  }
}
