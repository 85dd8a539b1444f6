import type { Code, Runtime } from '../conformance/runtime.ts'
import { shipped } from '../conformance/shipped.ts'
import { HANDLER_CODE, LOAD_FAULT_CODE } from '../node/conformance-code.ts'

/** A runtime of its own, as someone might bring it: a client of the Runtime API that runs handlers of Node's form. */
const BOOTSTRAP = `#!${process.execPath}
import http from 'node:http'
import path from 'node:path'
import { createRequire } from 'node:module'
import { Writable } from 'node:stream'
for (const stream of [process.stdout, process.stderr]) stream._handle?.setBlocking?.(true)
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':')
const send = (method, where, body, headers = {}) => new Promise((resolve, reject) => {
  const request = http.request({ host, port, agent, method, path: '/2018-06-01/runtime/' + where, headers }, async (response) => {
    const parts = []
    for await (const part of response) parts.push(part)
    resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) })
  })
  request.on('error', reject)
  request.end(body)
})
class Answer extends Writable {
  type = 'application/octet-stream'
  request = null
  setContentType(type) { this.type = type }
  open() {
    this.request ??= http.request({ host, port, agent, method: 'POST', path: '/2018-06-01/runtime/invocation/' + current + '/response', headers: {
      'Content-Type': this.type, 'Transfer-Encoding': 'chunked', 'Lambda-Runtime-Function-Response-Mode': 'streaming',
      Trailer: 'Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body' } })
    this.answered ??= new Promise((resolve, reject) => this.request.on('error', reject).on('response', (response) => response.resume().on('end', resolve)))
    return this.request
  }
  _write(chunk, encoding, done) { this.open().write(chunk, () => done()) }
  _final(done) { this.open().end(); this.answered.then(() => done(), done) }
  async fail(error) {
    await new Promise((flushed) => super.write('', flushed))
    this.request.addTrailers({ 'Lambda-Runtime-Function-Error-Type': error.errorType, 'Lambda-Runtime-Function-Error-Body': Buffer.from(JSON.stringify(error)).toString('base64') })
    this.request.end()
    await this.answered
  }
}
globalThis.awslambda = { streamifyResponse: (streamer) => Object.assign(streamer, { streamer: true }) }
const typed = (errorType, errorMessage, trace = []) => ({ errorType, errorMessage, trace })
const tell = (error) => error.errorType ? error : typed(error.name, error.message, error.stack.split('\\n'))
let current = null
const fail = (error) => {
  const payload = tell(error)
  return send('POST', current === null ? 'init/error' : 'invocation/' + current + '/error', JSON.stringify(payload), { 'Lambda-Runtime-Function-Error-Type': payload.errorType })
}
process.on('uncaughtException', (error) => fail(error).finally(() => process.exit(129)))
process.on('unhandledRejection', (error) => fail(typed('Runtime.UnhandledPromiseRejection', error.message)).finally(() => process.exit(128)))

function load() {
  const handler = process.env._HANDLER
  const [file, name] = path.basename(handler).split('.')
  if (handler.includes('..') || !name) throw typed('Runtime.MalformedHandlerName', handler)
  try {
    const loaded = createRequire(process.cwd() + '/')(path.resolve(path.dirname(handler), file + '.mjs'))
    if (typeof loaded[name] !== 'function') throw typed('Runtime.HandlerNotFound', handler)
    return loaded[name]
  } catch (error) {
    if (error.code === 'ERR_REQUIRE_ASYNC_MODULE') return import(path.resolve(file + '.mjs')).then((loaded) => loaded[name])
    if (error instanceof SyntaxError) throw typed('Runtime.UserCodeSyntaxError', error.message)
    if (/MODULE_NOT_FOUND/.test(error.code)) throw typed('Runtime.ImportModuleError', error.message)
    throw error
  }
}

let run
try {
  run = await load()
} catch (error) {
  await fail(error)
  process.exit(1)
}
const { env } = process
for (;;) {
  const { headers, body } = await send('GET', 'invocation/next')
  current = headers['lambda-runtime-aws-request-id']
  env._X_AMZN_TRACE_ID = headers['lambda-runtime-trace-id']
  try {
    let event
    try { event = JSON.parse(body) } catch (error) { throw typed('Runtime.UnmarshalError', error.message) }
    const given = headers['lambda-runtime-client-context']
    const context = {
      functionName: env.AWS_LAMBDA_FUNCTION_NAME,
      functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
      memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
      logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
      logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
      invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
      awsRequestId: current,
      clientContext: given ? JSON.parse(Buffer.from(given, 'latin1').toString()) : undefined,
      getRemainingTimeInMillis: () => Number(headers['lambda-runtime-deadline-ms']) - Date.now(),
    }
    if (run.streamer) {
      const answer = new Answer()
      try {
        await run(event, answer, context)
      } catch (error) {
        if (answer.request === null) throw error
        await answer.fail(tell(error))
        continue
      }
      await new Promise((resolve, reject) => answer.writableFinished ? resolve() : answer.on('finish', resolve).on('error', reject))
      continue
    }
    const value = await run(event, context)
    let text
    try { text = JSON.stringify(value ?? null) } catch (error) { throw typed('Runtime.MarshalError', error.message) }
    await send('POST', 'invocation/' + current + '/response', text)
  } catch (error) {
    await fail(error)
  }
  current = null
}
`

const LEFT = 'the Runtime API cannot tell a runtime that its reader has left: what comes is taken and dropped'

const withBootstrap = (code: Code): Code => ({ ...code, files: { ...code.files, bootstrap: BOOTSTRAP } })

/** What `adds` is for every runtime behind the Runtime API. */
const ADDED = ['AWS_LAMBDA_RUNTIME_API', '_HANDLER', 'PWD']

export const providedRuntime: Runtime = {
  command: process.execPath,
  args: [shipped('supervisor/main.mjs'), 'provided', '0', '0'],
  environment: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/tmp' },
  features: ['relay', 'stream'],
  calls: 'one',
  adds: ADDED,
  lacks: {
    'memory: keeps nothing of calls that are over, also of what they had in the environment': 'it hands the trace on in a header, which may not be so long',
    'streams: are given up when nobody reads them any more, also without credit: an end without fin': LEFT,
    'streams: are given up before they have begun': LEFT,
  },
  absent: null,
  errorType: 'Error',
  uncaught: { errorType: 'Error', exitCode: 129 },
  rejected: { errorType: 'Runtime.UnhandledPromiseRejection', exitCode: 128 },
  handler: (name) => withBootstrap({ files: { 'index.mjs': HANDLER_CODE[name] }, handler: 'index.handler' }),
  loadFault: (name) => withBootstrap(LOAD_FAULT_CODE[name]),
  furtherFaults: {
    'there is no bootstrap': { files: { 'index.mjs': '' }, handler: 'index.handler', errorType: 'Runtime.InvalidEntrypoint' },
    'the bootstrap is for an interpreter that is not there': {
      files: { bootstrap: '#!/not/there\n' },
      handler: 'index.handler',
      errorType: 'Runtime.InvalidEntrypoint',
    },
  },
}
