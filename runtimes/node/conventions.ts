/** What Lambda's handlers for Node may be, and what each answers: one row a convention. */
export interface Convention {
  readonly what: string
  /** Name and text of each file; one text is `index.mjs`. */
  readonly code: string | Readonly<Record<string, string>>
  /** `index.handler` where it is not said. */
  readonly handler?: string
  readonly environment?: Readonly<Record<string, string>>
  readonly event?: unknown
  readonly context?: Readonly<Record<string, unknown>>
  /** One of these: what the call returns, its error, or that of loading. */
  readonly returns?: unknown
  readonly fails?: { readonly errorType: string; readonly errorMessage?: RegExp; readonly trace?: readonly string[] }
  readonly refused?: { readonly errorType: string; readonly errorMessage: RegExp }
  /** Called by HTTP instead, it answers so. */
  readonly answers?: string
  /** What the call writes, with time and request id taken out. */
  readonly writes?: RegExp
}

const NODE22 = { AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs22.x' }
const NODE24 = { AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs24.x' }
const old = (body: string) => `export const handler = (event, context, callback) => { ${body} }`
const module = (text: string) => `{"type":"module"${text}}`

export const CONVENTIONS: readonly Convention[] = [
  // ── where the handler is ──
  { what: 'a file in a folder', code: { 'src/app.js': "exports.handler = async () => 'src'" }, handler: 'src/app.handler', returns: 'src' },
  { what: 'a nested export', code: 'export const api = { users: { get: async () => 1 } }', handler: 'index.api.users.get', returns: 1 },
  { what: 'an export of the default', code: 'export default { handler: async () => 2 }', returns: 2 },
  {
    what: 'a file without an ending first',
    code: { index: "exports.handler = async () => 'bare'", 'index.js': "exports.handler = async () => 'js'" },
    returns: 'bare',
  },
  {
    what: '.js before .mjs',
    code: { 'index.js': "exports.handler = async () => 'js'", 'index.mjs': "export const handler = async () => 'mjs'" },
    returns: 'js',
  },
  {
    what: '.mjs before .cjs',
    code: { 'index.cjs': "exports.handler = async () => 'cjs'", 'index.mjs': "export const handler = async () => 'mjs'" },
    returns: 'mjs',
  },
  { what: '.cjs', code: { 'index.cjs': "exports.handler = async () => 'cjs'", 'index.mts': "export const handler = async () => 'mts'" }, returns: 'cjs' },
  { what: '.js as its package says', code: { 'package.json': module(''), 'index.js': "export const handler = async () => 'module'" }, returns: 'module' },
  {
    what: '.js as the nearest package says',
    code: { 'package.json': module(''), 'old/package.json': '{}', 'old/index.js': "exports.handler = async () => 'old'" },
    handler: 'old/index.handler',
    returns: 'old',
  },
  { what: 'a module that waits at its top', code: "const told = await Promise.resolve('waited')\nexport const handler = async () => told", returns: 'waited' },
  { what: 'TypeScript', code: { 'index.ts': 'export const handler = async (event: { a: number }): Promise<number> => event.a' }, event: { a: 3 }, returns: 3 },
  { what: 'a folder with an index', code: { 'app/index.js': "exports.handler = async () => 'folder'" }, handler: 'app.handler', returns: 'folder' },
  {
    what: 'a package',
    code: { 'node_modules/app/package.json': '{"main":"main.js"}', 'node_modules/app/main.js': "exports.handler = async () => 'package'" },
    handler: 'app.handler',
    returns: 'package',
  },
  {
    what: 'no file',
    code: 'export const handler = 1',
    handler: 'other.handler',
    refused: { errorType: 'Runtime.ImportModuleError', errorMessage: /^Error: Cannot find module 'other'\nRequire stack:\n- / },
  },
  {
    what: 'a way out of the folder',
    code: 'export const handler = 1',
    handler: '../index.handler',
    refused: {
      errorType: 'Runtime.MalformedHandlerName',
      errorMessage: /^'\.\.\/index\.handler' is not a valid handler name\. Use absolute paths when specifying root directories in handler names\.$/,
    },
  },
  {
    what: 'two dots anywhere',
    code: 'export const handler = 1',
    handler: 'index..handler',
    refused: { errorType: 'Runtime.MalformedHandlerName', errorMessage: /'index\.\.handler' is not a valid handler name/ },
  },
  { what: 'no dot', code: 'export const handler = 1', handler: 'index', refused: { errorType: 'Runtime.MalformedHandlerName', errorMessage: /^Bad handler$/ } },
  {
    what: 'no export of that name',
    code: 'export const other = 1',
    handler: 'index.handler',
    refused: { errorType: 'Runtime.HandlerNotFound', errorMessage: /^index\.handler is undefined or not exported$/ },
  },
  {
    what: 'an empty name',
    code: 'export const other = 1',
    handler: 'index.',
    refused: { errorType: 'Runtime.HandlerNotFound', errorMessage: /^index\. is undefined or not exported$/ },
  },
  {
    what: 'an export that is no function',
    code: 'export const handler = { a: 1 }',
    refused: { errorType: 'Runtime.HandlerNotFound', errorMessage: /^index\.handler is not a function$/ },
  },
  {
    what: 'a name through nothing',
    code: 'export const api = null',
    handler: 'index.api.users.get',
    refused: { errorType: 'Runtime.HandlerNotFound', errorMessage: /undefined or not exported/ },
  },
  {
    what: 'a package that is missing',
    code: { 'index.js': "require('missing')" },
    refused: { errorType: 'Runtime.ImportModuleError', errorMessage: /^Error: Cannot find module 'missing'\nRequire stack:\n- .*index\.js/ },
  },
  { what: 'what cannot be parsed', code: 'export const handler = (', refused: { errorType: 'Runtime.UserCodeSyntaxError', errorMessage: /^SyntaxError: / } },

  // ── what it answers ──
  { what: 'nothing', code: 'export const handler = async () => {}', returns: null },
  {
    what: 'its own name in a stack, and nothing of the runtime as `this`',
    code: "export async function handler() { return [new Error('x').stack.split('\\n')[1].trim().replace(/\\(.*/, ''), this === undefined] }",
    returns: ['at handler ', true],
  },
  {
    what: 'its own name in a stack where it answers requests',
    code: "export default async function answer() { return new Response(new Error('x').stack.split('\\n')[1].trim().replace(/\\(.*/, '')) }",
    answers: 'at answer ',
  },
  { what: 'a value at once', code: 'export const handler = () => 5', returns: 5 },
  { what: 'what is like a promise', code: 'export const handler = () => ({ then: (go) => go(6) })', returns: 6 },
  {
    what: 'an error of a type of its own',
    code: "class Mine extends Error { name = 'Mine' }\nexport const handler = async () => { throw new Mine('m') }",
    fails: { errorType: 'Mine', errorMessage: /^m$/ },
    writes: /ERROR\tInvoke Error \t\{"errorType":"Mine","errorMessage":"m","name":"Mine","stack":\["Mine: m"," {4}at /,
  },
  {
    what: 'an error with a code',
    code: "export const handler = async () => { throw Object.assign(new Error('m'), { code: 'E_MINE', more: 1 }) }",
    fails: { errorType: 'Error' },
    writes: /Invoke Error \t\{"errorType":"Error","errorMessage":"m","code":"E_MINE","more":1,"stack":\[/,
  },
  {
    what: 'a text as an error',
    code: "export const handler = async () => { throw 'boom' }",
    fails: { errorType: 'string', errorMessage: /^boom$/, trace: [] },
  },
  { what: 'a number as an error', code: 'export const handler = async () => { throw 7 }', fails: { errorType: 'number', errorMessage: /^7$/, trace: [] } },
  {
    what: 'nothing as an error',
    code: 'export const handler = async () => { throw undefined }',
    fails: { errorType: 'undefined', errorMessage: /^undefined$/, trace: [] },
  },
  {
    what: 'an error that cannot be read',
    code: "export const handler = async () => { throw { toString() { throw new Error('no') } } }",
    fails: {
      errorType: 'handled',
      errorMessage: /^callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack$/,
    },
  },
  {
    what: 'an error that hides itself',
    code: "export const handler = async () => { const e = new Error('m'); Object.defineProperty(e, 'message', { get() { throw new Error('no') } }); throw e }",
    fails: { errorType: 'handled' },
  },

  // ── what it is told ──
  {
    what: 'the members of context',
    code: 'export const handler = async (event, context) => Object.keys(context).sort()',
    returns: [
      'awsRequestId',
      'callbackWaitsForEmptyEventLoop',
      'clientContext',
      'functionName',
      'functionVersion',
      'getRemainingTimeInMillis',
      'identity',
      'invokedFunctionArn',
      'logGroupName',
      'logStreamName',
      'memoryLimitInMB',
      'tenantId',
    ],
  },
  {
    what: 'those of the older style',
    environment: NODE22,
    code: 'export const handler = async (event, context) => ["done", "succeed", "fail"].map((name) => typeof context[name])',
    returns: ['function', 'function', 'function'],
  },
  { what: 'the memory as a text', code: 'export const handler = async (event, context) => context.memoryLimitInMB', returns: '128' },
  {
    what: 'that it waits for the empty event loop',
    code: 'export const handler = async (event, context) => context.callbackWaitsForEmptyEventLoop',
    returns: true,
  },
  {
    what: 'the client context',
    code: 'export const handler = async (event, context) => context.clientContext',
    context: { clientContext: '{"env":{"a":"b"}}' },
    returns: { env: { a: 'b' } },
  },
  { what: 'an event byte for byte', code: 'export const handler = async (event) => Object.keys(event)', event: { b: 1, a: 2 }, returns: ['b', 'a'] },

  // ── the older style ──
  {
    what: 'a callback where there is none any more',
    environment: NODE24,
    code: old('callback(null, 1)'),
    refused: { errorType: 'Runtime.CallbackHandlerDeprecated', errorMessage: /return a promise/ },
  },
  {
    what: 'a callback where nothing says the runtime',
    code: old('callback(null, 1)'),
    refused: { errorType: 'Runtime.CallbackHandlerDeprecated', errorMessage: /return a promise/ },
  },
  { what: 'a callback', environment: NODE22, code: old('callback(null, { a: 1 })'), returns: { a: 1 } },
  {
    what: 'a callback with an error',
    environment: NODE22,
    code: old("callback(new TypeError('mine'))"),
    fails: { errorType: 'TypeError', errorMessage: /^mine$/ },
  },
  {
    what: 'a callback with a text as its error',
    environment: NODE22,
    code: old("callback('mine')"),
    fails: { errorType: 'string', errorMessage: /^mine$/, trace: [] },
  },
  { what: 'a callback called twice', environment: NODE22, code: old('callback(null, 1); callback(null, 2); context.succeed(3)'), returns: 1 },
  {
    what: 'a callback that waits for the rest',
    environment: NODE22,
    code: old('const seen = { a: 1 }; setTimeout(() => { seen.a = 2 }, 50); callback(null, seen)'),
    returns: { a: 2 },
  },
  {
    what: 'a callback that waits for nothing',
    environment: NODE22,
    code: old('context.callbackWaitsForEmptyEventLoop = false; const seen = { a: 1 }; setTimeout(() => { seen.a = 2 }, 50); callback(null, seen)'),
    returns: { a: 1 },
  },
  { what: 'a callback much later', environment: NODE22, code: old('setTimeout(() => callback(null, 4), 50)'), returns: 4 },
  { what: 'a callback that is never called', environment: NODE22, code: old('setTimeout(() => {}, 50)'), returns: null },
  {
    what: 'what throws though it has a callback',
    environment: NODE22,
    code: old("throw new Error('mine')"),
    fails: { errorType: 'Error', errorMessage: /^mine$/ },
  },
  {
    what: 'an error outside while the callback waits',
    environment: NODE22,
    code: old("setTimeout(() => { throw new Error('outside') }, 20); callback(null, 1)"),
    fails: { errorType: 'Error', errorMessage: /^outside$/ },
  },
  { what: 'a promise with a callback beside it', environment: NODE22, code: 'export const handler = async (event, context, callback) => 8', returns: 8 },
  {
    what: 'a promise that nothing will settle',
    environment: NODE22,
    code: 'export const handler = async () => { await new Promise(() => {}) }',
    fails: { errorType: 'Runtime.NodeJsExit' },
  },
  {
    what: 'context.succeed',
    environment: NODE22,
    code: 'export const handler = (event, context) => { setTimeout(() => {}, 60_000); context.succeed(9) }',
    returns: 9,
  },
  {
    what: 'context.done with an error',
    environment: NODE22,
    code: "export const handler = (event, context) => context.done(new Error('mine'))",
    fails: { errorType: 'Error', errorMessage: /^mine$/ },
  },
  {
    what: 'context.fail with nothing',
    environment: NODE22,
    code: 'export const handler = (event, context) => context.fail()',
    fails: { errorType: 'string', errorMessage: /^handled$/ },
  },
  { what: 'a value at once, which the older style does not know', environment: NODE22, code: 'export const handler = () => 5', returns: null },
  {
    what: 'a streaming handler, whatever it declares',
    environment: NODE24,
    code: 'export const handler = awslambda.streamifyResponse(async (event, stream, context) => stream.end("{}"))',
    returns: {},
  },
  {
    what: 'a mark that nobody knows',
    code: "export const handler = Object.assign(async () => 1, { [Symbol.for('aws.lambda.runtime.handler.streaming')]: 'request' })",
    refused: { errorType: 'Runtime.MalformedStreamingHandler', errorMessage: /^Only response streaming is supported\.$/ },
  },

  // ── what it writes ──
  {
    what: 'console in text',
    code: "export const handler = async () => { console.log('a %s', 'b', { c: 1 }); console.info('two\\nlines'); console.debug('d') }",
    returns: null,
    writes: /^TIME\tID\tINFO\ta b \{ c: 1 \}\nTIME\tID\tINFO\ttwo\rlines\nTIME\tID\tDEBUG\td\n$/,
  },
  {
    what: 'console of what went wrong',
    code: "export const handler = async () => { console.warn('w'); console.error('e'); console.fatal('f') }",
    returns: null,
    writes: /^TIME\tID\tWARN\tw\nTIME\tID\tERROR\te\nTIME\tID\tFATAL\tf\n$/,
  },
  {
    what: 'console in JSON',
    environment: { AWS_LAMBDA_LOG_FORMAT: 'JSON' },
    code: "export const handler = async () => { console.log('a %s', 'b'); console.log({ c: 1 }); console.log('x', 1n); console.log(1n); process.stdout.write('plain\\n') }",
    returns: null,
    writes:
      /^\{"timestamp":"TIME","level":"INFO","requestId":"ID","message":"a b"\}\n\{"timestamp":"TIME","level":"INFO","requestId":"ID","message":\{"c":1\}\}\n\{"timestamp":"TIME","level":"INFO","requestId":"ID","message":"x 1n"\}\n\{"timestamp":"TIME","level":"INFO","requestId":"ID","message":"1n"\}\nplain\n$/,
  },
  {
    what: 'errors in JSON',
    environment: { AWS_LAMBDA_LOG_FORMAT: 'JSON' },
    code: "export const handler = async () => { console.error('went', new RangeError('m')); console.error(new RangeError('n')) }",
    returns: null,
    writes:
      /^\{"timestamp":"TIME","level":"ERROR","requestId":"ID","message":"went RangeError: m[^\n]*","errorType":"RangeError","errorMessage":"m","stackTrace":\["RangeError: m",[^\n]*\}\n\{"timestamp":"TIME","level":"ERROR","requestId":"ID","message":\{"errorType":"RangeError","errorMessage":"n","stackTrace":\["RangeError: n",/,
  },
  {
    what: 'an error of the call in JSON',
    environment: { AWS_LAMBDA_LOG_FORMAT: 'JSON' },
    code: "export const handler = async () => { throw new RangeError('m') }",
    fails: { errorType: 'RangeError' },
    writes: /^\{"timestamp":"TIME","level":"ERROR","requestId":"ID","message":\{"errorType":"RangeError","errorMessage":"m"/,
  },
  {
    what: 'only what the level asks for',
    environment: { AWS_LAMBDA_LOG_FORMAT: 'JSON', AWS_LAMBDA_LOG_LEVEL: 'WARN' },
    code: "export const handler = async () => { console.trace('t'); console.debug('d'); console.log('i'); console.warn('w'); console.error('e'); console.fatal('f') }",
    returns: null,
    writes: /^\{[^\n]*"level":"WARN"[^\n]*\}\n\{[^\n]*"level":"ERROR"[^\n]*\}\n\{[^\n]*"level":"FATAL"[^\n]*\}\n$/,
  },
  {
    what: 'all levels where none is asked for',
    environment: { AWS_LAMBDA_LOG_FORMAT: 'JSON' },
    code: "export const handler = async () => { console.trace('t') }",
    returns: null,
    writes: /^\{[^\n]*"level":"TRACE"[^\n]*"message":"t"\}\n$/,
  },

  // ── handlers of the web ──
  { what: 'a module with fetch', code: "export default { fetch: () => new Response('web') }", answers: 'web' },
  { what: 'a default function', code: 'export default (request) => new Response(request.method)', answers: 'GET' },
  {
    what: 'Deno.serve',
    code: "Deno.serve(async (request) => new Response(`deno ${request.method} ${Deno.env.get('A')}`))",
    environment: { A: 'b' },
    answers: 'deno GET b',
  },
  {
    what: 'Deno.serve with options first',
    code: { 'index.ts': "const server: unknown = Deno.serve({ port: 8080, onListen: () => {} }, (request: Request) => new Response('options'))" },
    answers: 'options',
  },
  { what: 'Deno.serve in a CommonJS module', code: { 'index.js': "Deno.serve({ handler: () => new Response('common') })" }, answers: 'common' },
  { what: 'Deno where nobody asks for it', code: 'export const handler = async () => typeof Deno', returns: 'undefined' },
  {
    what: 'of Deno what is not there',
    code: "Deno.serve(() => new Response('x')); Deno.readTextFile('a')",
    refused: { errorType: 'Error', errorMessage: /^Deno\.readTextFile is not available: of Deno a function has serve and env\./ },
  },
  { what: 'Deno.serve without a handler', code: 'Deno.serve({})', refused: { errorType: 'TypeError', errorMessage: /^Deno\.serve: a handler is needed$/ } },
]
