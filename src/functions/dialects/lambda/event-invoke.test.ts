import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { LambdaTable, ONE, refuses, TWO } from './table-fixture.ts'
import { listOf } from '../../../lib/told-fixture.ts'

const at = (name: string) => `/2019-09-25/functions/${name}/event-invoke-config`
const arnOf = (name: string) => `arn:aws:lambda:us-east-1:000000000000:function:${name}`

describe('event invoke configurations', () => {
  let table: LambdaTable
  before(async () => {
    table = await LambdaTable.open()
    for (const name of ['work', 'told']) assert.equal((await table.create(name)).status, 201)
  })
  after(async () => await table?.[Symbol.asyncDispose]())

  it('are replaced by PUT, merged by POST, and told with both destinations', async () => {
    const put = await table.send('PUT', at('work'), { MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 })
    const { LastModified, ...rest } = put.body
    assert.deepEqual(rest, {
      FunctionArn: `${arnOf('work')}:$LATEST`,
      MaximumRetryAttempts: 0,
      MaximumEventAgeInSeconds: 60,
      DestinationConfig: { OnSuccess: {}, OnFailure: {} },
    })
    assert.equal(typeof LastModified, 'number')
    const failure = { OnFailure: { Destination: arnOf('told') } }
    const merged = (await table.send('POST', at('work'), { DestinationConfig: failure })).body
    assert.deepEqual([merged.MaximumRetryAttempts, merged.DestinationConfig], [0, { OnSuccess: {}, ...failure }])
    assert.deepEqual(await table.settings.eventInvokeOf(ONE, 'work', null), {
      maxRetries: 0,
      maxAgeSeconds: 60,
      onSuccess: null,
      onFailure: arnOf('told'),
    })
    const cleared = (await table.send('POST', at('work'), { DestinationConfig: { OnFailure: { Destination: '' } } })).body
    assert.deepEqual(cleared.DestinationConfig, { OnSuccess: {}, OnFailure: {} })
    const replaced = (await table.send('PUT', at('work'), { MaximumRetryAttempts: 1 })).body
    assert.deepEqual([replaced.MaximumRetryAttempts, replaced.MaximumEventAgeInSeconds], [1, undefined])
    assert.deepEqual((await table.send('GET', `${at('work')}?Qualifier=$LATEST`)).body, replaced)
    assert.deepEqual((await table.send('GET', `${at('work')}/list`)).body, { FunctionEventInvokeConfigs: [replaced] })
    assert.equal(await table.settings.eventInvokeOf(TWO, 'work', null), null)
    assert.equal((await table.send('DELETE', at('work'))).status, 204)
    for (const [method, body] of [['GET'], ['DELETE'], ['POST', { MaximumRetryAttempts: 1 }]] as const)
      refuses(
        await table.send(method, at('work'), body),
        404,
        'ResourceNotFoundException',
        `The function ${arnOf('work')}:$LATEST doesn't have an EventInvokeConfig`,
      )
    assert.equal(await table.settings.eventInvokeOf(ONE, 'work', null), null)
  })

  const bad: [string, object, RegExp | string][] = [
    ['nothing', {}, 'You must specify at least one of error handling or destination setting.'],
    ['itself', { DestinationConfig: { OnSuccess: { Destination: arnOf('work') } } }, "You can't specify the function as a destination for itself."],
    ['a function that is not there', { DestinationConfig: { OnSuccess: { Destination: arnOf('none') } } }, /no such function/],
    ['a bucket for what went well', { DestinationConfig: { OnSuccess: { Destination: 'arn:aws:s3:::b' } } }, /is invalid/],
    ['a service that takes none', { DestinationConfig: { OnFailure: { Destination: 'arn:aws:ec2:us-east-1:000000000000:x' } } }, /is invalid/],
  ]
  for (const [what, body, message] of bad)
    it(`refuse ${what}`, async () => refuses(await table.send('PUT', at('work'), body), 400, 'InvalidParameterValueException', message))

  it('tell no function of another project', async () => {
    assert.equal((await table.create('theirs', {}, TWO)).status, 201)
    const body = { DestinationConfig: { OnSuccess: { Destination: arnOf('theirs') } } }
    refuses(await table.send('PUT', at('work'), body), 400, 'InvalidParameterValueException', /no such function/)
    refuses(await table.send('PUT', at('theirs'), { MaximumRetryAttempts: 1 }), 404, 'ResourceNotFoundException', /Function not found/)
  })

  it('are of one version or alias each, and go with it', async () => {
    assert.equal((await table.send('POST', '/2015-03-31/functions/told/versions', {})).status, 201)
    assert.equal((await table.send('POST', '/2015-03-31/functions/told/aliases', { Name: 'live', FunctionVersion: '1' })).status, 201)
    for (const [qualifier, MaximumRetryAttempts] of [
      ['live', 0],
      ['1', 1],
    ] as const)
      assert.equal(
        (await table.send('PUT', `${at('told')}?Qualifier=${qualifier}`, { MaximumRetryAttempts })).body.FunctionArn,
        `${arnOf('told')}:${qualifier}`,
      )
    const first = (await table.send('GET', `${at('told')}/list?MaxItems=1`)).body
    const rest = (await table.send('GET', `${at('told')}/list?Marker=${first.NextMarker}`)).body
    const all = [...listOf(first.FunctionEventInvokeConfigs), ...listOf(rest.FunctionEventInvokeConfigs)]
    assert.deepEqual(
      all.map((one) => [one.FunctionArn, one.MaximumRetryAttempts]),
      [
        [`${arnOf('told')}:1`, 1],
        [`${arnOf('told')}:live`, 0],
      ],
    )
    assert.deepEqual((await table.settings.eventInvokeOf(ONE, 'told', 'live'))?.maxRetries, 0)
    assert.equal((await table.send('DELETE', '/2015-03-31/functions/told/aliases/live')).status, 204)
    assert.equal((await table.send('DELETE', '/2015-03-31/functions/told?Qualifier=1')).status, 204)
    assert.deepEqual((await table.send('GET', `${at('told')}/list`)).body, { FunctionEventInvokeConfigs: [] })
  })

  it('take queues, topics, buses and buckets, which nothing is delivered to yet', async () => {
    for (const arn of ['sqs:us-east-1:000000000000:q', 'sns:us-east-1:000000000000:t', 'events:us-east-1:000000000000:event-bus/b', 's3:::b'])
      assert.equal((await table.send('PUT', at('told'), { DestinationConfig: { OnFailure: { Destination: `arn:aws:${arn}` } } })).status, 200)
  })
})

describe('recursion and runtime management', () => {
  let table: LambdaTable
  before(async () => {
    table = await LambdaTable.open()
    assert.equal((await table.create('loop')).status, 201)
  })
  after(async () => await table?.[Symbol.asyncDispose]())

  it('a loop is ended unless it is allowed', async () => {
    const url = '/2024-08-31/functions/loop/recursion-config'
    assert.deepEqual((await table.send('GET', url)).body, { RecursiveLoop: 'Terminate' })
    assert.equal(await table.settings.mayLoop(ONE, 'loop'), false)
    assert.deepEqual((await table.send('PUT', url, { RecursiveLoop: 'Allow' })).body, { RecursiveLoop: 'Allow' })
    assert.deepEqual((await table.send('GET', url)).body, { RecursiveLoop: 'Allow' })
    assert.deepEqual([await table.settings.mayLoop(ONE, 'loop'), await table.settings.mayLoop(TWO, 'loop')], [true, false])
    assert.deepEqual([...(await table.settings.loopers(ONE))], ['loop'])
    refuses(await table.send('PUT', url, { RecursiveLoop: 'x' }), 400, 'ValidationException', /'recursiveLoop' .* enum value set: \[Allow, Terminate\]/)
    refuses(await table.send('GET', '/2024-08-31/functions/loop%3A1/recursion-config'), 400, 'ValidationException', /'functionName'/)
    refuses(await table.send('GET', '/2024-08-31/functions/none/recursion-config'), 404, 'ResourceNotFoundException', /Function not found/)
  })

  it('a runtime is the node’s, and what was said of it is shown', async () => {
    const url = '/2021-07-20/functions/loop/runtime-management-config'
    const arn = arnOf('loop')
    const version = 'arn:aws:lambda:us-east-1::runtime:0cdcfbdefbc5e7d3343f73c2e2dd3cba17d61dea0686b404502a0c9ce83931b9'
    assert.deepEqual((await table.send('GET', url)).body, { UpdateRuntimeOn: 'Auto', FunctionArn: arn })
    const manual = { UpdateRuntimeOn: 'Manual', RuntimeVersionArn: version }
    assert.deepEqual((await table.send('PUT', url, manual)).body, { FunctionArn: arn, ...manual })
    assert.deepEqual((await table.send('GET', url)).body, { FunctionArn: arn, ...manual })
    for (const body of [{ UpdateRuntimeOn: 'Manual' }, { ...manual, UpdateRuntimeOn: 'Auto' }])
      refuses(await table.send('PUT', url, body), 400, 'InvalidParameterValueException', /RuntimeVersionArn/)
  })

  it('an account is what a project has', async () => {
    for (const url of ['/2016-08-19/account-settings', '/2016-08-19/account-settings/']) {
      const { AccountLimit, AccountUsage } = (await table.send('GET', url)).body
      assert.deepEqual(AccountLimit, {
        TotalCodeSize: 80_530_636_800,
        CodeSizeUnzipped: 262_144_000,
        CodeSizeZipped: 52_428_800,
        ConcurrentExecutions: 1000,
        UnreservedConcurrentExecutions: 1000,
      })
      const [one] = listOf((await table.send('GET', '/2015-03-31/functions')).body.Functions)
      assert.deepEqual(AccountUsage, { TotalCodeSize: one?.CodeSize, FunctionCount: 1 })
    }
  })
})
