// The Node runtime: what runs inside a sandbox. It speaks runtimes/PROTOCOL.md on descriptors 3 and 4, loads the
// user's handler once and runs calls. User code shares this process: what is needed of the language afterwards is
// taken before it loads, and the host trusts none of it anyway.
import { AsyncLocalStorage } from 'node:async_hooks'
import fs from 'node:fs'
import module from 'node:module'
import net from 'node:net'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import util from 'node:util'
import v8 from 'node:v8'

const { parse, stringify } = JSON
const hrtime = process.hrtime.bigint
const exit = process.reallyExit?.bind(process) ?? process.exit.bind(process)
const later = setImmediate
const clock = Date.now

const HEADER = 12
const MAX = 64 * 1024
const STREAM_WINDOW = 256 * 1024
const SANDBOX_WINDOW = 4 * 1024 * 1024
const LOG_WINDOW = 1024 * 1024
const T = {
  hello: 1,
  loaded: 2,
  loadError: 3,
  result: 4,
  head: 5,
  data: 6,
  end: 7,
  callError: 8,
  done: 9,
  credit: 10,
  log: 11,
  logLost: 12,
  warmed: 13,
  exiting: 14,
  open: 20,
  reset: 21,
  warm: 30,
  specialise: 31,
  call: 32,
  cancel: 33,
}
const F = { fin: 1, done: 2, stdout: 4, stderr: 8 }
const EMPTY = Buffer.alloc(0)

// ── frames ──

function encode(type, flags, stream, payload = EMPTY) {
  const frame = Buffer.allocUnsafe(HEADER + payload.length)
  frame.writeUInt32LE(payload.length, 0)
  frame[4] = type
  frame[5] = flags
  frame[6] = 0
  frame[7] = 0
  frame.writeUInt32LE(stream, 8)
  frame.set(payload, HEADER)
  return frame
}

class Wire {
  constructor(fd, take) {
    this.fd = fd
    this.first = []
    this.data = []
    this.scheduled = false
    this.held = EMPTY
    this.waiting = []
    this.full = false
    this.given = 0
    this.underWay = []
    this.socket = new net.Socket({ fd, readable: true, writable: true })
    this.socket.on('data', (chunk) => this.read(chunk, take))
    this.socket.on('end', () => exit(0)) // the host is gone, and we with it
    this.socket.on('error', () => exit(0))
    this.socket.on('close', () => exit(0))
    this.socket.on('drain', () => {
      this.full = false
      for (const go of this.waiting.splice(0)) go()
    })
    this.flush = this.flush.bind(this)
  }
  read(chunk, take) {
    const bytes = this.held.length === 0 ? chunk : Buffer.concat([this.held, chunk])
    let at = 0
    while (bytes.length - at >= HEADER) {
      const length = bytes.readUInt32LE(at)
      if (bytes.length - at < HEADER + length) break
      take(bytes[at + 4], bytes[at + 5], bytes.readUInt32LE(at + 8), bytes.subarray(at + HEADER, at + HEADER + length))
      at += HEADER + length
    }
    this.held = at === bytes.length ? EMPTY : Buffer.from(bytes.subarray(at))
  }
  send(type, flags, stream, payload) {
    this.first.push(encode(type, flags, stream, payload))
    this.schedule()
  }
  sendData(type, flags, stream, payload) {
    this.data.push(encode(type, flags, stream, payload))
    this.schedule()
  }
  room() {
    return this.full ? new Promise((go) => this.waiting.push(go)) : null
  }
  schedule() {
    if (this.scheduled) return
    this.scheduled = true
    later(this.flush)
  }
  flush() {
    this.scheduled = false
    const frames = this.data.length === 0 ? this.first : this.first.concat(this.data)
    this.first = []
    this.data = []
    if (frames.length === 0) return
    const bytes = frames.length === 1 ? frames[0] : Buffer.concat(frames)
    this.given += bytes.length
    if (this.socket.writableLength === 0) this.underWay = []
    this.underWay.push(bytes)
    if (!this.socket.write(bytes)) this.full = true
  }
  /** At the very end there is no event loop any more: what is queued is written by hand. */
  flushNow() {
    // Of what the socket was given the kernel may not have all: the rest goes first, or frames would be torn.
    const unsent = this.given - (this.socket._handle?.bytesWritten ?? this.given) + (this.socket._handle?.writeQueueSize ?? 0)
    const given = Buffer.concat(this.underWay)
    let bytes = Buffer.concat([given.subarray(given.length - unsent), ...this.first, ...this.data])
    this.first = []
    this.data = []
    const until = clock() + 2000
    while (bytes.length > 0 && clock() < until) {
      try {
        bytes = bytes.subarray(fs.writeSync(this.fd, bytes))
      } catch (error) {
        if (error.code !== 'EAGAIN') return
        nap()
      }
    }
    // Who ends first takes from the other what it has not read: the host closes when it has read the last frame.
    const unheard = Buffer.allocUnsafe(MAX)
    while (clock() < until) {
      try {
        if (fs.readSync(this.fd, unheard) === 0) return
      } catch (error) {
        if (error.code !== 'EAGAIN') return
        nap()
      }
    }
  }
}

/** A millisecond without an event loop. */
const still = new Int32Array(new SharedArrayBuffer(4))
const nap = () => Atomics.wait(still, 0, 0, 1)

class Credit {
  constructor(bytes) {
    this.left = bytes
    this.waiting = []
    this.closed = false
  }
  /** Nobody waits any more: what is still sent has nowhere to go. */
  close() {
    this.closed = true
    for (const { go } of this.waiting.splice(0)) go()
  }
  take(bytes) {
    if (this.closed) return null
    if (this.waiting.length === 0 && this.left >= bytes) {
      this.left -= bytes
      return null
    }
    return new Promise((go) => this.waiting.push({ bytes, go }))
  }
  give(bytes) {
    this.left += bytes
    while (this.waiting.length > 0 && this.left >= this.waiting[0].bytes) {
      const next = this.waiting.shift()
      this.left -= next.bytes
      next.go()
    }
  }
}

const u32 = (value) => {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32LE(value, 0)
  return bytes
}

// ── logs: sent while there is credit, else dropped and counted; never waited for ──

const calls = new Map()
const storage = new AsyncLocalStorage()
let concurrent = false
let currentCall = null
let logLeft = LOG_WINDOW
const lost = new Map()

const activeCall = () => (concurrent ? (storage.getStore() ?? null) : currentCall)

function writeLog(flag, bytes) {
  const stream = activeCall()?.id ?? 0
  if (bytes.length > logLeft) {
    lost.set(stream, (lost.get(stream) ?? 0) + bytes.length)
    return
  }
  logLeft -= bytes.length
  for (let at = 0; at < bytes.length; at += MAX) control.send(T.log, flag, stream, bytes.subarray(at, at + MAX))
}

function tellLost() {
  for (const [stream, bytes] of lost) control.send(T.logLost, 0, stream, u32(Math.min(bytes, 0xffffffff)))
  lost.clear()
}

function captureStream(stream, flag) {
  stream.write = (chunk, encoding, callback) => {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, typeof encoding === 'string' ? encoding : 'utf8') : Buffer.from(chunk)
    writeLog(flag, bytes)
    const done = typeof encoding === 'function' ? encoding : callback
    if (typeof done === 'function') process.nextTick(done)
    return true
  }
}

const LEVELS = { log: 'INFO', info: 'INFO', warn: 'WARN', error: 'ERROR', debug: 'DEBUG', trace: 'TRACE' }
function captureConsole() {
  for (const [name, level] of Object.entries(LEVELS)) {
    const flag = level === 'ERROR' || level === 'WARN' || level === 'TRACE' ? F.stderr : F.stdout
    console[name] = (...parts) => {
      let text = util.format(...parts)
      if (name === 'trace') text += `\n${new Error().stack.split('\n').slice(2).join('\n')}`
      logLine(flag, level, text)
    }
  }
}
function logLine(flag, level, text) {
  const id = activeCall()?.context.invocationId ?? 'undefined'
  writeLog(flag, Buffer.from(`${new Date(clock()).toISOString()}\t${id}\t${level}\t${text.replaceAll('\n', '\r')}\n`))
}

// ── errors, in Lambda's words ──

function errorPayload(error) {
  try {
    if (util.types.isNativeError(error) || error instanceof Error) {
      const trace = typeof error.stack === 'string' ? error.stack.split('\n') : []
      return { errorType: String(error.name || 'Error'), errorMessage: String(error.message), trace }
    }
    return { errorType: typeof error, errorMessage: String(error), trace: [] }
  } catch {
    return {
      errorType: 'handled',
      errorMessage: 'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack',
    }
  }
}

const MAX_ERROR = 48 * 1024
function errorBytes(payload) {
  let bytes = Buffer.from(stringify(payload))
  if (bytes.length > MAX_ERROR) {
    bytes = Buffer.from(
      stringify({
        errorType: payload.errorType.slice(0, 200),
        errorMessage: payload.errorMessage.slice(0, 16_000),
        trace: (payload.trace ?? []).slice(0, 20).map((line) => line.slice(0, 500)),
      }),
    )
  }
  return bytes
}

class HandlerError extends Error {
  constructor(type, message) {
    super(message)
    this.name = type
  }
}

// ── loading ──

function splitHandler(handler) {
  if (handler.includes('..'))
    throw new HandlerError(
      'Runtime.MalformedHandlerName',
      `'${handler}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    )
  const base = path.basename(handler)
  const dot = base.indexOf('.')
  if (dot <= 0 || dot === base.length - 1) throw new HandlerError('Runtime.MalformedHandlerName', 'Bad handler')
  return { file: path.join(path.dirname(handler), base.slice(0, dot)), names: base.slice(dot + 1).split('.') }
}

async function loadModule(root, file) {
  const at = path.resolve(root, file)
  for (const extension of ['', '.js', '.mjs', '.cjs', '.ts', '.mts']) {
    const candidate = at + extension
    if (!fs.statSync(candidate, { throwIfNoEntry: false })?.isFile()) continue
    // Also for a module of the standard form: in one go, where `import` takes several trips through other threads.
    try {
      return module.createRequire(candidate)(candidate)
    } catch (error) {
      if (error?.code === 'ERR_REQUIRE_ASYNC_MODULE' || error?.code === 'ERR_REQUIRE_ESM') return await import(pathToFileURL(candidate).href)
      throw error
    }
  }
  const missing = new Error(`Cannot find module '${file}'\nRequire stack:\n- ${root}`)
  missing.code = 'MODULE_NOT_FOUND'
  throw missing
}

const pick = (from, names) => names.reduce((value, name) => (value === undefined || value === null ? undefined : value[name]), from)

async function load(root, handler) {
  const { file, names } = splitHandler(handler)
  let loaded
  try {
    loaded = await loadModule(root, file)
  } catch (error) {
    if (error instanceof SyntaxError) {
      const wrapped = new HandlerError('Runtime.UserCodeSyntaxError', `SyntaxError: ${error.message}`)
      wrapped.stack = `Runtime.UserCodeSyntaxError: SyntaxError: ${error.message}\n${String(error.stack).split('\n').slice(1).join('\n')}`
      throw wrapped
    }
    if (error?.code === 'MODULE_NOT_FOUND' || error?.code === 'ERR_MODULE_NOT_FOUND')
      throw new HandlerError('Runtime.ImportModuleError', `Error: ${error.message}`)
    throw error
  }
  const found = pick(loaded, names) ?? pick(loaded?.default, names)
  const standard = loaded?.default
  if (typeof found === 'function' && !(names.length === 1 && names[0] === 'fetch')) {
    if (found.length > 2 && !found[Symbol.for('aws.lambda.runtime.handler.streaming')]) {
      throw new HandlerError('Runtime.CallbackHandlerDeprecated', 'Callback-based handlers are not supported by this runtime: return a promise instead.')
    }
    return { kind: 'lambda', run: found }
  }
  if (typeof standard?.fetch === 'function') return { kind: 'fetch', run: standard.fetch.bind(standard) }
  if (typeof standard === 'function') return { kind: 'fetch', run: standard }
  if (typeof loaded?.fetch === 'function') return { kind: 'fetch', run: loaded.fetch }
  throw new HandlerError('Runtime.HandlerNotFound', `${handler} is undefined or not exported`)
}

let handler = null

/** What every call of the version has in common. */
let version = null

/** What can be done before the code is there. */
function prepare(fields) {
  version = fields.context
  concurrent = fields.concurrency > 1
  replaceEnvironment(fields.environment)
  for (const port of fields.relayPorts) if (port !== relayPort) listenRelay(port)
  v8.setFlagsFromString(`--max-old-space-size=${Math.max(16, Math.floor(fields.memoryMb * 0.75))}`)
}

async function specialise(fields) {
  if (fields.cachePath) module.enableCompileCache(fields.cachePath)
  process.chdir(fields.codePath)
  handler = await load(fields.codePath, fields.handler)
  if (fields.build) module.flushCompileCache()
  return handler.kind
}

// The whole environment is the function's own.
function replaceEnvironment(values) {
  for (const name of Object.keys(realEnv)) delete realEnv[name]
  for (const [name, value] of Object.entries(values)) realEnv[name] = String(value).replaceAll('{relay}', relayOrigin())
}
const realEnv = process.env

// ── calls ──

class RunningCall {
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
    this.body = null
    this.parts = []
  }
}

function start(id, flags, payload) {
  const headLength = payload.readUInt32LE(0)
  const call = new RunningCall(id, parse(payload.toString('utf8', 4, 4 + headLength)))
  calls.set(id, call)
  const inline = payload.subarray(4 + headLength)
  if (call.kind === 'event') {
    if (flags & F.fin) run(call, () => runEvent(call, inline))
    else call.parts = inline.length > 0 ? [Buffer.from(inline)] : []
  } else {
    if (call.head.hasBody && !(flags & F.fin)) call.body = new IncomingBody(call)
    run(call, () => runFetch(call))
  }
}

function run(call, work) {
  currentCall = call
  const go = () => {
    Promise.resolve()
      .then(work)
      .catch((error) => fail(call, error))
  }
  if (concurrent) storage.run(call, go)
  else go()
}

function lambdaContext(call) {
  const { context } = call
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName: version.functionName,
    functionVersion: version.functionVersion,
    memoryLimitInMB: String(version.memoryMb),
    logGroupName: version.logGroup,
    logStreamName: version.logStream,
    clientContext: context.clientContext === null ? undefined : parse(context.clientContext),
    identity: undefined,
    invokedFunctionArn: context.invokedArn,
    awsRequestId: context.invocationId,
    getRemainingTimeInMillis: () => Math.max(0, Number((call.deadline - hrtime()) / 1_000_000n)),
  }
}

async function runEvent(call, payload) {
  realEnv._X_AMZN_TRACE_ID = call.context.traceId
  let event
  try {
    event = parse(payload.toString('utf8'))
  } catch (error) {
    throw new HandlerError('Runtime.UnmarshalError', `Unable to unmarshal input: ${error.message}`)
  }
  const value = await handler.run(event, lambdaContext(call))
  let text
  try {
    text = stringify(value === undefined ? null : value)
  } catch (error) {
    throw new HandlerError('Runtime.MarshalError', `Unable to stringify response body: ${error.message}`)
  }
  const bytes = Buffer.from(text ?? 'null')
  tellLost()
  call.answered = true
  if (bytes.length <= MAX) {
    control.send(T.result, F.fin | F.done, call.id, bytes)
    finish(call, true)
    return
  }
  control.send(T.result, 0, call.id)
  await sendBytes(call, bytes)
  control.sendData(T.end, F.fin | F.done, call.id)
  finish(call, true)
}

async function sendBytes(call, bytes) {
  for (let at = 0; at < bytes.length; at += MAX) {
    const piece = bytes.subarray(at, at + MAX)
    await call.credit.take(piece.length)
    if (call.credit.closed) return
    await sandboxCredit.take(piece.length)
    await control.room()
    control.sendData(T.data, 0, call.id, piece)
  }
}

class IncomingBody {
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

async function runFetch(call) {
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
        logLine(F.stderr, 'ERROR', `waitUntil rejected: ${util.inspect(error)}`)
        settle()
      })
    },
    passThroughOnException: () => {},
    awsRequestId: call.context.invocationId,
    getRemainingTimeInMillis: () => Math.max(0, Number((call.deadline - hrtime()) / 1_000_000n)),
  }
  const response = await handler.run(request, process.env, context)
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
    if (!signal.aborted) logLine(F.stderr, 'ERROR', `the Response broke off: ${util.inspect(error)}`)
    tellLost()
    control.sendData(T.end, call.pending === 0 ? F.done : 0, call.id)
  }
  finish(call, call.pending === 0)
}

function fail(call, error) {
  if (call.answered) {
    logLine(F.stderr, 'ERROR', util.inspect(error))
    return
  }
  call.answered = true
  const payload = errorPayload(error)
  try {
    logLine(F.stderr, 'ERROR', `Invoke Error \t${stringify({ errorType: payload.errorType, errorMessage: payload.errorMessage, stack: payload.trace })}`)
  } catch {
    // an error that cannot be shown is told all the same
  }
  tellLost()
  control.send(T.callError, call.pending === 0 ? F.done : 0, call.id, errorBytes(payload))
  finish(call, call.pending === 0)
}

function finish(call, done) {
  call.finished = true
  if (done) forget(call)
}
function forget(call) {
  calls.delete(call.id)
  call.body?.drop()
  if (currentCall === call) currentCall = null
}

/** User code ended the process, or left an error to nobody: what runs gets it as its outcome first. */
function crash(error, code) {
  const payload = errorPayload(error)
  for (const call of calls.values()) {
    if (call.answered) continue
    call.answered = true
    control.send(T.callError, F.done, call.id, errorBytes(payload))
  }
  if (loading) control.send(T.loadError, 0, 0, errorBytes(payload))
  tellLost()
  control.send(T.exiting, 0, 0, u32(code))
  control.flushNow()
  exit(code)
}

process.on('uncaughtException', (error) => {
  logLine(F.stderr, 'ERROR', `Uncaught Exception \t${stringify(errorPayload(error))}`)
  crash(error, 129)
})
process.on('unhandledRejection', (reason) => {
  const payload = errorPayload(reason)
  const error = new HandlerError(
    'Runtime.UnhandledPromiseRejection',
    util.types.isNativeError(reason) ? `${payload.errorType}: ${payload.errorMessage}` : payload.errorMessage,
  )
  error.stack = [`${error.name}: ${error.message}`, ...(payload.trace ?? []).slice(1)].join('\n')
  logLine(F.stderr, 'ERROR', `Unhandled Promise Rejection \t${stringify(errorPayload(error))}`)
  crash(error, 128)
})
process.on('exit', (code) => {
  tellLost()
  control.send(T.exiting, 0, 0, u32(code))
  control.flushNow()
})

// ── the relay: loopback connections become streams on descriptor 4 ──

const relays = new Map()
let nextRelay = 1
let relayPort = 0
const relayOrigin = () => `http://127.0.0.1:${relayPort}`

function listenRelay(port, ready) {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: false }, (socket) => {
    const id = nextRelay++
    const credit = new Credit(STREAM_WINDOW)
    relays.set(id, { socket, credit })
    relay.send(T.open, 0, id)
    let sending = Promise.resolve()
    const send = async (chunk) => {
      for (let at = 0; at < chunk.length; at += MAX) {
        const piece = chunk.subarray(at, at + MAX)
        await credit.take(piece.length)
        await relay.room()
        if (!relays.has(id)) return
        relay.sendData(T.data, 0, id, piece)
      }
      socket.resume()
    }
    const reset = () => relays.delete(id) && relay.sendData(T.reset, 0, id)
    // An end may be heard while data still waits for credit, and so may an orderly close.
    socket.on('data', (chunk) => {
      socket.pause()
      sending = sending.then(() => send(chunk))
    })
    socket.on('end', () => sending.then(() => relays.has(id) && relay.sendData(T.end, F.fin, id)))
    socket.on('error', () => {})
    socket.on('close', (failed) => (failed ? reset() : sending.then(reset)))
  })
  server.on('error', () => {
    // Without isolation the port may be taken by the node itself, and then leads there anyway.
    if (ready && port !== 0) listenRelay(0, ready)
  })
  server.listen({ host: '127.0.0.1', port }, () => ready?.(server.address().port))
  server.unref()
  return server
}

function onRelay(type, _flags, id, payload) {
  const entry = relays.get(id)
  if (!entry) return
  if (type === T.data) {
    const bytes = Buffer.from(payload)
    entry.socket.write(bytes, (error) => error || relay.send(T.credit, 0, id, u32(bytes.length)))
  } else if (type === T.end) {
    entry.ended = true
    entry.socket.end()
  } else if (type === T.credit) entry.credit.give(payload.readUInt32LE(0))
  else if (type === T.reset) {
    relays.delete(id)
    // What came before an end is brought to its end; what broke off must not look whole.
    if (entry.ended) entry.socket.destroySoon()
    else entry.socket.resetAndDestroy()
  }
}

// ── control ──

const sandboxCredit = new Credit(SANDBOX_WINDOW)
let loading = false
let specialiseParts = []
let announced = null

function onControl(type, flags, id, payload) {
  switch (type) {
    case T.call:
      start(id, flags, payload)
      return
    case T.data: {
      const call = calls.get(id)
      if (call?.body) call.body.take(payload)
      else if (!call) control.send(T.credit, 0, id, u32(payload.length))
      else {
        call.parts.push(Buffer.from(payload))
        control.send(T.credit, 0, id, u32(payload.length))
      }
      return
    }
    case T.end: {
      const call = calls.get(id)
      if (!call) return
      if (call.body) call.body.end((flags & F.fin) !== 0)
      else run(call, () => runEvent(call, Buffer.concat(call.parts)))
      return
    }
    case T.credit:
      if (flags & F.stdout) {
        logLeft += payload.readUInt32LE(0)
        return
      }
      sandboxCredit.give(payload.readUInt32LE(0))
      calls.get(id)?.credit.give(payload.readUInt32LE(0))
      return
    case T.cancel: {
      const call = calls.get(id)
      call?.abort.abort(new DOMException('The client left.', 'AbortError'))
      call?.giveUp?.()
      return
    }
    case T.specialise: {
      if (announced === null) specialiseParts.push(Buffer.from(payload))
      if (announced === null && flags & (F.done | F.fin)) {
        announced = parse(Buffer.concat(specialiseParts).toString('utf8'))
        specialiseParts = []
        prepare(announced)
      }
      if (!(flags & F.fin)) return
      const fields = announced
      loading = true
      specialise(fields).then(
        (kind) => {
          loading = false
          tellLost()
          control.send(T.loaded, 0, 0, Buffer.from(stringify({ kind })))
        },
        (error) => {
          loading = false
          tellLost()
          control.send(T.loadError, 0, 0, errorBytes(errorPayload(error)))
        },
      )
      return
    }
    case T.warm:
      warm(parse(payload.toString('utf8')).rounds).then(() => control.send(T.warmed, 0, 0))
  }
}

// The dummy rounds go through the code of real calls, with handlers of our own and frames that go nowhere.
async function warm(rounds) {
  const realSend = control.send
  const realData = control.sendData
  const credit = sandboxCredit.left
  control.send = (type, flags, stream, payload) => void encode(type, flags, stream, payload)
  control.sendData = control.send
  version = { functionName: 'w', functionVersion: 'w', functionArn: 'w', memoryMb: 1, logGroup: 'w', logStream: 'w' }
  const context = { invocationId: 'w', traceId: 'w', clientContext: null, depth: 0, invokedArn: 'w' }
  const frame = (head, body) => {
    const bytes = Buffer.from(stringify(head))
    return Buffer.concat([u32(bytes.length), bytes, Buffer.from(body)])
  }
  const settled = () => new Promise((resolve) => later(resolve))
  for (let i = 0; i < rounds; i++) {
    handler = { kind: 'lambda', run: async (event) => ({ statusCode: 200, body: stringify(event) }) }
    start(1, F.fin, frame({ kind: 'event', remainingMs: 1000, context }, '{"a":[1,"b",{"c":null}]}'))
    await settled()
    if (i % 3 === 0) {
      handler = { kind: 'fetch', run: async (request) => new Response(request.headers.get('a') ?? (await request.text()), { headers: { b: 'c' } }) }
      start(2, 0, frame({ kind: 'http', remainingMs: 1000, context, method: 'POST', url: 'http://localhost/x?y=z', headers: [['c', 'd']], hasBody: true }, ''))
      calls.get(2)?.body.take(Buffer.from('body'))
      calls.get(2)?.body.end(true)
      for (let turn = 0; turn < 50 && calls.has(2); turn++) await settled()
      calls.delete(2)
    }
  }
  await warmLoading()
  await warmFetch()
  handler = null
  currentCall = null
  sandboxCredit.left = credit
  delete realEnv._X_AMZN_TRACE_ID
  control.send = realSend
  control.sendData = realData
}

// Loading is most of a cold start, and a module is loaded but once: small ones of our own go the way of the user's.
const WARM_LOADS = 8
async function warmLoading() {
  const folder = fs.mkdtempSync(path.join(realEnv.TMPDIR ?? '/tmp', 'warm-'))
  try {
    for (let i = 0; i < WARM_LOADS; i++) {
      const root = path.join(folder, String(i))
      fs.mkdirSync(root)
      fs.writeFileSync(path.join(root, 'index.mjs'), `import fs from 'node:fs'\nexport const handler = async () => fs && ${i}`)
      fs.writeFileSync(path.join(root, 'plain.cjs'), `exports.handler = async () => require('node:path') && ${i}`)
      handler = await load(root, 'index.handler')
      handler = await load(root, 'plain.handler')
      replaceEnvironment({ ...realEnv })
      await new Promise((listening) => {
        const server = listenRelay(0, () => server.close(listening))
      })
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

// The first fetch of a process loads its client, which takes longer than all else of a cold call: the first ones go
// to a server of our own.
async function warmFetch() {
  const answer = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\netag: "w"\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}'
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end(answer))
  })
  try {
    await new Promise((listening, failed) => {
      server.once('error', failed)
      server.listen({ host: '127.0.0.1', port: 0 }, listening)
    })
    const url = `http://127.0.0.1:${server.address().port}/`
    const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'image/webp' }, body: new Uint8Array(1024) })
    await response.json()
    await (await fetch(url, { headers: { apikey: 'w' } })).arrayBuffer()
  } catch {
    // Where there is no loopback the first fetch loads it, as ever.
  } finally {
    server.close()
  }
}

const control = new Wire(3, onControl)
const relay = new Wire(4, onRelay)
captureStream(process.stdout, F.stdout)
captureStream(process.stderr, F.stderr)
captureConsole()
listenRelay(Number(process.argv[2] ?? 9001), (port) => {
  relayPort = port
  control.send(
    T.hello,
    0,
    0,
    Buffer.from(stringify({ version: 1, runtime: 'nodejs24.x', node: process.version, relayPort: port, features: ['fetch', 'relay', 'compile-cache'] })),
  )
})
