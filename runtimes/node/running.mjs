// The calls that run, and which of them is whose code that runs now.
import { AsyncLocalStorage } from 'node:async_hooks'
import { Credit, STREAM_WINDOW } from './frames.mjs'

const hrtime = process.hrtime.bigint

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
    this.deadline = hrtime() + BigInt(Math.max(0, Math.floor(head.remainingMs))) * 1_000_000n
    this.credit = new Credit(STREAM_WINDOW)
    this.abort = new AbortController()
    this.giveUp = null
    this.pending = 0
    this.answered = false
    this.open = false // its answer is on its way, and may still fail
    this.body = null
    this.parts = []
    this.finished = false
  }
  get remainingMs() {
    return Math.max(0, Number((this.deadline - hrtime()) / 1_000_000n))
  }
}

/** Runs `work` as this call's. What it throws is for `failed`. */
export function run(call, work, failed) {
  currentCall = call
  const go = () => {
    Promise.resolve()
      .then(work)
      .catch((error) => failed(call, error))
  }
  if (concurrent) storage.run(call, go)
  else go()
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
