import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import {
  CreateAliasCommand,
  CreateFunctionCommand,
  DeleteFunctionCommand,
  DeleteFunctionConcurrencyCommand,
  DeleteProvisionedConcurrencyConfigCommand,
  GetFunctionCommand,
  GetFunctionConcurrencyCommand,
  GetProvisionedConcurrencyConfigCommand,
  InvokeCommand,
  type LambdaClient,
  LambdaServiceException,
  paginateListProvisionedConcurrencyConfigs,
  PublishVersionCommand,
  PutFunctionConcurrencyCommand,
  PutProvisionedConcurrencyConfigCommand,
  TooManyRequestsException,
  UpdateAliasCommand,
  UpdateFunctionCodeCommand,
  waitUntilFunctionActiveV2,
} from '@aws-sdk/client-lambda'
import { awsOf } from './aws.ts'
import { makeFolder, mayfly, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

let folder = ''
let node: RunningMayfly
let aws: LambdaClient

const SLEEPS = 'export const handler = async (event) => { await new Promise((done) => setTimeout(done, event.ms ?? 0)); return event.ms ?? 0 }'

async function create(name: string, code: string = SLEEPS, memory = 128): Promise<void> {
  await aws.send(
    new CreateFunctionCommand({
      FunctionName: name,
      Runtime: 'nodejs24.x',
      Handler: 'index.handler',
      Role: ROLE,
      Timeout: 20,
      MemorySize: memory,
      Code: { ZipFile: await zipOf({ 'index.mjs': code }) },
    }),
  )
  await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 20 }, { FunctionName: name })
}
const invoke = async (name: string, event: unknown = {}) =>
  Buffer.from((await aws.send(new InvokeCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)) }))).Payload ?? []).toString()
const reserve = (name: string, reserved: number) => aws.send(new PutFunctionConcurrencyCommand({ FunctionName: name, ReservedConcurrentExecutions: reserved }))
const failsAs = async (work: Promise<unknown>, name: string, status: number, message: string) => {
  await assert.rejects(work, (error: unknown) => {
    assert.ok(error instanceof LambdaServiceException, String(error))
    assert.deepEqual([error.name, error.$metadata.httpStatusCode, error.message], [name, status, message])
    return true
  })
}
const until = async (what: () => Promise<boolean> | boolean, seconds: number) => {
  for (let i = 0; i < seconds * 10; i++) {
    if (await what()) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.fail(`not within ${seconds} s: ${what}`)
}

before(async () => {
  folder = makeFolder()
  node = await startMayfly(`${folder}/data`, ['--empty', '--invoke-wait-ms', '200'])
  aws = awsOf(node.ready)
})
after(async () => {
  aws?.destroy()
  await node?.stop()
  removeFolder(folder)
})

describe('reserved concurrency by the unmodified SDK', () => {
  before(() => create('reserved'))

  it('is set, read, shown by GetFunction and taken back', async () => {
    const FunctionName = 'reserved'
    const bare = ({ $metadata, ...members }: { $metadata: unknown }) => members
    assert.deepEqual(bare(await aws.send(new GetFunctionConcurrencyCommand({ FunctionName }))), {})
    assert.equal((await aws.send(new GetFunctionCommand({ FunctionName }))).Concurrency, undefined)
    assert.deepEqual(bare(await reserve(FunctionName, 7)), { ReservedConcurrentExecutions: 7 })
    assert.deepEqual(bare(await aws.send(new GetFunctionConcurrencyCommand({ FunctionName }))), { ReservedConcurrentExecutions: 7 })
    assert.deepEqual((await aws.send(new GetFunctionCommand({ FunctionName }))).Concurrency, { ReservedConcurrentExecutions: 7 })
    assert.equal((await aws.send(new DeleteFunctionConcurrencyCommand({ FunctionName }))).$metadata.httpStatusCode, 204)
    assert.deepEqual(bare(await aws.send(new GetFunctionConcurrencyCommand({ FunctionName }))), {})
    await aws.send(new DeleteFunctionConcurrencyCommand({ FunctionName })) // nothing to take back is no error
  })

  it('refuses what AWS refuses, in its words', async () => {
    const tooMuch = "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]."
    await failsAs(reserve('reserved', 901), 'InvalidParameterValueException', 400, tooMuch)
    await create('other')
    await reserve('other', 600)
    await failsAs(reserve('reserved', 301), 'InvalidParameterValueException', 400, tooMuch)
    await reserve('reserved', 300)
    await aws.send(new DeleteFunctionCommand({ FunctionName: 'other' }))
    await reserve('reserved', 900)
    await aws.send(new DeleteFunctionConcurrencyCommand({ FunctionName: 'reserved' }))
    await failsAs(
      reserve('reserved', -1),
      'ValidationException',
      400,
      "1 validation error detected: Value '-1' at 'reservedConcurrentExecutions' failed to satisfy constraint: Member must have value greater than or equal to 0",
    )
    await failsAs(
      reserve('reserved:$LATEST', 1),
      'InvalidParameterValueException',
      400,
      'This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.',
    )
    const missing = 'Function not found: arn:aws:lambda:us-east-1:000000000000:function:nothing'
    await failsAs(reserve('nothing', 1), 'ResourceNotFoundException', 404, `${missing}:$LATEST`)
    await failsAs(aws.send(new GetFunctionConcurrencyCommand({ FunctionName: 'nothing' })), 'ResourceNotFoundException', 404, missing)
    await failsAs(aws.send(new DeleteFunctionConcurrencyCommand({ FunctionName: 'nothing' })), 'ResourceNotFoundException', 404, missing)
  })

  it('holds calls back past it, with the reason; others go on', async () => {
    await create('free')
    await reserve('reserved', 2)
    const running = [invoke('reserved', { ms: 4_000 }), invoke('reserved', { ms: 4_000 })]
    await new Promise((resolve) => setTimeout(resolve, 500))
    await assert.rejects(invoke('reserved'), (error: unknown) => {
      assert.ok(error instanceof TooManyRequestsException, String(error))
      assert.deepEqual(
        [error.$metadata.httpStatusCode, error.Reason, error.Type, error.message, error.retryAfterSeconds],
        [429, 'ReservedFunctionConcurrentInvocationLimitExceeded', 'User', 'Rate Exceeded.', '1'],
      )
      return true
    })
    const byHttp = await fetch(`${node.ready.url}/functions/v1/reserved`, { headers: { apikey: node.ready.project.secretKey } })
    assert.deepEqual([byHttp.status, ((await byHttp.json()) as { code: string }).code], [429, 'function_concurrency_reached'])
    assert.equal(await invoke('free'), '0')
    assert.deepEqual(await Promise.all(running), ['4000', '4000'])
    assert.equal(await invoke('reserved'), '0')
  })

  it('of 0 refuses every call but takes events, which wait without spending an attempt and run when it is lifted', async () => {
    await create('blocked', "export const handler = async () => 'ran'")
    await reserve('blocked', 0)
    await assert.rejects(invoke('blocked'), { name: 'TooManyRequestsException', Reason: 'ReservedFunctionConcurrentInvocationLimitExceeded' })
    const taken = await aws.send(new InvokeCommand({ FunctionName: 'blocked', InvocationType: 'Event', Payload: Buffer.from('{}') }))
    assert.equal(taken.StatusCode, 202)
    const ask = async (what: string) => {
      const headers = { authorization: `Bearer ${readFileSync(`${node.data}/operator.token`, 'utf8').trim()}` }
      return await (await fetch(`${node.ready.url}/api/v1/projects/demo/${what}`, { headers })).json()
    }
    const queued = async () => ((await ask('queue')) as { entries: { attempt: number; spent: number }[] }).entries[0]
    await until(async () => ((await queued())?.attempt ?? 0) >= 2, 20)
    assert.equal((await queued())?.spent, 0)
    await aws.send(new DeleteFunctionConcurrencyCommand({ FunctionName: 'blocked' }))
    await until(async () => (await queued()) === undefined, 30)
    assert.deepEqual(((await ask('dead-letters')) as { deadLetters: unknown[] }).deadLetters, [])
    const ran = (await ask('functions/blocked/invocations')) as { invocations: { outcome: string }[] }
    assert.ok(ran.invocations.some(({ outcome }) => outcome === 'ok'))
  })

  it('is in force after a restart of the node', async () => {
    await reserve('reserved', 0)
    aws.destroy()
    await node.stop()
    node = await startMayfly(`${folder}/data`)
    aws = awsOf(node.ready)
    await assert.rejects(invoke('reserved'), { name: 'TooManyRequestsException' })
    await aws.send(new DeleteFunctionConcurrencyCommand({ FunctionName: 'reserved' }))
    assert.equal(await invoke('reserved'), '0')
  })
})

describe('provisioned concurrency by the unmodified SDK', () => {
  const code = (version: number) => `export const handler = async () => ({ version: ${version}, kind: process.env.AWS_LAMBDA_INITIALIZATION_TYPE })`
  const put = (FunctionName: string, Qualifier: string, ProvisionedConcurrentExecutions: number) =>
    aws.send(new PutProvisionedConcurrencyConfigCommand({ FunctionName, Qualifier, ProvisionedConcurrentExecutions }))
  const get = (FunctionName: string, Qualifier: string) => aws.send(new GetProvisionedConcurrencyConfigCommand({ FunctionName, Qualifier }))
  const becomes = async (name: string, qualifier: string, status: 'READY' | 'FAILED') => {
    await until(async () => (await get(name, qualifier)).Status === status, 20)
    return await get(name, qualifier)
  }
  const call = async (name: string, qualifier: string) => {
    const reply = await aws.send(new InvokeCommand({ FunctionName: name, Qualifier: qualifier, LogType: 'Tail' }))
    const log = Buffer.from(reply.LogResult ?? '', 'base64').toString()
    return { ...(JSON.parse(Buffer.from(reply.Payload ?? []).toString()) as { version: number; kind: string }), isCold: /Cold Start|Init Duration/.test(log) }
  }
  const publish = async (name: string) => (await aws.send(new PublishVersionCommand({ FunctionName: name }))).Version as string

  before(async () => {
    await create('warm', code(1))
    assert.equal(await publish('warm'), '1')
    await aws.send(new CreateAliasCommand({ FunctionName: 'warm', Name: 'live', FunctionVersion: '1' }))
  })

  it('refuses what AWS refuses, in its words', async () => {
    const arn = 'arn:aws:lambda:us-east-1:000000000000:function:warm'
    const unpublished = 'Provisioned Concurrency Configs cannot be applied to unpublished function versions.'
    await failsAs(put('warm', '$LATEST', 1), 'InvalidParameterValueException', 400, unpublished)
    await failsAs(put('warm', '9', 1), 'ResourceNotFoundException', 404, `Function not found: ${arn}:9`)
    await failsAs(put('warm', 'nobody', 1), 'ResourceNotFoundException', 404, `Cannot find alias arn: ${arn}:nobody`)
    await failsAs(
      put('warm', '1', 0),
      'ValidationException',
      400,
      "1 validation error detected: Value '0' at 'provisionedConcurrentExecutions' failed to satisfy constraint: Member must have value greater than or equal to 1",
    )
    const none = 'No Provisioned Concurrency Config found for this function'
    await failsAs(get('warm', 'live'), 'ProvisionedConcurrencyConfigNotFoundException', 404, none)
    const onlyPublished = 'The function resource provided must be an alias or a published version.'
    await failsAs(get('warm', '$LATEST'), 'InvalidParameterValueException', 400, onlyPublished)
    await failsAs(
      put('warm', '1', 901),
      'InvalidParameterValueException',
      400,
      "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].",
    )
  })

  it('keeps sandboxes of what an alias names loaded: its calls are warm, the first ones too', async () => {
    const { $metadata, LastModified, ...asked } = await put('warm', 'live', 2)
    assert.equal($metadata.httpStatusCode, 202)
    assert.match(LastModified ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$/)
    assert.deepEqual(asked, {
      RequestedProvisionedConcurrentExecutions: 2,
      AvailableProvisionedConcurrentExecutions: 0,
      AllocatedProvisionedConcurrentExecutions: 0,
      Status: 'IN_PROGRESS',
    })
    const { $metadata: _, ...ready } = await becomes('warm', 'live', 'READY')
    assert.deepEqual(ready, {
      RequestedProvisionedConcurrentExecutions: 2,
      AvailableProvisionedConcurrentExecutions: 2,
      AllocatedProvisionedConcurrentExecutions: 2,
      Status: 'READY',
      LastModified,
    })
    assert.deepEqual(await call('warm', 'live'), { version: 1, kind: 'provisioned-concurrency', isCold: false })
    assert.deepEqual((await call('warm', '$LATEST')).kind, 'on-demand')
  })

  it('is of an alias or of its version, not of both, and within what is reserved', async () => {
    await failsAs(put('warm', '1', 1), 'ResourceConflictException', 409, 'Version is pointed by a Provisioned Concurrency alias')
    await create('both', code(1))
    await publish('both')
    await aws.send(new CreateAliasCommand({ FunctionName: 'both', Name: 'live', FunctionVersion: '1' }))
    await put('both', '1', 1)
    const already = "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
    await failsAs(put('both', 'live', 1), 'ResourceConflictException', 409, already)
    await reserve('both', 2)
    const tooMany = 'Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function'
    await failsAs(put('both', '1', 3), 'InvalidParameterValueException', 400, tooMany)
    await put('both', '1', 2)
    const tooFew = " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2]."
    await failsAs(reserve('both', 1), 'InvalidParameterValueException', 400, tooFew)
    const arns: (string | undefined)[] = []
    for await (const page of paginateListProvisionedConcurrencyConfigs({ client: aws }, { FunctionName: 'both' }))
      for (const one of page.ProvisionedConcurrencyConfigs ?? []) arns.push(one.FunctionArn)
    assert.deepEqual(arns, ['arn:aws:lambda:us-east-1:000000000000:function:both:1'])
    await aws.send(new DeleteFunctionCommand({ FunctionName: 'both' }))
  })

  it('follows the alias to another version', async () => {
    await aws.send(new UpdateFunctionCodeCommand({ FunctionName: 'warm', ZipFile: await zipOf({ 'index.mjs': code(2) }) }))
    const version = await publish('warm')
    await aws.send(new UpdateAliasCommand({ FunctionName: 'warm', Name: 'live', FunctionVersion: version }))
    await becomes('warm', 'live', 'READY')
    assert.deepEqual(await call('warm', 'live'), { version: 2, kind: 'provisioned-concurrency', isCold: false })
  })

  it('says when the code does not load, and when the memory does not do', async () => {
    await create('broken', 'if (process.env.AWS_LAMBDA_FUNCTION_NAME) throw new Error("does not load"); export const handler = async () => 1')
    await put('broken', await publish('broken'), 1)
    const failed = await becomes('broken', '1', 'FAILED')
    assert.deepEqual([failed.StatusReason, failed.AvailableProvisionedConcurrentExecutions], ['FUNCTION_ERROR_INIT_FAILURE', 0])
    const listed = mayfly(['versions', 'broken', '--data', node.data])
    assert.match(listed.stdout, /^1 .* 0 of 1 loaded \(failed\)/m)
    assert.match(listed.stderr, /^1: the code does not load \(FUNCTION_ERROR_INIT_FAILURE\): does not load$/m)
    await create('huge', code(1), 10_240)
    await put('huge', await publish('huge'), 400)
    assert.match((await becomes('huge', '1', 'FAILED')).StatusReason ?? '', /^400 sandboxes of 10240 MB do not fit: of the \d+ MB that provisioned sandboxes/)
    await aws.send(new DeleteFunctionCommand({ FunctionName: 'huge' }))
  })

  it('is there again after a restart of the node, and goes when it is taken back', async () => {
    aws.destroy()
    await node.stop()
    node = await startMayfly(`${folder}/data`)
    aws = awsOf(node.ready)
    await becomes('warm', 'live', 'READY')
    assert.deepEqual(await call('warm', 'live'), { version: 2, kind: 'provisioned-concurrency', isCold: false })
    const gone = await aws.send(new DeleteProvisionedConcurrencyConfigCommand({ FunctionName: 'warm', Qualifier: 'live' }))
    assert.equal(gone.$metadata.httpStatusCode, 204)
    await failsAs(get('warm', 'live'), 'ProvisionedConcurrencyConfigNotFoundException', 404, 'No Provisioned Concurrency Config found for this function')
  })
})

describe('concurrency in mayfly.json', () => {
  it('is what a deploy makes of it, shown by ls, and goes when the file says it no more', async () => {
    const source = path.join(folder, 'own')
    mkdirSync(source)
    writeFileSync(path.join(source, 'index.ts'), 'export const handler = async () => process.env.AWS_LAMBDA_INITIALIZATION_TYPE')
    const at = ['--data', node.data]
    const deploy = (settings: object) => {
      writeFileSync(path.join(source, 'mayfly.json'), JSON.stringify(settings))
      return mayfly(['deploy', source, ...at])
    }
    const shown = () => /^own .*$/m.exec(mayfly(['ls', ...at]).stdout)?.[0] ?? ''
    assert.equal(deploy({ reservedConcurrency: 3, provisioned: 1 }).code, 0)
    assert.deepEqual((await aws.send(new GetFunctionCommand({ FunctionName: 'own' }))).Concurrency, { ReservedConcurrentExecutions: 3 })
    await until(() => shown().endsWith('3 calls, 1 of 1 loaded'), 20)
    assert.equal(await invoke('own'), '"provisioned-concurrency"')
    assert.match(deploy({ reservedConcurrency: 3, provisioned: 1 }).stdout, /Nothing changes/)
    const refused = deploy({ reservedConcurrency: 3, provisioned: 4 })
    assert.equal(refused.code, 1)
    assert.match(
      refused.stderr,
      /^provisioned: 4 sandboxes are more than the 3 calls that `reservedConcurrency` lets run at once: keep fewer, or reserve more$/m,
    )

    assert.match(
      deploy({ reservedConcurrency: 0, provisioned: 1 }).stderr,
      /^reservedConcurrency: 0 calls are fewer than the 1 sandboxes that are kept loaded/m,
    )
    assert.match(deploy({ reservedConcurrency: 1000 }).stderr, /reservedConcurrency: must be a whole number of calls from 0 to 900/)
    assert.equal(deploy({}).code, 0)
    await until(() => shown().endsWith('active'), 20)
    assert.equal((await aws.send(new GetFunctionCommand({ FunctionName: 'own' }))).Concurrency, undefined)
    assert.equal(await invoke('own'), '"on-demand"')
  })
  it('has the secrets as they are, and goes with its function', async () => {
    const source = path.join(folder, 'secretive')
    mkdirSync(source)
    writeFileSync(path.join(source, 'index.ts'), 'export const handler = async () => [process.env.WORD, process.env.AWS_LAMBDA_INITIALIZATION_TYPE]')
    writeFileSync(path.join(source, 'mayfly.json'), JSON.stringify({ provisioned: 2, secrets: ['WORD'] }))
    const at = ['--data', node.data]
    const provisioned = async (state: string) => {
      const headers = { authorization: `Bearer ${readFileSync(`${node.data}/operator.token`, 'utf8').trim()}` }
      const page = await (await fetch(`${node.ready.url}/metrics`, { headers })).text()
      return Number(new RegExp(`^mayfly_provisioned_sandboxes\\{state="${state}"\\} (\\d+)$`, 'm').exec(page)?.[1])
    }
    const others = await provisioned('wanted')
    assert.equal(mayfly(['secrets', 'set', 'WORD=first', ...at]).code, 0)
    assert.equal(mayfly(['deploy', source, ...at]).code, 0)
    const isReady = async () => (await provisioned('wanted')) === others + 2 && /2 of 2 loaded/.test(mayfly(['ls', ...at]).stdout)
    await until(isReady, 20)
    assert.equal(await invoke('secretive'), '["first","provisioned-concurrency"]')
    assert.equal(mayfly(['secrets', 'set', 'WORD=second', ...at]).code, 0)
    assert.match(await invoke('secretive'), /^\["second"/)
    await until(isReady, 20)
    await until(async () => (await invoke('secretive')) === '["second","provisioned-concurrency"]', 10)
    assert.equal(mayfly(['rm', 'secretive', ...at]).code, 0)
    await until(async () => (await provisioned('wanted')) === others, 10)
  })
})
