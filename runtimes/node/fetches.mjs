// Calls by HTTP: web-standard handlers.
import util from 'node:util'
import { F, MAX, T, u32 } from './frames.mjs'
import { logLine, tellLost } from './logs.mjs'
import { sendBytes } from './outcomes.mjs'
import { code, finish, forget } from './running.mjs'
import { control } from './wire.mjs'

const { stringify } = JSON
const realEnv = process.env

export class IncomingBody {
  constructor(call) {
    this.call = call
    this.chunks = []
    this.ended = false
    this.failed = false
    this.controller = null
    this.stream = new ReadableStream(
      {
        type: 'bytes',
        start: (controller) => {
          this.controller = controller
        },
        pull: () => this.deliver(),
        cancel: () => this.drop(),
      },
      { highWaterMark: 0 },
    )
  }
  take(bytes) {
    if (this.cancelled) return control.send(T.credit, 0, this.call.id, u32(bytes.length))
    this.chunks.push(Buffer.from(bytes))
    if (this.wanted) this.deliver()
  }
  /** Nobody reads it any more: what was sent and what still comes is credited at once. */
  drop() {
    this.cancelled = true
    const held = this.chunks.splice(0).reduce((sum, chunk) => sum + chunk.length, 0)
    if (held > 0) control.send(T.credit, 0, this.call.id, u32(held))
  }
  end(whole) {
    this.ended = true
    this.failed = !whole
    if (this.wanted || this.chunks.length === 0) this.deliver()
  }
  deliver() {
    this.wanted = true
    const chunk = this.chunks.shift()
    if (chunk) {
      this.wanted = false
      control.send(T.credit, 0, this.call.id, u32(chunk.length))
      this.controller.enqueue(new Uint8Array(chunk))
    } else if (this.ended && !this.cancelled && !this.closed) {
      this.closed = true
      if (this.failed) this.controller.error(new Error('the sender of the body broke off'))
      else {
        this.controller.close()
        this.controller.byobRequest?.respond(0)
      }
    }
  }
}

export async function runFetch(call) {
  const { head } = call
  realEnv._X_AMZN_TRACE_ID = call.context.traceId
  const init = { method: head.method, headers: head.headers, signal: call.abort.signal }
  if (call.body && head.method !== 'GET' && head.method !== 'HEAD') Object.assign(init, { body: call.body.stream, duplex: 'half' })
  const request = new Request(head.url, init)
  const context = {
    waitUntil: (promise) => {
      call.pending++
      const settle = () => {
        call.pending--
        if (call.pending === 0 && call.finished) {
          tellLost()
          // As data: it must not overtake the end of the body.
          control.sendData(T.done, 0, call.id)
          forget(call)
        }
      }
      Promise.resolve(promise).then(settle, (error) => {
        logLine('ERROR', `waitUntil rejected: ${util.inspect(error)}`)
        settle()
      })
    },
    passThroughOnException: () => {},
    awsRequestId: call.context.invocationId,
    getRemainingTimeInMillis: () => call.remainingMs,
  }
  const response = await code.handler.run(request, process.env, context)
  if (!(response instanceof Response) || response.status < 200) throw new TypeError('a fetch handler must answer with a Response')
  const reader = response.body?.getReader()
  const headers = []
  for (const [name, value] of response.headers) headers.push([name, value])
  const headBytes = Buffer.from(stringify({ status: response.status, headers }))
  if (headBytes.length > MAX) throw new RangeError('the headers of the Response are too large')
  tellLost()
  call.answered = true
  if (response.body === null) {
    control.send(T.head, F.fin | (call.pending === 0 ? F.done : 0), call.id, headBytes)
    finish(call, call.pending === 0)
    return
  }
  control.send(T.head, 0, call.id, headBytes)
  const { signal } = call.abort
  call.giveUp = () => {
    reader.cancel(signal.reason).catch(() => {})
    call.credit.close()
  }
  if (signal.aborted) call.giveUp()
  try {
    for (;;) {
      const { done, value: chunk } = await reader.read()
      signal.throwIfAborted()
      if (done) break
      await sendBytes(call, Buffer.from(chunk.buffer ?? chunk, chunk.byteOffset ?? 0, chunk.byteLength))
    }
    tellLost()
    control.sendData(T.end, F.fin | (call.pending === 0 ? F.done : 0), call.id)
  } catch (error) {
    reader.cancel(error).catch(() => {})
    if (!signal.aborted) logLine('ERROR', `the Response broke off: ${util.inspect(error)}`)
    tellLost()
    control.sendData(T.end, call.pending === 0 ? F.done : 0, call.id)
  }
  finish(call, call.pending === 0)
}
