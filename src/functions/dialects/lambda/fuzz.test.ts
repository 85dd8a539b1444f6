import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import { OPERATIONS } from './http.ts'
import { LambdaTable } from './table-fixture.ts'

const ARN = 'arn:aws:lambda:us-east-1:000000000000'
/** Names of members, so that what is made comes past the first check. */
const FIELDS = [
  ...'StatementId Action Principal SourceArn SourceAccount FunctionUrlAuthType RevisionId Policy MaximumRetryAttempts MaximumEventAgeInSeconds'.split(' '),
  ...'DestinationConfig FunctionName EventSourceArn BatchSize Enabled FilterCriteria StartingPosition StartingPositionTimestamp ScalingConfig'.split(' '),
  ...'Tags RecursiveLoop UpdateRuntimeOn RuntimeVersionArn CodeSigningConfigArn AllowedPublishers Name FunctionVersion RoutingConfig'.split(' '),
  ...'ReservedConcurrentExecutions ProvisionedConcurrentExecutions AuthType Cors InvokeMode Content Description CodeSha256 VpcConfig'.split(' '),
  ...'LoggingConfig TracingConfig DeadLetterConfig Environment Layers Timeout MemorySize KMSKeyArn __proto__ constructor'.split(' '),
]
const words = fc.constantFrom(
  ...[
    '',
    '\0',
    '\ud800',
    'fuzz',
    '$LATEST',
    '1',
    '007',
    '99999999999',
    'live',
    '*',
    'lambda:InvokeFunction',
    'LATEST',
    'Allow',
    'NONE',
    '-1',
    '..',
    '%',
    '\u202e',
  ],
  ...[`${ARN}:function:fuzz`, `${ARN}:function:fuzz:live`, `${ARN}:event-source-mapping:00000000-0000-0000-0000-000000000000`, `${ARN}:layer:a:1`],
  ...['arn:aws:sqs:us-east-1:000000000000:q', 'arn:aws:kinesis:us-east-1:000000000000:stream/s', '00000000-0000-0000-0000-000000000000'],
)
const text = fc.oneof(words, fc.string(), fc.string({ unit: 'binary' }))
const leaf = fc.oneof(text, fc.integer(), fc.double(), fc.boolean(), fc.constant(null))
const value = fc.oneof(
  leaf,
  fc.array(leaf, { maxLength: 3 }),
  fc.dictionary(
    fc.oneof(fc.constantFrom('Destination', 'OnFailure', 'Filters', 'Pattern', 'Variables', 'Size', 'Mode', 'AdditionalVersionWeights'), text),
    leaf,
    {
      maxKeys: 3,
    },
  ),
)
const body = fc.oneof(
  { weight: 5, arbitrary: fc.dictionary(fc.constantFrom(...FIELDS), value, { maxKeys: 6 }) },
  { weight: 1, arbitrary: value },
  { weight: 1, arbitrary: fc.uint8Array().map((bytes) => Buffer.from(bytes)) },
)
const query = fc.dictionary(
  fc.constantFrom('Qualifier', 'MaxItems', 'Marker', 'RevisionId', 'tagKeys', 'FunctionName', 'EventSourceArn', 'FunctionVersion'),
  text,
  {
    maxKeys: 3,
  },
)
/** What the router hands on: never empty, decoded once. Halves of characters cannot come by a path. */
const segment = fc
  .oneof({ weight: 3, arbitrary: fc.constant('fuzz') }, { weight: 2, arbitrary: text })
  .map((one) => one.toWellFormed())
  .filter((one) => one !== '')

describe('the Lambda API', () => {
  let table: LambdaTable
  before(async () => {
    table = await LambdaTable.open()
    assert.equal((await table.create('fuzz')).status, 201)
  })
  after(async () => await table?.[Symbol.asyncDispose]())

  it('never answers 5xx to what a client may send, and each refusal has a name', async () => {
    const operation = fc.constantFrom(...OPERATIONS.filter(({ name }) => name !== 'DeleteFunction'))
    await fc.assert(
      fc.asyncProperty(operation, fc.array(segment, { minLength: 3, maxLength: 3 }), query, body, async ({ method, path }, segments, asked, sent) => {
        let at = 0
        const filled = path.replaceAll(/:\w+/g, () => encodeURIComponent(segments[at++] as string))
        const params = new URLSearchParams(Object.entries(asked).map(([key, one]): [string, string] => [key, one.toWellFormed()]))
        const answer = await table.send(method, `${filled}?${params}`, method === 'GET' || method === 'DELETE' ? undefined : (sent ?? {}))
        assert.ok(answer.status < 500, `${method} ${filled}?${params} ${JSON.stringify(sent)}: ${answer.status} ${answer.code} ${answer.message}`)
        assert.ok(answer.status < 300 || /^[A-Z]\w+Exception$/.test(answer.code ?? ''), `${answer.status} ${answer.code}`)
      }),
      { numRuns: 500 },
    )
  })
})
