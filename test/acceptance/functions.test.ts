import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { describe, it } from 'node:test'
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
import { awsOf } from './aws.ts'
import { mayfly, ROLE, zipOf } from './harness.ts'
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
    await create('neighbour', 'export const handler = async () => "here"')
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
