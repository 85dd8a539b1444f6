import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import {
  CreateEventSourceMappingCommand,
  CreateFunctionCommand,
  GetFunctionCodeSigningConfigCommand,
  GetFunctionCommand,
  type LambdaClient,
  UpdateFunctionCodeCommand,
  waitUntilFunctionActiveV2,
  waitUntilFunctionUpdatedV2,
} from '@aws-sdk/client-lambda'
import { awsOf } from './aws.ts'
import { makeFolder, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

// Debian's own package, as it comes.
const PYTHON = '/usr/bin/python3'
const noBoto = existsSync('/usr/lib/python3/dist-packages/boto3') ? false : 'needs the package python3-boto3'
const noOpenssl = existsSync('/usr/bin/openssl') ? false : 'needs the package openssl'

/** The traps of the reference's last section that the control plane can fall into, each as one question to a client. */
describe('the traps that break real clients', () => {
  let folder = ''
  let node: RunningMayfly
  let aws: LambdaClient
  let zip: Buffer
  const FunctionName = 'trap'
  before(async () => {
    folder = makeFolder()
    zip = await zipOf({ 'index.mjs': 'export const handler = async () => 1' })
    node = await startMayfly(path.join(folder, 'data'))
    aws = awsOf(node.ready)
    await aws.send(new CreateFunctionCommand({ FunctionName, Runtime: 'nodejs24.x', Handler: 'index.handler', Role: ROLE, Code: { ZipFile: zip } }))
  })
  after(async () => {
    aws?.destroy()
    await node?.stop()
    removeFolder(folder)
  })
  const boto = (program: string): string => {
    const { accessKey, region, url } = node.ready
    const env = { PATH: '/usr/bin:/bin', HOME: folder, AWS_ACCESS_KEY_ID: accessKey.id, AWS_SECRET_ACCESS_KEY: accessKey.secret, AWS_DEFAULT_REGION: region }
    const source = `import boto3, json\nc = boto3.client('lambda', endpoint_url='${url}')\n${program}`
    return execFileSync(PYTHON, ['-c', source], { encoding: 'utf8', env: { ...env, AWS_EC2_METADATA_DISABLED: 'true', NO_PROXY: '*' }, timeout: 60_000 }).trim()
  }

  it('1: boto3’s get_policy without a policy raises ResourceNotFoundException, not a ClientError “404”', { skip: noBoto }, () =>
    assert.equal(
      boto("try: c.get_policy(FunctionName='trap')\nexcept c.exceptions.ResourceNotFoundException as e: print(e.response['Error']['Code'])"),
      'ResourceNotFoundException',
    ),
  )
  it('2: boto3 may name a function by its whole ARN with $LATEST, percent-encoded in the path and signed', { skip: noBoto }, () =>
    assert.equal(boto("print(c.get_function_configuration(FunctionName='arn:aws:lambda:us-east-1:000000000000:function:trap:$LATEST')['Version'])"), '$LATEST'),
  )
  it('3: boto3’s invoke, which hashes no body and says no content type, is served', { skip: noBoto }, () =>
    assert.equal(boto("print(c.invoke(FunctionName='trap')['Payload'].read().decode())"), '1'),
  )
  it('4: waiters return within 2 s after create and update', async () => {
    const from = performance.now()
    await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 10 }, { FunctionName })
    await aws.send(new UpdateFunctionCodeCommand({ FunctionName, ZipFile: zip }))
    await waitUntilFunctionUpdatedV2({ client: aws, maxWaitTime: 10 }, { FunctionName })
    assert.ok(performance.now() - from < 2_000)
  })
  it('5: defaults are echoed, so that a minimal function has no difference', async () => {
    const { Configuration } = await aws.send(new GetFunctionCommand({ FunctionName }))
    assert.partialDeepStrictEqual(Configuration, {
      Description: '',
      Timeout: 3,
      MemorySize: 128,
      EphemeralStorage: { Size: 512 },
      PackageType: 'Zip',
      TracingConfig: { Mode: 'PassThrough' },
      SnapStart: { ApplyOn: 'None', OptimizationStatus: 'Off' },
      LoggingConfig: { LogFormat: 'Text', LogGroup: '/aws/lambda/trap' },
    })
  })
  it('6: code signing reads as 200 with nothing in it, and GetFunction has Code', async () => {
    const { $metadata, ...rest } = await aws.send(new GetFunctionCodeSigningConfigCommand({ FunctionName }))
    assert.deepEqual([$metadata.httpStatusCode, rest], [200, {}])
    assert.ok((await aws.send(new GetFunctionCommand({ FunctionName }))).Code?.Location)
  })
  it('8: LastModified of an event source mapping is a Date, that of a function a text', async () => {
    const EventSourceArn = 'arn:aws:kinesis:us-east-1:000000000000:stream/s'
    const at = { StartingPosition: 'AT_TIMESTAMP', StartingPositionTimestamp: new Date(1_700_000_000_500) } as const
    const made = await aws.send(new CreateEventSourceMappingCommand({ FunctionName, EventSourceArn, ...at }))
    assert.ok(made.LastModified instanceof Date)
    assert.deepEqual(made.StartingPositionTimestamp, at.StartingPositionTimestamp)
    assert.match((await aws.send(new GetFunctionCommand({ FunctionName }))).Configuration?.LastModified ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$/)
  })
  it('12: json.loads of boto3’s Policy works', { skip: noBoto }, () =>
    assert.equal(
      boto(
        "c.add_permission(FunctionName='trap', StatementId='s', Action='lambda:InvokeFunction', Principal='*')\nprint(json.loads(c.get_policy(FunctionName='trap')['Policy'])['Statement'][0]['Sid'])",
      ),
      's',
    ),
  )
  it('13: CodeSha256 is what openssl says of the file', { skip: noOpenssl }, async () => {
    writeFileSync(path.join(folder, 'f.zip'), zip)
    const hash = execFileSync('/usr/bin/openssl', ['dgst', '-sha256', '-binary', path.join(folder, 'f.zip')]).toString('base64')
    assert.equal((await aws.send(new GetFunctionCommand({ FunctionName }))).Configuration?.CodeSha256, hash)
  })
})
