import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { before, describe, it } from 'node:test'
import {
  CreateFunctionCommand,
  DeleteFunctionCommand,
  GetFunctionCommand,
  GetFunctionConfigurationCommand,
  InvokeCommand,
  paginateListFunctions,
  UpdateFunctionCodeCommand,
  UpdateFunctionConfigurationCommand,
  waitUntilFunctionActiveV2,
  waitUntilFunctionUpdatedV2,
} from '@aws-sdk/client-lambda'
import { createClient } from '@supabase/supabase-js'
import { awsOf, mayfly, ROLE, zipOf } from './harness.ts'
import { failsAs, lambdaNode } from './lambda-fixture.ts'

const { at, create, invoke } = lambdaNode()

describe('the Lambda API by the unmodified SDK', () => {
  it('leads a function from its creation to its end', async () => {
    const zip = await zipOf({ 'index.mjs': 'export const handler = async (event, context) => ({ event, id: context.awsRequestId, variable: process.env.A })' })
    const made = await at.aws.send(
      new CreateFunctionCommand({
        FunctionName: 'life',
        Runtime: 'nodejs24.x',
        Handler: 'index.handler',
        Role: ROLE,
        Code: { ZipFile: zip },
        Environment: { Variables: { AB: '1' } },
      }),
    )
    assert.equal(made.FunctionArn, 'arn:aws:lambda:us-east-1:000000000000:function:life')
    assert.equal(made.CodeSha256, createHash('sha256').update(zip).digest('base64'))
    await waitUntilFunctionActiveV2({ client: at.aws, maxWaitTime: 20 }, { FunctionName: 'life' })
    const got = await at.aws.send(new GetFunctionCommand({ FunctionName: 'life' }))
    assert.deepEqual(Buffer.from(await (await fetch(got.Code?.Location as string)).arrayBuffer()), zip)
    assert.deepEqual([got.Configuration?.MemorySize, got.Configuration?.Timeout, got.Configuration?.State], [128, 3, 'Active'])

    const reply = await invoke('life', { b: 1, a: 2 })
    assert.deepEqual(reply.value, { event: { b: 1, a: 2 }, id: reply.log.match(/START RequestId: (\S+) Version: \$LATEST/)?.[1] } as never)
    assert.match(
      reply.log,
      /REPORT RequestId: \S+\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\tMax Memory Used: \d+ MB\tInit Duration: [\d.]+ ms\tCold Start: first-call/,
    )
    const dry = await at.aws.send(new InvokeCommand({ FunctionName: 'life', InvocationType: 'DryRun' }))
    assert.equal(dry.StatusCode, 204)

    await at.aws.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'life', Environment: { Variables: { AB: '2' } }, MemorySize: 256 }))
    await waitUntilFunctionUpdatedV2({ client: at.aws, maxWaitTime: 20 }, { FunctionName: 'life' })
    await at.aws.send(
      new UpdateFunctionCodeCommand({ FunctionName: 'life', ZipFile: await zipOf({ 'index.js': 'exports.handler = async () => process.env.AB' }) }),
    )
    await waitUntilFunctionUpdatedV2({ client: at.aws, maxWaitTime: 20 }, { FunctionName: 'life' })
    const after = await invoke('life', {})
    assert.equal(after.text, '"2"', 'deploy, then invoke, sees itself')
    assert.doesNotMatch(after.log, /Cold Start/, 'it has started before it took the calls of the former')
    await at.aws.send(new UpdateFunctionCodeCommand({ FunctionName: 'life', ZipFile: await zipOf({ 'index.js': 'throw new Error("does not load")' }) }))
    await assert.rejects(waitUntilFunctionUpdatedV2({ client: at.aws, maxWaitTime: 20 }, { FunctionName: 'life' }), /FAILURE/)
    const failed = await at.aws.send(new GetFunctionConfigurationCommand({ FunctionName: 'life' }))
    assert.deepEqual([failed.State, failed.LastUpdateStatus, failed.LastUpdateStatusReasonCode], ['Active', 'Failed', 'FunctionError.RuntimeInitError'])
    assert.match(failed.LastUpdateStatusReason ?? '', /does not load/)
    for (let call = 0; call < 2; call++) assert.equal((await invoke('life')).text, '"2"', 'what does not load takes no calls')
    assert.equal((await at.aws.send(new GetFunctionConfigurationCommand({ FunctionName: 'life' }))).MemorySize, 256)
    const names: (string | undefined)[] = []
    for await (const page of paginateListFunctions({ client: at.aws }, {})) names.push(...(page.Functions ?? []).map((one) => one.FunctionName))
    assert.deepEqual(names, ['life'])
    await at.aws.send(new DeleteFunctionCommand({ FunctionName: 'life' }))
    await failsAs(invoke('life'), 'ResourceNotFoundException', 404, /Function not found: arn:aws:lambda:us-east-1:000000000000:function:life/)
  })

  it('refuses what is wrong in the words of AWS', async () => {
    await failsAs(invoke('nothing'), 'ResourceNotFoundException', 404, /Function not found/)
    const stranger = awsOf({ ...at.node.ready, accessKey: { id: 'AKIAAAAAAAAAAAAAAAAA', secret: 'x' } })
    await failsAs(stranger.send(new GetFunctionCommand({ FunctionName: 'x' })), 'UnrecognizedClientException', 403, /security token/)
    const forger = awsOf({ ...at.node.ready, accessKey: { id: at.node.ready.accessKey.id, secret: 'x' } })
    await failsAs(forger.send(new GetFunctionCommand({ FunctionName: 'x' })), 'InvalidSignatureException', 403, /signature/)
    await failsAs(
      at.aws.send(
        new CreateFunctionCommand({ FunctionName: 'x', Runtime: 'nodejs24.x', Handler: 'a.b', Role: ROLE, Code: { ZipFile: Buffer.from('no zip') } }),
      ),
      'InvalidParameterValueException',
      400,
      /Could not unzip/,
    )
    await failsAs(
      at.aws.send(new InvokeCommand({ FunctionName: 'nothing', Payload: Buffer.from('{') })),
      'InvalidRequestContentException',
      400,
      /Could not parse request body into json/,
    )
  })
})

describe('functions that misbehave', () => {
  // A neighbour that must answer whatever the others do.
  before(() => create('neighbour', 'export const handler = async () => "here"'))
  const neighbourAnswers = async () => assert.equal((await invoke('neighbour')).text, '"here"')

  const rows: [name: string, code: string, type: string, message: RegExp, log: RegExp, more?: { timeout?: number; memory?: number; file?: string }][] = [
    ['throws', 'export const handler = async () => { throw new TypeError("mine") }', 'TypeError', /^mine$/, /Invoke Error/],
    ['throws what is no error', 'export const handler = async () => { throw "boom" }', 'string', /^boom$/, /Invoke Error/],
    [
      'rejects later, unheard',
      'export const handler = () => new Promise(() => { Promise.reject(new Error("unheard")) })',
      'Runtime.UnhandledPromiseRejection',
      /unheard/,
      /Unhandled Promise Rejection/,
    ],
    [
      'throws outside the call',
      'export const handler = () => new Promise(() => { setTimeout(() => { throw new Error("outside") }, 1) })',
      'Error',
      /outside/,
      /Uncaught Exception/,
    ],
    [
      'exits in order',
      'export const handler = async () => process.exit(0)',
      'Runtime.ExitError',
      /Runtime exited without providing a reason/,
      /Error Type: Runtime.ExitError/,
    ],
    ['exits with a code', 'export const handler = async () => process.exit(7)', 'Runtime.ExitError', /exit status 7/, /exit status 7/],
    ['aborts', 'export const handler = async () => process.abort()', 'Runtime.ExitError', /signal: killed/, /Status: error/],
    [
      'loops without end',
      'export const handler = () => { for (;;); }',
      'Sandbox.Timedout',
      /Task timed out after 1.00 seconds/,
      /Task timed out after 1.00 seconds[\s\S]*Status: timeout/,
      { timeout: 1 },
    ],
    [
      'never answers',
      'export const handler = () => new Promise(() => { setInterval(() => {}, 1000) })',
      'Sandbox.Timedout',
      /Task timed out after 1.00 seconds/,
      /Status: timeout/,
      { timeout: 1 },
    ],
    [
      'eats memory',
      'export const handler = () => { const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1)) }',
      'Runtime.ExitError',
      /signal: killed/,
      /signal: killed/,
    ],
    ['returns a cycle', 'export const handler = async () => { const a = {}; a.a = a; return a }', 'Runtime.MarshalError', /circular/, /Invoke Error/],
    ['returns a BigInt', 'export const handler = async () => 1n', 'Runtime.MarshalError', /BigInt/, /Invoke Error/],
    [
      'returns more than invocationReply',
      'export const handler = async () => "x".repeat(7 * 1024 * 1024)',
      'Function.ResponseSizeTooLarge',
      /6291556 bytes/,
      /ResponseSizeTooLarge/,
      { memory: 256 },
    ],
    ['has no handler', 'export const other = 1', 'Runtime.HandlerNotFound', /index.handler is undefined or not exported/, /END RequestId/],
    [
      'cannot be loaded',
      'import "nothing-like-this"; export const handler = 1',
      'Runtime.ImportModuleError',
      /Cannot find package 'nothing-like-this'/,
      /END RequestId/,
    ],
    ['is no JavaScript', 'export const handler = (', 'Runtime.UserCodeSyntaxError', /SyntaxError/, /END RequestId/],
    ['throws while it loads', 'throw new Error("at load")', 'Error', /at load/, /END RequestId/],
    ['exits while it loads', 'process.exit(3)', 'Runtime.ExitError', /exit status 3/, /END RequestId/],
    [
      'takes a callback',
      'export const handler = (event, context, callback) => callback(null, 1)',
      'Runtime.CallbackHandlerDeprecated',
      /promise/,
      /END RequestId/,
    ],
    [
      'writes garbage to its control descriptor',
      'import fs from "node:fs"; export const handler = async () => { fs.writeSync(3, Buffer.alloc(4096, 255)); await new Promise((r) => setTimeout(r, 500)) }',
      'Runtime.ProtocolError',
      /broke the protocol/,
      /Runtime.ProtocolError/,
    ],
    [
      'forges a second result',
      'import fs from "node:fs"; export const handler = async () => { const f = Buffer.alloc(14); f.writeUInt32LE(2, 0); f[4] = 4; f[5] = 3; f.writeUInt32LE(99, 8); f.write("{}", 12); fs.writeSync(3, f); await new Promise((r) => setTimeout(r, 500)) }',
      'Runtime.ProtocolError',
      /call 99/,
      /Runtime.ProtocolError/,
    ],
    [
      'writes garbage to its relay',
      'import fs from "node:fs"; export const handler = async () => { fs.writeSync(4, Buffer.alloc(4096, 255)); await new Promise((r) => setTimeout(r, 500)) }',
      'Runtime.ProtocolError',
      /broke the protocol/,
      /Runtime.ProtocolError/,
    ],
  ]
  for (const [name, code, type, message, log, more] of rows) {
    it(`${name}: the caller is told, the neighbour answers, the next call finds a fresh process`, async () => {
      const id = `bad-${name.replaceAll(/[^a-z]+/gi, '-')}`
      await create(id, code, more)
      const [reply] = await Promise.all([invoke(id, {}), neighbourAnswers()])
      assert.deepEqual([reply.status, reply.error], [200, 'Unhandled'])
      const error = reply.value as { errorType: string; errorMessage: string }
      assert.equal(error.errorType, type, reply.text.slice(0, 300))
      assert.match(error.errorMessage, message)
      assert.match(reply.log, log)
      assert.equal((await invoke(id)).error, 'Unhandled', 'the next one ends the same way')
      await neighbourAnswers()
      await at.aws.send(new DeleteFunctionCommand({ FunctionName: id }))
    })
  }

  it('prints 100 MB: head and tail are kept, the rest is counted, nobody waits', async () => {
    await create(
      'loud',
      'const line = "x".repeat(1023) + "\\n"; export const handler = async () => { process.stdout.write("first\\n"); for (let i = 0; i < 102400; i++) process.stdout.write(line); await new Promise((r) => setTimeout(r, 200)); process.stdout.write("last\\n"); return "done" }',
      { timeout: 60 },
    )
    const [reply] = await Promise.all([invoke('loud', {}), neighbourAnswers()])
    assert.equal(reply.text, '"done"')
    const lines = mayfly(['logs', 'loud', '--json', '-n', '10000', '--data', at.node.data])
      .stdout.trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { text: string }).text)
    assert.ok(lines.includes('first') && lines.includes('last'))
    const dropped = Number(/(\d+) bytes .*dropped/.exec(lines.join('\n'))?.[1])
    assert.ok(dropped > 98 * 1024 * 1024, `${dropped} dropped`)
    assert.ok(lines.join('\n').length < 1.1 * 1024 * 1024)
  })

  it('forks without end, fills /tmp, opens files without end: each is stopped by its limit, and given back', async () => {
    await create(
      'greedy',
      `import { spawn } from 'node:child_process'; import fs from 'node:fs'
      export const handler = async ({ what }) => {
        if (what === 'fork') { const all = []; let failed = 0; for (let i = 0; i < 400; i++) { const c = spawn('/bin/sleep', ['60'], { stdio: 'ignore' }); c.on('error', () => failed++); all.push(c) } await new Promise((r) => setTimeout(r, 300)); return { started: all.filter((c) => c.pid).length } }
        if (what === 'files') { const all = []; let n = 0; try { for (; n < 5000; n++) all.push(fs.openSync('/dev/null')) } catch (e) { for (const fd of all) fs.closeSync(fd); return { n, code: e.code } } }
        if (what === 'inodes') { let n = 0; try { for (; n < 200000; n++) fs.closeSync(fs.openSync('/tmp/f' + n, 'w')) } catch (e) { for (let i = 0; i < n; i++) fs.unlinkSync('/tmp/f' + i); return { n, code: e.code } } }
        if (what === 'tmp') { const fd = fs.openSync('/tmp/big', 'w'); const b = Buffer.alloc(1 << 20, 1); let n = 0; try { for (; n < 2000; n++) fs.writeSync(fd, b) } catch (e) { return { n, code: e.code } } }
      }`,
      { memory: 1024, timeout: 30 },
    )
    const forks = (await invoke('greedy', { what: 'fork' })).value as { started: number }
    assert.ok(forks.started > 10 && forks.started < 130, `${forks.started} started`)
    const files = (await invoke('greedy', { what: 'files' })).value as { n: number; code: string }
    assert.deepEqual([files.code, files.n < 1100], ['EMFILE', true])
    const inodes = (await invoke('greedy', { what: 'inodes' })).value as { n: number; code: string }
    assert.deepEqual([inodes.code, inodes.n < 66_000], ['ENOSPC', true])
    const tmp = (await invoke('greedy', { what: 'tmp' })).value as { n: number; code: string }
    assert.deepEqual([tmp.code, tmp.n <= 512], ['ENOSPC', true])
    await neighbourAnswers()
  })

  it('takes a body up to invocationBody, and is refused one past it', async () => {
    await create('size', 'export const handler = async (event) => event.length', { memory: 512 })
    const edge = 6 * 1024 * 1024 - 2
    assert.equal((await invoke('size', 'x'.repeat(edge))).text, String(edge))
    await failsAs(invoke('size', 'x'.repeat(edge + 1)), 'RequestTooLargeException', 413, /6291456 bytes/)
  })
})

describe('calls by name', () => {
  it('answers fetch and supabase-js with a key, and nobody without', async () => {
    await create(
      'web',
      'export default { async fetch(request, env, ctx) { const url = new URL(request.url); if (request.method === "OPTIONS") return new Response(null, { status: 204 }); return Response.json({ method: request.method, path: url.pathname, query: url.search, body: await request.text() }, { status: 201, headers: { "x-own": "1" } }) } }',
    )
    await create(
      'event',
      'export const handler = async (event) => ({ statusCode: 202, headers: { "x-a": "b" }, cookies: ["a=1", "b=2"], body: JSON.stringify({ path: event.rawPath, query: event.queryStringParameters, body: event.body }) })',
    )
    const { url, publishableKey, secretKey } = at.node.ready.project
    const reply = await fetch(`${url}/functions/v1/web/a/b?c=d`, { method: 'PUT', headers: { apikey: publishableKey }, body: 'text' })
    assert.deepEqual([reply.status, reply.headers.get('x-own')], [201, '1'])
    assert.deepEqual(await reply.json(), { method: 'PUT', path: '/web/a/b', query: '?c=d', body: 'text' })
    const event = await fetch(`${url}/functions/v1/event/x?a=1`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secretKey}`, 'content-type': 'text/plain' },
      body: 'hi',
    })
    assert.deepEqual([event.status, event.headers.get('x-a'), event.headers.getSetCookie()], [202, 'b', ['a=1', 'b=2']])
    assert.deepEqual(await event.json(), { path: '/x', query: { a: '1' }, body: 'hi' })

    const supabase = createClient(url, publishableKey)
    const { data, error } = await supabase.functions.invoke('web', { body: { hello: 'world' } })
    assert.equal(error, null)
    assert.equal(data.body, '{"hello":"world"}')
    const missing = await supabase.functions.invoke('none', { body: {} })
    assert.equal(missing.error?.name, 'FunctionsRelayError')

    assert.equal((await fetch(`${url}/functions/v1/web`)).status, 401)
    assert.equal((await fetch(`${url}/functions/v1/web`, { headers: { apikey: 'sb_secret_none' } })).status, 401)
    await assert.rejects(fetch(`${url}/functions/v1/web`, { headers: { host: 'evil.example' } }).then((wrong) => assert.equal(wrong.status, 200)))
  })

  it('answers by a module that calls Deno.serve, with the variables that Deno.env shows', async () => {
    await create(
      'served',
      'Deno.serve(async (request) => Response.json({ method: request.method, path: new URL(request.url).pathname, body: await request.text(), variable: Deno.env.get("AB") }))',
      { environment: { AB: 'c' } },
    )
    const reply = await fetch(`${at.node.ready.url}/functions/v1/served/x`, {
      method: 'POST',
      headers: { apikey: at.node.ready.project.secretKey },
      body: 'hi',
    })
    assert.deepEqual([reply.status, await reply.json()], [200, { method: 'POST', path: '/served/x', body: 'hi', variable: 'c' }])
  })

  it('streams a body of 20 MB through and back', async () => {
    await create('pass', 'export default { fetch: (request) => new Response(request.body, { headers: { "content-type": "application/octet-stream" } }) }', {
      memory: 256,
    })
    const body = Buffer.alloc(20 * 1024 * 1024, 'mayfly')
    const reply = await fetch(`${at.node.ready.url}/functions/v1/pass`, { method: 'POST', headers: { apikey: at.node.ready.project.secretKey }, body })
    assert.ok(Buffer.from(await reply.arrayBuffer()).equals(body))
  })

  it('refuses a body past httpBody by name, declared or not', async () => {
    const url = new URL(at.node.ready.url)
    const answer = (head: string, rest: () => Buffer | null) =>
      new Promise<string>((resolve) => {
        const socket = connect(Number(url.port), url.hostname, () => {
          socket.write(`POST /functions/v1/pass HTTP/1.1\r\nhost: localhost\r\napikey: ${at.node.ready.project.secretKey}\r\n${head}\r\n\r\n`)
          const more = () => {
            for (let part = rest(); part !== null; part = rest()) if (!socket.write(part)) return void socket.once('drain', more)
          }
          more()
        })
        let all = ''
        socket.on('data', (chunk: Buffer) => {
          if (all.length < 65536) all += chunk.toString('latin1')
        })
        socket.on('error', () => {})
        socket.on('close', () => resolve(all))
      })
    const limit = 100 * 1024 * 1024
    assert.match(await answer(`content-length: ${limit + 1}`, () => null), /^HTTP\/1\.1 413[\s\S]*payload_too_large/)
  })

  it('tells a fetch handler that its client left, and runs what it promised to finish', async () => {
    await create(
      'left',
      'let seen = "nothing"; export default { async fetch(request, env, ctx) { if (new URL(request.url).searchParams.has("ask")) return new Response(seen); request.signal.addEventListener("abort", () => { seen = "left" }); ctx.waitUntil(new Promise((r) => setTimeout(r, 1500))); await new Promise((r) => setTimeout(r, 1000)); return new Response("late") } }',
    )
    const headers = { apikey: at.node.ready.project.secretKey }
    await assert.rejects(fetch(`${at.node.ready.url}/functions/v1/left`, { headers, signal: AbortSignal.timeout(400) }))
    await new Promise((resolve) => setTimeout(resolve, 2000))
    assert.equal(await (await fetch(`${at.node.ready.url}/functions/v1/left?ask`, { headers })).text(), 'left')
  })

  it('is reached by the command line from deploy to rm', async () => {
    const { mkdirSync, writeFileSync } = await import('node:fs')
    const source = `${at.folder}/hello`
    mkdirSync(source)
    writeFileSync(
      `${source}/index.ts`,
      'export const handler = async (event: { name: string }): Promise<string> => { console.log("greeting", event.name); return `hello ${event.name}` }',
    )
    const here = ['--data', at.node.data]
    const made = mayfly(['deploy', source, ...here])
    assert.match(made.stdout, /hello: 1 file, [\s\S]*bundle[\s\S]*Deployed\./)
    assert.match(mayfly(['deploy', source, ...here]).stdout, /Nothing changes/)
    const reply = mayfly(['invoke', 'hello', '--data', '{"name":"세계"}', ...here])
    assert.deepEqual([reply.code, reply.stdout], [0, '"hello 세계"\n'])
    assert.match(mayfly(['logs', 'hello', ...here]).stdout, /START RequestId[\s\S]*greeting 세계[\s\S]*REPORT/)
    assert.match(mayfly(['ls', ...here]).stdout, /hello\s+nodejs24.x/)
    assert.equal(mayfly(['rm', 'hello', ...here]).code, 0)
    assert.equal(mayfly(['rm', 'hello', ...here]).code, 5)
    writeFileSync(`${source}/index.ts`, 'export const x = (')
    const broken = mayfly(['deploy', source, ...here])
    assert.equal(broken.code, 1)
    assert.match(broken.stderr, /could not be bundled[\s\S]*index.ts:1:/)
  })
})

describe('the relay of a sandbox', () => {
  it('leads a function to its own project with its handle, and nowhere else', async () => {
    await create(
      'inside',
      `export const handler = async ({ path, url, key, method = 'GET' }) => {
        const headers = key === null ? {} : { apikey: key ?? process.env.MAYFLY_KEY }
        const reply = await fetch((url ?? process.env.MAYFLY_URL) + path, { method, headers })
        return { status: reply.status, text: (await reply.text()).slice(0, 200), key: process.env.MAYFLY_KEY, publicUrl: process.env.MAYFLY_PUBLIC_URL }
      }`,
      { memory: 256 },
    )
    const ask = async (what: object) => (await invoke('inside', what)).value as { status: number; text: string; key: string; publicUrl: string }
    const own = await ask({ path: '/functions/v1/neighbour' })
    assert.deepEqual([own.status, own.text], [200, 'here'])
    assert.equal(own.publicUrl, at.node.ready.project.url)
    assert.equal((await ask({ path: '/functions/v1/neighbour', url: at.node.ready.project.url })).status, 200, 'the public address leads there too')
    for (const path of [
      '/api/v1/projects',
      '/api/v1/projects/demo/functions',
      '/api/v1/status',
      '/health',
      '/p/other/functions/v1/x',
      '/2015-03-31/functions',
    ]) {
      assert.equal((await ask({ path })).status, 404, path)
    }
    assert.equal((await ask({ path: '/functions/v1/neighbour', key: at.node.ready.project.secretKey })).status, 401, 'a real key is none in here')
    assert.equal((await ask({ path: '/functions/v1/neighbour', key: null })).status, 401)
    const outside = await fetch(`${at.node.ready.url}/functions/v1/neighbour`, { headers: { apikey: own.key } })
    assert.equal(outside.status, 401, 'a handle opens nothing outside')
  })
  it('stops a function that calls itself without end', async () => {
    await create(
      'again',
      'export const handler = async () => { const r = await fetch(process.env.MAYFLY_URL + "/functions/v1/again", { headers: { apikey: process.env.MAYFLY_KEY } }); return { statusCode: r.status, body: await r.text() } }',
      { timeout: 30 },
    )
    const reply = (await invoke('again')).value as { statusCode: number; body: string }
    assert.equal(reply.statusCode, 400)
    assert.match(reply.body, /recursion_too_deep/)
  })
})
