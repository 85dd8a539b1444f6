import assert from 'node:assert/strict'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { Sha256 } from '@aws-crypto/sha256-js'
import { InvokeCommand, LambdaClient, ListTagsCommand } from '@aws-sdk/client-lambda'
import { SignatureV4 } from '@smithy/signature-v4'
import { SignatureError, type SignedRequest, verifySigV4 } from './sigv4.ts'

const KEY = 'AKIAABCDEFGHIJKLMNOP'
const secretOf = async (id: string) => (id === KEY || id === 'AKIDEXAMPLE12345' ? { secret: 'secret' } : null)
const request = (more: Partial<Omit<SignedRequest, 'body'>> & { body?: Buffer; signed: Record<string, string> }): SignedRequest => {
  const { signed, body = Buffer.alloc(0), ...rest } = more
  return {
    method: 'POST',
    rawPath: '/',
    rawQuery: '',
    body: async () => body,
    headers: Object.fromEntries(Object.entries(signed).map(([name, value]) => [name.toLowerCase(), value])) as IncomingHttpHeaders,
    rawHeaders: Object.entries(signed).flat(),
    ...rest,
  }
}
const refusal = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work
  } catch (error) {
    assert.ok(error instanceof SignatureError, String(error))
    assert.ok(error.status === 403 || error.status === 400)
    return error.type
  }
  return assert.fail('it was accepted')
}

const NOW = Date.UTC(2026, 10, 24, 2, 37, 0)
const signer = new SignatureV4({ service: 'lambda', region: 'eu-west-3', credentials: { accessKeyId: KEY, secretAccessKey: 'secret' }, sha256: Sha256 })
const signed = async (path = '/2015-03-31/functions/a%3Ab/invocations', query: Record<string, string> = { Qualifier: '$LATEST' }, body = '{"a":1}') => {
  const made = await signer.sign(
    { method: 'POST', protocol: 'http:', hostname: 'localhost', path, query, headers: { host: 'localhost:54321', 'x-amz-log-type': 'Tail' }, body },
    { signingDate: new Date(NOW) },
  )
  const rawQuery = Object.entries(query)
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join('&')
  return request({ signed: made.headers, rawPath: path, rawQuery, body: Buffer.from(body) })
}

describe('verifySigV4', () => {
  it('reads no body of who has no key, or whose signature is none, or over', async () => {
    const made = await signed()
    let reads = 0
    const unread = (change: (text: string) => string): SignedRequest => ({
      ...made,
      headers: { ...made.headers, authorization: change(made.headers.authorization as string) },
      body: async () => {
        reads++
        return Buffer.alloc(0)
      },
    })
    for (const [one, at] of [
      [unread((text) => text.replace(KEY, 'AKIAANOTHER')), NOW],
      [unread(() => 'Bearer sb_secret_x'), NOW],
      [unread((text) => text), NOW + 3_600_000],
    ] as const)
      await refusal(verifySigV4(one, 'lambda', secretOf, at))
    assert.equal(reads, 0)
    await refusal(
      verifySigV4(
        unread((text) => text),
        'lambda',
        secretOf,
        NOW,
      ),
    )
    assert.equal(reads, 1)
  })
  it('agrees with the published vector, whose path is encoded twice', async () => {
    const made = request({
      rawPath: '/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Afn',
      body: Buffer.from('{"Tags": {"a": "b"}}'),
      signed: {
        'Content-Type': 'application/json',
        Host: '127.0.0.1:18999',
        'X-Amz-Date': '20261124T023657Z',
        'X-Amz-Security-Token': 'tok',
        Authorization:
          'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE12345/20261124/us-east-1/lambda/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=9c7b9a3ff7be374a04c780775ae29a2394bec09d47f8ba4ae2cfc4aa0c1c32ec',
      },
    })
    assert.equal((await verifySigV4(made, 'lambda', secretOf, NOW)).secret, 'secret')
  })
  it('takes what the SDK signs, odd paths and queries included', async () => {
    for (const [path, query] of [
      ['/a', {}],
      ['/a%20b/%ED%95%9C/%24LATEST', { 'a b': 'é+&=', z: '' }],
      ['/x/', { Marker: 'a/b' }],
      ["/it's(*)!", { q: "it's(*)!" }],
    ] as [string, Record<string, string>][]) {
      await verifySigV4(await signed(path, query), 'lambda', secretOf, NOW)
    }
  })
  it('takes a real client of the AWS SDK', async () => {
    const seen: SignedRequest[] = []
    const server = createServer((incoming, response) => {
      const chunks: Buffer[] = []
      incoming.on('data', (chunk) => chunks.push(chunk))
      incoming.on('end', () => {
        const [rawPath = '', rawQuery = ''] = (incoming.url ?? '').split('?')
        seen.push({
          method: incoming.method ?? '',
          rawPath,
          rawQuery,
          headers: incoming.headers,
          rawHeaders: incoming.rawHeaders,
          body: async () => Buffer.concat(chunks),
        })
        response.end('{}')
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const client = new LambdaClient({
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      region: 'us-east-1',
      credentials: { accessKeyId: KEY, secretAccessKey: 'secret' },
    })
    await client.send(
      new InvokeCommand({ FunctionName: 'arn:aws:lambda:us-east-1:000000000000:function:fn:$LATEST', Payload: Buffer.from('{"a":"é"}'), LogType: 'Tail' }),
    )
    await client.send(new ListTagsCommand({ Resource: 'arn:aws:lambda:us-east-1:000000000000:function:fn' }))
    client.destroy()
    server.close()
    assert.equal(seen.length, 2)
    for (const one of seen) await verifySigV4(one, 'lambda', secretOf, Date.now())
  })

  const hostile: [string, (made: SignedRequest) => SignedRequest, string][] = [
    ['another body', (made) => ({ ...made, body: async () => Buffer.from('{"a":2}') }), 'InvalidSignatureException'],
    ['another method', (made) => ({ ...made, method: 'DELETE' }), 'InvalidSignatureException'],
    ['another path', (made) => ({ ...made, rawPath: '/2015-03-31/functions/b/invocations' }), 'InvalidSignatureException'],
    ['the path decoded', (made) => ({ ...made, rawPath: decodeURIComponent(made.rawPath) }), 'InvalidSignatureException'],
    ['another query', (made) => ({ ...made, rawQuery: 'Qualifier=1' }), 'InvalidSignatureException'],
    ['a query more', (made) => ({ ...made, rawQuery: `${made.rawQuery}&a=b` }), 'InvalidSignatureException'],
    [
      'a signed header changed',
      (made) => ({ ...made, rawHeaders: made.rawHeaders.map((text) => (text === 'Tail' ? 'None' : text)) }),
      'InvalidSignatureException',
    ],
    ['a signed header twice', (made) => ({ ...made, rawHeaders: [...made.rawHeaders, 'x-amz-log-type', 'None'] }), 'InvalidSignatureException'],
    [
      'a signed header left out',
      (made) => ({ ...made, rawHeaders: made.rawHeaders.filter((text) => text !== 'Tail' && text !== 'x-amz-log-type') }),
      'InvalidSignatureException',
    ],
    ['no authorization', (made) => ({ ...made, headers: {} }), 'MissingAuthenticationTokenException'],
    ['a bearer token', (made) => ({ ...made, headers: { ...made.headers, authorization: 'Bearer x' } }), 'MissingAuthenticationTokenException'],
    [
      'a claimed hash of another body',
      (made) => ({ ...made, headers: { ...made.headers, 'x-amz-content-sha256': '0'.repeat(64) } }),
      'InvalidSignatureException',
    ],
    ['an unsigned payload', (made) => ({ ...made, headers: { ...made.headers, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' } }), 'IncompleteSignatureException'],
    [
      'a streamed payload',
      (made) => ({ ...made, headers: { ...made.headers, 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' } }),
      'IncompleteSignatureException',
    ],
    ['no date', (made) => ({ ...made, headers: { ...made.headers, 'x-amz-date': undefined } }), 'IncompleteSignatureException'],
    ['a date that is none', (made) => ({ ...made, headers: { ...made.headers, 'x-amz-date': '20269999T999999Z' } }), 'IncompleteSignatureException'],
  ]
  for (const [name, change, type] of hostile)
    it(`refuses ${name}`, async () => assert.equal(await refusal(verifySigV4(change(await signed()), 'lambda', secretOf, NOW)), type))

  const authorizations: [string, (text: string) => string, string][] = [
    ['an empty signature', (text) => text.replace(/Signature=.*/, 'Signature='), 'IncompleteSignatureException'],
    ['a short signature', (text) => text.replace(/Signature=.*/, 'Signature=ab'), 'InvalidSignatureException'],
    ['a signature of zeros', (text) => text.replace(/Signature=.*/, `Signature=${'0'.repeat(64)}`), 'InvalidSignatureException'],
    ['an unknown key', (text) => text.replace(KEY, 'AKIAZZZZZZZZZZZZZZZZ'), 'UnrecognizedClientException'],
    ['a host that is not signed', (text) => text.replace('host;', ''), 'InvalidSignatureException'],
    ['another region', (text) => text.replace('eu-west-3', 'us-east-1'), 'InvalidSignatureException'],
    ['another service', (text) => text.replace('/lambda/', '/s3/'), 'InvalidSignatureException'],
    ['a scope of another day', (text) => text.replace('/20261124/', '/20261123/'), 'InvalidSignatureException'],
    ['two credentials', (text) => `${text}, Credential=x`, 'IncompleteSignatureException'],
    ['SigV4a', (text) => text.replace('AWS4-HMAC-SHA256', 'AWS4-ECDSA-P256-SHA256'), 'IncompleteSignatureException'],
    ['nothing behind the name', () => 'AWS4-HMAC-SHA256', 'IncompleteSignatureException'],
  ]
  for (const [name, change, type] of authorizations) {
    it(`refuses ${name}`, async () => {
      const made = await signed()
      assert.equal(
        await refusal(
          verifySigV4({ ...made, headers: { ...made.headers, authorization: change(made.headers.authorization as string) } }, 'lambda', secretOf, NOW),
        ),
        type,
      )
    })
  }
  it('takes a presigned request until it expires, and none that was changed', async () => {
    const made = await signer.presign(
      {
        method: 'GET',
        protocol: 'http:',
        hostname: 'localhost',
        path: '/2015-03-31/functions/a%3Ab',
        query: { Marker: 'a/b c' },
        headers: { host: 'localhost:54321' },
      },
      { signingDate: new Date(NOW), expiresIn: 600 },
    )
    const rawQuery = Object.entries(made.query ?? {})
      .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`)
      .join('&')
    const asked = request({ method: 'GET', rawPath: made.path, rawQuery, signed: { host: 'localhost:54321' } })
    await verifySigV4(asked, 'lambda', secretOf, NOW + 599_000)
    assert.equal(await refusal(verifySigV4(asked, 'lambda', secretOf, NOW + 601_000)), 'InvalidSignatureException')
    assert.equal(
      await refusal(verifySigV4({ ...asked, rawQuery: rawQuery.replace('X-Amz-Expires=600', 'X-Amz-Expires=6000') }, 'lambda', secretOf, NOW)),
      'InvalidSignatureException',
    )
    assert.equal(await refusal(verifySigV4({ ...asked, body: async () => Buffer.from('x') }, 'lambda', secretOf, NOW)), 'InvalidSignatureException')
    for (const expires of ['0', '604801', '-1', 'x', ''])
      assert.equal(
        await refusal(verifySigV4({ ...asked, rawQuery: rawQuery.replace('X-Amz-Expires=600', `X-Amz-Expires=${expires}`) }, 'lambda', secretOf, NOW)),
        'IncompleteSignatureException',
      )
    assert.equal(await refusal(verifySigV4({ ...asked, rawQuery: `${rawQuery}&X-Amz-Expires=9` }, 'lambda', secretOf, NOW)), 'IncompleteSignatureException')
  })
  it('calls a key that is none unknown, whatever its length', async () => {
    const made = await signed()
    const authorization = (made.headers.authorization as string).replace(KEY, 'test')
    assert.equal(await refusal(verifySigV4({ ...made, headers: { ...made.headers, authorization } }, 'lambda', secretOf, NOW)), 'UnrecognizedClientException')
  })
  it('holds five minutes each way', async () => {
    await verifySigV4(await signed(), 'lambda', secretOf, NOW + 299_000)
    assert.equal(await refusal(verifySigV4(await signed(), 'lambda', secretOf, NOW + 301_000)), 'InvalidSignatureException')
    assert.equal(await refusal(verifySigV4(await signed(), 'lambda', secretOf, NOW - 301_000)), 'InvalidSignatureException')
  })
})
