// Calls by HTTP: web-standard handlers.
import util from 'node:util'
import { F, MAX, T, u32 } from './frames.mjs'
import { logLine, tellLost } from './logs.mjs'
import { sendBytes } from './outcomes.mjs'
import { code, finish, forget } from './running.mjs'
import { partsOf, requestOf } from './web.mjs'
import { control } from './wire.mjs'

const { stringify } = JSON

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
  const request = requestOf(call)
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
    failures: call.context.failures ?? 0,
    lastError: call.context.lastError ?? null,
    getRemainingTimeInMillis: () => call.remainingMs,
  }
  const { run } = code.handler
  const response = await run(request, process.env, context)
  if (!(response instanceof Response) || response.status < 200) throw new TypeError('a fetch handler must answer with a Response')
  const parts = partsOf(response)
  if (parts !== null) {
    const head = Buffer.from(stringify({ status: parts.status, headers: parts.headers }))
    const body = Buffer.from(parts.body)
    if (4 + head.length + body.length <= MAX) {
      tellLost()
      call.answered = true
      control.send(T.head, F.fin | F.raw | (call.pending === 0 ? F.done : 0), call.id, Buffer.concat([u32(head.length), head, body]))
      finish(call, call.pending === 0)
      return
    }
  }
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
  await sendBody(call, headBytes, reader)
  finish(call, call.pending === 0)
}

const bytesOf = (chunk) => Buffer.from(chunk.buffer ?? chunk, chunk.byteOffset ?? 0, chunk.byteLength)

/** Sends head and body: in one frame what is there at once and fits, else the head in this turn and the body as it is made. */
async function sendBody(call, head, reader) {
  call.giveUp = () => {
    reader.cancel(call.cancelled).catch(() => {})
    call.credit.close()
  }
  if (call.cancelled) call.giveUp()
  const parts = []
  let size = 4 + head.length
  /** What was read goes out before what is read after it; null while it waits to go with the head. */
  let going = null
  const begin = () => {
    if (going !== null) return
    control.send(T.head, 0, call.id, head)
    going = sendAll(call, parts)
  }
  control.beforeFlush(begin)
  try {
    for (;;) {
      const { done, value: chunk } = await reader.read()
      if (call.cancelled) throw call.cancelled
      if (done) break
      const bytes = bytesOf(chunk)
      size += bytes.length
      if (going === null && size <= MAX) {
        parts.push(Buffer.from(bytes)) // whoever makes the body may use its memory again
        continue
      }
      begin()
      await going
      await sendBytes(call, bytes)
    }
    tellLost()
    const flags = F.fin | (call.pending === 0 ? F.done : 0)
    if (going === null) {
      going = true
      control.send(T.head, flags | F.raw, call.id, Buffer.concat([u32(head.length), head, ...parts], size))
      return
    }
    await going
    control.sendData(T.end, flags, call.id)
  } catch (error) {
    begin()
    reader.cancel(error).catch(() => {})
    if (!call.cancelled) logLine('ERROR', `the Response broke off: ${util.inspect(error)}`)
    await going
    tellLost()
    control.sendData(T.end, call.pending === 0 ? F.done : 0, call.id)
  }
}

async function sendAll(call, parts) {
  for (const part of parts) await sendBytes(call, part)
}
