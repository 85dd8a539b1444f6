import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { RequestContext } from '../core/route.ts'
import { functionUrlEvent, inferReply, setHeader, setUrlHeader, withSandboxPolicy } from './function-url.ts'

const context = (more: Partial<RequestContext>): RequestContext =>
  ({
    id: 'req-1',
    method: 'POST',
    rawPath: '/functions/v1/f/x',
    rawQuery: '',
    query: new URLSearchParams(more.rawQuery ?? ''),
    headers: {},
    rawHeaders: [],
    params: { name: 'f' },
    principal: { kind: 'nobody' },
    project: null,
    remoteAddress: '1.2.3.4',
    origin: 'http://localhost:54321',
    depth: 0,
    signal: new AbortController().signal,
    ...more,
  }) as RequestContext
const event = (more: Partial<RequestContext>, path: string, body = Buffer.alloc(0)) =>
  JSON.parse(functionUrlEvent(context(more), path, body, 1583348638390).toString()) as Record<string, never>

describe('functionUrlEvent', () => {
  it('takes names that every object has for names like any other', () => {
    const made = event({ rawQuery: 'constructor=1&toString=2&__proto__=3', rawHeaders: ['constructor', 'a', '__proto__', 'b'] }, '/')
    assert.deepEqual(Object.entries(made.queryStringParameters ?? {}), [
      ['constructor', '1'],
      ['toString', '2'],
      ['__proto__', '3'],
    ])
    assert.deepEqual(Object.entries(made.headers ?? {}).slice(0, 2), [
      ['constructor', 'a'],
      ['__proto__', 'b'],
    ])
  })
  it('decodes the path once, escape by escape: what is malformed stays as it came', () => {
    for (const [path, raw] of [
      ['/a%20b/%C3%A4', '/a b/ä'],
      ['/pa2%Fth/1', '/pa2%Fth/1'],
      ['/%20/%Fth/%C3%A4', '/ /%Fth/ä'],
      ['/%FF/%20', '/%FF/ '],
      ['/%2520', '/%20'],
      ['//a/', '//a/'],
    ] as const)
      assert.equal(event({}, path).rawPath, raw, path)
  })
  it('says at an address of its own who signed, and hides no key that is meant for it', () => {
    const iam = { accessKey: 'AKIA', accountId: '000000000000', userArn: 'arn:aws:iam::000000000000:root' }
    const request = context({ rawHeaders: ['host', 'x.localhost:1', 'apikey', 'its own', 'Expect', '100-continue', 'x-amzn-trace-id', 'forged'] })
    const made = JSON.parse(functionUrlEvent(request, '/', Buffer.alloc(0), 0, { apiId: 'abc', traceId: 'Root=1-2-3', iam }).toString())
    assert.deepEqual(made.headers, {
      host: 'x.localhost:1',
      apikey: 'its own',
      'x-amzn-trace-id': 'Root=1-2-3',
      'x-forwarded-for': '1.2.3.4',
      'x-forwarded-proto': 'http',
      'x-forwarded-port': '1',
    })
    const { accountId, apiId, domainPrefix, domainName, authorizer } = made.requestContext
    assert.deepEqual([accountId, apiId, domainPrefix, domainName], ['000000000000', 'abc', 'abc', 'x.localhost:1'])
    assert.deepEqual(authorizer, {
      iam: {
        accessKey: 'AKIA',
        accountId: '000000000000',
        callerId: 'AKIA',
        cognitoIdentity: null,
        principalOrgId: null,
        userArn: iam.userArn,
        userId: 'AKIA',
      },
    })
    assert.equal('authorizer' in (event({}, '/').requestContext ?? {}), false)
  })
  it('has the shape of payload 2.0', () => {
    const made = event(
      {
        rawQuery: 'a=1&a=2&b=3%20',
        rawHeaders: [
          'Host',
          'localhost:54321',
          'X-A',
          '1',
          'x-a',
          '2',
          'Cookie',
          'c1=v1; c2=v2',
          'Content-Type',
          'application/json',
          'User-Agent',
          'x',
          'apikey',
          'sb_secret_x',
        ],
        headers: { cookie: 'c1=v1; c2=v2' },
      },
      '/my/path',
      Buffer.from('{"a":1}'),
    )
    assert.deepEqual(made, {
      version: '2.0',
      routeKey: '$default',
      rawPath: '/my/path',
      rawQueryString: 'a=1&a=2&b=3%20',
      cookies: ['c1=v1', 'c2=v2'],
      headers: {
        host: 'localhost:54321',
        'x-a': '1,2',
        'content-type': 'application/json',
        'user-agent': 'x',
        'x-forwarded-for': '1.2.3.4',
        'x-forwarded-proto': 'http',
        'x-forwarded-port': '54321',
      },
      queryStringParameters: { a: '1,2', b: '3 ' },
      requestContext: {
        accountId: 'anonymous',
        apiId: 'f',
        domainName: 'localhost:54321',
        domainPrefix: 'localhost:54321',
        http: { method: 'POST', path: '/my/path', protocol: 'HTTP/1.1', sourceIp: '1.2.3.4', userAgent: 'x' },
        requestId: 'req-1',
        routeKey: '$default',
        stage: '$default',
        time: '04/Mar/2020:19:03:58 +0000',
        timeEpoch: 1583348638390,
      },
      body: '{"a":1}',
      isBase64Encoded: false,
    })
  })
  it('sends what is no text in base64, and no body at all when there is none', () => {
    assert.deepEqual([event({ rawHeaders: ['content-type', 'image/png'] }, '/', Buffer.from([0xff])).body, event({}, '/').body], ['/w==', undefined])
  })
  it('lets a malformed escape survive', () => assert.equal(event({}, '/pa2%Fth/1').rawPath, '/pa2%Fth/1'))
  it('does not show an operator token to user code', () => {
    const made = event({ principal: { kind: 'operator', id: 'local' }, rawHeaders: ['Authorization', 'Bearer mayfly_operator_x'] }, '/') as unknown as {
      headers: Record<string, string>
    }
    assert.equal(made.headers.authorization, undefined)
  })
})

describe('inferReply', () => {
  const infer = (value: unknown) => inferReply(Buffer.from(JSON.stringify(value)))
  const rows: [string, unknown, number, string | null][] = [
    ['an object without statusCode', { a: 1 }, 200, '{"a":1}'],
    ['a string, unquoted', 'hello', 200, 'hello'],
    ['a number', 3, 200, '3'],
    ['a list', ['hello', 3, true], 200, '["hello",3,true]'],
    ['null', null, 200, 'null'],
    ['a status alone', { statusCode: 204 }, 204, null],
    ['a status as text', { statusCode: '201', body: 'x' }, 201, 'x'],
  ]
  for (const [name, value, status, body] of rows) {
    it(`takes ${name}`, () => {
      const reply = infer(value)
      assert.deepEqual([reply.status, reply.body], [status, body])
      assert.equal(reply.headers?.['content-type'], 'application/json')
    })
  }
  it('calls text that is no JSON by the type that it is told, where the function says none', () => {
    const typeOf = (value: unknown) => inferReply(Buffer.from(JSON.stringify(value)), setHeader, 'text/plain').headers?.['content-type']
    for (const value of ['hello', '1', '', { statusCode: 200, body: 'hello' }, { statusCode: 200, body: '' }]) assert.equal(typeOf(value), 'text/plain')
    for (const value of [null, 1, { a: 'hello' }, { statusCode: 200, body: '{"a":1}' }, { statusCode: 200, body: { a: 1 } }, { statusCode: 204 }])
      assert.equal(typeOf(value), 'application/json')
    assert.equal(typeOf({ statusCode: 200, body: '/w==', isBase64Encoded: true }), 'application/json')
    assert.equal(typeOf({ statusCode: 200, headers: { 'Content-Type': 'text/html' }, body: 'hello' }), 'text/html')
    assert.equal(inferReply(Buffer.from('no JSON'), setHeader, 'text/plain').headers?.['content-type'], 'text/plain')
  })
  it('sets headers and cookies and decodes base64', () => {
    const reply = infer({ statusCode: 200, headers: { 'Content-Type': 'image/png', n: 1 }, cookies: ['a=1', 'b=2'], body: '/w==', isBase64Encoded: true })
    assert.deepEqual(reply, { status: 200, headers: { 'content-type': 'image/png', n: '1', 'set-cookie': ['a=1', 'b=2'] }, body: Buffer.from([0xff]) })
  })
  for (const statusCode of [99, 100, 600, 1.5, 'x', null, {}, -1])
    it(`refuses statusCode ${JSON.stringify(statusCode)}`, () => assert.throws(() => infer({ statusCode }), { code: 'function_reply_invalid' }))
  it('never fails on what a function may answer but by that name', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        try {
          inferReply(Buffer.from(text))
        } catch (error) {
          assert.equal((error as { code: string }).code, 'function_reply_invalid')
        }
      }),
    )
  })
})

describe('setHeader', () => {
  it('leaves out what would split the reply or is ours to say', () => {
    const headers: Record<string, string | string[]> = {}
    for (const [name, value] of [
      ['x', 'a\r\nb: c'],
      ['x y', '1'],
      ['', '1'],
      ['Content-Length', '1'],
      ['Transfer-Encoding', 'chunked'],
      ['x-relay-error', 'true'],
      ['x-한', '1'],
      ['good', 'yes'],
    ] as const)
      setHeader(headers, name, value)
    assert.deepEqual(headers, { good: 'yes' })
  })
  it('keeps every cookie', () => {
    const headers: Record<string, string | string[]> = {}
    for (const value of ['a=1', 'b=2', 'c=3']) setHeader(headers, 'Set-Cookie', value)
    assert.deepEqual(headers, { 'set-cookie': ['a=1', 'b=2', 'c=3'] })
  })
})

describe('withSandboxPolicy', () => {
  const policyOf = (type: string | undefined, own?: string) =>
    withSandboxPolicy({
      status: 200,
      headers: { ...(type === undefined ? {} : { 'content-type': type }), ...(own === undefined ? {} : { 'content-security-policy': own }) },
    }).headers?.['content-security-policy']
  for (const type of [
    'text/html',
    'TEXT/HTML; charset=utf-8',
    ' text/html',
    'text/plain, text/html',
    'text/plain; a=b, text/html',
    'image/svg+xml',
    'application/xhtml+xml',
    'application/rss+xml',
    'text/xml',
    'text/xsl',
    'multipart/x-mixed-replace; boundary=x',
    'message/rfc822',
    'text/javascript',
    'unknown',
    '',
    undefined,
  ])
    it(`keeps ${type === undefined ? 'what has no type' : JSON.stringify(type)} from the origin of the API`, () => assert.equal(policyOf(type), 'sandbox'))
  for (const type of ['application/json', 'application/json; charset=utf-8', 'text/plain;charset=UTF-8', 'image/webp', 'IMAGE/PNG', 'text/event-stream'])
    it(`leaves ${type} as it is`, () => assert.equal(policyOf(type), undefined))
  it('adds to the policy of the function, and is not loosened by it', () => {
    assert.deepEqual(policyOf('text/html', 'sandbox allow-scripts allow-same-origin'), ['sandbox allow-scripts allow-same-origin', 'sandbox'])
    assert.equal(policyOf('image/png', "default-src 'self'"), "default-src 'self'")
  })
})

describe('headers of an answer from an address of its own', () => {
  it('are told under another name where ours stand, and are dropped where they are none', () => {
    const headers: Record<string, string | string[]> = {}
    for (const [name, value] of [
      ['Connection', 'close'],
      ['Transfer-Encoding', 'chunked'],
      ['Content-Length', '3'],
      ['Date', 'today'],
      ['X-Amzn-RequestId', 'forged'],
      ['X-Request-Id', 'its own'],
      ['Set-Cookie', 'a=1'],
      ['Set-Cookie', 'b=2'],
      ['broken name', 'x'],
      ['broken', 'x\r\ny: z'],
    ] as const)
      setUrlHeader(headers, name, value)
    assert.deepEqual(headers, {
      'x-amzn-remapped-connection': 'close',
      'x-amzn-remapped-transfer-encoding': 'chunked',
      'x-amzn-remapped-content-length': '3',
      'x-amzn-remapped-date': 'today',
      'x-amzn-remapped-x-amzn-requestid': 'forged',
      'x-request-id': 'its own',
      'set-cookie': ['a=1', 'b=2'],
    })
  })
})
