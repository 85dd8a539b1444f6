import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { LIMITS } from '../../../core/limits.ts'
import { parsePolicy, statement } from './policies.ts'
import { LambdaTable, ONE, refuses, TWO } from './table-fixture.ts'
import { textOf } from '../../../lib/told-fixture.ts'

const F = '/2015-03-31/functions'
const ARN = 'arn:aws:lambda:us-east-1:000000000000:function:shop'

describe('a statement is built as AWS builds it', () => {
  const head = (principal: string, action = 'lambda:InvokeFunction') =>
    `{"Sid":"s","Effect":"Allow","Principal":${principal},"Action":"${action}","Resource":"${ARN}"`
  const base = { StatementId: 's', Action: 'lambda:InvokeFunction', Principal: 's3.amazonaws.com' }
  const service = head('{"Service":"s3.amazonaws.com"}')
  const url = { ...base, Action: 'lambda:InvokeFunctionUrl', Principal: '*' }
  const rows: [string, Parameters<typeof statement>[0], string][] = [
    ['a service', base, `${service}}`],
    ['an account', { ...base, Principal: '123456789012' }, `${head('{"AWS":"arn:aws:iam::123456789012:root"}')}}`],
    ['a role', { ...base, Principal: 'arn:aws:iam::123456789012:role/a' }, `${head('{"AWS":"arn:aws:iam::123456789012:role/a"}')}}`],
    ['anybody', { ...base, Principal: '*' }, `${head('"*"')}}`],
    ['a source', { ...base, SourceArn: 'arn:aws:s3:::b' }, `${service},"Condition":{"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::b"}}}`],
    ['an owner', { ...base, SourceAccount: '123456789012' }, `${service},"Condition":{"StringEquals":{"AWS:SourceAccount":"123456789012"}}}`],
    ['a token', { ...base, EventSourceToken: 't' }, `${service},"Condition":{"StringEquals":{"lambda:EventSourceToken":"t"}}}`],
    ['an organisation', { ...base, PrincipalOrgID: 'o-1234567890' }, `${service},"Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1234567890"}}}`],
    [
      'a function URL',
      { ...url, FunctionUrlAuthType: 'NONE' },
      `${head('"*"', 'lambda:InvokeFunctionUrl')},"Condition":{"StringEquals":{"lambda:FunctionUrlAuthType":"NONE"}}}`,
    ],
    ['by its URL', { ...base, InvokedViaFunctionUrl: true }, `${service},"Condition":{"Bool":{"lambda:InvokedViaFunctionUrl":"true"}}}`],
    [
      'a source and its owner',
      { ...base, SourceArn: 'arn:aws:s3:::b', SourceAccount: '123456789012' },
      `${service},"Condition":{"StringEquals":{"AWS:SourceAccount":"123456789012"},"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::b"}}}`,
    ],
  ]
  for (const [what, wanted, text] of rows) it(what, () => assert.equal(JSON.stringify(statement(wanted, ARN)), text))
  it('refuses a principal that is nobody', () => {
    for (const Principal of ['x', '12345', 'arn:aws:s3:::b', 'a..b'])
      assert.throws(() => statement({ ...base, Principal }, ARN), { code: 'InvalidParameterValueException', message: /^The provided principal was invalid/ })
  })
})

describe('a policy that is put whole', () => {
  const good = { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: '*', Action: 'lambda:InvokeFunction', Resource: ARN }] }
  it('takes one statement that is in no list', () => assert.equal(parsePolicy(JSON.stringify({ ...good, Statement: good.Statement[0] })).Statement.length, 1))
  const [one] = good.Statement
  for (const [what, source] of [
    ['no JSON', '{'],
    ['a list', '[]'],
    ['another version', JSON.stringify({ ...good, Version: '1' })],
    ['no statement', JSON.stringify({ Version: '2012-10-17' })],
    ['another effect', JSON.stringify({ ...good, Statement: [{ ...one, Effect: 'Maybe' }] })],
    ['no principal', JSON.stringify({ ...good, Statement: [{ ...one, Principal: undefined }] })],
    ['a principal that is a number', JSON.stringify({ ...good, Statement: [{ ...one, Principal: { AWS: 1 } }] })],
    ['no action', JSON.stringify({ ...good, Statement: [{ ...one, Action: [] }] })],
    ['a condition that is a text', JSON.stringify({ ...good, Statement: [{ ...one, Condition: { StringEquals: 'x' } }] })],
    [
      'one Sid twice',
      JSON.stringify({
        ...good,
        Statement: [
          { ...one, Sid: 'a' },
          { ...one, Sid: 'a' },
        ],
      }),
    ],
  ] as const)
    it(`refuses ${what}`, () => assert.throws(() => parsePolicy(source), { code: 'InvalidParameterValueException', message: /^The policy is not valid/ }))
})

describe('policies of functions', () => {
  let table: LambdaTable
  before(async () => {
    table = await LambdaTable.open()
    for (const name of ['shop', 'full', 'race']) assert.equal((await table.create(name)).status, 201)
  })
  after(async () => await table?.[Symbol.asyncDispose]())
  const add = (name: string, sid: string, more: object = {}) =>
    table.send('POST', `${F}/${name}/policy`, { StatementId: sid, Action: 'lambda:InvokeFunction', Principal: '*', ...more })

  it('come, are shown as JSON texts and go, and the function has another revision id each time', async () => {
    refuses(await table.send('GET', `${F}/shop/policy`), 404, 'ResourceNotFoundException', 'The resource you requested does not exist.')
    const revision = async () => textOf((await table.send('GET', `${F}/shop`)).body.Configuration?.RevisionId)
    const first = await revision()
    const added = await add('shop', 'a')
    assert.equal(added.status, 201)
    const made = `{"Sid":"a","Effect":"Allow","Principal":"*","Action":"lambda:InvokeFunction","Resource":"${ARN}"}`
    assert.equal(added.body.Statement, made)
    const second = await revision()
    assert.notEqual(second, first)
    const got = (await table.send('GET', `${F}/shop/policy`)).body
    assert.deepEqual(got, { Policy: `{"Version":"2012-10-17","Id":"default","Statement":[${made}]}`, RevisionId: second })
    assert.equal((await table.settings.policyOf(ONE, 'shop', null))[0]?.Sid, 'a')

    refuses(await add('shop', 'a'), 409, 'ResourceConflictException', /^The statement id \(a\) provided already exists\. Please provide a new statement id/)
    refuses(
      await add('shop', 'b', { RevisionId: first }),
      412,
      'PreconditionFailedException',
      'The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id',
    )
    assert.equal((await add('shop', 'b', { RevisionId: second })).status, 201)
    refuses(await table.send('DELETE', `${F}/shop/policy/c`), 404, 'ResourceNotFoundException', 'Statement c is not found in resource policy.')
    refuses(await table.send('DELETE', `${F}/shop/policy/a?RevisionId=${second}`), 412, 'PreconditionFailedException', /GetPolicy/)
    for (const sid of ['a', 'b']) assert.equal((await table.send('DELETE', `${F}/shop/policy/${sid}`)).status, 204)
    refuses(await table.send('DELETE', `${F}/shop/policy/a`), 404, 'ResourceNotFoundException', 'No policy is associated with the given resource.')
    refuses(await table.send('GET', `${F}/shop/policy`), 404, 'ResourceNotFoundException', 'The resource you requested does not exist.')
    assert.deepEqual(await table.settings.policyOf(ONE, 'shop', null), [])
  })

  it('are told apart by function, project and what is not there', async () => {
    refuses(await table.send('GET', `${F}/none/policy`), 404, 'ResourceNotFoundException', 'The resource you requested does not exist.')
    refuses(
      await table.send('DELETE', `${F}/none/policy/a`),
      404,
      'ResourceNotFoundException',
      'No policy found for: arn:aws:lambda:us-east-1:000000000000:function:none',
    )
    refuses(await add('none', 'a'), 404, 'ResourceNotFoundException', 'Function not found: arn:aws:lambda:us-east-1:000000000000:function:none')
    refuses(
      await table.send('POST', `${F}/shop/policy?Qualifier=$LATEST`, { StatementId: 'a', Action: '*', Principal: '*' }),
      400,
      'InvalidParameterValueException',
      'We currently do not support adding policies for $LATEST.',
    )
    refuses(
      await table.send('POST', `${F}/shop/policy?Qualifier=no`, { StatementId: 'a', Action: '*', Principal: '*' }),
      404,
      'ResourceNotFoundException',
      /shop:no$/,
    )
    assert.equal((await add('shop', 'own')).status, 201)
    refuses(await table.send('GET', `${F}/shop/policy`, undefined, TWO), 404, 'ResourceNotFoundException', /does not exist/)
    assert.deepEqual(await table.settings.policyOf(TWO, 'shop', null), [])
  })

  it('have policyBytes at most, and keep what they had when one more is too much', async () => {
    let document = { bytes: 0, statements: 0 }
    let answer = await add('full', 'x'.repeat(100), { SourceArn: 'arn:aws:s3:::start' })
    const size = async () => textOf((await table.send('GET', `${F}/full/policy`)).body.Policy)
    const left = LIMITS.policyBytes.value - Buffer.byteLength(await size())
    const overhead = Buffer.byteLength(JSON.stringify(JSON.parse(textOf(answer.body.Statement)))) - 'start'.length + 1
    refuses(
      await add('full', 'y'.repeat(100), { SourceArn: `arn:aws:s3:::${'k'.repeat(9_900)}` }).then(async (one) => {
        assert.equal(one.status, 201)
        return await add('full', 'z'.repeat(100), { SourceArn: `arn:aws:s3:::${'k'.repeat(left - 9_900 - 2 * overhead + 1)}` })
      }),
      400,
      'PolicyLengthExceededException',
      /^The final policy size \(20481\) is bigger than the limit \(20480\)\.$/,
    )
    answer = await add('full', 'z'.repeat(100), { SourceArn: `arn:aws:s3:::${'k'.repeat(left - 9_900 - 2 * overhead)}` })
    assert.equal(answer.status, 201)
    document = { bytes: Buffer.byteLength(await size()), statements: (JSON.parse(await size()) as { Statement: unknown[] }).Statement.length }
    assert.deepEqual(document, { bytes: 20_480, statements: 3 })
  })

  it('lose no statement that is added at the same time', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, (_, n) => add('race', `s${n}`)))
    assert.ok(answers.every(({ status }) => status === 201))
    assert.equal((await table.settings.policyOf(ONE, 'race', null)).length, 8)
  })

  it('may be put and removed whole', async () => {
    const resource = `/2026-07-09/resource-policy/${encodeURIComponent('arn:aws:lambda:us-east-1:000000000000:function:race')}`
    const policy = { Version: '2012-10-17', Statement: [{ Sid: 'w', Effect: 'Allow', Principal: '*', Action: 'lambda:InvokeFunction', Resource: '*' }] }
    const put = await table.send('PUT', resource, { Policy: JSON.stringify(policy) })
    assert.deepEqual([put.status, JSON.parse(textOf(put.body.Policy))], [200, policy])
    const got = (await table.send('GET', resource)).body
    assert.deepEqual(got, put.body)
    refuses(
      await table.send('PUT', resource, { Policy: '{}', RevisionId: got.RevisionId }),
      400,
      'InvalidParameterValueException',
      /^The policy is not valid: Version/,
    )
    refuses(await table.send('DELETE', `${resource}?RevisionId=0`), 412, 'PreconditionFailedException', /GetPolicy/)
    assert.equal((await table.send('DELETE', `${resource}?RevisionId=${got.RevisionId}`)).status, 204)
    refuses(await table.send('DELETE', resource), 404, 'ResourceNotFoundException', /does not exist/)
    refuses(await table.send('GET', '/2026-07-09/resource-policy/x'), 400, 'ValidationException', /'resourceArn'/)
  })

  it('are of one version or alias each, with its own revision id, and go with it', async () => {
    assert.equal((await table.create('ver')).status, 201)
    assert.equal((await table.send('POST', `${F}/ver/versions`, {})).status, 201)
    assert.equal((await table.send('POST', `${F}/ver/aliases`, { Name: 'live', FunctionVersion: '1' })).status, 201)
    const alias = async () => textOf((await table.send('GET', `${F}/ver/aliases/live`)).body.RevisionId)
    const before = { alias: await alias(), version: textOf((await table.send('GET', `${F}/ver?Qualifier=1`)).body.Configuration?.RevisionId) }
    const statement = { StatementId: 'a', Action: 'lambda:InvokeFunction', Principal: '*' }
    for (const qualifier of ['1', 'live']) {
      const added = await table.send('POST', `${F}/ver/policy?Qualifier=${qualifier}`, statement)
      assert.match(textOf(added.body.Statement), new RegExp(`"Resource":"[^"]*:ver:${qualifier}"`))
      assert.equal((await table.settings.policyOf(ONE, 'ver', qualifier)).length, 1)
    }
    refuses(await table.send('GET', `${F}/ver/policy`), 404, 'ResourceNotFoundException', /does not exist/)
    const got = (await table.send('GET', `${F}/ver/policy?Qualifier=live`)).body
    assert.deepEqual([textOf(got.RevisionId) === (await alias()), textOf(got.RevisionId) === before.alias], [true, false])
    const version = textOf((await table.send('GET', `${F}/ver?Qualifier=1`)).body.Configuration?.RevisionId)
    assert.deepEqual([textOf((await table.send('GET', `${F}/ver/policy?Qualifier=1`)).body.RevisionId) === version, version === before.version], [true, false])
    assert.equal((await table.send('DELETE', `${F}/ver/aliases/live`)).status, 204)
    assert.equal((await table.send('POST', `${F}/ver/aliases`, { Name: 'live', FunctionVersion: '1' })).status, 201)
    refuses(await table.send('GET', `${F}/ver/policy?Qualifier=live`), 404, 'ResourceNotFoundException', /does not exist/)
  })

  it('go with their function', async () => {
    assert.equal((await add('shop', 'last')).status, 201)
    assert.equal((await table.send('DELETE', `${F}/shop`)).status, 204)
    assert.equal((await table.create('shop')).status, 201)
    assert.deepEqual(await table.settings.policyOf(ONE, 'shop', null), [])
  })
})
