import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import {
  AddPermissionCommand,
  CreateAliasCommand,
  CreateEventSourceMappingCommand,
  CreateFunctionCommand,
  CreateFunctionUrlConfigCommand,
  type CreateFunctionCommandInput,
  DeleteAliasCommand,
  DeleteEventSourceMappingCommand,
  DeleteFunctionCommand,
  DeleteFunctionConcurrencyCommand,
  DeleteFunctionEventInvokeConfigCommand,
  DeleteFunctionUrlConfigCommand,
  DeleteLayerVersionCommand,
  DeleteProvisionedConcurrencyConfigCommand,
  GetAliasCommand,
  GetEventSourceMappingCommand,
  GetFunctionCodeSigningConfigCommand,
  GetFunctionCommand,
  GetFunctionConfigurationCommand,
  GetFunctionEventInvokeConfigCommand,
  GetFunctionUrlConfigCommand,
  GetLayerVersionCommand,
  GetPolicyCommand,
  GetProvisionedConcurrencyConfigCommand,
  InvokeCommand,
  type LambdaClient,
  ListVersionsByFunctionCommand,
  PublishLayerVersionCommand,
  PublishVersionCommand,
  PutFunctionConcurrencyCommand,
  PutFunctionEventInvokeConfigCommand,
  PutProvisionedConcurrencyConfigCommand,
  RemovePermissionCommand,
  ResourceNotFoundException,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateAliasCommand,
  UpdateEventSourceMappingCommand,
  UpdateFunctionCodeCommand,
  UpdateFunctionConfigurationCommand,
  type UpdateFunctionConfigurationCommandInput,
  UpdateFunctionUrlConfigCommand,
  waitUntilFunctionActiveV2,
  waitUntilFunctionUpdatedV2,
  waitUntilPublishedVersionActive,
} from '@aws-sdk/client-lambda'
import { awsOf } from './aws.ts'
import { makeFolder, makeQueue, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

/**
 * What deployment tools really call, in their order: the tools themselves are not here, their calls are. A resource is
 * created, read (a plan that must find no difference), changed, read again and destroyed.
 */
let folder = ''
let node: RunningMayfly
let aws: LambdaClient
let one: Buffer
let two: Buffer

before(async () => {
  folder = makeFolder()
  one = await zipOf({ 'index.mjs': 'export const handler = async (event) => ({ one: event.n })' })
  two = await zipOf({ 'index.mjs': 'export const handler = async (event) => ({ two: event.n })' })
  node = await startMayfly(`${folder}/data`)
  aws = awsOf(node.ready)
})
after(async () => {
  aws?.destroy()
  await node?.stop()
  removeFolder(folder)
})

const base64Sha = (zip: Buffer) => createHash('sha256').update(zip).digest('base64')
const arnOf = (name: string) => `arn:aws:lambda:us-east-1:000000000000:function:${name}`
const active = (FunctionName: string) => waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 20 }, { FunctionName })
const updated = (FunctionName: string) => waitUntilFunctionUpdatedV2({ client: aws, maxWaitTime: 20 }, { FunctionName })
const gone = (work: Promise<unknown>) => assert.rejects(work, ResourceNotFoundException)
const create = async (FunctionName: string, more: Partial<CreateFunctionCommandInput> = {}) => {
  await aws.send(new CreateFunctionCommand({ FunctionName, Runtime: 'nodejs24.x', Handler: 'index.handler', Role: ROLE, Code: { ZipFile: one }, ...more }))
  await active(FunctionName)
}

/** Polls as Terraform does, through the states that it knows as passing; any other but the wanted is an error. */
async function settles(read: () => Promise<string | undefined>, passing: readonly string[], wanted: string): Promise<void> {
  for (const end = performance.now() + 20_000; performance.now() < end; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const state = await read()
    if (state === wanted) return
    assert.ok(passing.includes(state ?? ''), `state ${state} is none that Terraform waits through to ${wanted}`)
  }
  assert.fail(`it did not come to ${wanted}`)
}

describe('Terraform: aws_lambda_function', () => {
  /** What its refresh makes of the three reads; a difference to what was configured is a difference of the plan. */
  const refresh = async (FunctionName: string) => {
    const { Configuration: it, Code, Tags, Concurrency } = await aws.send(new GetFunctionCommand({ FunctionName }))
    assert.ok(it && Code?.Location, 'a missing Code is an empty result to it')
    const versions: string[] = []
    let Marker: string | undefined
    do {
      const page = await aws.send(new ListVersionsByFunctionCommand({ FunctionName, MaxItems: 2, ...(Marker ? { Marker } : {}) }))
      versions.push(...(page.Versions ?? []).map(({ Version }) => Version ?? ''))
      Marker = page.NextMarker
    } while (Marker)
    await aws.send(new GetFunctionCodeSigningConfigCommand({ FunctionName }))
    return {
      version: versions.at(-1),
      architectures: it.Architectures,
      code: it.CodeSha256,
      concurrency: Concurrency?.ReservedConcurrentExecutions ?? -1,
      deadLetter: it.DeadLetterConfig?.TargetArn ?? null,
      description: it.Description,
      environment: it.Environment?.Variables ?? null,
      handler: it.Handler,
      kms: it.KMSKeyArn ?? '',
      layers: (it.Layers ?? []).map(({ Arn }) => Arn),
      logging: it.LoggingConfig,
      memory: it.MemorySize,
      packageType: it.PackageType,
      role: it.Role,
      runtime: it.Runtime,
      snapStart: it.SnapStart?.ApplyOn,
      tags: Tags ?? {},
      timeout: it.Timeout,
      tmp: it.EphemeralStorage?.Size,
      tracing: it.TracingConfig?.Mode,
      vpc: [...(it.VpcConfig?.SubnetIds ?? []), ...(it.VpcConfig?.SecurityGroupIds ?? [])],
    }
  }
  const defaults = (name: string) => ({
    version: '$LATEST',
    architectures: [process.arch === 'arm64' ? 'arm64' : 'x86_64'],
    code: base64Sha(one),
    concurrency: -1,
    deadLetter: null,
    description: '',
    environment: null,
    handler: 'index.handler',
    kms: '',
    layers: [],
    logging: { LogFormat: 'Text', LogGroup: `/aws/lambda/${name}` },
    memory: 128,
    packageType: 'Zip',
    role: ROLE,
    runtime: 'nodejs24.x',
    snapStart: 'None',
    tags: {},
    timeout: 3,
    tmp: 512,
    tracing: 'PassThrough',
    vpc: [],
  })
  type State = ReturnType<typeof defaults>
  type Wanted = Partial<Record<keyof State, unknown>>
  const json = (name: string, ApplicationLogLevel = 'INFO') =>
    ({ LogFormat: 'JSON', ApplicationLogLevel, SystemLogLevel: 'INFO', LogGroup: `/aws/lambda/${name}` }) as const
  const rows: {
    name: string
    create: Partial<CreateFunctionCommandInput>
    first: Wanted
    update: Partial<UpdateFunctionConfigurationCommandInput>
    then: Wanted
    publish?: boolean
  }[] = [
    { name: 'minimal', create: {}, first: {}, update: { MemorySize: 256 }, then: { memory: 256 } },
    {
      name: 'full',
      create: {
        Architectures: [process.arch === 'arm64' ? 'arm64' : 'x86_64'],
        Description: 'first',
        Environment: { Variables: { STAGE: 'one' } },
        EphemeralStorage: { Size: 1024 },
        LoggingConfig: { LogFormat: 'JSON', ApplicationLogLevel: 'WARN' },
        MemorySize: 256,
        PackageType: 'Zip',
        SnapStart: { ApplyOn: 'PublishedVersions' },
        Tags: { team: 'a' },
        Timeout: 9,
        TracingConfig: { Mode: 'Active' },
        DeadLetterConfig: { TargetArn: 'arn:aws:sqs:us-east-1:000000000000:letters' },
      },
      first: {
        description: 'first',
        environment: { STAGE: 'one' },
        tmp: 1024,
        logging: json('full', 'WARN'),
        memory: 256,
        snapStart: 'PublishedVersions',
        tags: { team: 'a' },
        timeout: 9,
        tracing: 'Active',
        deadLetter: 'arn:aws:sqs:us-east-1:000000000000:letters',
      },
      // What is taken out of the configuration is sent empty.
      update: {
        Description: '',
        Environment: { Variables: {} },
        EphemeralStorage: { Size: 512 },
        LoggingConfig: { LogFormat: 'Text' },
        SnapStart: { ApplyOn: 'None' },
        TracingConfig: { Mode: 'PassThrough' },
        DeadLetterConfig: { TargetArn: '' },
        KMSKeyArn: '',
        VpcConfig: { SubnetIds: [], SecurityGroupIds: [] },
        Layers: [],
      },
      then: { memory: 256, timeout: 9, tags: { team: 'a' }, environment: {} },
    },
    { name: 'published', create: { Publish: true }, first: { version: '1' }, update: { Timeout: 4 }, then: { version: '2', timeout: 4 }, publish: true },
  ]
  for (const { name, create: sent, first, update, then, publish = false } of rows) {
    it(`${name}: create, plan, update, plan, destroy`, async () => {
      const FunctionName = name
      await create(name, sent)
      const planned = { ...defaults(name), ...first }
      assert.deepEqual(await refresh(name), planned)
      assert.deepEqual(await refresh(name), planned, 'the second plan is empty')

      await aws.send(new UpdateFunctionConfigurationCommand({ FunctionName, ...update }))
      await updated(name)
      await aws.send(new UpdateFunctionCodeCommand({ FunctionName, ZipFile: two }))
      await updated(name)
      if (publish) {
        const { Version = '' } = await aws.send(new PublishVersionCommand({ FunctionName }))
        await waitUntilPublishedVersionActive({ client: aws, maxWaitTime: 20 }, { FunctionName, Qualifier: Version })
        const { LastUpdateStatus } = await aws.send(new GetFunctionConfigurationCommand({ FunctionName, Qualifier: Version }))
        assert.equal(LastUpdateStatus, 'Successful', 'an empty status is one in progress to it')
      }
      const replanned = { ...defaults(name), code: base64Sha(two), ...then }
      assert.deepEqual(await refresh(name), replanned)
      assert.deepEqual(await refresh(name), replanned, 'the second plan is empty')

      await aws.send(new DeleteFunctionCommand({ FunctionName }))
      await gone(aws.send(new GetFunctionCommand({ FunctionName })))
    })
  }

  it('reserved concurrency and tags are calls of their own', async () => {
    const FunctionName = 'own'
    await create(FunctionName)
    await aws.send(new PutFunctionConcurrencyCommand({ FunctionName, ReservedConcurrentExecutions: 5 }))
    await aws.send(new TagResourceCommand({ Resource: arnOf(FunctionName), Tags: { a: '1', b: '2' } }))
    assert.deepEqual(await refresh(FunctionName), { ...defaults(FunctionName), concurrency: 5, tags: { a: '1', b: '2' } })
    await aws.send(new DeleteFunctionConcurrencyCommand({ FunctionName }))
    await aws.send(new UntagResourceCommand({ Resource: arnOf(FunctionName), TagKeys: ['a', 'b'] }))
    assert.deepEqual(await refresh(FunctionName), defaults(FunctionName))
    await aws.send(new DeleteFunctionCommand({ FunctionName }))
  })
})

describe('Terraform: what belongs to a function', () => {
  const FunctionName = 'owner'
  before(async () => {
    await create(FunctionName)
    await aws.send(new PublishVersionCommand({ FunctionName }))
  })

  it('aws_lambda_permission finds its statement by its Sid and reads the ARN back', async () => {
    const find = async (Sid: string, Qualifier?: string) => {
      const { Policy = '' } = await aws.send(new GetPolicyCommand({ FunctionName, ...(Qualifier ? { Qualifier } : {}) }))
      type Statement = { Sid: string; Resource: string; Principal: unknown; Action: string; Condition?: Record<string, Record<string, string>> }
      return (JSON.parse(Policy) as { Statement: Statement[] }).Statement.find((one) => one.Sid === Sid)
    }
    const bucket = { StatementId: 'bucket', Action: 'lambda:InvokeFunction', Principal: 's3.amazonaws.com', SourceArn: 'arn:aws:s3:::b' }
    await aws.send(new AddPermissionCommand({ FunctionName, ...bucket, SourceAccount: '123456789012' }))
    await aws.send(new AddPermissionCommand({ FunctionName, Qualifier: '1', StatementId: 'all', Action: 'lambda:InvokeFunction', Principal: '*' }))
    for (let plan = 0; plan < 2; plan++) {
      assert.deepEqual(await find('bucket'), {
        Sid: 'bucket',
        Effect: 'Allow',
        Principal: { Service: 's3.amazonaws.com' },
        Action: 'lambda:InvokeFunction',
        Resource: arnOf(FunctionName),
        Condition: { StringEquals: { 'AWS:SourceAccount': '123456789012' }, ArnLike: { 'AWS:SourceArn': 'arn:aws:s3:::b' } },
      })
      assert.equal((await find('all', '1'))?.Resource, `${arnOf(FunctionName)}:1`)
    }
    await aws.send(new RemovePermissionCommand({ FunctionName, StatementId: 'bucket' }))
    await gone(aws.send(new GetPolicyCommand({ FunctionName })))
    await aws.send(new RemovePermissionCommand({ FunctionName, StatementId: 'all', Qualifier: '1' }))
    await gone(aws.send(new GetPolicyCommand({ FunctionName, Qualifier: '1' })))
  })

  it('aws_lambda_alias has no routing when it has none', async () => {
    const alias = { FunctionName, Name: 'live' }
    const read = async () => {
      const { $metadata: _, RevisionId: _revision, ...state } = await aws.send(new GetAliasCommand(alias))
      return state
    }
    await aws.send(new CreateAliasCommand({ ...alias, FunctionVersion: '1', Description: 'd' }))
    const state = { AliasArn: `${arnOf(FunctionName)}:live`, Name: 'live', FunctionVersion: '1', Description: 'd' }
    for (let plan = 0; plan < 2; plan++) assert.deepEqual(await read(), state)
    await aws.send(new UpdateFunctionCodeCommand({ FunctionName, ZipFile: two }))
    await aws.send(new PublishVersionCommand({ FunctionName }))
    await aws.send(new UpdateAliasCommand({ ...alias, FunctionVersion: '1', RoutingConfig: { AdditionalVersionWeights: { 2: 0.25 } } }))
    assert.deepEqual((await read()).RoutingConfig, { AdditionalVersionWeights: { 2: 0.25 } })
    await aws.send(new UpdateAliasCommand({ ...alias, FunctionVersion: '2', Description: '', RoutingConfig: {} }))
    for (let plan = 0; plan < 2; plan++) assert.deepEqual(await read(), { ...state, FunctionVersion: '2', Description: '' })
    await aws.send(new DeleteAliasCommand(alias))
    await gone(aws.send(new GetAliasCommand(alias)))
  })

  it('aws_lambda_function_url opens it to anyone by a statement, and is read back', async () => {
    const read = async () => {
      const { $metadata: _, ...state } = await aws.send(new GetFunctionUrlConfigCommand({ FunctionName }))
      return state
    }
    const { FunctionUrl = '' } = await aws.send(new CreateFunctionUrlConfigCommand({ FunctionName, AuthType: 'NONE' }))
    assert.match(FunctionUrl, /^https?:\/\/[^/]+\/(.*\/)?$/)
    const open = { FunctionName, StatementId: 'FunctionURLAllowPublicAccess', Principal: '*', FunctionUrlAuthType: 'NONE' } as const
    const { Statement = '' } = await aws.send(new AddPermissionCommand({ ...open, Action: 'lambda:InvokeFunctionUrl' }))
    assert.deepEqual((JSON.parse(Statement) as { Condition: unknown }).Condition, { StringEquals: { 'lambda:FunctionUrlAuthType': 'NONE' } })
    const first = await read()
    assert.partialDeepStrictEqual(first, { FunctionUrl, FunctionArn: arnOf(FunctionName), AuthType: 'NONE', InvokeMode: 'BUFFERED' })
    assert.deepEqual(await read(), first, 'the second plan is empty')
    const Cors = { AllowOrigins: ['https://a.example'], MaxAge: 60 }
    await aws.send(new UpdateFunctionUrlConfigCommand({ FunctionName, AuthType: 'AWS_IAM', Cors, InvokeMode: 'RESPONSE_STREAM' }))
    assert.partialDeepStrictEqual(await read(), { FunctionUrl, AuthType: 'AWS_IAM', Cors, InvokeMode: 'RESPONSE_STREAM' })
    await aws.send(new DeleteFunctionUrlConfigCommand({ FunctionName }))
    await gone(read())
    await aws.send(new RemovePermissionCommand({ FunctionName, StatementId: open.StatementId }))
  })

  it('aws_lambda_event_source_mapping goes through the states that it waits through', async () => {
    await makeQueue(node.ready, 'jobs')
    const source = { FunctionName, EventSourceArn: 'arn:aws:sqs:us-east-1:000000000000:jobs', BatchSize: 5 }
    const made = await aws.send(new CreateEventSourceMappingCommand(source))
    assert.ok(made.LastModified instanceof Date)
    const UUID = made.UUID as string
    const state = async () => (await aws.send(new GetEventSourceMappingCommand({ UUID }))).State
    const passing = ['Creating', 'Enabling', 'Disabling', 'Updating']
    await settles(state, passing, 'Enabled')
    const read = async () => {
      const { $metadata: _, LastModified: _at, ...rest } = await aws.send(new GetEventSourceMappingCommand({ UUID }))
      return rest
    }
    assert.deepEqual(await read(), await read())
    assert.partialDeepStrictEqual(await read(), { BatchSize: 5, FunctionArn: arnOf(FunctionName), MaximumBatchingWindowInSeconds: 0 })
    await aws.send(new UpdateEventSourceMappingCommand({ UUID, BatchSize: 6, Enabled: false }))
    await settles(state, passing, 'Disabled')
    assert.equal((await read()).BatchSize, 6)
    assert.equal((await aws.send(new DeleteEventSourceMappingCommand({ UUID }))).State, 'Deleting')
    await gone(aws.send(new GetEventSourceMappingCommand({ UUID })))
  })

  it('aws_lambda_function_event_invoke_config is replaced as a whole', async () => {
    const read = async () => {
      const { $metadata: _, LastModified: _at, ...rest } = await aws.send(new GetFunctionEventInvokeConfigCommand({ FunctionName }))
      return rest
    }
    await aws.send(new PutFunctionEventInvokeConfigCommand({ FunctionName, MaximumRetryAttempts: 1, MaximumEventAgeInSeconds: 60 }))
    const empty = { OnSuccess: {}, OnFailure: {} }
    const arn = `${arnOf(FunctionName)}:$LATEST`
    for (let plan = 0; plan < 2; plan++)
      assert.deepEqual(await read(), { FunctionArn: arn, MaximumRetryAttempts: 1, MaximumEventAgeInSeconds: 60, DestinationConfig: empty })
    await aws.send(new PutFunctionEventInvokeConfigCommand({ FunctionName, MaximumRetryAttempts: 2, DestinationConfig: empty }))
    assert.deepEqual(await read(), { FunctionArn: arn, MaximumRetryAttempts: 2, DestinationConfig: empty })
    await aws.send(new DeleteFunctionEventInvokeConfigCommand({ FunctionName }))
    await gone(read())
  })

  it('aws_lambda_provisioned_concurrency_config is polled until it is READY', async () => {
    const at = { FunctionName, Qualifier: '1' }
    await aws.send(new PutProvisionedConcurrencyConfigCommand({ ...at, ProvisionedConcurrentExecutions: 1 }))
    await settles(async () => (await aws.send(new GetProvisionedConcurrencyConfigCommand(at))).Status, ['IN_PROGRESS'], 'READY')
    assert.equal((await aws.send(new GetProvisionedConcurrencyConfigCommand(at))).RequestedProvisionedConcurrentExecutions, 1)
    await aws.send(new DeleteProvisionedConcurrencyConfigCommand(at))
    await assert.rejects(aws.send(new GetProvisionedConcurrencyConfigCommand(at)), { name: 'ProvisionedConcurrencyConfigNotFoundException' })
  })

  it('aws_lambda_layer_version takes its hash from what it reads', async () => {
    const zip = await zipOf({ 'nodejs/node_modules/a/index.js': 'module.exports = 1' })
    const made = await aws.send(new PublishLayerVersionCommand({ LayerName: 'shared', Content: { ZipFile: zip }, CompatibleRuntimes: ['nodejs24.x'] }))
    const at = { LayerName: 'shared', VersionNumber: made.Version as number }
    for (let plan = 0; plan < 2; plan++) {
      const got = await aws.send(new GetLayerVersionCommand(at))
      assert.deepEqual(
        [got.LayerArn, got.LayerVersionArn, got.Version, got.Content?.CodeSha256, got.Content?.CodeSize, got.CompatibleRuntimes],
        [made.LayerArn, made.LayerVersionArn, 1, base64Sha(zip), zip.length, ['nodejs24.x']],
      )
    }
    await aws.send(new DeleteLayerVersionCommand(at))
    await gone(aws.send(new GetLayerVersionCommand(at)))
  })
})

describe('CDK hotswap', () => {
  it('changes code, description and environment, waits, publishes and moves the alias', async () => {
    const FunctionName = 'swapped'
    await create(FunctionName)
    await aws.send(new PublishVersionCommand({ FunctionName }))
    await aws.send(new CreateAliasCommand({ FunctionName, Name: 'live', FunctionVersion: '1' }))
    const changed = await aws.send(new UpdateFunctionCodeCommand({ FunctionName, ZipFile: two }))
    assert.equal(changed.LastUpdateStatus, 'InProgress')
    await updated(FunctionName)
    await aws.send(new UpdateFunctionConfigurationCommand({ FunctionName, Description: 'new', Environment: { Variables: { STAGE: 'two' } } }))
    await updated(FunctionName)
    const { Version = '' } = await aws.send(new PublishVersionCommand({ FunctionName }))
    await aws.send(new UpdateAliasCommand({ FunctionName, Name: 'live', FunctionVersion: Version }))
    const reply = await aws.send(new InvokeCommand({ FunctionName, Qualifier: 'live', Payload: Buffer.from('{"n":1}') }))
    assert.deepEqual([reply.ExecutedVersion, JSON.parse(Buffer.from(reply.Payload ?? []).toString())], ['2', { two: 1 }])
  })
})

describe('serverless 3', () => {
  it('deploy function skips code that is the same by its hash, and changes what is not', async () => {
    const FunctionName = 'sls'
    await create(FunctionName)
    const remote = async () => (await aws.send(new GetFunctionCommand({ FunctionName }))).Configuration
    assert.equal((await remote())?.CodeSha256, base64Sha(one), 'so the code is not sent again')
    await aws.send(
      new UpdateFunctionConfigurationCommand({
        FunctionName,
        Handler: 'index.handler',
        MemorySize: 1024,
        Timeout: 6,
        Environment: { Variables: { STAGE: 'dev' } },
        Role: ROLE,
        Runtime: 'nodejs24.x',
      }),
    )
    await settles(async () => (await remote())?.LastUpdateStatus, ['InProgress'], 'Successful')
    await aws.send(new UpdateFunctionCodeCommand({ FunctionName, ZipFile: two }))
    await settles(async () => (await remote())?.LastUpdateStatus, ['InProgress'], 'Successful')
    assert.equal((await remote())?.CodeSha256, base64Sha(two))
    const invoked = await aws.send(new InvokeCommand({ FunctionName, InvocationType: 'RequestResponse', LogType: 'Tail', Payload: Buffer.from('{"n":2}') }))
    assert.match(Buffer.from(invoked.LogResult ?? '', 'base64').toString(), /REPORT RequestId/)
    assert.equal(Buffer.from(invoked.Payload ?? []).toString(), '{"two":2}')
  })
})
