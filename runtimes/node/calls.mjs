// What the host says of calls.
import { F, T, u32 } from './frames.mjs'
import { IncomingBody, runFetch } from './fetches.mjs'
import { runEvent } from './events.mjs'
import { fail } from './outcomes.mjs'
import { calls, code, run, RunningCall } from './running.mjs'
import { control, sandboxCredit } from './wire.mjs'

const { parse } = JSON

const headOf = (payload) => parse(payload.toString('utf8', 4, 4 + payload.readUInt32LE(0)))

/** Of a call that was made before anybody knew what the handler is: what does not suit it comes again. */
export function startAhead(id, flags, payload) {
  const head = headOf(payload)
  if ((head.kind === 'http') === (code.handler.kind === 'fetch')) start(id, flags, payload, head)
}

export function start(id, flags, payload, head = headOf(payload)) {
  const headLength = payload.readUInt32LE(0)
  const call = new RunningCall(id, head)
  calls.set(id, call)
  const inline = payload.subarray(4 + headLength)
  if (call.kind === 'event') {
    if (flags & F.fin) run(call, runEvent, inline, fail)
    else call.parts = inline.length > 0 ? [Buffer.from(inline)] : []
  } else {
    if (call.head.hasBody && !(flags & F.fin)) call.body = new IncomingBody(call)
    run(call, runFetch, null, fail)
  }
}

export function onData(id, payload) {
  const call = calls.get(id)
  if (call?.body) return call.body.take(payload)
  if (call) call.parts.push(Buffer.from(payload))
  control.send(T.credit, 0, id, u32(payload.length))
}

export function onEnd(id, flags) {
  const call = calls.get(id)
  if (!call) return
  if (call.body) call.body.end((flags & F.fin) !== 0)
  else run(call, runEvent, Buffer.concat(call.parts), fail)
}

export function onCredit(id, bytes) {
  sandboxCredit.give(bytes)
  calls.get(id)?.credit.give(bytes)
}

export function onCancel(id) {
  calls.get(id)?.cancel(new DOMException('The client left.', 'AbortError'))
}
