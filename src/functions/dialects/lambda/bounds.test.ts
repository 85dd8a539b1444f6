import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Answer, LambdaTable } from './table-fixture.ts'

/** Where a member stands and what it may be. The numbers are those of the service description, written down a second time. */
type Bounds =
  | { readonly whole: readonly [min: number, max: number] }
  | { readonly text: readonly [min: number, max: number]; readonly of?: (length: number) => string }
  | { readonly items: readonly [min: number, max: number]; readonly of: (at: number) => unknown }
  | { readonly oneOf: readonly string[] }
  | { readonly like: readonly unknown[]; readonly unlike: readonly unknown[] }

interface Row {
  readonly operation: string
  readonly send: (table: LambdaTable, body: Record<string, unknown>) => Promise<Answer>
  readonly base: Record<string, unknown>
  readonly members: readonly [path: string, bounds: Bounds, code?: string][]
}

const NAME = 'bounds'
const F = `/2015-03-31/functions/${NAME}`
const SQS = 'arn:aws:sqs:us-east-1:000000000000:q'
const KINESIS = 'arn:aws:kinesis:us-east-1:000000000000:stream/s'
const arn = (length: number) => `arn:aws:sqs:us-east-1:000000000000:${'q'.repeat(Math.max(0, length - 35))}`
const put =
  (at: string, method = 'PUT') =>
  (table: LambdaTable, body: object) =>
    table.send(method, at, body)
const VALIDATION = 'ValidationException'
const INVALID = 'InvalidParameterValueException'

const CONFIGURATION: Row['members'] = [
  ['Timeout', { whole: [1, 900] }],
  ['MemorySize', { whole: [128, 10_240] }],
  ['EphemeralStorage.Size', { whole: [512, 10_240] }],
  ['Description', { text: [0, 256] }],
  ['Handler', { text: [1, 128] }],
  ['Handler', { like: ['index.handler', 'a/b.c'], unlike: ['a b', 'a\tb'] }],
  ['Role', { like: ['arn:aws:iam::123456789012:role/a'], unlike: ['a', 'arn:aws:iam::12345:role/a', 'arn:aws:s3:::b'] }],
  ['TracingConfig.Mode', { oneOf: ['Active', 'PassThrough'] }],
  ['SnapStart.ApplyOn', { oneOf: ['None', 'PublishedVersions'] }],
  ['LoggingConfig.LogFormat', { oneOf: ['Text', 'JSON'] }],
  ['LoggingConfig.LogGroup', { text: [1, 512] }],
  ['LoggingConfig.LogGroup', { like: ['/a.b-c_d#1'], unlike: ['a b', 'a:b'] }],
  ['VpcConfig.SubnetIds', { items: [0, 16], of: (at) => `subnet-${at}` }],
  ['VpcConfig.SecurityGroupIds', { items: [0, 5], of: (at) => `sg-${at}` }],
  ['FileSystemConfigs', { items: [0, 1], of: () => ({ Arn: 'a', LocalMountPath: '/mnt/a' }) }],
  ['ImageConfig.Command', { items: [0, 1500], of: String }],
  ['ImageConfig.WorkingDirectory', { text: [0, 1000] }],
  ['DeadLetterConfig.TargetArn', { like: ['', SQS], unlike: ['q', 'arn:aws:SQS:x'] }],
  ['KMSKeyArn', { like: [''], unlike: ['key', 'arn:aws'] }],
]

const ROWS: readonly Row[] = [
  { operation: 'UpdateFunctionConfiguration', send: put(`${F}/configuration`), base: {}, members: CONFIGURATION },
  {
    operation: 'CreateFunction',
    send: async (table, body) => {
      const made = await table.create('made', body)
      if (made.status === 201) await table.send('DELETE', '/2015-03-31/functions/made')
      return made
    },
    base: {},
    members: [
      ['Timeout', { whole: [1, 900] }],
      ['MemorySize', { whole: [128, 10_240] }],
      ['FunctionName', { like: ['made'], unlike: ['', 'a b', 'a.b', `${'a'.repeat(141)}`] }],
      ['PackageType', { oneOf: ['Zip', 'Image'] }],
      ['Architectures', { items: [1, 1], of: () => 'x86_64' }],
      ['Architectures', { like: [['x86_64'], ['arm64']], unlike: [['x86'], ['']] }],
      ['Tags', { items: [0, 50], of: (at) => [`k${at}`, 'v'] }, INVALID],
    ],
  },
  {
    operation: 'AddPermission',
    send: async (table, body) => {
      const answer = await table.send('POST', `${F}/policy`, body)
      if (answer.status === 201) await table.send('DELETE', `${F}/policy/${String(body.StatementId)}`)
      return answer
    },
    base: { StatementId: 's', Action: 'lambda:InvokeFunction', Principal: '*' },
    members: [
      ['StatementId', { text: [1, 100] }],
      ['StatementId', { like: ['a-b_1'], unlike: ['a.b', 'a b'] }],
      ['Action', { like: ['lambda:*', '*', 'lambda:GetFunction'], unlike: ['s3:GetObject', 'lambda:', 'lambda:Get1'] }],
      ['SourceAccount', { like: ['123456789012'], unlike: ['12345678901', '1234567890123', 'a'] }],
      ['SourceArn', { like: ['arn:aws:s3:::b'], unlike: ['b', 'arn:aws'] }],
      ['EventSourceToken', { text: [1, 256] }],
      ['EventSourceToken', { like: ['a.b-c_d'], unlike: ['a b', 'a/b'] }],
      ['PrincipalOrgID', { text: [12, 34], of: (length) => `o-${'a'.repeat(length - 2)}` }],
    ],
  },
  {
    operation: 'PutResourcePolicy',
    send: put(`/2026-07-09/resource-policy/${encodeURIComponent(`arn:aws:lambda:us-east-1:000000000000:function:${NAME}`)}`),
    base: { Policy: '{}' },
    members: [
      ['Policy', { text: [1, 20_480] }],
      ['RevisionId', { text: [36, 36], of: (length) => '00000000-0000-0000-0000-0000000000000'.slice(0, length) }],
    ],
  },
  {
    operation: 'PutFunctionEventInvokeConfig',
    send: put(`/2019-09-25/functions/${NAME}/event-invoke-config`),
    base: {},
    members: [
      ['MaximumRetryAttempts', { whole: [0, 2] }],
      ['MaximumEventAgeInSeconds', { whole: [60, 21_600] }],
      ['DestinationConfig.OnSuccess.Destination', { text: [0, 350], of: arn }],
      ['DestinationConfig.OnFailure.Destination', { like: ['', SQS], unlike: ['q', 'arn:aws'] }],
    ],
  },
  {
    operation: 'UpdateFunctionEventInvokeConfig',
    send: put(`/2019-09-25/functions/${NAME}/event-invoke-config`, 'POST'),
    base: {},
    members: [
      ['MaximumRetryAttempts', { whole: [0, 2] }],
      ['MaximumEventAgeInSeconds', { whole: [60, 21_600] }],
    ],
  },
  ...(['POST', 'PUT'] as const).flatMap((method): Row[] => {
    const send = (more: object) => async (table: LambdaTable, body: Record<string, unknown>) => {
      if (method === 'PUT') return await table.send('PUT', `/2015-03-31/event-source-mappings/${'0'.repeat(8)}-0000-0000-0000-${'0'.repeat(12)}`, body)
      const answer = await table.send('POST', '/2015-03-31/event-source-mappings', { FunctionName: NAME, ...more, ...body })
      if (answer.status === 202) await table.send('DELETE', `/2015-03-31/event-source-mappings/${answer.body.UUID}`)
      return answer
    }
    const operation = method === 'POST' ? 'CreateEventSourceMapping' : 'UpdateEventSourceMapping'
    return [
      {
        operation: `${operation} of a queue`,
        send: send({ EventSourceArn: SQS, MaximumBatchingWindowInSeconds: 1 }),
        base: {},
        members: [
          ['BatchSize', { whole: [1, 10_000] }],
          ['MaximumBatchingWindowInSeconds', { whole: [0, 300] }],
          ['ScalingConfig.MaximumConcurrency', { whole: [2, 1000] }],
          ['FunctionResponseTypes', { items: [0, 1], of: () => 'ReportBatchItemFailures' }],
          ['MetricsConfig.Metrics', { items: [0, 3], of: (at) => ['EventCount', 'ErrorCount', 'KafkaMetrics'][at % 3] }],
          ['ProvisionedPollerConfig.MinimumPollers', { whole: [1, 200] }],
          ['ProvisionedPollerConfig.MaximumPollers', { whole: [1, 10_000] }],
          ['KMSKeyArn', { like: [''], unlike: ['key'] }],
        ],
      },
      {
        operation: `${operation} of a stream`,
        send: send({ EventSourceArn: KINESIS, StartingPosition: 'LATEST' }),
        base: {},
        members: [
          ['ParallelizationFactor', { whole: [1, 10] }],
          ['MaximumRecordAgeInSeconds', { whole: [-1, 604_800] }],
          ['MaximumRetryAttempts', { whole: [-1, 10_000] }],
          ['TumblingWindowInSeconds', { whole: [0, 900] }],
          ['SourceAccessConfigurations', { items: [0, 23], of: () => ({ Type: 'BASIC_AUTH', URI: 'a' }) }],
          ['DestinationConfig.OnFailure.Destination', { text: [0, 350], of: arn }],
        ],
      },
    ]
  }),
  {
    operation: 'CreateEventSourceMapping',
    send: put('/2015-03-31/event-source-mappings', 'POST'),
    base: { FunctionName: 'none', EventSourceArn: KINESIS },
    members: [
      ['StartingPosition', { oneOf: ['TRIM_HORIZON', 'LATEST', 'AT_TIMESTAMP'] }],
      ['Topics', { items: [1, 1], of: () => 'topic' }],
      ['Queues', { items: [1, 1], of: () => 'queue' }],
      ['EventSourceArn', { like: [KINESIS], unlike: ['s', 'arn:aws'] }],
    ],
  },
  {
    operation: 'PutFunctionRecursionConfig',
    send: put(`/2024-08-31/functions/${NAME}/recursion-config`),
    base: {},
    members: [['RecursiveLoop', { oneOf: ['Allow', 'Terminate'] }]],
  },
  {
    operation: 'PutRuntimeManagementConfig',
    send: put(`/2021-07-20/functions/${NAME}/runtime-management-config`),
    base: { UpdateRuntimeOn: 'Manual', RuntimeVersionArn: 'arn:aws:lambda:us-east-1::runtime:a' },
    members: [
      ['UpdateRuntimeOn', { oneOf: ['Auto', 'Manual', 'FunctionUpdate'] }],
      ['RuntimeVersionArn', { text: [0, 2048], of: (length) => `arn:aws:lambda:us-east-1::runtime:${'a'.repeat(Math.max(1, length - 34))}` }],
    ],
  },
  {
    operation: 'CreateCodeSigningConfig',
    send: put('/2020-04-22/code-signing-configs', 'POST'),
    base: {},
    members: [['AllowedPublishers.SigningProfileVersionArns', { items: [1, 20], of: String }]],
  },
  ...(
    [
      ['ListFunctions', '/2015-03-31/functions', 10_000],
      ['ListEventSourceMappings', '/2015-03-31/event-source-mappings', 10_000],
      ['ListFunctionEventInvokeConfigs', `/2019-09-25/functions/${NAME}/event-invoke-config/list`, 50],
      ['ListCodeSigningConfigs', '/2020-04-22/code-signing-configs', 10_000],
    ] as const
  ).map(
    ([operation, at, max]): Row => ({
      operation,
      send: (table, body) => table.send('GET', `${at}?MaxItems=${String(body.MaxItems)}`),
      base: {},
      members: [['MaxItems', { whole: [1, max] }]],
    }),
  ),
  {
    operation: 'GetPolicy',
    send: (table, body) => table.send('GET', `${F}/policy?Qualifier=${String(body.Qualifier)}`),
    base: {},
    members: [['Qualifier', { text: [1, 128] }]],
  },
]

/** Values that are just inside, and those that are just outside. */
function around(bounds: Bounds): { inside: unknown[]; outside: unknown[] } {
  if ('whole' in bounds) return { inside: [...bounds.whole], outside: [bounds.whole[0] - 1, bounds.whole[1] + 1] }
  if ('oneOf' in bounds) return { inside: [...bounds.oneOf], outside: ['', `${bounds.oneOf[0]}x`, (bounds.oneOf[0] as string).toLowerCase()] }
  if ('like' in bounds) return { inside: [...bounds.like], outside: [...bounds.unlike] }
  const [min, max] = 'text' in bounds ? bounds.text : bounds.items
  const make = (length: number): unknown => {
    if ('text' in bounds) return (bounds.of ?? ((n) => 'a'.repeat(n)))(length)
    const items = Array.from({ length }, (_, at) => bounds.of(at))
    return items.every(Array.isArray) && length > 0 ? Object.fromEntries(items as [string, unknown][]) : items
  }
  return { inside: [make(Math.max(min, 1)), make(max)], outside: [...(min > 0 ? [make(min - 1)] : []), make(max + 1)] }
}

const nested = (path: string, value: unknown): Record<string, unknown> => {
  const [first = '', ...rest] = path.split('.')
  return { [first]: rest.length === 0 ? value : nested(rest.join('.'), value) }
}
const camel = (path: string) =>
  path
    .split('.')
    .map((name) => name.charAt(0).toLowerCase() + name.slice(1))
    .join('.')

describe('each field takes what its bounds allow, and is told by its name when it does not', () => {
  let table: LambdaTable
  before(async () => {
    table = await LambdaTable.open()
    assert.equal((await table.create(NAME)).status, 201)
  })
  after(async () => await table?.[Symbol.asyncDispose]())

  for (const { operation, send, base, members } of ROWS)
    for (const [path, bounds, code = VALIDATION] of members)
      it(`${operation}: ${path} ${JSON.stringify(bounds)}`, async () => {
        const { inside, outside } = around(bounds)
        for (const value of inside) {
          const answer = await send(table, { ...base, ...nested(path, value) })
          // It may be refused for another reason, such as that it is not there.
          assert.ok(answer.code !== VALIDATION && answer.code !== 'InvalidRequestContentException', `${JSON.stringify(value)}: ${answer.message}`)
          assert.ok(answer.status < 500)
        }
        for (const value of outside) {
          const answer = await send(table, { ...base, ...nested(path, value) })
          assert.deepEqual([answer.status, answer.code], [400, code], `${JSON.stringify(value)?.slice(0, 100)}: ${answer.message}`)
          if (code === VALIDATION) assert.ok(answer.message?.includes(`at '${camel(path)}`), answer.message)
        }
      })

  it('tells all violations of a request at once', async () => {
    const { message } = await table.send('PUT', `${F}/configuration`, { Timeout: 0, MemorySize: 1, Description: 'x'.repeat(257), TracingConfig: { Mode: '' } })
    assert.match(message ?? '', /^4 validation errors detected: [^;]+; [^;]+; [^;]+; [^;]+$/)
  })
  it('takes no other JSON type, and counts null as absent', async () => {
    for (const body of [{ Timeout: '1' }, { Timeout: 1.5 }, { VpcConfig: [] }, { LoggingConfig: { LogGroup: 1 } }, { SnapStart: 'None' }])
      assert.equal((await table.send('PUT', `${F}/configuration`, body)).code, 'InvalidRequestContentException', JSON.stringify(body))
    assert.equal((await table.send('PUT', `${F}/configuration`, { Timeout: null, VpcConfig: null, LoggingConfig: { LogGroup: null } })).status, 200)
  })
  it('never answers 5xx to texts that no database can hold', async () => {
    for (const text of ['\0', 'a\0b', '\ud800'])
      for (const body of [{ LoggingConfig: { LogGroup: text } }, { DeadLetterConfig: { TargetArn: text } }, { Description: text }, { Handler: text }])
        assert.equal((await table.send('PUT', `${F}/configuration`, body)).status, 400, JSON.stringify(body))
    for (const method of ['GET', 'DELETE'])
      for (const at of [
        '/2015-03-31/event-source-mappings?FunctionName=%00',
        '/2015-03-31/event-source-mappings/%00',
        '/2017-03-31/tags/%00',
        `${F}/policy/%00`,
      ])
        assert.ok((await table.send(method, at)).status < 500, `${method} ${at}`)
    assert.ok((await table.send('GET', '/2015-03-31/event-source-mappings?EventSourceArn=%00')).status < 500)
  })
})
