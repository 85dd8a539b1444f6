import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { LambdaTable, ONE, refuses } from './table-fixture.ts'

const F = '/2015-03-31/functions'

describe('settings of a function that are kept and shown', () => {
  let table: LambdaTable
  before(async () => {
    table = await LambdaTable.open()
    assert.equal((await table.create('bare')).status, 201)
  })
  after(async () => await table?.[Symbol.asyncDispose]())
  const read = async (name: string) => (await table.send('GET', `${F}/${name}/configuration`)).body
  const update = (name: string, body: object) => table.send('PUT', `${F}/${name}/configuration`, body)

  it('have defaults that are told', async () => {
    const { TracingConfig, DeadLetterConfig, VpcConfig, SnapStart, LoggingConfig, KMSKeyArn, EphemeralStorage } = await read('bare')
    assert.deepEqual(
      { TracingConfig, DeadLetterConfig, VpcConfig, SnapStart, LoggingConfig, KMSKeyArn, EphemeralStorage },
      {
        TracingConfig: { Mode: 'PassThrough' },
        DeadLetterConfig: undefined,
        VpcConfig: undefined,
        SnapStart: { ApplyOn: 'None', OptimizationStatus: 'Off' },
        LoggingConfig: { LogFormat: 'Text', LogGroup: '/aws/lambda/bare' },
        KMSKeyArn: undefined,
        EphemeralStorage: { Size: 512 },
      },
    )
  })

  it('are taken by CreateFunction as Terraform and boto3 send them', async () => {
    const sent = {
      Description: 'd',
      EphemeralStorage: { Size: 1024 },
      TracingConfig: { Mode: 'Active' },
      DeadLetterConfig: { TargetArn: 'arn:aws:sqs:us-east-1:000000000000:q' },
      SnapStart: { ApplyOn: 'PublishedVersions' },
      LoggingConfig: { LogFormat: 'JSON', ApplicationLogLevel: 'ERROR', LogGroup: '/own' },
    }
    const empty = { VpcConfig: { SubnetIds: [], SecurityGroupIds: [] }, KMSKeyArn: '', FileSystemConfigs: [], ImageConfig: {}, Layers: [] }
    assert.equal((await table.create('full', { ...sent, ...empty, PackageType: 'Zip', Architectures: ['x86_64'] })).status, 201)
    const got = await read('full')
    assert.partialDeepStrictEqual(got, {
      ...sent,
      SnapStart: { ApplyOn: 'PublishedVersions', OptimizationStatus: 'Off' },
      LoggingConfig: { ...sent.LoggingConfig, SystemLogLevel: 'INFO' },
      VpcConfig: { SubnetIds: [], SecurityGroupIds: [], VpcId: '', Ipv6AllowedForDualStack: false },
    })
    assert.equal((await update('full', { Timeout: 9 })).status, 200)
    const { RevisionId: _r, LastModified: _l, ...kept } = await read('full')
    const { RevisionId: _s, LastModified: _m, ...before } = got
    assert.deepEqual(kept, { ...before, Timeout: 9 }, 'what is absent is kept')
  })

  it('are cleared by what is present and empty', async () => {
    const cleared = (await update('full', { DeadLetterConfig: { TargetArn: '' }, Description: '', LoggingConfig: { LogFormat: 'Text' } })).body
    assert.deepEqual(
      [cleared.DeadLetterConfig, cleared.Description, cleared.LoggingConfig, cleared.TracingConfig],
      [undefined, '', { LogFormat: 'Text', LogGroup: '/own' }, { Mode: 'Active' }],
    )
  })

  it('keep of LoggingConfig what the update does not name', async () => {
    await update('bare', { LoggingConfig: { LogFormat: 'JSON', SystemLogLevel: 'WARN' } })
    const { LoggingConfig } = (await update('bare', { LoggingConfig: { ApplicationLogLevel: 'TRACE' } })).body
    assert.deepEqual(LoggingConfig, { LogFormat: 'JSON', ApplicationLogLevel: 'TRACE', SystemLogLevel: 'WARN', LogGroup: '/aws/lambda/bare' })
  })

  it('stay when the function is deployed by mayfly.json', async () => {
    const { definition, artefact } = await table.functions.get(ONE, 'full')
    const { kept: _kept, ...spec } = definition
    const { changed } = await table.functions.put(ONE, { ...spec, memoryMb: 512 }, {}, artefact)
    assert.deepEqual([changed, (await read('full')).TracingConfig, (await read('full')).MemorySize], [true, { Mode: 'Active' }, 512])
    assert.equal((await table.functions.put(ONE, { ...spec, memoryMb: 512 }, {}, artefact)).changed, false)
  })

  it('are frozen in a published version, and a change of them is a change', async () => {
    assert.equal((await table.send('POST', `${F}/bare/versions`, {})).body.Version, '1')
    await update('bare', { TracingConfig: { Mode: 'Active' } })
    assert.equal((await table.send('POST', `${F}/bare/versions`, {})).body.Version, '2')
    const one = (await table.send('GET', `${F}/bare/configuration?Qualifier=1`)).body
    assert.deepEqual(one.TracingConfig, { Mode: 'PassThrough' })
  })

  const refused: [string, object, string, RegExp][] = [
    [
      'a key of AWS',
      { KMSKeyArn: 'arn:aws:kms:us-east-1:000000000000:key/a' },
      'InvalidParameterValueException',
      /^KMSKeyArn is not supported .*sealed with a key of the project/,
    ],
    ['a network', { VpcConfig: { SubnetIds: ['subnet-1'], SecurityGroupIds: ['sg-1'] } }, 'InvalidParameterValueException', /^VpcConfig is not supported/],
    ['a file system', { FileSystemConfigs: [{ Arn: 'arn:x', LocalMountPath: '/mnt/a' }] }, 'InvalidParameterValueException', /^FileSystemConfigs/],
    ['an image', { PackageType: 'Image' }, 'InvalidParameterValueException', /^PackageType Image/],
    ['a command of an image', { ImageConfig: { Command: ['a'] } }, 'InvalidParameterValueException', /^ImageConfig/],
    ['signed code', { CodeSigningConfigArn: 'arn:x' }, 'InvalidParameterValueException', /^CodeSigningConfigArn/],
    ['where to publish to', { PublishTo: 'LATEST_PUBLISHED' }, 'InvalidParameterValueException', /^PublishTo/],
    ['a runtime of one’s own', { RuntimeConfig: { RuntimeArn: 'a' } }, 'InvalidParameterValueException', /^RuntimeConfig/],
    ['letters to a bucket', { DeadLetterConfig: { TargetArn: 'arn:aws:s3:::b' } }, 'InvalidParameterValueException', /^DeadLetterConfig/],
    ['levels of a text', { LoggingConfig: { LogFormat: 'Text', SystemLogLevel: 'WARN' } }, 'InvalidParameterValueException', /LogFormat must be JSON/],
    [
      'several violations',
      { TracingConfig: { Mode: 'x' }, MemorySize: 1, LoggingConfig: { LogFormat: 'x' } },
      'ValidationException',
      /^3 validation errors detected: .*'tracingConfig\.mode'.*: \[Active, PassThrough\]; .*'loggingConfig\.logFormat'.*; .*'memorySize'/,
    ],
  ]
  for (const [what, body, code, message] of refused)
    it(`refuse ${what}`, async () => {
      refuses(await update('full', body), 400, code, message)
      refuses(await table.create('none', body), 400, code, message)
    })
})
