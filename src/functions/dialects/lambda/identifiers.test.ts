import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { MayflyError } from '../../../core/errors.ts'
import { LambdaError, lambdaFail, parseFunctionName, regionOf } from './index.ts'

const region = 'us-east-1'
const parse = (text: string, kind: 'control' | 'namespaced' = 'namespaced', qualifier: string | null = null) =>
  parseFunctionName(text, { region, kind, qualifier })

describe('parseFunctionName', () => {
  const good: [string, string, string | null][] = [
    ['fn', 'fn', null],
    ['fn:live', 'fn', 'live'],
    ['fn:3', 'fn', '3'],
    ['fn:$LATEST', 'fn', '$LATEST'],
    ['function:fn', 'fn', null],
    ['function:function', 'function', null],
    ['function', 'function', null],
    ['000000000000:function:fn', 'fn', null],
    ['000000000000:function:fn:live', 'fn', 'live'],
    ['arn:aws:lambda:us-east-1:000000000000:function:fn', 'fn', null],
    ['arn:aws:lambda:us-east-1:000000000000:function:fn:$LATEST', 'fn', '$LATEST'],
  ]
  for (const [text, name, qualifier] of good) it(`takes ${text}`, () => assert.deepEqual(parse(text), { name, qualifier }))

  const bad: [string, string, number, RegExp][] = [
    ['', 'ValidationException', 400, /'functionName'/],
    ['a b', 'ValidationException', 400, /'a b'/],
    ['fn:a:b', 'ValidationException', 400, /regular expression/],
    ['fn:$LATES', 'ValidationException', 400, /regular expression/],
    ['arn:aws:lambda:function:fn', 'ValidationException', 400, /regular expression/],
    ['arn:aws:lambda:us-east-1:function:fn', 'ValidationException', 400, /regular expression/],
    ['arn:aws:lambda:us-east-1:000000000000:fn', 'ValidationException', 400, /regular expression/],
    ['fn\n', 'ValidationException', 400, /regular expression/],
    ['x'.repeat(257), 'ValidationException', 400, /less than or equal to 256/],
    [
      'arn:aws:lambda:eu-west-1:000000000000:function:fn',
      'ResourceNotFoundException',
      404,
      /^Functions from 'eu-west-1' are not reachable in this region \('us-east-1'\)$/,
    ],
    ['123456789012:function:fn', 'ResourceNotFoundException', 404, /^Function not found: /],
  ]
  for (const [text, code, status, message] of bad) {
    it(`refuses ${JSON.stringify(text.slice(0, 60))}`, () => {
      assert.throws(
        () => parse(text),
        (error: unknown) => error instanceof LambdaError && error.code === code && error.status === status && message.test(error.message),
      )
    })
  }

  it('compares the qualifier of the name with that of the query', () => {
    assert.deepEqual(parse('fn', 'namespaced', 'live'), { name: 'fn', qualifier: 'live' })
    assert.deepEqual(parse('fn:live', 'namespaced', 'live'), { name: 'fn', qualifier: 'live' })
    assert.throws(
      () => parse('fn:live', 'namespaced', '3'),
      /^LambdaError: The derived qualifier from the function name does not match the specified qualifier\.$/,
    )
    assert.throws(() => parse('a b', 'namespaced', '?'), /2 validation errors detected: /)
    assert.deepEqual(parse('fn', 'namespaced', '$latest'), { name: 'fn', qualifier: '$latest' })
  })

  it('takes or refuses any text in its own words, and at once', () => {
    const text = fc.oneof(
      fc.string(),
      fc.array(fc.constantFrom('arn:', 'aws', ':', 'lambda:', 'us-east-1:', '000000000000:', 'function:', 'a', '-')).map((parts) => parts.join('')),
    )
    fc.assert(
      fc.property(text, (value) => {
        try {
          parse(value)
        } catch (error) {
          assert(error instanceof LambdaError)
        }
      }),
    )
    assert.throws(() => parse('a'.repeat(100_000)), LambdaError)
  })
})

describe('regionOf', () => {
  it('reads the credential scope of header or query', () => {
    assert.equal(
      regionOf({ authorization: 'AWS4-HMAC-SHA256 Credential=AK/20261124/eu-west-1/lambda/aws4_request, SignedHeaders=host' }, new URLSearchParams()),
      'eu-west-1',
    )
    assert.equal(regionOf({}, new URLSearchParams('X-Amz-Credential=AK/20261124/ap-south-1/lambda/aws4_request')), 'ap-south-1')
    assert.equal(regionOf({}, new URLSearchParams()), 'us-east-1')
  })
})

describe('lambdaFail', () => {
  const fail = (error: unknown) => {
    const reply = lambdaFail(error, { id: 'r' })
    return { status: reply.status, type: reply.headers?.['x-amzn-errortype'], body: JSON.parse(reply.body as string) }
  }
  it('uses the key that the shape declares', () => {
    assert.deepEqual(fail(new MayflyError('function_not_found', 'm')), {
      status: 404,
      type: 'ResourceNotFoundException',
      body: { Type: 'User', Message: 'm' },
    })
    assert.deepEqual(fail(new MayflyError('function_exists', 'm')), {
      status: 409,
      type: 'ResourceConflictException',
      body: { Type: 'User', message: 'm' },
    })
    assert.deepEqual(fail(new LambdaError('ValidationException', 400, 'm')).body, { message: 'm' })
    assert.deepEqual(fail(new MayflyError('too_many_invocations', 'm')).body, {
      Type: 'User',
      Reason: 'ConcurrentInvocationLimitExceeded',
      message: 'Rate Exceeded.',
    })
  })
  it('says nothing of a fault of ours', () => {
    const { status, type, body } = fail(new Error('secret detail'))
    assert.deepEqual([status, type], [500, 'ServiceException'])
    assert(!JSON.stringify(body).includes('secret'))
  })
})
