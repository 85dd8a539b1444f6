// The older style of handlers, up to nodejs22.x: a callback, or `context.done`; what they answer waits until the code
// has nothing else to do.
import { HandlerError } from './errors.mjs'
import { control, relay } from './wire.mjs'

/** What to do for each call once nothing else is to be done. */
const idle = new Set()

/** Our own descriptors would keep the event loop busy for ever. */
function onceIdle(work) {
  if (idle.size === 0) for (const wire of [control, relay]) wire.socket.unref()
  idle.add(work)
}
function notIdle(work) {
  if (idle.delete(work) && idle.size === 0) for (const wire of [control, relay]) wire.socket.ref()
}

export function hearIdle() {
  process.on('beforeExit', () => {
    for (const work of [...idle]) {
      notIdle(work)
      work()
    }
  })
}

/** Does the environment name a runtime that still has callbacks? */
export function hasCallbacks({ AWS_EXECUTION_ENV: name = '' }) {
  // On the cold path: a regular expression would be compiled for this one use.
  const major = name.startsWith(NODE) && name.endsWith('.x') ? Number(name.slice(NODE.length, -'.x'.length)) : Number.NaN
  return major >= 10 && major < 24
}
const NODE = 'AWS_Lambda_nodejs'

const isAsync = (handler) => handler.constructor?.name === 'AsyncFunction'

/** @returns what the handler answers, by whichever way it does so first */
export function runWithCallback(handler, event, context) {
  return new Promise((answer, refuse) => {
    let called = false
    const forgotten = () =>
      isAsync(handler)
        ? refuse(new HandlerError('Runtime.NodeJsExit', 'Nothing is left to be done, and the promise of the handler is not settled.'))
        : answer(null)
    const once =
      (work) =>
      (...told) => {
        if (called) return
        called = true
        notIdle(forgotten)
        work(...told)
      }
    const settle = (error, value) => (error === undefined || error === null ? answer(value) : refuse(error))
    const callback = once((error, value) => {
      if ((error !== undefined && error !== null) || !context.callbackWaitsForEmptyEventLoop) settle(error, value)
      else onceIdle(() => answer(value))
    })
    context.done = once(settle)
    context.succeed = once(answer)
    context.fail = once((error) => refuse(error ?? 'handled'))
    onceIdle(forgotten)
    try {
      const returned = handler(event, context, callback)
      if (typeof returned?.then === 'function') returned.then(context.succeed, context.fail)
    } catch (error) {
      context.fail(error)
    }
  })
}
