// The calls that run, and which of them is whose code that runs now.
import { AsyncLocalStorage } from 'node:async_hooks'
import { Credit, STREAM_WINDOW } from './frames.mjs'

const Abort = AbortController
const now = performance.now.bind(performance)

/** What was loaded, and what every call of the version has in common. */
export const code = { handler: null, version: null, callbacks: false }

export const calls = new Map()
const storage = new AsyncLocalStorage()
let concurrent = false
let currentCall = null

export function activeCall() {
  const call = concurrent ? storage.getStore() : currentCall
  // What a call left behind may run on when it is over.
  return call && calls.has(call.id) ? call : null
}
export const runConcurrently = (yes) => {
  concurrent = yes
}

export class RunningCall {
  constructor(id, head) {
    this.id = id
    this.context = head.context
    this.kind = head.kind
    this.head = head
    this.deadline = now() + Math.max(0, Math.floor(head.remainingMs))
    this.credit = new Credit(STREAM_WINDOW)
    this.controller = null
    this.cancelled = null // why nobody waits for it any more
    this.giveUp = null
    this.pending = 0
    this.answered = false
    this.open = false // its answer is on its way, and may still fail
    this.body = null
    this.bytes = null // of a request whose whole body came with it
    this.parts = []
    this.finished = false
  }
  get remainingMs() {
    return Math.max(0, Math.floor(this.deadline - now()))
  }
  /** Made when somebody asks for it: most calls end without. */
  get signal() {
    if (this.controller === null) {
      this.controller = new Abort()
      if (this.cancelled) this.controller.abort(this.cancelled)
    }
    return this.controller.signal
  }
  cancel(reason) {
    this.cancelled ??= reason
    this.controller?.abort(this.cancelled)
    this.giveUp?.()
  }
}

const TRACE = '_X_AMZN_TRACE_ID'
const realEnv = process.env
const { hasOwn } = Object
const { defineProperty } = Reflect
let offersTrace = false
let lastTrace

/**
 * Code reads its trace in the environment, where it is not written: the C library keeps each value that a variable ever had.
 * The object behind the environment answers instead, to each call with its own.
 */
function offerTrace(call) {
  lastTrace = call.context.traceId
  if (!offersTrace) {
    offersTrace = true
    const get = () => (concurrent ? storage.getStore()?.context.traceId : undefined) ?? lastTrace
    // Where code has frozen that object it has no trace, and its calls are none the worse.
    defineProperty(Object.getPrototypeOf(realEnv), TRACE, { get, enumerable: true, configurable: true })
  }
  // What code wrote there itself was of the calls before.
  if (hasOwn(realEnv, TRACE)) delete realEnv[TRACE]
}
export function withdrawTrace() {
  offersTrace = false
  delete Object.getPrototypeOf(realEnv)[TRACE]
}

/** Runs `work`, which is asynchronous, with some bytes as this call's. What it throws is for `failed`. */
export function run(call, work, bytes, failed) {
  currentCall = call
  offerTrace(call)
  if (concurrent) storage.run(call, go, call, work, bytes, failed)
  else go(call, work, bytes, failed)
}
const go = (call, work, bytes, failed) => {
  work(call, bytes).then(undefined, (error) => failed(call, error))
}

/** Its outcome is told. With `done` nothing of it is pending either. */
export function finish(call, done) {
  call.finished = true
  if (done) forget(call)
}

export function forget(call) {
  calls.delete(call.id)
  call.body?.drop()
  if (currentCall === call) currentCall = null
}
