import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { LIMITS } from '../../../core/limits.ts'
import { LambdaTable, refuses, TWO } from './table-fixture.ts'
import { listOf, textOf } from '../../../lib/told-fixture.ts'

const AT = '/2015-03-31/event-source-mappings'
const SQS = 'arn:aws:sqs:us-east-1:000000000000:jobs'
const FIFO = `${SQS}.fifo`
const KINESIS = 'arn:aws:kinesis:us-east-1:000000000000:stream/s'
const DYNAMODB = 'arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2026-01-01T00:00:00.000'
const TABLE = encodeURIComponent('arn:aws:lambda:us-east-1:000000000000:event-source-mapping:')

describe('event source mappings', () => {
  let table: LambdaTable
  before(async () => {
    table = await LambdaTable.open()
    for (const name of ['work', 'other']) assert.equal((await table.create(name)).status, 201)
  })
  after(async () => await table?.[Symbol.asyncDispose]())
  const make = (body: object) => table.send('POST', AT, { FunctionName: 'work', ...body })

  it('lead a life from Creating to gone, with the defaults of queues', async () => {
    const made = await make({ EventSourceArn: SQS })
    assert.equal(made.status, 202)
    const { UUID, LastModified, EventSourceMappingArn, ...rest } = made.body
    assert.equal(textOf(UUID).length, 36)
    assert.equal(typeof LastModified, 'number')
    assert.equal(EventSourceMappingArn, `arn:aws:lambda:us-east-1:000000000000:event-source-mapping:${UUID}`)
    assert.deepEqual(rest, {
      BatchSize: 10,
      MaximumBatchingWindowInSeconds: 0,
      FunctionResponseTypes: [],
      EventSourceArn: SQS,
      FunctionArn: 'arn:aws:lambda:us-east-1:000000000000:function:work',
      State: 'Creating',
      StateTransitionReason: 'USER_INITIATED',
    })
    const state = async () => textOf((await table.send('GET', `${AT}/${UUID}`)).body.State)
    assert.equal(await state(), 'Enabled')
    const steps: [object, string, string][] = [
      [{ BatchSize: 5 }, 'Updating', 'Enabled'],
      [{ Enabled: false }, 'Disabling', 'Disabled'],
      [{ Enabled: true }, 'Enabling', 'Enabled'],
    ]
    for (const [body, passing, settled] of steps) {
      const answer = await table.send('PUT', `${AT}/${UUID}`, body)
      assert.deepEqual([answer.status, answer.body.State, await state()], [202, passing, settled])
    }
    const filters = { FilterCriteria: { Filters: [{ Pattern: '{"body":{"n":[1]}}' }] }, ScalingConfig: { MaximumConcurrency: 2 } }
    assert.deepEqual((await table.send('PUT', `${AT}/${UUID}`, filters)).body.FilterCriteria, filters.FilterCriteria)
    const cleared = (await table.send('PUT', `${AT}/${UUID}`, { FilterCriteria: {}, ScalingConfig: {} })).body
    assert.deepEqual([cleared.FilterCriteria, cleared.ScalingConfig, cleared.BatchSize], [undefined, undefined, 5])
    const gone = await table.send('DELETE', `${AT}/${UUID}`)
    assert.deepEqual([gone.status, gone.body.State], [202, 'Deleting'])
    for (const method of ['GET', 'DELETE', 'PUT'])
      refuses(
        await table.send(method, `${AT}/${UUID}`, method === 'PUT' ? {} : undefined),
        404,
        'ResourceNotFoundException',
        'The resource you requested does not exist.',
      )
  })

  it('have the defaults of streams, and begin disabled when that is said', async () => {
    const { body } = await make({ EventSourceArn: KINESIS, StartingPosition: 'AT_TIMESTAMP', StartingPositionTimestamp: 1_700_000_000.5, Enabled: false })
    const { UUID } = body
    const got = (await table.send('GET', `${AT}/${UUID}`)).body
    const { LastModified, LastProcessingResult, EventSourceMappingArn, ...rest } = got
    assert.deepEqual(rest, {
      UUID,
      BatchSize: 100,
      MaximumBatchingWindowInSeconds: 0,
      FunctionResponseTypes: [],
      ParallelizationFactor: 1,
      MaximumRecordAgeInSeconds: -1,
      MaximumRetryAttempts: -1,
      BisectBatchOnFunctionError: false,
      TumblingWindowInSeconds: 0,
      DestinationConfig: { OnFailure: {} },
      StartingPosition: 'AT_TIMESTAMP',
      StartingPositionTimestamp: 1_700_000_000.5,
      EventSourceArn: KINESIS,
      FunctionArn: 'arn:aws:lambda:us-east-1:000000000000:function:work',
      State: 'Disabled',
      StateTransitionReason: 'User action',
    })
  })

  const bad: [string, object, string, RegExp][] = [
    [
      'a stream without a position',
      { EventSourceArn: KINESIS },
      'InvalidParameterValueException',
      /^1 validation error detected: Value null at 'startingPosition' .* null\.$/,
    ],
    ['a queue with a position', { EventSourceArn: SQS, StartingPosition: 'LATEST' }, 'InvalidParameterValueException', /StartingPosition/],
    [
      'a table at a time',
      { EventSourceArn: DYNAMODB, StartingPosition: 'AT_TIMESTAMP', StartingPositionTimestamp: 1 },
      'InvalidParameterValueException',
      /Unsupported starting position/,
    ],
    ['a queue that is not there', { EventSourceArn: 'arn:aws:sqs:us-east-1:000000000000:absent' }, 'InvalidParameterValueException', /NonExistentQueue/],
    [
      'a filter that is no pattern',
      { EventSourceArn: SQS, FilterCriteria: { Filters: [{ Pattern: '{"body":{"n":[{"like":1}]}}' }] } },
      'InvalidParameterValueException',
      /^Invalid filter pattern definition\. body\.n\.0/,
    ],
    ['a time that is not said', { EventSourceArn: KINESIS, StartingPosition: 'AT_TIMESTAMP' }, 'InvalidParameterValueException', /StartingPositionTimestamp/],
    [
      'a large batch without a window',
      { EventSourceArn: SQS, BatchSize: 11 },
      'InvalidParameterValueException',
      /^Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10$/,
    ],
    ['a large batch of a FIFO queue', { EventSourceArn: FIFO, BatchSize: 11, MaximumBatchingWindowInSeconds: 1 }, 'InvalidParameterValueException', /FIFO/],
    ['a setting of streams for a queue', { EventSourceArn: SQS, ParallelizationFactor: 2 }, 'InvalidParameterValueException', /ParallelizationFactor/],
    [
      'a setting of queues for a stream',
      { EventSourceArn: KINESIS, StartingPosition: 'LATEST', ScalingConfig: { MaximumConcurrency: 2 } },
      'InvalidParameterValueException',
      /ScalingConfig/,
    ],
    [
      'an age between',
      { EventSourceArn: KINESIS, StartingPosition: 'LATEST', MaximumRecordAgeInSeconds: 59 },
      'InvalidParameterValueException',
      /60 to 604800/,
    ],
    ['six filters', { EventSourceArn: SQS, FilterCriteria: { Filters: Array(6).fill({ Pattern: '{}' }) } }, 'InvalidParameterValueException', /5 filters/],
    [
      'a filter that is no JSON',
      { EventSourceArn: SQS, FilterCriteria: { Filters: [{ Pattern: '{' }] } },
      'InvalidParameterValueException',
      /^Invalid filter pattern definition\.$/,
    ],
    ['no source', {}, 'InvalidParameterValueException', /source/],
    ['a source that nothing reads', { EventSourceArn: 'arn:aws:s3:::b' }, 'InvalidParameterValueException', /^Unrecognized event source/],
    ['a source that is no ARN', { EventSourceArn: 'x' }, 'ValidationException', /'eventSourceArn'/],
    [
      'two violations',
      { EventSourceArn: SQS, BatchSize: 0, ScalingConfig: { MaximumConcurrency: 1001 } },
      'ValidationException',
      /^2 validation errors detected: .*'batchSize'.*; .*'scalingConfig\.maximumConcurrency'/,
    ],
    ['no function', { EventSourceArn: SQS, FunctionName: null }, 'ValidationException', /Value null at 'functionName'/],
    ['another type', { EventSourceArn: SQS, BatchSize: '1' }, 'InvalidRequestContentException', /batchSize/],
    ['what the tags of AWS may not hold', { EventSourceArn: SQS, Tags: { a: '%' } }, 'InvalidParameterValueException', /Tags/],
  ]
  for (const [what, body, code, message] of bad) it(`refuse ${what}`, async () => refuses(await make(body), 400, code, message))

  it('are one for a source and a function', async () => {
    refuses(await make({ EventSourceArn: SQS, FunctionName: 'none' }), 404, 'ResourceNotFoundException', /Function not found/)
    const { UUID } = (await make({ EventSourceArn: DYNAMODB, StartingPosition: 'LATEST' })).body
    refuses(
      await make({ EventSourceArn: DYNAMODB, StartingPosition: 'LATEST' }),
      409,
      'ResourceConflictException',
      `The event source arn (" ${DYNAMODB} ") and function (" work ") provided mapping already exists. Please update or delete the existing mapping with UUID ${UUID}`,
    )
    assert.equal((await make({ EventSourceArn: DYNAMODB, StartingPosition: 'LATEST', FunctionName: 'other' })).status, 202)
    const moved = await table.send('PUT', `${AT}/${UUID}`, { FunctionName: 'other' })
    assert.deepEqual([moved.status, moved.code], [409, 'ResourceConflictException'], 'neither by a change')
    const answers = await Promise.all(Array.from({ length: 4 }, () => make({ EventSourceArn: SQS })))
    assert.deepEqual(answers.map(({ status }) => status).toSorted(), [202, 409, 409, 409])
    const winner = answers.find(({ status }) => status === 202)?.body.UUID
    const message = `An event source mapping with SQS arn (" ${SQS} ") and function (" work ") already exists. Please update or delete the existing mapping with UUID ${winner}`
    refuses(await make({ EventSourceArn: SQS }), 409, 'ResourceConflictException', message)
  })

  it('are listed in pages, by function and by source, in their own project only', async () => {
    const all = listOf((await table.send('GET', AT)).body.EventSourceMappings)
    const first = (await table.send('GET', `${AT}?MaxItems=2`)).body
    const rest = (await table.send('GET', `${AT}?MaxItems=9&Marker=${first.NextMarker}`)).body
    assert.deepEqual([...listOf(first.EventSourceMappings), ...listOf(rest.EventSourceMappings)], all)
    assert.equal(rest.NextMarker, undefined)
    const count = async (query: string) => listOf((await table.send('GET', `${AT}?${query}`)).body.EventSourceMappings).length
    assert.deepEqual(
      [await count('FunctionName=other'), await count(`EventSourceArn=${SQS}`), await count(`EventSourceArn=${SQS}&FunctionName=other`)],
      [1, 1, 0],
    )
    assert.deepEqual((await table.send('GET', AT, undefined, TWO)).body, { EventSourceMappings: [] })
    const UUID = textOf(all[0]?.UUID)
    for (const method of ['GET', 'DELETE'])
      refuses(await table.send(method, `${AT}/${UUID}`, undefined, TWO), 404, 'ResourceNotFoundException', /does not exist/)
    refuses(await table.send('GET', `/2017-03-31/tags/${TABLE}${UUID}`, undefined, TWO), 404, 'ResourceNotFoundException', /does not exist/)
    refuses(await table.send('GET', `${AT}/x`), 400, 'ValidationException', /'uUID' .* greater than or equal to 36/)
    refuses(await table.send('GET', `${AT}/${'x'.repeat(36)}`), 404, 'ResourceNotFoundException', /does not exist/)
  })

  it('carry tags, 50 at most', async () => {
    const [kept] = listOf((await table.send('GET', AT)).body.EventSourceMappings)
    const UUID = textOf(kept?.UUID)
    const url = `/2017-03-31/tags/${TABLE}${UUID}`
    assert.deepEqual((await table.send('GET', url)).body, { Tags: {} })
    const Tags = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`k${n}`, 'v']))
    assert.equal((await table.send('POST', url, { Tags })).status, 204)
    refuses(await table.send('POST', url, { Tags: { more: '' } }), 400, 'InvalidParameterValueException', 'Number of tags exceeds resource tag limit.')
    assert.equal(
      (
        await table.send(
          'DELETE',
          `${url}?${Object.keys(Tags)
            .map((key) => `tagKeys=${key}`)
            .join('&')}`,
        )
      ).status,
      204,
    )
    assert.deepEqual((await table.send('GET', url)).body, { Tags: {} })
    for (const elsewhere of [url.replace('us-east-1', 'eu-west-1'), url.replace('000000000000', '123456789012')])
      refuses(await table.send('GET', elsewhere), 404, 'ResourceNotFoundException', /does not exist/)
  })

  it('are eventSourceMappings (1000) at most in a project', async () => {
    const many = LIMITS.eventSourceMappings.value
    await table.control.script(`
      insert into mayfly.event_source_mapping (id, project_id, function_name, enabled, settings)
      select gen_random_uuid(), id, 'full', false, '{}' from mayfly.project, generate_series(1, ${many - 1}) where ref = 'two'`)
    assert.equal((await table.create('full', {}, TWO)).status, 201)
    const source = { FunctionName: 'full', EventSourceArn: SQS }
    assert.equal((await table.send('POST', AT, source, TWO)).status, 202)
    refuses(
      await table.send('POST', AT, { ...source, EventSourceArn: FIFO }, TWO),
      400,
      'InvalidParameterValueException',
      /has 1000 event source mappings already/,
    )
  })

  it('outlive their function', async () => {
    assert.equal((await table.send('DELETE', '/2015-03-31/functions/other')).status, 204)
    assert.equal(listOf((await table.send('GET', `${AT}?FunctionName=other`)).body.EventSourceMappings).length, 1)
  })
})
