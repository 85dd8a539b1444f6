// Answers that go out as they are made: the global `awslambda`, and what a handler that it marked is given.
import { Writable } from 'node:stream'
import { errorBytes, errorPayload, HandlerError } from './errors.mjs'
import { F, T } from './frames.mjs'
import { logError, logLine, tellLost } from './logs.mjs'
import { sendBytes } from './outcomes.mjs'
import { code, finish } from './running.mjs'
import { control } from './wire.mjs'

const { stringify } = JSON

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming')
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark')
const INTEGRATION = 'application/vnd.awslambda.http-integration-response'
const PRELUDE_END = 8

/** Status, headers and cookies go before the body, in the body's own bytes. */
const HttpResponseStream = {
  from(stream, prelude) {
    stream.setContentType(INTEGRATION)
    const text = stringify(prelude ?? {})
    stream._onBeforeFirstWrite = (write) => {
      write(text)
      write(new Uint8Array(PRELUDE_END))
    }
    return stream
  },
}

const awslambda = {
  streamifyResponse: (handler, options) => {
    handler[STREAMING] = 'response'
    if (typeof options?.highWaterMark === 'number') handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark)
    return handler
  },
  HttpResponseStream,
}

/** `environment` is what the code will have. */
export function offerStreams(environment) {
  const optOut = environment.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA
  if (optOut === '1' || optOut === 'true') return
  Object.defineProperty(globalThis, 'awslambda', { value: awslambda, writable: true, configurable: true, enumerable: true })
}

/** Null for a handler that returns its answer. @throws HandlerError for a mark that nobody knows */
export function streamingOf(handler) {
  const mark = handler[STREAMING]
  if (mark === undefined || mark === null || mark === false) return null
  if (mark !== 'response') throw new HandlerError('Runtime.MalformedStreamingHandler', 'Only response streaming is supported.')
  const highWaterMark = Number.parseInt(handler[HIGH_WATER_MARK], 10)
  return { highWaterMark: highWaterMark >= 0 ? highWaterMark : undefined }
}

/** What is neither text nor bytes goes out as its JSON. */
const writable = (chunk) => (typeof chunk === 'string' || ArrayBuffer.isView(chunk) ? chunk : stringify(chunk))

/** What a handler writes to: it waits where its reader is slow, and breaks where the reader has left. */
class ResponseStream extends Writable {
  #call
  #contentType = 'application/octet-stream'
  #closed = Promise.withResolvers()
  #sending = Promise.resolve()
  /** Something was written, sent already or not. */
  written = false
  /** Its whole answer was told. */
  told = false
  failed = false

  constructor(call, highWaterMark) {
    super({ highWaterMark })
    this.#call = call
    // Who does not listen must not lose the whole process when a reader leaves.
    this.on('error', () => {})
  }

  setContentType(type) {
    if (this.written) throw new HandlerError('Runtime.InvalidStreamingOperation', 'Cannot set content-type, too late.')
    this.#contentType = String(type)
  }
  write(chunk, encoding, callback) {
    this.#beforeFirst()
    return super.write(writable(chunk), encoding, callback)
  }
  end(chunk, encoding, callback) {
    this.#beforeFirst()
    if (chunk === undefined || chunk === null || typeof chunk === 'function') return super.end(chunk, encoding, callback)
    return super.end(writable(chunk), encoding, callback)
  }
  #beforeFirst() {
    if (this.written) return
    this.written = true
    if (typeof this._onBeforeFirstWrite === 'function') this._onBeforeFirstWrite((chunk) => super.write(writable(chunk)))
  }

  _write(chunk, _encoding, done) {
    this.#sending = this.#send(chunk).then(done, done)
  }
  _writev(chunks, done) {
    this.#sending = this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk))).then(done, done)
  }
  async #send(bytes) {
    this.begin()
    if (bytes.length > 0) await sendBytes(this.#call, bytes)
  }
  begin() {
    const call = this.#call
    if (call.answered) return
    call.answered = true
    call.open = true
    tellLost()
    control.send(T.stream, 0, call.id, Buffer.from(stringify({ contentType: this.#contentType })))
  }
  _final(done) {
    if (!this.failed) {
      this.begin()
      this.told = true
      this.#call.open = false
      control.sendData(T.end, F.fin, this.#call.id)
    }
    done()
  }
  _destroy(error, done) {
    this.#closed.resolve()
    done(error)
  }

  /** The handler failed: what it wrote before still goes out, and nothing after it. */
  fail() {
    this.failed = true
    if (!this.writableEnded) super.end()
  }
  /** Nobody reads it any more. */
  giveUp(reason) {
    this.#call.credit.close()
    this.destroy(reason)
  }
  /** Resolves when nothing of it is on its way any more, whichever way it ended. */
  async over() {
    await this.#closed.promise
    await this.#sending
  }
}

/** Runs a handler that `streamifyResponse` marked. @throws what it throws before it has written anything */
export async function runStream(call, event, context) {
  const stream = new ResponseStream(call, code.handler.streaming.highWaterMark)
  call.giveUp = () => stream.giveUp(call.cancelled)
  if (call.cancelled) call.giveUp()
  let failure = null
  try {
    const { run } = code.handler
    const running = run(event, stream, context)
    if (typeof running?.then !== 'function') throw new Error('Streaming does not support non-async handlers.')
    if ((await running) !== undefined) logLine('WARN', 'Streaming handlers ignore return values.')
  } catch (error) {
    failure = { error }
    if (!stream.written && !call.cancelled) {
      stream.destroy()
      throw error
    }
    stream.fail()
  }
  await stream.over()
  if (!stream.told && !call.cancelled) {
    failure ??= { error: stream.errored ?? new Error('Response stream is not finished.') }
    if (!call.answered) throw failure.error
  }
  if (failure) logError('Invoke Error', failure.error)
  tellLost()
  // As data, all of them: they must not overtake the body.
  if (stream.told) control.sendData(T.done, 0, call.id)
  else if (call.cancelled) {
    stream.begin()
    control.sendData(T.end, F.done, call.id)
  } else control.sendData(T.callError, F.done, call.id, errorBytes(errorPayload(failure.error)))
  call.open = false
  finish(call, true)
}
