import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { before, describe, it } from 'node:test'
import {
  CreateAliasCommand,
  CreateFunctionCommand,
  DeleteAliasCommand,
  DeleteFunctionCommand,
  GetAliasCommand,
  GetFunctionCommand,
  GetFunctionConfigurationCommand,
  InvalidParameterValueException,
  InvokeCommand,
  LambdaServiceException,
  ListFunctionsCommand,
  ListVersionsByFunctionCommand,
  paginateListAliases,
  paginateListFunctions,
  paginateListVersionsByFunction,
  PreconditionFailedException,
  PublishVersionCommand,
  ResourceConflictException,
  ResourceNotFoundException,
  UpdateAliasCommand,
  UpdateFunctionCodeCommand,
  UpdateFunctionConfigurationCommand,
  waitUntilFunctionActiveV2,
  waitUntilFunctionUpdatedV2,
  waitUntilPublishedVersionActive,
} from '@aws-sdk/client-lambda'
import { ROLE, zipOf } from './harness.ts'
import { lambdaNode } from './lambda-fixture.ts'

const { at } = lambdaNode()
const ARN = 'arn:aws:lambda:us-east-1:000000000000:function'

const codeOf = (value: string) =>
  zipOf({
    'index.mjs': `export const handler = async (event, context) => ({
      value: ${JSON.stringify(value)}, colour: process.env.COLOUR ?? null, version: process.env.AWS_LAMBDA_FUNCTION_VERSION, inContext: context.functionVersion,
      arn: context.invokedFunctionArn, stream: process.env.AWS_LAMBDA_LOG_STREAM_NAME, memory: context.memoryLimitInMB })`,
  })
const create = async (name: string, value: string, more: Partial<CreateFunctionCommand['input']> = {}) =>
  await at.aws.send(
    new CreateFunctionCommand({
      FunctionName: name,
      Runtime: 'nodejs24.x',
      Handler: 'index.handler',
      Role: ROLE,
      Timeout: 10,
      Code: { ZipFile: await codeOf(value) },
      ...more,
    }),
  )
const update = async (name: string, value: string, more = {}) =>
  await at.aws.send(new UpdateFunctionCodeCommand({ FunctionName: name, ZipFile: await codeOf(value), ...more }))
const publish = async (name: string, more = {}) => await at.aws.send(new PublishVersionCommand({ FunctionName: name, ...more }))
const configuration = async (name: string, qualifier?: string) =>
  await at.aws.send(new GetFunctionConfigurationCommand({ FunctionName: name, ...(qualifier === undefined ? {} : { Qualifier: qualifier }) }))
const invoke = async (name: string, qualifier?: string) => {
  const reply = await at.aws.send(new InvokeCommand({ FunctionName: name, LogType: 'Tail', ...(qualifier === undefined ? {} : { Qualifier: qualifier }) }))
  return {
    executed: reply.ExecutedVersion,
    log: Buffer.from(reply.LogResult ?? '', 'base64').toString(),
    value: JSON.parse(Buffer.from(reply.Payload ?? []).toString()) as Record<string, string | null>,
  }
}
const failsAs = async (work: Promise<unknown>, kind: new (...args: never[]) => LambdaServiceException, status: number, message: string | RegExp) => {
  await assert.rejects(work, (error: unknown) => {
    assert.ok(error instanceof kind, String(error))
    assert.equal(error.$metadata.httpStatusCode, status)
    if (typeof message === 'string') assert.equal(error.message, message)
    else assert.match(error.message, message)
    return true
  })
}

describe('published versions by the unmodified SDK', () => {
  it('keep the code and the settings of their moment, and say who they are', async () => {
    const created = await create('keeps', 'one', { Environment: { Variables: { COLOUR: 'red' } }, MemorySize: 128 })
    assert.deepEqual([created.State, created.StateReasonCode, created.LastUpdateStatus, created.Version], ['Pending', 'Creating', undefined, '$LATEST'])
    await waitUntilFunctionActiveV2({ client: at.aws, maxWaitTime: 20 }, { FunctionName: 'keeps' })
    const active = await configuration('keeps')
    assert.notEqual(active.RevisionId, created.RevisionId, 'it changes again when the function turns Active')
    const published = await publish('keeps', { Description: 'the first', RevisionId: active.RevisionId })
    assert.deepEqual(
      [published.Version, published.FunctionArn, published.Description, published.State, published.LastUpdateStatus],
      ['1', `${ARN}:keeps:1`, 'the first', 'Active', 'Successful'],
    )
    await waitUntilPublishedVersionActive({ client: at.aws, maxWaitTime: 20 }, { FunctionName: 'keeps', Qualifier: '1' })
    const after = await configuration('keeps')
    assert.notEqual(after.RevisionId, active.RevisionId, 'publishing changes that of $LATEST')
    assert.deepEqual([after.Description, after.Version, after.FunctionArn], ['', '$LATEST', `${ARN}:keeps`])

    const updated = await update('keeps', 'two')
    assert.deepEqual([updated.State, updated.LastUpdateStatus, updated.LastUpdateStatusReasonCode], ['Active', 'InProgress', 'Creating'])
    await waitUntilFunctionUpdatedV2({ client: at.aws, maxWaitTime: 20 }, { FunctionName: 'keeps' })
    assert.equal(new Set([after.RevisionId, updated.RevisionId, (await configuration('keeps')).RevisionId]).size, 3)
    await at.aws.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'keeps', Environment: { Variables: { COLOUR: 'blue' } }, MemorySize: 256 }))
    await waitUntilFunctionUpdatedV2({ client: at.aws, maxWaitTime: 20 }, { FunctionName: 'keeps' })

    const first = await invoke('keeps', '1')
    assert.equal(first.executed, '1')
    assert.match(first.log, /^START RequestId: \S+ Version: 1$/m)
    const { stream, ...told } = first.value
    assert.deepEqual(told, { value: 'one', colour: 'red', version: '1', inContext: '1', arn: `${ARN}:keeps:1`, memory: '128' })
    assert.match(stream ?? '', /^1\//)
    const latest = await invoke('keeps')
    assert.deepEqual([latest.executed, latest.value.value, latest.value.colour, latest.value.version], ['$LATEST', 'two', 'blue', '$LATEST'])
    assert.equal(latest.value.arn, `${ARN}:keeps`)
    assert.deepEqual([(await configuration('keeps', '1')).MemorySize, (await configuration('keeps')).MemorySize], [128, 256])
    // The code of a version can be fetched.
    const got = await at.aws.send(new GetFunctionCommand({ FunctionName: 'keeps', Qualifier: '1' }))
    const zip = Buffer.from(await (await fetch(got.Code?.Location as string)).arrayBuffer())
    assert.equal(createHash('sha256').update(zip).digest('base64'), published.CodeSha256)
  })

  it('are not made when nothing changed, nor when the guards say otherwise', async () => {
    await create('guards', 'one', { Environment: { Variables: { AA: '1', BB: '2' } } })
    const first = await publish('guards')
    const again = await publish('guards', { Description: 'other words' })
    assert.deepEqual([again.Version, again.Description, again.RevisionId], ['1', '', first.RevisionId])
    await at.aws.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'guards', Environment: { Variables: { BB: '2', AA: '1' } } }))
    assert.equal((await publish('guards')).Version, '1', 'the order of variables is no difference')
    const given = createHash('sha256').update('other').digest('base64')
    await failsAs(
      publish('guards', { CodeSha256: given }),
      InvalidParameterValueException,
      400,
      `CodeSHA256 (${given}) is different from current CodeSHA256 in $LATEST (${first.CodeSha256}). Please try again with the CodeSHA256 in $LATEST.`,
    )
    await failsAs(
      publish('guards', { RevisionId: randomUUID() }),
      PreconditionFailedException,
      412,
      'The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id',
    )
    await failsAs(publish('nothing'), ResourceNotFoundException, 404, `Function not found: ${ARN}:nothing`)
    const { RevisionId, CodeSha256 } = await configuration('guards')
    await update('guards', 'two', { RevisionId })
    await failsAs(update('guards', 'three', { RevisionId }), PreconditionFailedException, 412, /^The Revision Id provided does not match/)
    await failsAs(
      at.aws.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'guards', Timeout: 4, RevisionId })),
      PreconditionFailedException,
      412,
      /^The Revision Id provided does not match/,
    )
    await failsAs(publish('guards', { CodeSha256 }), InvalidParameterValueException, 400, /^CodeSHA256 \(/)
    assert.equal((await publish('guards', { CodeSha256: (await configuration('guards')).CodeSha256 })).Version, '2')
  })

  it('come with Publish on create and on update; DryRun changes nothing', async () => {
    const created = await create('both', 'one', { Publish: true })
    assert.deepEqual([created.Version, created.FunctionArn, created.State, created.LastUpdateStatus], ['1', `${ARN}:both`, 'Pending', undefined])
    await waitUntilPublishedVersionActive({ client: at.aws, maxWaitTime: 20 }, { FunctionName: 'both', Qualifier: '1' })
    const { RevisionId, CodeSha256 } = await configuration('both')
    const dry = await update('both', 'two', { DryRun: true, Publish: true })
    assert.notEqual(dry.CodeSha256, CodeSha256)
    assert.deepEqual(await configuration('both').then((now) => [now.RevisionId, now.CodeSha256]), [RevisionId, CodeSha256])
    const updated = await update('both', 'two', { Publish: true })
    assert.deepEqual([updated.Version, updated.FunctionArn, updated.State], ['2', `${ARN}:both:2`, 'Pending'])
    assert.deepEqual([(await invoke('both:1')).value.value, (await invoke('both:2')).value.value], ['one', 'two'])
  })

  it('55 publishes are listed in order, $LATEST first, no last page empty; ListFunctions ALL has them too', async () => {
    await create('many', '0')
    for (let n = 1; n <= 55; n++) {
      await at.aws.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'many', Description: `step ${n}` }))
      assert.equal((await publish('many')).Version, String(n))
    }
    const expected = ['$LATEST', ...Array.from({ length: 55 }, (_, n) => String(n + 1))]
    for (const pageSize of [undefined, 7, 28, 10_000]) {
      const pages: string[][] = []
      const paging = pageSize === undefined ? { client: at.aws } : { client: at.aws, pageSize }
      for await (const page of paginateListVersionsByFunction(paging, { FunctionName: 'many' }))
        pages.push((page.Versions ?? []).map((one) => one.Version as string))
      assert.deepEqual(pages.flat(), expected)
      assert.ok(pages.every((page) => page.length > 0 && page.length <= Math.min(50, pageSize ?? 50)))
    }
    const { Versions = [], NextMarker } = await at.aws.send(new ListVersionsByFunctionCommand({ FunctionName: 'many', MaxItems: 56 }))
    assert.deepEqual([Versions.length, typeof NextMarker], [50, 'string'])
    assert.deepEqual([Versions[0]?.FunctionArn, Versions[1]?.FunctionArn, Versions[1]?.Description], [`${ARN}:many:$LATEST`, `${ARN}:many:1`, 'step 1'])
    assert.equal(Versions[1]?.State, undefined)
    const all: string[] = []
    for await (const page of paginateListFunctions({ client: at.aws, pageSize: 11 }, { FunctionVersion: 'ALL' }))
      all.push(...(page.Functions ?? []).map((one) => one.FunctionArn as string))
    assert.deepEqual(
      all.filter((arn) => arn.includes(':many:')),
      expected.map((version) => `${ARN}:many:${version}`),
    )
    assert.equal(new Set(all).size, all.length)
    const plain = (await at.aws.send(new ListFunctionsCommand({}))).Functions ?? []
    assert.deepEqual(
      plain.filter((one) => one.FunctionName === 'many').map((one) => [one.Version, one.FunctionArn]),
      [['$LATEST', `${ARN}:many`]],
    )
    await failsAs(at.aws.send(new ListVersionsByFunctionCommand({ FunctionName: 'many', MaxItems: 0 })), LambdaServiceException as never, 400, /maxItems/)
  })

  it('every form of a qualifier names one, and the ARN comes back as it was asked', async () => {
    await create('forms', 'one', { Publish: true })
    await at.aws.send(new CreateAliasCommand({ FunctionName: 'forms', Name: 'live', FunctionVersion: '1' }))
    for (const qualifier of ['1', 'live', '$LATEST']) {
      for (const [name, query] of [
        ['forms', qualifier],
        [`forms:${qualifier}`, undefined],
        [`forms:${qualifier}`, qualifier],
        [`function:forms:${qualifier}`, undefined],
        [`000000000000:function:forms:${qualifier}`, undefined],
        [`${ARN}:forms:${qualifier}`, undefined],
        [`${ARN}:forms`, qualifier],
      ] as const) {
        const found = await configuration(name, query)
        assert.deepEqual([found.FunctionArn, found.Version], [`${ARN}:forms:${qualifier}`, qualifier === '$LATEST' ? '$LATEST' : '1'], name)
        const got = await at.aws.send(new GetFunctionCommand({ FunctionName: name, ...(query === undefined ? {} : { Qualifier: query }) }))
        assert.deepEqual([got.Configuration?.FunctionArn, got.Tags], [`${ARN}:forms:${qualifier}`, undefined])
        assert.equal((await invoke(name, query)).value.arn, `${ARN}:forms:${qualifier}`)
      }
    }
    for (const work of [configuration, invoke]) {
      await failsAs(
        work('forms:1', '2'),
        InvalidParameterValueException,
        400,
        'The derived qualifier from the function name does not match the specified qualifier.',
      )
      for (const none of ['2', 'dead', '$LATEST.PUBLISHED', '01', '0'])
        await failsAs(work('forms', none), ResourceNotFoundException, 404, `Function not found: ${ARN}:forms:${none}`)
    }
    await failsAs(configuration('forms', '$latest'), ResourceNotFoundException, 404, `Function not found: ${ARN}:forms:$latest`)
    await failsAs(update('forms:1', 'two'), InvalidParameterValueException, 400, /\$LATEST/)
  })

  it('a number is never given twice; one that an alias names stays', async () => {
    await create('gone', 'one', { Publish: true })
    await update('gone', 'two', { Publish: true })
    await at.aws.send(new CreateAliasCommand({ FunctionName: 'gone', Name: 'live', FunctionVersion: '1' }))
    const remove = (qualifier?: string) =>
      at.aws.send(new DeleteFunctionCommand({ FunctionName: 'gone', ...(qualifier === undefined ? {} : { Qualifier: qualifier }) }))
    await failsAs(remove('1'), ResourceConflictException, 409, 'Unable to delete version because the following aliases reference it: [live]')
    await failsAs(remove('live'), InvalidParameterValueException, 400, 'Deletion of aliases is not currently supported.')
    await failsAs(remove('$LATEST'), InvalidParameterValueException, 400, '$LATEST version cannot be deleted without deleting the function.')
    await failsAs(remove('7'), ResourceNotFoundException, 404, `Function not found: ${ARN}:gone:7`)
    assert.equal((await remove('2')).$metadata.httpStatusCode, 204)
    await failsAs(invoke('gone', '2'), ResourceNotFoundException, 404, `Function not found: ${ARN}:gone:2`)
    assert.equal((await publish('gone')).Version, '3')
    await remove()
    await failsAs(configuration('gone', '1'), ResourceNotFoundException, 404, `Function not found: ${ARN}:gone:1`)
    await failsAs(at.aws.send(new GetAliasCommand({ FunctionName: 'gone', Name: 'live' })), ResourceNotFoundException, 404, `Function not found: ${ARN}:gone`)
    await create('gone', 'one')
    assert.equal((await publish('gone')).Version, '1', 'a function of the same name begins anew')
  })
})

describe('a new version', () => {
  const slow = (value: string) =>
    zipOf({ 'index.mjs': `export const handler = async (ms) => { await new Promise((r) => setTimeout(r, ms)); return ${JSON.stringify(value)} }` })
  const call = async (ms = 0) => {
    const reply = await at.aws.send(new InvokeCommand({ FunctionName: 'taken', Payload: Buffer.from(String(ms)), LogType: 'Tail' }))
    return { value: JSON.parse(Buffer.from(reply.Payload ?? []).toString()) as unknown, log: Buffer.from(reply.LogResult ?? '', 'base64').toString() }
  }

  it('takes the calls when it has started; calls in flight end on the old one', async () => {
    await create('taken', '', { Code: { ZipFile: await slow('old') } })
    assert.equal((await call()).value, 'old')
    const inFlight = call(1500)
    await new Promise((resolve) => setTimeout(resolve, 200))
    await at.aws.send(new UpdateFunctionCodeCommand({ FunctionName: 'taken', ZipFile: await slow('new') }))
    await waitUntilFunctionUpdatedV2({ client: at.aws, maxWaitTime: 20 }, { FunctionName: 'taken' })
    const next = await call()
    assert.equal(next.value, 'new')
    assert.doesNotMatch(next.log, /Cold Start/)
    assert.equal((await inFlight).value, 'old')
  })

  it('whose code does not load takes none, while calls go on; a later one that does, all', async () => {
    let calling = true
    const values = new Set<unknown>()
    const traffic = (async () => {
      while (calling) values.add((await call()).value)
    })()
    for (const broken of ['throw new Error("no database")', 'export const handler =', 'process.exit(3)']) {
      await at.aws.send(new UpdateFunctionCodeCommand({ FunctionName: 'taken', ZipFile: await zipOf({ 'index.mjs': broken }) }))
      const { State, LastUpdateStatus, LastUpdateStatusReason = '' } = await configuration('taken')
      assert.deepEqual([State, LastUpdateStatus], ['Active', 'Failed'], broken)
      assert.match(LastUpdateStatusReason, /no database|Runtime\.UserCodeSyntaxError|Runtime\.ExitError/)
    }
    calling = false
    await traffic
    assert.deepEqual([...values], ['new'])
    await at.aws.send(new UpdateFunctionCodeCommand({ FunctionName: 'taken', ZipFile: await slow('newest') }))
    assert.equal((await configuration('taken')).LastUpdateStatus, 'Successful')
    assert.equal((await call()).value, 'newest')
  })
})

describe('aliases by the unmodified SDK', () => {
  const alias = (name: string, version: string, more = {}) =>
    at.aws.send(new CreateAliasCommand({ FunctionName: 'routed', Name: name, FunctionVersion: version, ...more }))
  const move = (name: string, more: object) => at.aws.send(new UpdateAliasCommand({ FunctionName: 'routed', Name: name, ...more }))
  const executed = async (qualifier: string, calls: number) => {
    const count: Record<string, number> = {}
    for (let n = 0; n < calls; n += 20) {
      const replies = await Promise.all(
        Array.from({ length: 20 }, async () => await at.aws.send(new InvokeCommand({ FunctionName: 'routed', Qualifier: qualifier }))),
      )
      for (const { ExecutedVersion: version = '', Payload } of replies) {
        assert.equal((JSON.parse(Buffer.from(Payload ?? []).toString()) as { version: string }).version, version, 'what is said is what ran')
        count[version] = (count[version] ?? 0) + 1
      }
    }
    return count
  }
  before(async () => {
    await create('routed', 'one', { Publish: true })
    await update('routed', 'two', { Publish: true })
  })

  it('are made, read, changed and deleted', async () => {
    const made = await alias('live', '1', { Description: 'd' })
    const { $metadata, ...shown } = made
    assert.deepEqual(shown, { AliasArn: `${ARN}:routed:live`, Name: 'live', FunctionVersion: '1', Description: 'd', RevisionId: made.RevisionId })
    assert.equal($metadata.httpStatusCode, 201)
    assert.match(made.RevisionId ?? '', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    assert.equal((await invoke('routed', 'live')).value.value, 'one')
    const moved = await move('live', { FunctionVersion: '2', RevisionId: made.RevisionId })
    assert.deepEqual([moved.FunctionVersion, moved.Description], ['2', 'd'])
    await failsAs(
      move('live', { FunctionVersion: '1', RevisionId: made.RevisionId }),
      PreconditionFailedException,
      412,
      'The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id',
    )
    assert.equal((await invoke('routed:live')).value.value, 'two')
    assert.equal((await at.aws.send(new GetAliasCommand({ FunctionName: 'routed', Name: 'live' }))).FunctionVersion, '2')
    await alias('latest', '$LATEST')
    assert.equal((await invoke('routed', 'latest')).executed, '$LATEST')
    await failsAs(alias('live', '1'), ResourceConflictException, 409, `Alias already exists: ${ARN}:routed:live`)
    assert.equal((await at.aws.send(new DeleteAliasCommand({ FunctionName: 'routed', Name: 'live' }))).$metadata.httpStatusCode, 204)
    await failsAs(invoke('routed', 'live'), ResourceNotFoundException, 404, `Function not found: ${ARN}:routed:live`)
  })

  it('share calls by weight, and each call says which version it was', async () => {
    await alias('shared', '1', { RoutingConfig: { AdditionalVersionWeights: { 2: 0.3 } } })
    const calls = 400
    const count = await executed('shared', calls)
    const share = (count['2'] ?? 0) / calls
    // Four deviations of a coin of 0.3: one run in 15,000 lies outside.
    assert.ok(Math.abs(share - 0.3) < 4 * Math.sqrt((0.3 * 0.7) / calls), `a share of ${share}`)
    assert.equal((count['1'] ?? 0) + (count['2'] ?? 0), calls)
    assert.deepEqual((await move('shared', { Description: 'kept' })).RoutingConfig, { AdditionalVersionWeights: { 2: 0.3 } })
    assert.equal((await move('shared', { RoutingConfig: { AdditionalVersionWeights: {} } })).RoutingConfig, undefined)
    assert.deepEqual(await executed('shared', 20), { 1: 20 })
    await move('shared', { RoutingConfig: { AdditionalVersionWeights: { 2: 1 } } })
    assert.deepEqual(await executed('shared', 20), { 2: 20 })
    assert.equal((await move('shared', { RoutingConfig: {} })).RoutingConfig, undefined)
    await move('shared', { FunctionVersion: '2', RoutingConfig: { AdditionalVersionWeights: { 1: 0 } } })
    assert.deepEqual(await executed('shared', 20), { 2: 20 })
  })

  it('refuse what no alias can be', async () => {
    const weights = (...all: [string, number][]) => ({ RoutingConfig: { AdditionalVersionWeights: Object.fromEntries(all) } })
    await failsAs(
      alias('x', '1', weights(['2', 0.1], ['3', 0.1])),
      InvalidParameterValueException,
      400,
      'Number of items in AdditionalVersionWeights cannot be greater than 1',
    )
    await failsAs(
      alias('x', '1', weights(['1', 0.1])),
      InvalidParameterValueException,
      400,
      'Invalid function version 1. Function version 1 is already included in routing configuration.',
    )
    await failsAs(
      alias('x', '$LATEST', weights(['1', 0.1])),
      InvalidParameterValueException,
      400,
      '$LATEST is not supported for an alias pointing to more than 1 version',
    )
    for (const weight of [1.01, -0.1, 2])
      await failsAs(alias('x', '1', weights(['2', weight])), LambdaServiceException as never, 400, /AdditionalVersionWeights|additionalVersionWeights/)
    await failsAs(alias('x', '1', weights(['two', 0.1])), LambdaServiceException as never, 400, /Map keys must satisfy constraint/)
    await failsAs(alias('x', '1', weights(['9', 0.1])), ResourceNotFoundException, 404, `Function not found: ${ARN}:routed:9`)
    await failsAs(alias('x', '9'), ResourceNotFoundException, 404, `Function not found: ${ARN}:routed:9`)
    for (const name of ['1', 'a b', 'é', 'x'.repeat(129)]) {
      await assert.rejects(
        alias(name, '1'),
        (error: LambdaServiceException) => error.name === 'ValidationException' && error.message.includes("at 'name' failed"),
      )
    }
    await assert.rejects(
      alias('x', 'live'),
      (error: LambdaServiceException) => error.name === 'ValidationException' && error.message.includes("at 'functionVersion'"),
    )
    await failsAs(
      at.aws.send(new GetAliasCommand({ FunctionName: 'routed', Name: 'no' })),
      ResourceNotFoundException,
      404,
      `Cannot find alias arn: ${ARN}:routed:no`,
    )
    await failsAs(move('no', { FunctionVersion: '1' }), ResourceNotFoundException, 404, `Alias not found: ${ARN}:routed:no`)
    await failsAs(
      at.aws.send(new DeleteAliasCommand({ FunctionName: 'routed', Name: 'no' })),
      ResourceNotFoundException,
      404,
      `Alias not found: ${ARN}:routed:no`,
    )
    await failsAs(
      at.aws.send(new DeleteAliasCommand({ FunctionName: 'nothing', Name: 'no' })),
      ResourceNotFoundException,
      404,
      `Function not found: ${ARN}:nothing`,
    )
  })

  it('are listed by name, in pages, also by version', async () => {
    for (const [name, version] of [
      ['b', '1'],
      ['C', '2'],
      ['a', '$LATEST'],
    ] as const)
      await alias(name, version)
    const names = async (more = {}) => {
      const found: string[] = []
      for await (const page of paginateListAliases({ client: at.aws, pageSize: 2 }, { FunctionName: 'routed', ...more }))
        found.push(...(page.Aliases ?? []).map((one) => one.Name as string))
      return found
    }
    assert.deepEqual(await names(), ['C', 'a', 'b', 'latest', 'shared'])
    assert.deepEqual(
      [await names({ FunctionVersion: '1' }), await names({ FunctionVersion: '$LATEST' })],
      [
        ['b', 'shared'],
        ['a', 'latest'],
      ],
    )
  })

  it('a queued call keeps its alias, and finds out when it runs which version that is', async () => {
    const { StatusCode, $metadata } = await at.aws.send(new InvokeCommand({ FunctionName: 'routed:C', InvocationType: 'Event' }))
    assert.equal(StatusCode, 202)
    const execution = async () => {
      const reply = await fetch(`${at.node.ready.url}/api/v1/projects/demo/functions/routed/invocations?limit=20`, {
        headers: { apikey: at.node.ready.project.secretKey },
      })
      const { invocations } = (await reply.json()) as { invocations: { id: string; version: string; outcome: string | null }[] }
      return invocations.find((one) => one.id === $metadata.requestId)
    }
    for (let n = 0; n < 200 && (await execution())?.outcome !== 'ok'; n++) await new Promise((resolve) => setTimeout(resolve, 50))
    const { version, outcome } = (await execution()) ?? {}
    assert.deepEqual([version, outcome], ['2', 'ok'])
    await failsAs(
      at.aws.send(new InvokeCommand({ FunctionName: 'routed:no', InvocationType: 'Event' })),
      ResourceNotFoundException,
      404,
      `Function not found: ${ARN}:routed:no`,
    )
    await failsAs(
      at.aws.send(new InvokeCommand({ FunctionName: 'routed:no', InvocationType: 'DryRun' })),
      ResourceNotFoundException,
      404,
      `Function not found: ${ARN}:routed:no`,
    )
  })
})
