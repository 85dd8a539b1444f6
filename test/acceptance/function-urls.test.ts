import assert from 'node:assert/strict'
import { once } from 'node:events'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { type IncomingHttpHeaders, request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import path from 'node:path'
import { buffer } from 'node:stream/consumers'
import { after, before, describe, it } from 'node:test'
import { Sha256 } from '@aws-crypto/sha256-js'
import {
  AddPermissionCommand,
  CreateAliasCommand,
  CreateFunctionCommand,
  CreateFunctionUrlConfigCommand,
  DeleteAliasCommand,
  DeleteFunctionCommand,
  DeleteFunctionConcurrencyCommand,
  DeleteFunctionUrlConfigCommand,
  GetFunctionUrlConfigCommand,
  type LambdaClient,
  LambdaServiceException,
  ListFunctionUrlConfigsCommand,
  PublishVersionCommand,
  PutFunctionConcurrencyCommand,
  UpdateFunctionCodeCommand,
  UpdateFunctionUrlConfigCommand,
  waitUntilFunctionActiveV2,
} from '@aws-sdk/client-lambda'
import { SignatureV4 } from '@smithy/signature-v4'
import { awsOf } from './aws.ts'
import { makeFolder, mayfly, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

let folder = ''
let node: RunningMayfly
let aws: LambdaClient
before(async () => {
  folder = makeFolder()
  node = await startMayfly(path.join(folder, 'data'), ['--empty', '--domain', 'apps.example'])
  aws = awsOf(node.ready)
})
after(async () => {
  aws?.destroy()
  await node?.stop()
  removeFolder(folder)
})

async function create(name: string, code: string, Timeout = 5) {
  const zip = await zipOf({ 'index.mjs': code })
  await aws.send(
    new CreateFunctionCommand({ FunctionName: name, Runtime: 'nodejs24.x', Handler: 'index.handler', Role: ROLE, Timeout, Code: { ZipFile: zip } }),
  )
  await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 20 }, { FunctionName: name })
}
/** A function with an address, and that. */
async function at(name: string, code: string, more: Partial<ConstructorParameters<typeof CreateFunctionUrlConfigCommand>[0]> = {}, timeout = 5) {
  await create(name, code, timeout)
  const made = await aws.send(new CreateFunctionUrlConfigCommand({ FunctionName: name, AuthType: 'NONE', ...more }))
  return made.FunctionUrl as string
}
const idOf = (url: string) => /([a-z0-9]{32})\/$/.exec(url)?.[1] ?? assert.fail(url)
const ECHO = 'export const handler = async (event) => event'
const echo = async (url: string, init: RequestInit = {}) => (await (await fetch(url, init)).json()) as Record<string, never> & { [name: string]: unknown }

/** By a host name that only browsers resolve. */
async function byHost(host: string, method: string, at: string, headers: Record<string, string> = {}, body = '') {
  const { port } = new URL(node.ready.url)
  const request = httpRequest({ host: '127.0.0.1', port, method, path: at, headers: { host: `${host}:${port}`, ...headers } })
  request.end(body)
  const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage]
  const headersOf: IncomingHttpHeaders = response.headers
  return { status: response.statusCode, headers: headersOf, text: (await buffer(response)).toString() }
}

/** Signed as the SDK signs, for the service `lambda`. */
async function signed(url: string, method = 'GET', body = '', more: { secret?: string; id?: string; service?: string; headers?: Record<string, string> } = {}) {
  const { accessKey, region } = node.ready
  const to = new URL(url)
  const signer = new SignatureV4({
    service: more.service ?? 'lambda',
    region,
    sha256: Sha256,
    credentials: { accessKeyId: more.id ?? accessKey.id, secretAccessKey: more.secret ?? accessKey.secret },
  })
  const request = {
    method,
    protocol: to.protocol,
    hostname: to.hostname,
    port: Number(to.port),
    path: to.pathname,
    headers: { host: to.host, ...more.headers },
  }
  const query: Record<string, string | string[]> = {}
  for (const [name, value] of to.searchParams) query[name] = query[name] === undefined ? value : [query[name], value].flat()
  const { headers } = await signer.sign({ ...request, query, ...(body === '' ? {} : { body }) })
  const { host: _, ...sent } = headers
  return await fetch(url, { method, headers: sent, ...(body === '' ? {} : { body }) })
}
const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms))

describe('the configuration of addresses by the unmodified SDK', () => {
  it('is made, read, listed, changed and removed; each URL works as it is returned', async () => {
    const url = await at('config', ECHO)
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/lambda-url\/[a-z0-9]{32}\/$/)
    assert.ok(url.length >= 40 && url.length <= 100)
    assert.equal((await echo(url)).version, '2.0')
    const read = await aws.send(new GetFunctionUrlConfigCommand({ FunctionName: 'config' }))
    assert.deepEqual([read.FunctionUrl, read.AuthType, read.InvokeMode], [url, 'NONE', 'BUFFERED'])
    const changed = await aws.send(new UpdateFunctionUrlConfigCommand({ FunctionName: 'config', InvokeMode: 'RESPONSE_STREAM', Cors: { MaxAge: 3 } }))
    assert.deepEqual([changed.FunctionUrl, changed.InvokeMode, changed.Cors], [url, 'RESPONSE_STREAM', { MaxAge: 3 }])
    const listed = await aws.send(new ListFunctionUrlConfigsCommand({ FunctionName: 'config' }))
    assert.deepEqual(
      listed.FunctionUrlConfigs?.map((one) => one.FunctionUrl),
      [url],
    )
    await aws.send(new DeleteFunctionUrlConfigCommand({ FunctionName: 'config' }))
    await assert.rejects(aws.send(new GetFunctionUrlConfigCommand({ FunctionName: 'config' })), (error: unknown) => {
      assert.ok(error instanceof LambdaServiceException)
      assert.equal(error.name, 'ResourceNotFoundException')
      return true
    })
    const gone = await fetch(url)
    assert.deepEqual([gone.status, gone.headers.get('x-amzn-errortype'), await gone.text()], [403, 'AccessDeniedException', '{"Message":null}'])
  })

  it('goes with its function, and does not lead to another of its name', async () => {
    const url = await at('phoenix', ECHO)
    assert.equal((await fetch(url)).status, 200)
    await aws.send(new DeleteFunctionCommand({ FunctionName: 'phoenix' }))
    await create('phoenix', ECHO)
    assert.equal((await fetch(url)).status, 403)
    await sleep(1_500)
    assert.equal((await fetch(url)).status, 403)
  })

  it('is one for each alias, which leads to its version and takes it along', async () => {
    const own = await at('versions', 'export const handler = async () => "one"')
    await aws.send(new PublishVersionCommand({ FunctionName: 'versions' }))
    await aws.send(
      new UpdateFunctionCodeCommand({
        FunctionName: 'versions',
        ZipFile: await zipOf({ 'index.mjs': 'export const handler = async (e, c) => c.invokedFunctionArn' }),
      }),
    )
    await aws.send(new CreateAliasCommand({ FunctionName: 'versions', Name: 'live', FunctionVersion: '1' }))
    await aws.send(new CreateAliasCommand({ FunctionName: 'versions', Name: 'next', FunctionVersion: '$LATEST' }))
    const live = (await aws.send(new CreateFunctionUrlConfigCommand({ FunctionName: 'versions', Qualifier: 'live', AuthType: 'NONE' }))).FunctionUrl as string
    const next = (await aws.send(new CreateFunctionUrlConfigCommand({ FunctionName: 'versions:next', AuthType: 'NONE' }))).FunctionUrl as string
    const arn = 'arn:aws:lambda:us-east-1:000000000000:function:versions'
    assert.equal(await (await fetch(own)).text(), arn)
    assert.equal(await (await fetch(next)).text(), `${arn}:next`)
    assert.equal(await (await fetch(live)).text(), 'one')
    await aws.send(new DeleteAliasCommand({ FunctionName: 'versions', Name: 'live' }))
    assert.equal((await fetch(live)).status, 403)
    assert.equal((await fetch(next)).status, 200)
  })
})

describe('a call of an address', () => {
  it('gives the handler an event of payload 2.0', async () => {
    const url = await at('event', ECHO)
    const event = await echo(`${url}a%20b/pa2%Fth//?x=1&x=2&y=%C3%A4&z`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', cookie: 'a=1; b=2', 'x-own': 'v', apikey: 'meant for the function', authorization: 'Bearer its-own' },
      body: '{"n":1}',
    })
    const host = new URL(url).host
    assert.deepEqual(
      [event.version, event.routeKey, event.rawPath, event.rawQueryString, event.cookies, event.body, event.isBase64Encoded],
      ['2.0', '$default', '/a b/pa2%Fth//', 'x=1&x=2&y=%C3%A4&z', ['a=1', 'b=2'], '{"n":1}', false],
    )
    assert.deepEqual(event.queryStringParameters, { x: '1,2', y: 'ä', z: '' })
    const headers = event.headers as unknown as Record<string, string>
    assert.deepEqual(
      [
        headers.host,
        headers['x-own'],
        headers.apikey,
        headers.authorization,
        headers['x-forwarded-for'],
        headers['x-forwarded-proto'],
        headers['x-forwarded-port'],
      ],
      [host, 'v', 'meant for the function', 'Bearer its-own', '127.0.0.1', 'http', new URL(url).port],
    )
    assert.equal('cookie' in headers, false)
    assert.match(headers['x-amzn-trace-id'] ?? '', /^Root=1-[0-9a-f]{8}-[0-9a-f]{24}/)
    const context = event.requestContext as unknown as Record<string, unknown> & { http: Record<string, string> }
    assert.deepEqual(
      [context.accountId, context.apiId, context.domainPrefix, context.stage, context.routeKey],
      ['anonymous', idOf(url), idOf(url), '$default', '$default'],
    )
    assert.deepEqual(
      [context.http.method, context.http.path, context.http.sourceIp, context.http.protocol],
      ['POST', '/a b/pa2%Fth//', '127.0.0.1', 'HTTP/1.1'],
    )
    assert.match(String(context.time), /^\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000$/)
    assert.equal('authorizer' in context, false)
    const bare = await echo(url)
    assert.deepEqual(['cookies' in bare, 'queryStringParameters' in bare, 'body' in bare, bare.rawQueryString, bare.rawPath], [false, false, false, '', '/'])
    assert.equal((await echo(url.slice(0, -1))).rawPath, '/')
  })

  it('gives it bodies as text or in base64, up to 6 MB', async () => {
    const url = await at(
      'bodies',
      'export const handler = async (event) => ({ base64: event.isBase64Encoded, body: event.body.slice(0, 40), length: event.body.length })',
    )
    const send = async (type: string, body: string | Uint8Array<ArrayBuffer>) => await echo(url, { method: 'POST', headers: { 'content-type': type }, body })
    assert.deepEqual(await send('text/plain; charset=utf-8', 'grün'), { base64: false, body: 'grün', length: 4 })
    assert.deepEqual(await send('application/problem+json', '{}'), { base64: false, body: '{}', length: 2 })
    assert.deepEqual(await send('application/x-www-form-urlencoded', 'a=b'), { base64: true, body: 'YT1i', length: 4 })
    assert.deepEqual(await send('image/png', new Uint8Array([0, 255])), { base64: true, body: 'AP8=', length: 4 })
    const most = 6 * 1024 * 1024
    assert.equal((await send('text/plain', 'x'.repeat(most))).length, most)
    const over = await fetch(url, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: 'x'.repeat(most + 1) })
    assert.equal(over.status, 413)
    assert.match(await over.text(), /Request must be smaller than 6291456 bytes for the InvokeFunction operation/)
  })

  it('makes an answer of whatever the handler returns', async () => {
    const url = await at('answers', 'export const handler = async (event) => JSON.parse(event.body)')
    const answer = async (value: unknown) => {
      const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) })
      return { status: response.status, type: response.headers.get('content-type'), text: await response.text(), headers: response.headers }
    }
    const rows: [unknown, number, string, string][] = [
      ['hello', 200, 'application/json', 'hello'],
      [{ a: 1, b: [2] }, 200, 'application/json', '{"a":1,"b":[2]}'],
      [['hello', 3, true], 200, 'application/json', '["hello",3,true]'],
      [3, 200, 'application/json', '3'],
      [true, 200, 'application/json', 'true'],
      [null, 200, 'application/json', 'null'],
      [{ statusCode: 201 }, 201, 'application/json', ''],
      [{ statusCode: '404', body: 'no' }, 404, 'application/json', 'no'],
      [{ statusCode: 200, body: { a: 1 } }, 200, 'application/json', '{"a":1}'],
      [{ statusCode: 200, headers: { 'Content-Type': 'text/plain', 'x-n': 5 }, body: 'aGVsbG8=', isBase64Encoded: true }, 200, 'text/plain', 'hello'],
      [{ statusCode: 'nope' }, 502, 'text/plain', 'Internal Server Error'],
      [{ statusCode: 1000 }, 502, 'text/plain', 'Internal Server Error'],
    ]
    for (const [value, ...wanted] of rows) {
      const { status, type, text, headers } = await answer(value)
      assert.deepEqual([status, type, text], wanted, JSON.stringify(value))
      assert.match(headers.get('x-amzn-requestid') ?? '', /^[0-9a-f-]{36}$/)
      assert.match(headers.get('x-amzn-trace-id') ?? '', /^Root=1-[0-9a-f]{8}-[0-9a-f]{24}$/)
      assert.ok(headers.get('date'))
    }
    assert.deepEqual((await answer({ statusCode: 200, cookies: ['a=1', 'b=2'] })).headers.getSetCookie(), ['a=1', 'b=2'])
    const remapped = await answer({ statusCode: 200, headers: { connection: 'close', date: 'x', 'x-amzn-requestid': 'forged', 'x-request-id': 'its own' } })
    assert.deepEqual(
      ['x-amzn-remapped-connection', 'x-amzn-remapped-date', 'x-amzn-remapped-x-amzn-requestid', 'x-request-id'].map((name) => remapped.headers.get(name)),
      ['close', 'x', 'forged', 'its own'],
    )
  })

  it('tells nothing of what goes wrong in the function: 502', async () => {
    const url = await at(
      'wrong',
      'export const handler = async (event) => { if (event.rawPath === "/exit") process.exit(1); if (event.rawPath === "/sleep") await new Promise((d) => setTimeout(d, 9000)); if (event.rawPath === "/large") return "x".repeat(7 << 20); throw new Error("hush") }',
    )
    for (const what of ['throw', 'exit', 'sleep', 'large']) {
      const response = await fetch(url + what)
      assert.deepEqual([response.status, await response.text()], [502, 'Internal Server Error'], what)
      assert.ok(response.headers.get('x-amzn-requestid'))
    }
  })

  it('is throttled by its function with 429', async () => {
    const url = await at('throttled', ECHO)
    await aws.send(new PutFunctionConcurrencyCommand({ FunctionName: 'throttled', ReservedConcurrentExecutions: 0 }))
    const response = await fetch(url)
    assert.deepEqual([response.status, response.headers.get('x-amzn-errortype')], [429, 'TooManyRequestsException'])
    assert.match(await response.text(), /"message":"Rate Exceeded\."/)
    await aws.send(new DeleteFunctionConcurrencyCommand({ FunctionName: 'throttled' }))
    assert.equal((await fetch(url)).status, 200)
  })

  it('reaches a web-standard fetch handler as it is', async () => {
    await create(
      'web',
      `export default { async fetch(request) {
  const url = new URL(request.url)
  return Response.json({ method: request.method, path: url.pathname, query: url.search, host: url.host, body: await request.text(), trace: request.headers.get('x-amzn-trace-id'), apikey: request.headers.get('apikey'), connection: request.headers.get('connection') }, { status: 207, headers: { 'x-a': '1' } })
} }`,
    )
    const url = (await aws.send(new CreateFunctionUrlConfigCommand({ FunctionName: 'web', AuthType: 'NONE' }))).FunctionUrl as string
    const response = await fetch(`${url}a%2Fb?c=d`, { method: 'PATCH', body: 'text', headers: { apikey: 'k' } })
    assert.deepEqual([response.status, response.headers.get('x-a')], [207, '1'])
    const { trace, ...said } = (await response.json()) as Record<string, string>
    assert.deepEqual(said, { method: 'PATCH', path: '/a%2Fb', query: '?c=d', host: new URL(url).host, body: 'text', apikey: 'k', connection: null })
    assert.match(trace ?? '', /^Root=1-/)
  })

  it('has an origin of its own at `<id>.lambda-url.localhost`, and reaches nothing else of the node there', async () => {
    const url = await at(
      'origin',
      'export const handler = async (event) => event.rawPath === "/page" ? { statusCode: 200, headers: { "content-type": "text/html" }, cookies: ["s=1"], body: "<script>1</script>" } : event',
    )
    const host = `${idOf(url)}.lambda-url.localhost`
    const event = JSON.parse((await byHost(host, 'PUT', '/lambda-url/x?q', { 'content-type': 'text/plain' }, 'b')).text) as Record<string, unknown>
    assert.deepEqual([event.rawPath, event.rawQueryString, event.body], ['/lambda-url/x', 'q', 'b'])
    assert.equal((JSON.parse((await byHost(host.toUpperCase(), 'GET', '/')).text) as Record<string, unknown>).version, '2.0')
    for (const own of ['/health', '/api/v1/status', '/p/demo/functions/v1/origin', '/2015-03-31/functions', '/sites/x'])
      assert.equal((JSON.parse((await byHost(host, 'GET', own)).text) as Record<string, unknown>).rawPath, own)
    // There a page is a page; on the address that the API shares it is shown without its scripts.
    const page = await byHost(host, 'GET', '/page')
    assert.deepEqual(
      [page.headers['content-security-policy'], page.headers['set-cookie'], page.headers['access-control-allow-origin']],
      [undefined, ['s=1'], undefined],
    )
    assert.match((await fetch(`${url}page`)).headers.get('content-security-policy') ?? '', /sandbox/)
    const unknown = await byHost(`${'a'.repeat(32)}.lambda-url.localhost`, 'GET', '/health')
    assert.deepEqual([unknown.status, unknown.text], [403, '{"Message":null}'])
    for (const strange of ['lambda-url.localhost', `${idOf(url)}.x.lambda-url.localhost`])
      assert.equal((await byHost(strange, 'GET', '/page')).status, 404, strange)
    // And below the domain, where a proxy hands on the name that the world calls.
    const below = (JSON.parse((await byHost(`${idOf(url)}.lambda-url.apps.example`, 'GET', '/health')).text) as Record<string, unknown>).rawPath
    assert.equal(below, '/health')
    for (const strange of ['lambda-url.apps.example', `${idOf(url)}.x.lambda-url.apps.example`, `${idOf(url)}.lambda-url.other.example`])
      assert.equal((await byHost(strange, 'GET', '/page')).status, 421, strange)
  })

  it('is told apart from guesses by nobody', async () => {
    for (const id of ['x', 'a'.repeat(32), 'A%00', '..%2f..', 'é', "'; drop table x; --"]) {
      const response = await fetch(`${node.ready.url}/lambda-url/${encodeURIComponent(id)}/`)
      assert.deepEqual([response.status, await response.text()], [403, '{"Message":null}'], id)
    }
    const url = await at('shout', ECHO)
    assert.equal((await fetch(url.replace(idOf(url), idOf(url).toUpperCase()))).status, 200)
    // It is of no project that a path could name.
    assert.equal((await fetch(`${node.ready.url}/p/demo/lambda-url/${idOf(url)}/`)).status, 404)
  })
})

describe('who may call', () => {
  it('AWS_IAM: whoever signs with an access key of the project', async () => {
    const url = await at(
      'iam',
      'export const handler = async (event) => ({ ...event.requestContext, path: event.rawPath, query: event.queryStringParameters, body: event.body })',
      { AuthType: 'AWS_IAM' },
    )
    const response = await signed(`${url}a%20b/c%2Fd?x=1&y=%C3%A4%20`, 'POST', '{"n":1}', { headers: { 'content-type': 'application/json' } })
    assert.equal(response.status, 200, await response.clone().text())
    const context = (await response.json()) as Record<string, unknown> & { authorizer: { iam: Record<string, unknown> } }
    const { accessKey } = node.ready
    assert.deepEqual([context.accountId, context.path, context.query, context.body], ['000000000000', '/a b/c/d', { x: '1', y: 'ä ' }, '{"n":1}'])
    assert.deepEqual(context.authorizer.iam, {
      accessKey: accessKey.id,
      accountId: '000000000000',
      callerId: accessKey.id,
      cognitoIdentity: null,
      principalOrgId: null,
      userArn: 'arn:aws:iam::000000000000:root',
      userId: accessKey.id,
    })
    const forbidden = await fetch(url)
    assert.deepEqual([forbidden.status, forbidden.headers.get('x-amzn-errortype')], [403, 'AccessDeniedException'])
    assert.match(
      await forbidden.text(),
      /^\{"Message":"Forbidden\. For troubleshooting Function URL authorization issues, see: https:\/\/docs\.aws\.amazon\.com/,
    )
    // A key of the project is no signature, the secret one neither.
    assert.equal((await fetch(url, { headers: { authorization: `Bearer ${node.ready.project.secretKey}` } })).status, 403)
    for (const [how, more, code] of [
      ['another secret', { secret: 'wrong' }, 'InvalidSignatureException'],
      ['an unknown key', { id: 'AKIAAAAAAAAAAAAAAAAA' }, 'UnrecognizedClientException'],
      ['another service', { service: 's3' }, 'InvalidSignatureException'],
    ] as const) {
      const refused = await signed(url, 'GET', '', more)
      assert.deepEqual([refused.status, refused.headers.get('x-amzn-errortype')], [403, code], how)
      await refused.arrayBuffer()
    }
    // The signature is over the body, the path and the query.
    const good = await new SignatureV4({
      service: 'lambda',
      region: 'us-east-1',
      sha256: Sha256,
      credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret },
    }).sign({
      method: 'POST',
      protocol: 'http:',
      hostname: new URL(url).hostname,
      path: new URL(url).pathname,
      query: {},
      headers: { host: new URL(url).host },
      body: 'one',
    })
    const { host: _, ...headers } = good.headers
    assert.equal((await fetch(url, { method: 'POST', headers, body: 'one' })).status, 200)
    for (const [to, body] of [
      [url, 'two'],
      [`${url}other`, 'one'],
      [`${url}?a=b`, 'one'],
    ] as const)
      assert.equal((await fetch(to, { method: 'POST', headers, body })).status, 403)
  })

  it('AWS_IAM: by its own host name, and presigned, too', async () => {
    const url = await at('iamhost', ECHO, { AuthType: 'AWS_IAM' })
    const host = `${idOf(url)}.lambda-url.localhost`
    const { accessKey, region } = node.ready
    const { port } = new URL(url)
    const signer = new SignatureV4({ service: 'lambda', region, sha256: Sha256, credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret } })
    const request = { method: 'GET', protocol: 'http:', hostname: host, path: '/x', query: {}, headers: { host: `${host}:${port}` } }
    const { headers } = await signer.sign(request)
    assert.equal((await byHost(host, 'GET', '/x', headers)).status, 200)
    assert.equal((await byHost(host, 'GET', '/y', headers)).status, 403)
    const presigned = await signer.presign(request, { expiresIn: 60 })
    const query = new URLSearchParams(presigned.query as Record<string, string>).toString().replaceAll('+', '%20')
    assert.equal((await byHost(host, 'GET', `/x?${query}`)).status, 200)
    assert.equal((await byHost(host, 'GET', `/z?${query}`)).status, 403)
  })

  it('AWS_IAM: no other project, and of functions who signs with its own handle', async () => {
    // Signed by hand, with what the sandbox was given.
    const caller = `import { createHash, createHmac } from 'node:crypto'
const hash = (text) => createHash('sha256').update(text).digest('hex')
const hmac = (key, text) => createHmac('sha256', key).update(text).digest()
const sign = (url) => {
  const { host, pathname } = new URL(url)
  const at = new Date().toISOString().replace(/[-:]|\\.\\d{3}/g, '')
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = process.env
  const scope = at.slice(0, 8) + '/us-east-1/lambda/aws4_request'
  const canonical = ['GET', pathname, '', 'host:' + host, 'x-amz-date:' + at, '', 'host;x-amz-date', hash('')].join('\\n')
  const key = scope.split('/').reduce((key, part) => hmac(key, part), 'AWS4' + secret)
  const signature = hmac(key, ['AWS4-HMAC-SHA256', at, scope, hash(canonical)].join('\\n')).toString('hex')
  return { 'x-amz-date': at, authorization: 'AWS4-HMAC-SHA256 Credential=' + id + '/' + scope + ', SignedHeaders=host;x-amz-date, Signature=' + signature }
}
export const handler = async ({ url, signed, headers }) => {
  if (!url) return sign(headers)
  const response = await fetch(url, { headers: headers ?? (signed ? sign(url) : {}) })
  return { status: response.status, text: await response.text() }
}`
    const url = await at('guarded', ECHO, { AuthType: 'AWS_IAM' })
    const open = await at('open', ECHO)
    for (const name of ['calls', 'others']) await create(name, caller)
    const call = async (event: object, name = 'calls') => {
      const done = mayfly(['invoke', name, '--data', JSON.stringify(event), '--data', node.data, '--json'])
      return (JSON.parse(done.stdout) as { payload: { status: number; text: string } & Record<string, string> }).payload
    }
    // Out of a sandbox, by the public address that is carried by its relay.
    assert.equal((await call({ url: open })).status, 200)
    assert.equal((await call({ url })).status, 403)
    const allowed = await call({ url, signed: true })
    assert.equal(allowed.status, 200, allowed.text)
    const { requestContext } = JSON.parse(allowed.text) as { requestContext: { authorizer: { iam: Record<string, string> } } }
    assert.match(requestContext.authorizer.iam.accessKey ?? '', /^ASIA/)
    assert.equal(requestContext.authorizer.iam.userArn, 'arn:aws:sts::000000000000:assumed-role/mayfly/calls')
    // What it signed opens nothing from outside its sandbox, and to no other function.
    const taken = await call({ headers: url })
    assert.equal((await fetch(url, { headers: taken })).status, 403)
    assert.equal((await call({ url, headers: taken }, 'others')).status, 403)
    const operator = readFileSync(path.join(node.data, 'operator.token'), 'utf8').trim()
    const made = await fetch(`${node.ready.url}/api/v1/projects`, { method: 'POST', headers: { authorization: `Bearer ${operator}` }, body: '{"ref":"other"}' })
    const { keys } = (await made.json()) as { keys: { accessKey: { id: string; secret: string } } }
    const foreign = await signed(url, 'GET', '', keys.accessKey)
    assert.deepEqual([foreign.status, foreign.headers.get('x-amzn-errortype')], [403, 'AccessDeniedException'])
    assert.match(await foreign.text(), /Forbidden/)
  })

  it('NONE: anyone; where the project asks for policies, whom two statements let in', async () => {
    const url = await at('policies', ECHO)
    assert.equal((await fetch(url)).status, 200)
    assert.equal(mayfly(['url', '--policies', 'on', '--data', node.data]).code, 0)
    try {
      const refused = await fetch(url)
      assert.deepEqual([refused.status, refused.headers.get('x-amzn-errortype')], [403, 'AccessDeniedException'])
      assert.match(await refused.text(), /Forbidden\./)
      const base = { FunctionName: 'policies', Principal: '*' }
      await aws.send(new AddPermissionCommand({ ...base, StatementId: 'url', Action: 'lambda:InvokeFunctionUrl', FunctionUrlAuthType: 'NONE' }))
      assert.equal((await fetch(url)).status, 403)
      await aws.send(new AddPermissionCommand({ ...base, StatementId: 'fn', Action: 'lambda:InvokeFunction', InvokedViaFunctionUrl: true }))
      assert.equal((await fetch(url)).status, 200)
    } finally {
      assert.equal(mayfly(['url', '--policies', 'off', '--data', node.data]).code, 0)
    }
  })
})

describe('Debian’s python3-boto3', { skip: existsSync('/usr/lib/python3/dist-packages/boto3') ? false : 'needs the package python3-boto3' }, () => {
  it('makes an address and signs for it, with characters that are encoded twice', async () => {
    await create(
      'boto',
      'export const handler = async (event) => ({ path: event.rawPath, query: event.queryStringParameters, by: event.requestContext.authorizer.iam.accessKey, body: event.body })',
    )
    const script = `
import boto3, json, sys, urllib.request
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
endpoint, key, secret = sys.argv[1:]
client = boto3.client('lambda', endpoint_url=endpoint, region_name='us-east-1', aws_access_key_id=key, aws_secret_access_key=secret)
made = client.create_function_url_config(FunctionName='boto', AuthType='AWS_IAM', Cors={'AllowOrigins': ['*'], 'MaxAge': 5})
assert client.get_function_url_config(FunctionName='boto')['Cors'] == {'AllowOrigins': ['*'], 'MaxAge': 5}
assert [one['FunctionUrl'] for one in client.list_function_url_configs(FunctionName='boto')['FunctionUrlConfigs']] == [made['FunctionUrl']]
url = made['FunctionUrl'] + 'arn%3Aaws%2Fx/a%20b?q=%24LATEST&p=a%2Bb'
request = AWSRequest('POST', url, data=b'{"n":1}', headers={'Content-Type': 'application/json'})
SigV4Auth(boto3.Session(key, secret).get_credentials(), 'lambda', 'us-east-1').add_auth(request)
sent = urllib.request.Request(url, data=b'{"n":1}', headers=dict(request.headers), method='POST')
print(urllib.request.urlopen(sent).read().decode())
try:
    client.create_function_url_config(FunctionName='boto', AuthType='NONE')
except client.exceptions.ResourceConflictException as error:
    print(error.response['Error']['Message'])
try:
    client.get_function_url_config(FunctionName='none')
except client.exceptions.ResourceNotFoundException as error:
    print(error.response['Error']['Message'])
`
    const { accessKey } = node.ready
    const out = execFileSync('/usr/bin/python3', ['-c', script, node.ready.url, accessKey.id, accessKey.secret], {
      encoding: 'utf8',
      env: { HOME: folder, NO_PROXY: '*' },
    })
    const [answer = '', conflict, missing] = out.trim().split('\n')
    assert.deepEqual(JSON.parse(answer), { path: '/arn:aws/x/a b', query: { q: '$LATEST', p: 'a+b' }, by: accessKey.id, body: '{"n":1}' })
    assert.match(conflict ?? '', /FunctionUrlConfig exists for this Lambda function$/)
    assert.equal(missing, 'The resource you requested does not exist.')
  })
})

describe('what browsers are told', () => {
  const Cors = {
    AllowOrigins: ['https://*.example.com'],
    AllowMethods: ['PUT'],
    AllowHeaders: ['x-a'],
    ExposeHeaders: ['x-b'],
    MaxAge: 60,
    AllowCredentials: true,
  }
  const own =
    'export const handler = async (event) => ({ statusCode: 200, headers: { "access-control-allow-origin": "*", "x-method": event.requestContext.http.method }, body: "" })'
  const origin = 'https://www.example.com'
  const preflight = (url: string, from = origin) =>
    fetch(url, { method: 'OPTIONS', headers: { origin: from, 'access-control-request-method': 'PUT', 'access-control-request-headers': 'x-a' } })

  it('is what is configured: preflights never reach the function, whoever may call it', async () => {
    const url = await at('cors', own, { Cors, AuthType: 'AWS_IAM' })
    const yes = await preflight(url)
    assert.deepEqual(
      [
        yes.status,
        ...['origin', 'methods', 'headers', 'credentials'].map((name) => yes.headers.get(`access-control-allow-${name}`)),
        yes.headers.get('access-control-max-age'),
      ],
      [200, origin, 'PUT', 'x-a', 'true', '60'],
    )
    assert.equal(yes.headers.get('x-method'), null)
    const no = await preflight(url, 'https://example.org')
    assert.deepEqual([no.status, no.headers.get('access-control-allow-origin')], [200, null])
    // A browser reads the refusal, too.
    const refused = await fetch(url, { headers: { origin } })
    assert.deepEqual([refused.status, refused.headers.get('access-control-allow-origin')], [403, origin])
    await aws.send(new UpdateFunctionUrlConfigCommand({ FunctionName: 'cors', AuthType: 'NONE' }))
    const actual = await fetch(url, { headers: { origin } })
    assert.deepEqual(
      [
        actual.headers.get('access-control-allow-origin'),
        actual.headers.get('access-control-expose-headers'),
        actual.headers.get('vary'),
        actual.headers.get('x-method'),
      ],
      [origin, 'x-b', 'Origin', 'GET'],
    )
    assert.equal((await fetch(url, { headers: { origin: 'https://example.org' } })).headers.get('access-control-allow-origin'), null)
  })

  it('is the function’s to say where nothing is configured', async () => {
    const url = await at('nocors', own)
    const asked = await preflight(url)
    assert.deepEqual([asked.status, asked.headers.get('x-method'), asked.headers.get('access-control-allow-origin')], [200, 'OPTIONS', '*'])
    const bare = await at('silent', 'export const handler = async () => 1')
    assert.equal((await fetch(bare, { headers: { origin } })).headers.get('access-control-allow-origin'), null)
  })
})

describe('answers that are streamed', () => {
  const CODE = `import { once } from 'node:events'
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))
export const handler = awslambda.streamifyResponse(async (event, stream) => {
  const at = event.rawPath
  if (at === '/early') throw new Error('before anything')
  if (at !== '/plain') stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { 'content-type': 'text/event-stream', 'x-a': '1' }, cookies: ['a=1', 'b=2'] })
  else stream.setContentType('text/x-own')
  stream.write('one,')
  await sleep(700)
  if (at === '/late') throw new Error('half-way')
  if (at === '/endless') { while (true) { if (!stream.write('x'.repeat(65536))) await once(stream, 'drain') } }
  stream.write('two')
  stream.end()
})`

  it('go out as they are made: status, headers and cookies first', async () => {
    const url = await at('streams', CODE, { InvokeMode: 'RESPONSE_STREAM' }, 60)
    await (await fetch(url)).arrayBuffer() // warm
    const response = await fetch(url)
    assert.deepEqual(
      [
        response.status,
        response.headers.get('content-type'),
        response.headers.get('x-a'),
        response.headers.getSetCookie(),
        response.headers.get('transfer-encoding'),
      ],
      [201, 'text/event-stream', '1', ['a=1', 'b=2'], 'chunked'],
    )
    assert.ok(response.headers.get('x-amzn-requestid'))
    const from = performance.now()
    const pieces: [string, number][] = []
    for await (const piece of response.body ?? []) pieces.push([Buffer.from(piece).toString(), performance.now() - from])
    assert.equal(pieces.map(([text]) => text).join(''), 'one,two')
    assert.ok((pieces[0]?.[1] ?? 1e9) < 400, `first after ${pieces[0]?.[1]} ms`)
    assert.ok((pieces.at(-1)?.[1] ?? 0) > 400, `last after ${pieces.at(-1)?.[1]} ms`)
    const plain = await fetch(`${url}plain`)
    assert.deepEqual([plain.status, plain.headers.get('content-type'), await plain.text()], [200, 'text/x-own', 'one,two'])
  })

  it('are an error before they begin, and cut off when they fail on their way', async () => {
    const { FunctionUrl: url = '' } = await aws.send(new GetFunctionUrlConfigCommand({ FunctionName: 'streams' }))
    const early = await fetch(`${url}early`)
    assert.deepEqual([early.status, await early.text()], [502, 'Internal Server Error'])
    const late = await fetch(`${url}late`)
    assert.equal(late.status, 201)
    await assert.rejects(late.text())
  })

  it('end with who reads them: a slow reader holds the function, one that leaves ends it', async () => {
    const { FunctionUrl: url = '' } = await aws.send(new GetFunctionUrlConfigCommand({ FunctionName: 'streams' }))
    const { hostname, port, pathname } = new URL(url)
    const socket = connect(Number(port), hostname)
    socket.write(`GET ${pathname}endless HTTP/1.1\r\nhost: ${hostname}:${port}\r\n\r\n`)
    await once(socket, 'readable')
    await sleep(1_500)
    const lastLine = () => mayfly(['logs', 'streams', '-n', '3', '--data', node.data]).stdout.trim().split('\n').at(-1) ?? ''
    assert.doesNotMatch(lastLine(), /REPORT/, 'it goes on while somebody may read')
    socket.destroy()
    const until = performance.now() + 30_000
    while (!/REPORT/.test(lastLine()) && performance.now() < until) await sleep(100)
    assert.match(lastLine(), /REPORT/)
    assert.doesNotMatch(lastLine(), /Status: timeout/, 'it ended because its reader left')
  })

  it('come in one piece from a BUFFERED address, and a function that streams nothing is itself at a streaming one', async () => {
    const url = await at('buffered', CODE)
    const response = await fetch(url)
    assert.deepEqual([response.status, response.headers.get('content-length'), response.headers.get('x-a'), await response.text()], [201, '7', '1', 'one,two'])
    const late = await fetch(`${url}late`)
    assert.deepEqual([late.status, await late.text()], [502, 'Internal Server Error'])
    const plain = await at('unstreamed', 'export const handler = async () => ({ statusCode: 202, body: "b" })', { InvokeMode: 'RESPONSE_STREAM' })
    const whole = await fetch(plain)
    assert.deepEqual([whole.status, await whole.text()], [202, 'b'])
  })
})

describe('`mayfly url`', () => {
  const url = (...args: string[]) => mayfly(['url', ...args, '--data', node.data])

  it('makes an address, shows it, changes it, takes it away', async () => {
    await create('byhand', ECHO)
    assert.match(url('byhand').stdout, /byhand has no address of its own\. Give it one: npx mayfly url byhand --create/)
    const made = url('byhand', '--create')
    const address = /^http\S+$/m.exec(made.stdout)?.[0] ?? assert.fail(made.stderr)
    assert.match(made.stdout, /Anyone may call it; answers go out in one piece\./)
    assert.equal((await fetch(address)).status, 200)
    assert.match(url('byhand', '--create').stdout, /Nothing changes/)
    assert.match(url('byhand', '--create', '--auth', 'iam', '--stream').stdout, /Who signs with an access key.*as they are made/)
    assert.equal((await fetch(address)).status, 403)
    assert.match(url('byhand').stdout, /ALIAS +AUTH +ANSWER +URL\n- +iam +streamed +http/)
    assert.match(url('byhand', '--create', '--no-stream').stdout, /Who signs.*in one piece/)
    await aws.send(new CreateAliasCommand({ FunctionName: 'byhand', Name: 'live', FunctionVersion: '$LATEST' }))
    const { url: live } = JSON.parse(url('byhand', '--create', '--alias', 'live', '--json').stdout) as { url: string }
    assert.equal((await fetch(live)).status, 200)
    assert.equal((JSON.parse(url('byhand', '--json').stdout) as { urls: unknown[] }).urls.length, 2)
    assert.match(url('byhand', '--rm').stdout, /byhand has no address of its own any more/)
    assert.equal((await fetch(live)).status, 200)
  })

  it('is made by a deploy that asks for it in mayfly.json, of a function or a project', async () => {
    const folders = { one: { url: { auth: 'iam' } }, part: { url: { stream: true } } }
    for (const [name, file] of Object.entries(folders)) {
      mkdirSync(path.join(folder, 'product', name), { recursive: true })
      writeFileSync(path.join(folder, 'product', name, 'index.mjs'), 'export const handler = async () => "deployed"')
      writeFileSync(path.join(folder, 'product', name, 'mayfly.json'), JSON.stringify(file))
    }
    const deploy = (at: string) => mayfly(['deploy', path.join(folder, 'product', at), '--data', node.data])
    const shown = (name: string) => (JSON.parse(url(name, '--json').stdout) as { urls: { url: string; auth: string; stream: boolean }[] }).urls[0]
    assert.equal(deploy('one').code, 0)
    assert.deepEqual([shown('one')?.auth, shown('one')?.stream], ['iam', false])
    assert.match(deploy('one').stdout, /Nothing changes/)
    const file = (name: string, text: string) => writeFileSync(path.join(folder, 'product', name, 'mayfly.json'), text)
    file('one', '{}')
    assert.match(deploy('one').stdout, /Nothing changes/)
    assert.equal(shown('one')?.auth, 'iam')
    file('one', '{"url":false}')
    assert.match(deploy('one').stdout, /Deployed/)
    assert.equal(shown('one'), undefined)
    file('one', '{"url":true}')
    assert.match(deploy('one').stdout, /Deployed/)
    assert.deepEqual([shown('one')?.auth, shown('one')?.stream], ['none', false])
    file('one', '{"url":"yes"}')
    assert.match(deploy('one').stderr, /"url" must be true, false, or an object/)
    file('one', '{"url":false}')
    assert.equal(deploy('one').code, 0)
    file('one', '{}')
    file('.', '{"name":"product","functions":["part"]}')
    const done = deploy('.')
    assert.equal(done.code, 0, done.stderr)
    assert.match(done.stdout, /url +part/)
    assert.equal(shown('part')?.stream, true)
    assert.equal(await (await fetch(shown('part')?.url ?? '')).text(), 'deployed')
    file('.', '{"name":"product","functions":["part",{"folder":"one","url":true}]}')
    assert.match(deploy('.').stdout, /url +one/)
    assert.deepEqual([shown('one')?.auth, shown('one')?.stream], ['none', false])
    assert.match(deploy('.').stdout, /Nothing changes/)
  })

  it('says what is wrong, with its exit code', () => {
    assert.deepEqual(
      [url('nobody').code, url('nobody', '--create').code, url('byhand', '--rm').code, url('byhand', '--create', '--alias', 'none').code],
      [5, 5, 5, 5],
    )
    for (const args of [
      [],
      ['byhand', '--create', '--rm'],
      ['byhand', '--create', '--auth', 'jwt'],
      ['byhand', '--stream'],
      ['--policies', 'maybe'],
      ['byhand', '--policies', 'on'],
    ])
      assert.equal(url(...args).code, 2, args.join(' '))
  })
})
