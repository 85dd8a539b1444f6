import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { LambdaTable, ONE } from './table-fixture.ts'

/** No text of PostgreSQL can hold it: what does not refuse it by itself fails as a fault of the node. */
const NUL = 'a\0b'
const inUrl = encodeURIComponent(NUL)
const inMarker = encodeURIComponent(Buffer.from(NUL).toString('base64'))

describe('NUL in a text', () => {
  let table: LambdaTable
  before(async () => {
    table = await LambdaTable.open()
    await table.create('f')
    await table.send('POST', '/2015-03-31/functions/f/versions', {})
    await table.send('POST', '/2015-03-31/functions/f/aliases', { Name: 'live', FunctionVersion: '1' })
    await table.send('PUT', '/2015-03-31/functions/f/configuration', { Description: 'another than what was published' })
  })
  after(() => table?.[Symbol.asyncDispose]())

  const F = '/2015-03-31/functions'
  const asked: readonly (readonly [method: string, url: string, body?: object])[] = [
    ['POST', `${F}/f/versions`, { Description: NUL }],
    ['POST', `${F}/f/versions`, { CodeSha256: NUL }],
    ['POST', `${F}/f/versions`, { RevisionId: NUL }],
    ['POST', `${F}/f/aliases`, { Name: 'x', FunctionVersion: '1', Description: NUL }],
    ['POST', `${F}/f/aliases`, { Name: NUL, FunctionVersion: '1' }],
    ['POST', `${F}/f/aliases`, { Name: 'x', FunctionVersion: NUL }],
    ['PUT', `${F}/f/aliases/live`, { RevisionId: NUL }],
    ['PUT', `${F}/f/aliases/live`, { Description: NUL }],
    ['PUT', `${F}/f/aliases/live`, { RoutingConfig: { AdditionalVersionWeights: { [NUL]: 0.5 } } }],
    ['GET', `${F}/f/aliases/${inUrl}`],
    ['DELETE', `${F}/f/aliases/${inUrl}`],
    ['GET', `${F}/f/aliases?FunctionVersion=${inUrl}`],
    ['GET', `${F}/f/aliases?Marker=${inMarker}`],
    ['GET', `${F}/f/versions?Marker=${inMarker}`],
    ['GET', `${F}?Marker=${inMarker}`],
    ['GET', `${F}?FunctionVersion=${inUrl}`],
    ['GET', `${F}/f?Qualifier=${inUrl}`],
    ['GET', `${F}/${inUrl}`],
    ['PUT', `${F}/f/configuration`, { Description: NUL }],
    ['PUT', `${F}/f/configuration`, { RevisionId: NUL }],
    ['PUT', `${F}/f/configuration`, { Layers: [NUL] }],
    ['PUT', `${F}/f/configuration`, { Handler: NUL }],
    ['PUT', `${F}/f/configuration`, { KMSKeyArn: NUL }],
    ['PUT', `${F}/f/configuration`, { DeadLetterConfig: { TargetArn: `arn:aws:sqs:us-east-1:123456789012:${NUL}` } }],
    ['PUT', `${F}/f/configuration`, { LoggingConfig: { LogGroup: NUL } }],
    ['PUT', `${F}/f/configuration`, { FileSystemConfigs: [{ Arn: NUL, LocalMountPath: NUL }] }],
    ['PUT', `${F}/f/configuration`, { VpcConfig: { SubnetIds: [NUL], SecurityGroupIds: [NUL] } }],
    ['POST', `${F}/f/policy`, { StatementId: NUL, Action: 'lambda:InvokeFunction', Principal: '*' }],
    ['POST', `${F}/f/policy`, { StatementId: 'a', Action: 'lambda:InvokeFunction', Principal: NUL }],
    ['POST', `${F}/f/policy`, { StatementId: 'a', Action: 'lambda:InvokeFunction', Principal: '*', RevisionId: NUL }],
    ['DELETE', `${F}/f/policy/${inUrl}`],
    ['DELETE', `${F}/f/policy/a?RevisionId=${inUrl}`],
    ['PUT', '/2017-10-31/functions/f/concurrency', { ReservedConcurrentExecutions: NUL }],
    ['GET', '/2019-09-30/functions/f/provisioned-concurrency?List=ALL&Marker=' + inMarker],
    ['GET', `/2019-09-30/functions/f/provisioned-concurrency?Qualifier=${inUrl}`],
    ['GET', `/2018-10-31/layers?CompatibleRuntime=${inUrl}`],
    ['GET', `/2018-10-31/layers?CompatibleArchitecture=${inUrl}`],
    ['GET', `/2018-10-31/layers?Marker=${inMarker}`],
    ['GET', `/2018-10-31/layers?find=LayerVersion&Arn=${inUrl}`],
    ['GET', `/2018-10-31/layers/${inUrl}/versions`],
    ['GET', `/2018-10-31/layers/l/versions?Marker=${inMarker}`],
    ['GET', `/2018-10-31/layers/l/versions?CompatibleRuntime=${inUrl}`],
    ['POST', '/2018-10-31/layers/l/versions', { Description: NUL, Content: { S3Bucket: 'code', S3Key: NUL } }],
    ['POST', '/2018-10-31/layers/l/versions', { Content: { S3Bucket: 'code', S3Key: NUL } }],
    ['POST', '/2018-10-31/layers/l/versions', { CompatibleRuntimes: [NUL], Content: { S3Bucket: 'code', S3Key: 'k' } }],
    ['POST', '/2021-10-31/functions/f/url', { AuthType: 'NONE', Cors: { AllowOrigins: [NUL] } }],
    ['GET', `/2021-10-31/functions/f/url?Qualifier=${inUrl}`],
    ['GET', `/2021-10-31/functions/f/urls?Marker=${inMarker}`],
    ['PUT', '/2019-09-25/functions/f/event-invoke-config', { DestinationConfig: { OnSuccess: { Destination: `arn:aws:sqs:us-east-1:123456789012:${NUL}` } } }],
    ['GET', `/2019-09-25/functions/f/event-invoke-config/list?Marker=${inMarker}`],
    ['GET', `/2015-03-31/event-source-mappings?Marker=${inMarker}`],
    ['GET', `/2015-03-31/event-source-mappings?EventSourceArn=${encodeURIComponent(`arn:aws:sqs:us-east-1:123456789012:${NUL}`)}`],
    ['GET', `/2015-03-31/event-source-mappings?FunctionName=${inUrl}`],
    ['GET', `/2015-03-31/event-source-mappings/${inUrl}`],
    ['POST', '/2015-03-31/event-source-mappings', { FunctionName: 'f', EventSourceArn: `arn:aws:sqs:us-east-1:123456789012:${NUL}` }],
    ['POST', '/2015-03-31/event-source-mappings', { FunctionName: NUL, EventSourceArn: 'arn:aws:sqs:us-east-1:123456789012:q' }],
    ['POST', `/2017-03-31/tags/${encodeURIComponent('arn:aws:lambda:us-east-1:000000000000:function:f')}`, { Tags: { [NUL]: 'a' } }],
    ['POST', `/2017-03-31/tags/${encodeURIComponent('arn:aws:lambda:us-east-1:000000000000:function:f')}`, { Tags: { a: NUL } }],
    ['PUT', '/2021-07-20/functions/f/runtime-management-config', { UpdateRuntimeOn: 'Manual', RuntimeVersionArn: NUL }],
    ['PUT', '/2024-08-31/functions/f/recursion-config', { RecursiveLoop: NUL }],
  ]
  it('is a fault of whoever sends it, with every operation that takes one', async () => {
    const wrong: string[] = []
    for (const [method, url, body] of asked) {
      const { status, code } = await table.send(method, url, body, ONE).catch((error: unknown) => ({ status: 599, code: String(error) }))
      if (status >= 500) wrong.push(`${method} ${url} ${JSON.stringify(body)}: ${status} ${code}`)
    }
    assert.deepEqual(wrong, [])
  })
})
