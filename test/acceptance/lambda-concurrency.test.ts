import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import {
  CreateFunctionCommand,
  DeleteFunctionCommand,
  DeleteFunctionConcurrencyCommand,
  GetFunctionCommand,
  GetFunctionConcurrencyCommand,
  InvokeCommand,
  type LambdaClient,
  LambdaServiceException,
  PutFunctionConcurrencyCommand,
  TooManyRequestsException,
  waitUntilFunctionActiveV2,
} from '@aws-sdk/client-lambda'
import { awsOf, makeFolder, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

let folder = ''
let node: RunningMayfly
let aws: LambdaClient

const SLEEPS = 'export const handler = async (event) => { await new Promise((done) => setTimeout(done, event.ms ?? 0)); return event.ms ?? 0 }'

async function create(name: string, code: string = SLEEPS): Promise<void> {
  await aws.send(
    new CreateFunctionCommand({
      FunctionName: name,
      Runtime: 'nodejs24.x',
      Handler: 'index.handler',
      Role: ROLE,
      Timeout: 20,
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
  node = await startMayfly(`${folder}/data`)
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
    await failsAs(reserve('nothing', 1), 'ResourceNotFoundException', 404, missing)
    await failsAs(aws.send(new GetFunctionConcurrencyCommand({ FunctionName: 'nothing' })), 'ResourceNotFoundException', 404, missing)
    await failsAs(aws.send(new DeleteFunctionConcurrencyCommand({ FunctionName: 'nothing' })), 'ResourceNotFoundException', 404, missing)
  })

  it('holds calls back past it, with the reason; others go on', async () => {
    await create('free')
    await reserve('reserved', 2)
    const running = [invoke('reserved', { ms: 2_000 }), invoke('reserved', { ms: 2_000 })]
    await new Promise((resolve) => setTimeout(resolve, 500))
    await assert.rejects(invoke('reserved'), (error: unknown) => {
      assert.ok(error instanceof TooManyRequestsException, String(error))
      assert.deepEqual(
        [error.$metadata.httpStatusCode, error.Reason, error.Type, error.message, error.retryAfterSeconds],
        [429, 'ReservedFunctionConcurrentInvocationLimitExceeded', 'User', 'Rate Exceeded.', '1'],
      )
      return true
    })
    assert.equal(await invoke('free'), '0')
    const byHttp = await fetch(`${node.ready.url}/functions/v1/reserved`, { headers: { apikey: node.ready.project.secretKey } })
    assert.deepEqual([byHttp.status, ((await byHttp.json()) as { code: string }).code], [429, 'function_concurrency_reached'])
    assert.deepEqual(await Promise.all(running), ['2000', '2000'])
    assert.equal(await invoke('reserved'), '0')
  })

  it('of 0 refuses every call but takes events, which wait without spending an attempt and run when it is lifted', async () => {
    const source = 'let n = 0; export const handler = async (event) => { if (event.count) return n; n += 1; return n }'
    await create('blocked', source)
    await reserve('blocked', 0)
    await assert.rejects(invoke('blocked'), { name: 'TooManyRequestsException', Reason: 'ReservedFunctionConcurrentInvocationLimitExceeded' })
    const taken = await aws.send(new InvokeCommand({ FunctionName: 'blocked', InvocationType: 'Event', Payload: Buffer.from('{}') }))
    assert.equal(taken.StatusCode, 202)
    const queued = async () => {
      const headers = { authorization: `Bearer ${readFileSync(`${node.data}/operator.token`, 'utf8').trim()}` }
      const listed = await fetch(`${node.ready.url}/api/v1/projects/demo/queue`, { headers })
      return ((await listed.json()) as { entries: { attempt: number; spent: number }[] }).entries[0]
    }
    await until(async () => ((await queued())?.attempt ?? 0) >= 2, 20)
    assert.equal((await queued())?.spent, 0)
    await aws.send(new DeleteFunctionConcurrencyCommand({ FunctionName: 'blocked' }))
    await until(async () => (await invoke('blocked', { count: true })) === '1', 30)
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
