// The supervisor: the guest of runtimes that are processes of their own and speak Lambda's Runtime API. It speaks
// runtimes/PROTOCOL.md on descriptors 3 and 4, serves the API on the sandbox's own loopback, starts the runtime and
// reads what it writes. User code runs as the same user, so the host trusts none of what is said here.
//
//   main.mjs <name> <port of the relay> <port of the API> [<program> <argument> …]
//
// With a program, that is the runtime, and this goes on for it: it waited for a function, and becomes the supervisor where
// there are extensions. Without one, the function brings its own: `bootstrap` in its code or in a layer.
import fs from 'node:fs'
import path from 'node:path'
import { F, T, u32 } from '../node/frames.mjs'
import { listenRelay, onRelay, relayAddress } from '../node/relay.mjs'
import { control, exit, relay } from '../node/wire.mjs'
import { Calls, errorFrame, headersOf } from './calls.mjs'
import { Extensions } from './extensions.mjs'
import { fail, json } from './http.mjs'
import { grantLogs, spendLogs, tellLost, writeLog } from './logs.mjs'
import { ping, plain, RuntimeApi } from './runtime-api.mjs'
import { RuntimeProcess } from './runtime-process.mjs'
import { constants } from 'node:os'
import { warm } from './warm.mjs'

// As an import it would read all that the module has, and so load the client of WebSockets and fetch: 6 MB of the function's memory.
const http = process.getBuiltinModule('node:http')

const [name, relayPort, apiPort, ...program] = process.argv.slice(2)
const MAX_HEADERS = 2 * 1024 * 1024
const BOOTSTRAPS = ['/var/task/bootstrap', '/opt/bootstrap']
/** Where layers lie: beside the code, where that is not in its place. */
const optOf = (codePath) => (codePath === '/var/task' ? '/opt' : path.join(path.dirname(codePath), 'opt'))

/** What specialise said. */
let version = null
let loading = false
/** The API's own address. */
let apiAddress = ''

const runtime = new RuntimeProcess({
  output: (stream, bytes) => writeLog(calls.current?.id ?? 0, F[stream], bytes),
  exit: ended,
})

/** What the end of a sandbox may take where extensions want to hear of it, and where only the runtime does. */
const SHUTDOWN_MS = 2_000
const TERM_MS = 500
/** The runtime asks for an invocation. */
let runtimeIsIdle = false
let isEnding = false

const calls = new Calls((call, payload) => {
  const { invocationId: requestId, traceId, invokedArn } = call.context
  runtimeIsIdle = false
  extensions.invoke({ deadlineMs: Math.floor(call.deadlineMs), requestId, invokedFunctionArn: invokedArn ?? version.context.functionArn, traceId })
  api.offer({ id: call.context.invocationId, payload, headers: headersOf(call, version.context) })
})

const api = new RuntimeApi({
  ready: () => {
    extensions.close()
    runtimeIsIdle = true
    goOn()
  },
  initError: loadError,
  result: (pieces) => calls.result(pieces),
  error: (error) => calls.error(error),
  stream: (contentType) => calls.stream(contentType),
  over: () => {
    runtimeIsIdle = true
    goOn()
  },
})

const extensions = new Extensions({
  about: () => ({
    functionName: version.context.functionName,
    functionVersion: version.context.functionVersion,
    handler: version.handler,
    accountId: version.context.functionArn.split(':')[4],
  }),
  registered: () => allRegistered.resolve(),
  idle: goOn,
  failed: fall,
})
const allRegistered = Promise.withResolvers()

/** Loading, and an invocation, are over when the runtime and all extensions have asked for the next one. */
function goOn() {
  if (!runtimeIsIdle || !extensions.isIdle) return
  runtime.drain()
  tellLost()
  if (loading) {
    loading = false
    const shutdownMs = extensions.hasShutdown ? SHUTDOWN_MS : extensions.all.size > 0 ? TERM_MS : 0
    control.send(T.loaded, 0, 0, Buffer.from(JSON.stringify({ kind: 'lambda', shutdownMs })))
    return
  }
  api.forget()
  void calls.done()
}

/** In a call, ends that are no runtime's carry its id. */
function withId({ type, body }) {
  const { errorMessage } = JSON.parse(body.toString('utf8'))
  return plain(type, `RequestId: ${calls.current?.context.invocationId} ${errorMessage}`)
}

/** Something beside the runtime failed, and with it what runs. */
function fall(error) {
  if (loading) return loadError(error)
  calls.error(withId(error))
  void end('failure', 1, 0)
}

function loadError(error) {
  if (!loading) return
  loading = false
  runtime.drain()
  tellLost()
  const { flags, payload } = errorFrame(error)
  control.send(T.loadError, flags, 0, payload)
}

/** The runtime's process is gone, and with it the sandbox. */
function ended(code, signal) {
  void end('failure', code ?? 0, signal === null ? 0 : (constants.signals[signal] ?? constants.signals.SIGKILL))
}

/** The extensions hear of it first; then this sandbox is over. */
async function end(reason, code, signal) {
  if (isEnding) return
  isEnding = true
  if (extensions.hasShutdown) await extensions.shutDown(reason, SHUTDOWN_MS)
  runtime.drain()
  tellLost()
  calls.doneNow()
  control.send(T.exiting, 0, 0, u32(code | (signal << 8)))
  control.flushNow()
  exit(code)
}

/** The host wants the sandbox to end, and gives it some time. */
async function shutDown({ reason, ms }) {
  if (isEnding) return
  isEnding = true
  const runtimeLeft = new Promise((resolve) => (runtime.child === null ? resolve() : runtime.child.once('exit', resolve)))
  runtime.child?.kill('SIGTERM')
  await Promise.race([Promise.all([runtimeLeft, extensions.shutDown(reason, ms)]), new Promise((resolve) => setTimeout(resolve, ms))])
  control.send(T.exiting, 0, 0, u32(0))
  control.flushNow()
  exit(0)
}

// ── becoming a function ──

async function load(fields) {
  const environment = Object.fromEntries(
    Object.entries(fields.environment).map(([key, value]) => [key, String(value).replaceAll('{relay}', relayAddress.origin)]),
  )
  const cwd = environment.LAMBDA_TASK_ROOT ?? fields.codePath
  const env = { _HANDLER: fields.handler, ...environment, AWS_LAMBDA_RUNTIME_API: apiAddress, PWD: cwd }
  const command = program.length > 0 ? program : bootstrapOf(fields.codePath)
  if (command === null) return loadError(plain('Runtime.InvalidEntrypoint', `Error: Couldn't find valid bootstrap(s): [${BOOTSTRAPS.join(' ')}]`))
  const { outputs } = runtime
  if (extensions.start(path.join(optOf(fields.codePath), 'extensions'), { env, outputs }) > 0) await allRegistered.promise
  const wrapper = environment.AWS_LAMBDA_EXEC_WRAPPER
  const whole = wrapper ? [wrapper, ...command] : command
  const failure = await runtime.start(whole[0], whole.slice(1), { cwd, env })
  if (failure !== null) loadError(plain('Runtime.InvalidEntrypoint', `Error: fork/exec ${whole[0]}: ${reasonOf(failure)}`))
}

function bootstrapOf(codePath) {
  for (const file of [codePath, optOf(codePath)].map((folder) => path.join(folder, 'bootstrap'))) {
    try {
      if (!fs.statSync(file).isFile()) continue
      fs.accessSync(file, fs.constants.X_OK)
      return [file]
    } catch {
      // the next one
    }
  }
  return null
}

const REASONS = { ENOENT: 'no such file or directory', EACCES: 'permission denied', ENOEXEC: 'exec format error' }
const reasonOf = (error) => REASONS[error.code] ?? error.code ?? error.message

// ── frames ──

const listenToo = () => {
  for (const port of version.relayPorts) if (port !== relayAddress.port && `127.0.0.1:${port}` !== apiAddress) listenRelay(port)
}

let parts = []

function onControl(type, flags, id, payload) {
  switch (type) {
    case T.call:
      return calls.start(id, flags, payload)
    case T.data:
      return calls.data(id, payload)
    case T.end:
      return calls.end(id)
    case T.credit:
      if (flags & F.stdout) grantLogs(payload.readUInt32LE(0))
      else calls.grant(id, payload.readUInt32LE(0))
      return
    case T.cancel:
      return calls.cancel(id)
    case T.shutdown:
      return void shutDown(JSON.parse(payload.toString('utf8')))
    case T.specialise:
      if (version === null) {
        parts.push(Buffer.from(payload))
        if ((flags & (F.done | F.fin)) === 0) return
        version = JSON.parse(Buffer.concat(parts).toString('utf8'))
        parts = []
        listenToo()
      }
      if (flags & F.fin) {
        loading = true
        void load(version)
      }
      return
    case T.warm:
      void warm(JSON.parse(payload.toString('utf8')).rounds, serve, apiAddress).then(() => control.send(T.warmed, 0, 0))
  }
}

// ── beginning ──

/** What the runtime knew that waited here before, for whom this goes on; null where there was none. */
function takeOver() {
  const mark = process.env._MAYFLY_HANDED_OVER
  if (mark === undefined) return null
  const state = JSON.parse(fs.readFileSync(Number(mark), 'utf8'))
  fs.closeSync(Number(mark))
  spendLogs(state.spent)
  control.held = Buffer.from(state.held, 'hex')
  version = state.fields
  return state
}
const handed = takeOver()

const dropAll = () => {
  runtime.drop()
  extensions.drop()
}
control.take = onControl
relay.take = onRelay
// Before this process ends with its host, what it started does.
for (const event of ['end', 'error', 'close']) for (const wire of [control, relay]) wire.socket.prependListener(event, dropAll)

let served = api
function serve(other) {
  served = other
  return () => {
    served = api
  }
}

/** What monitoring layers ask for, and run without. */
const NOT_SUPPORTED = { '/2022-07-01/telemetry': 'Telemetry', '/2020-08-15/logs': 'Logs' }
function notSupported(request, response, what) {
  request.resume()
  json(response, 202, { errorType: `${what}.NotSupported`, errorMessage: `${what} API is not supported` })
}

const server = http.createServer({ maxHeaderSize: MAX_HEADERS, requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 0 }, (request, response) => {
  const [, prefix, rest] = /^(\/[^/?]+)([^?]*)/.exec(request.url ?? '') ?? []
  if (prefix === '/2018-06-01' && rest === '/ping') return void (ping(request, response) || fail(response, 405, 'MethodNotAllowed', 'Method not allowed'))
  if (prefix === '/2018-06-01' && served.take(request, response, rest)) return
  if (prefix === '/2020-01-01' && extensions.take(request, response, rest)) return
  if (request.method === 'PUT' && NOT_SUPPORTED[prefix + rest]) return notSupported(request, response, NOT_SUPPORTED[prefix + rest])
  fail(response, 404, 'NotFound', 'Not found')
})
server.on('clientError', (_error, socket) => socket.destroy())

const listening = (open) => new Promise((resolve) => open(resolve))
async function begin() {
  relayAddress.port = await listening((ready) => listenRelay(handed?.port ?? Number(relayPort), ready))
  await listening((ready) => server.listen({ host: '127.0.0.1', port: Number(apiPort) }, ready))
  apiAddress = `127.0.0.1:${server.address().port}`
  if (handed !== null) {
    listenToo()
    loading = true
    return void load(version)
  }
  control.send(T.hello, 0, 0, Buffer.from(JSON.stringify({ version: 1, runtime: name, relayPort: relayAddress.port, features: ['relay', 'stream'] })))
}
await begin()
