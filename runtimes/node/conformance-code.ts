import type { Code, HandlerName, LoadFault, StreamerName } from '../conformance/runtime.ts'

const lambda = (body: string) => `export const handler = async (event, context) => { ${body} }`
const fetching = (body: string) => `export default { async fetch(request, env, context) { const { pathname, search } = new URL(request.url); ${body} } }`
const streaming = (body: string) => `export const handler = awslambda.streamifyResponse(async (event, stream, context) => { ${body} })`
const SLEEP = `const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));`

export const HANDLER_CODE: Readonly<Record<HandlerName | StreamerName, string>> = {
  pieces: streaming(`
    if (event.type) stream.setContentType(event.type)
    for (let i = 0; i < event.pieces && !stream.destroyed; i++)
      if (!stream.write(Buffer.alloc(event.bytes, 'x'))) await new Promise((go) => stream.once('drain', go).once('close', go))
    stream.end()`),
  words:
    SLEEP +
    streaming(`
    for (const word of event.words) { stream.write(word); await sleep(event.ms) }
    if (event.message) throw new Error(event.message)
    stream.end()`),
  nothing: streaming('stream.end()'),
  late: SLEEP + streaming("await sleep(event.ms); process.stdout.write(stream.destroyed ? 'gone\\n' : 'begun\\n'); stream.end('x')"),
  echo: lambda('return event'),
  context: lambda(`
    const { functionName, functionVersion, invokedFunctionArn, memoryLimitInMB, logGroupName, logStreamName, awsRequestId, clientContext } = context
    return { functionName, functionVersion, functionArn: invokedFunctionArn, memoryMb: Number(memoryLimitInMB), logGroup: logGroupName,
      logStream: logStreamName, invocationId: awsRequestId, clientContext: clientContext ?? null, remainingMs: context.getRemainingTimeInMillis() }`),
  environment: `const atLoad = { ...process.env }\n${lambda('return { atLoad, atCall: { ...process.env, _X_AMZN_TRACE_ID: process.env._X_AMZN_TRACE_ID } }')}`,
  sleep:
    SLEEP + lambda('process.stdout.write(`begin ${event.name}\\n`); await sleep(event.ms); process.stdout.write(`end ${event.name}\\n`); return event.name'),
  throws: lambda('throw new Error(event.message)'),
  uncaught: lambda('setTimeout(() => { throw new Error(event.message) }, event.ms); await new Promise(() => {})'),
  rejects: lambda('setTimeout(() => Promise.reject(new Error(event.message)), event.ms); await new Promise(() => {})'),
  exit: SLEEP + lambda("process.stdout.write('x'.repeat(event.bytes)); await sleep(event.ms); process.stdout.write('last words\\n'); process.exit(event.code)"),
  big: lambda("return 'x'.repeat(event.bytes)"),
  strange: lambda('return 1n'),
  logs: lambda('process.stdout.write(event.out); process.stderr.write(event.err); return null'),
  flood: lambda("const piece = 'x'.repeat(event.bytes); for (let i = 0; i < event.pieces; i++) process.stdout.write(piece); return null"),
  busy: `setInterval(() => {}, 5)\n${lambda('return null')}`,
  loadLogs: `process.stdout.write('loading\\n')\n${lambda('return null')}`,
  fetchEcho: fetching(`
    const headers = new Headers({ 'x-method': request.method, 'x-url': request.url, 'x-given': request.headers.get('x-given') ?? '' })
    headers.append('set-cookie', 'a=1')
    headers.append('set-cookie', 'b=2')
    return new Response(request.body, { status: 201, headers })`),
  fetchPlain: fetching(`
    if (pathname === '/none') return new Response(null, { status: 204 })
    let left = Number(search.slice(1))
    return new Response(new ReadableStream({
      pull(controller) {
        const piece = Math.min(left, 65536)
        left -= piece
        if (piece === 0) controller.close()
        else controller.enqueue(new Uint8Array(piece).fill(120))
      },
    }, { highWaterMark: 0 }))`),
  fetchThrows: fetching(`
    if (pathname === '/not') return { status: 200 }
    if (pathname === '/error') return Response.error()
    if (pathname === '/before') throw new Error('before')
    let pulled = 0
    return new Response(new ReadableStream({
      pull(controller) {
        if (pulled++ === 0) controller.enqueue(new TextEncoder().encode('some'))
        else controller.error(new Error('after'))
      },
    }))`),
  fetchReads:
    SLEEP +
    fetching(`
    if (pathname === '/never') { await sleep(300); return new Response('unread') }
    if (pathname === '/cancel') {
      const reader = request.body.getReader()
      await reader.read()
      await reader.cancel()
      await sleep(300)
      return new Response('given up')
    }
    try {
      return new Response(String((await request.arrayBuffer()).byteLength))
    } catch {
      return new Response('broke off')
    }`),
  fetchWaits:
    SLEEP +
    fetching(`
    let closeBody = () => {}
    const settled = sleep(150).then(async () => {
      process.stdout.write('settled\\n')
      closeBody()
      for (let i = 0; i < 30; i++) await null
      if (pathname === '/reject') throw new Error('mine')
    })
    context.waitUntil(settled)
    if (pathname === '/throw') throw new Error('mine')
    if (pathname === '/none') return new Response(null)
    if (pathname !== '/with') return new Response('x')
    return new Response(new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode('x'))
        closeBody = () => controller.close()
      },
    }))`),
  fetchAborts: fetching(`
    const aborted = () => process.stdout.write('aborted\\n')
    if (pathname === '/head') {
      process.stdout.write('waiting\\n')
      await new Promise((resolve) => request.signal.addEventListener('abort', resolve))
      aborted()
      return new Response('late')
    }
    return new Response(new ReadableStream({
      start(controller) {
        if (pathname === '/body') controller.enqueue(new TextEncoder().encode('some'))
      },
      pull(controller) {
        if (pathname === '/full') controller.enqueue(new Uint8Array(65536))
      },
      cancel: aborted,
    }))`),
}

const code = (text: string, handler = 'index.handler'): Code => ({ files: { 'index.mjs': text }, handler })

export const LOAD_FAULT_CODE: Readonly<Record<LoadFault, Code>> = {
  'the file of the handler is missing': code(HANDLER_CODE.echo, 'other.handler'),
  'a module that the code needs is missing': code(`import 'a-package-that-is-not-there'\n${HANDLER_CODE.echo}`),
  'the code cannot be parsed': code('export const handler = ('),
  'the handler is not in the code': code('export const another = 1'),
  'the name of the handler has no dot': code(HANDLER_CODE.echo, 'index'),
  'the name of the handler leads out of the folder': code(HANDLER_CODE.echo, '../index.handler'),
  'the code throws the ordinary error with the message `at load`': code("throw new Error('at load')"),
  'the ordinary error, `at load`, comes outside of the stack that loads': code(
    "setTimeout(() => { throw new Error('at load') }, 1)\nawait new Promise((resolve) => setTimeout(resolve, 5000))",
  ),
}

export const FURTHER_FAULTS: Readonly<Record<string, Code & { readonly errorType: string }>> = {
  'a handler with a callback': { ...code('export const handler = (event, context, callback) => {}'), errorType: 'Runtime.CallbackHandlerDeprecated' },
  'a file of the older form that cannot be parsed': {
    files: { 'index.cjs': 'exports.handler = (' },
    handler: 'index.handler',
    errorType: 'Runtime.UserCodeSyntaxError',
  },
}
