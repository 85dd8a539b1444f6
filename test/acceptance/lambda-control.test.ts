import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Sha256 } from '@aws-crypto/sha256-js'
import {
  AddPermissionCommand,
  CreateFunctionCommand,
  GetFunctionConfigurationCommand,
  GetFunctionEventInvokeConfigCommand,
  GetPolicyCommand,
  InvokeCommand,
  type LambdaClient,
  PolicyLengthExceededException,
  PreconditionFailedException,
  PutFunctionEventInvokeConfigCommand,
  RemovePermissionCommand,
  ResourceConflictException,
  ResourceNotFoundException,
  UpdateFunctionConfigurationCommand,
  waitUntilFunctionUpdatedV2,
} from '@aws-sdk/client-lambda'
import { SignatureV4 } from '@smithy/signature-v4'
import { awsOf } from './aws.ts'
import { makeFolder, makeQueue, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

let folder = ''
let node: RunningMayfly
let aws: LambdaClient

before(async () => {
  folder = makeFolder()
  node = await startMayfly(`${folder}/data`)
  aws = awsOf(node.ready)
  await create('plain')
  await makeQueue(node.ready, 'q')
})
after(async () => {
  aws?.destroy()
  await node?.stop()
  removeFolder(folder)
})

const arnOf = (name: string) => `arn:aws:lambda:us-east-1:000000000000:function:${name}`

async function create(name: string, code = 'export const handler = async (event) => event'): Promise<void> {
  const Code = { ZipFile: await zipOf({ 'index.mjs': code }) }
  await aws.send(new CreateFunctionCommand({ FunctionName: name, Runtime: 'nodejs24.x', Handler: 'index.handler', Role: ROLE, Code }))
}

/** A request as it is, signed or not: what an SDK would check before it sends is seen by the node. */
async function raw(method: string, at: string, body: string | null = null, signed = true) {
  const { accessKey, region, url } = node.ready
  const { host, protocol, hostname, port } = new URL(url)
  const [path = '', query = ''] = at.split('?')
  let headers: Record<string, string> = {}
  if (signed) {
    const signer = new SignatureV4({ service: 'lambda', region, sha256: Sha256, credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret } })
    const request = { method, protocol, hostname, port: Number(port), path, headers: { host }, body: body ?? undefined }
    const made = await signer.sign({ ...request, query: Object.fromEntries(new URLSearchParams(query)) })
    headers = Object.fromEntries(Object.entries(made.headers).filter(([name]) => name !== 'host'))
  }
  const response = await fetch(url + at, { method, headers, ...(body === null ? {} : { body }) })
  const text = await response.text()
  return { status: response.status, code: response.headers.get('x-amzn-errortype'), type: response.headers.get('content-type'), text }
}

const tag = encodeURIComponent(arnOf('plain'))
const F = '/2015-03-31/functions/plain'
const statement = '{"StatementId":"a","Action":"lambda:InvokeFunction","Principal":"*"}'
const NOT_FOUND = 'ResourceNotFoundException'
const INVALID = 'InvalidParameterValueException'
const NIL = '00000000-0000-0000-0000-000000000000'
const SOURCES = '/2015-03-31/event-source-mappings'
const EVENT = '/2019-09-25/functions/plain/event-invoke-config'
const RECURSION = '/2024-08-31/functions/plain/recursion-config'
const RUNTIME = '/2021-07-20/functions/plain/runtime-management-config'
const SIGNING = '/2020-06-30/functions/plain/code-signing-config'
const SIGNERS = '/2020-04-22/code-signing-configs'
const PROVIDERS = '/2025-11-30/capacity-providers'
const SCALING = '/2025-11-30/functions/plain/function-scaling-config'
const DURABLE = '/2025-12-01/durable-executions/none'
const CALLBACK = '/2025-12-01/durable-execution-callbacks/none'
const CSC = 'arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-0123456789abcdef0'
const source = '{"FunctionName":"plain","EventSourceArn":"arn:aws:sqs:us-east-1:000000000000:q"}'
const signer = '{"AllowedPublishers":{"SigningProfileVersionArns":["arn:aws:signer:us-east-1:000000000000:/signing-profiles/a"]}}'
const provider = '{"CapacityProviderName":"a","VpcConfig":{},"PermissionsConfig":{}}'
const policy = JSON.stringify({ Policy: '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*"}]}' })

/** Every route, what it answers to who signed, and in which order they were called: what is deleted was there before. */
const ROUTES: [route: string, at: string, body: string | null, status: number, code?: string][] = [
  ['POST /2015-03-31/functions/:name/policy', `${F}/policy`, statement, 201],
  ['GET /2015-03-31/functions/:name/policy', `${F}/policy`, null, 200],
  ['DELETE /2015-03-31/functions/:name/policy/:statement', `${F}/policy/a`, null, 204],
  ['PUT /2026-07-09/resource-policy/:resource', `/2026-07-09/resource-policy/${tag}`, policy, 200],
  ['GET /2026-07-09/resource-policy/:resource', `/2026-07-09/resource-policy/${tag}`, null, 200],
  ['DELETE /2026-07-09/resource-policy/:resource', `/2026-07-09/resource-policy/${tag}`, null, 204],
  ['POST /2015-03-31/event-source-mappings', SOURCES, source, 202],
  ['POST /2015-03-31/event-source-mappings/', `${SOURCES}/`, source, 409, 'ResourceConflictException'],
  ['GET /2015-03-31/event-source-mappings', SOURCES, null, 200],
  ['GET /2015-03-31/event-source-mappings/', `${SOURCES}/`, null, 200],
  ['GET /2015-03-31/event-source-mappings/:uuid', `${SOURCES}/${NIL}`, null, 404, NOT_FOUND],
  ['PUT /2015-03-31/event-source-mappings/:uuid', `${SOURCES}/${NIL}`, '{}', 404, NOT_FOUND],
  ['DELETE /2015-03-31/event-source-mappings/:uuid', `${SOURCES}/${NIL}`, null, 404, NOT_FOUND],
  ['PUT /2019-09-25/functions/:name/event-invoke-config', EVENT, '{"MaximumRetryAttempts":1}', 200],
  ['POST /2019-09-25/functions/:name/event-invoke-config', EVENT, '{"MaximumRetryAttempts":2}', 200],
  ['GET /2019-09-25/functions/:name/event-invoke-config', EVENT, null, 200],
  ['GET /2019-09-25/functions/:name/event-invoke-config/list', `${EVENT}/list`, null, 200],
  ['DELETE /2019-09-25/functions/:name/event-invoke-config', EVENT, null, 204],
  ['GET /2016-08-19/account-settings', '/2016-08-19/account-settings', null, 200],
  ['GET /2016-08-19/account-settings/', '/2016-08-19/account-settings/', null, 200],
  ['PUT /2024-08-31/functions/:name/recursion-config', RECURSION, '{"RecursiveLoop":"Terminate"}', 200],
  ['GET /2024-08-31/functions/:name/recursion-config', RECURSION, null, 200],
  ['PUT /2021-07-20/functions/:name/runtime-management-config', RUNTIME, '{"UpdateRuntimeOn":"Auto"}', 200],
  ['GET /2021-07-20/functions/:name/runtime-management-config', RUNTIME, null, 200],
  // What this platform has nothing of.
  ['PUT /2020-06-30/functions/:name/code-signing-config', SIGNING, `{"CodeSigningConfigArn":"${CSC}"}`, 404, 'CodeSigningConfigNotFoundException'],
  ['DELETE /2020-06-30/functions/:name/code-signing-config', SIGNING, null, 204],
  ['POST /2020-04-22/code-signing-configs', SIGNERS, signer, 400, INVALID],
  ['POST /2020-04-22/code-signing-configs/', `${SIGNERS}/`, signer, 400, INVALID],
  ['GET /2020-04-22/code-signing-configs', SIGNERS, null, 200],
  ['GET /2020-04-22/code-signing-configs/', `${SIGNERS}/`, null, 200],
  ['GET /2020-04-22/code-signing-configs/:arn', `${SIGNERS}/${CSC}`, null, 404, NOT_FOUND],
  ['PUT /2020-04-22/code-signing-configs/:arn', `${SIGNERS}/${CSC}`, '{}', 404, NOT_FOUND],
  ['DELETE /2020-04-22/code-signing-configs/:arn', `${SIGNERS}/${CSC}`, null, 404, NOT_FOUND],
  ['GET /2020-04-22/code-signing-configs/:arn/functions', `${SIGNERS}/${CSC}/functions`, null, 404, NOT_FOUND],
  ['POST /2025-11-30/capacity-providers', PROVIDERS, provider, 400, INVALID],
  ['GET /2025-11-30/capacity-providers', PROVIDERS, null, 200],
  ['GET /2025-11-30/capacity-providers/:provider', `${PROVIDERS}/a`, null, 404, NOT_FOUND],
  ['PUT /2025-11-30/capacity-providers/:provider', `${PROVIDERS}/a`, '{}', 404, NOT_FOUND],
  ['DELETE /2025-11-30/capacity-providers/:provider', `${PROVIDERS}/a`, null, 404, NOT_FOUND],
  ['GET /2025-11-30/capacity-providers/:provider/function-versions', `${PROVIDERS}/a/function-versions`, null, 404, NOT_FOUND],
  ['GET /2025-11-30/functions/:name/function-scaling-config', `${SCALING}?Qualifier=$LATEST`, null, 200],
  ['PUT /2025-11-30/functions/:name/function-scaling-config', `${SCALING}?Qualifier=$LATEST`, '{}', 400, INVALID],
  ['GET /2025-12-01/functions/:name/durable-executions', '/2025-12-01/functions/plain/durable-executions', null, 200],
  ['GET /2025-12-01/durable-executions/:execution', DURABLE, null, 404, NOT_FOUND],
  ['GET /2025-12-01/durable-executions/:execution/history', `${DURABLE}/history`, null, 404, NOT_FOUND],
  ['GET /2025-12-01/durable-executions/:execution/state', `${DURABLE}/state`, null, 400, INVALID],
  ['POST /2025-12-01/durable-executions/:execution/checkpoint', `${DURABLE}/checkpoint`, '{}', 400, INVALID],
  ['POST /2025-12-01/durable-executions/:execution/pause', `${DURABLE}/pause`, null, 404, NOT_FOUND],
  ['POST /2025-12-01/durable-executions/:execution/resume', `${DURABLE}/resume`, null, 404, NOT_FOUND],
  ['DELETE /2025-12-01/durable-executions/:execution', DURABLE, null, 404, NOT_FOUND],
  ['POST /2025-12-01/durable-executions/:execution/stop', `${DURABLE}/stop`, '{}', 404, NOT_FOUND],
  ['POST /2025-12-01/durable-execution-callbacks/:callback/fail', `${CALLBACK}/fail`, '{}', 404, NOT_FOUND],
  ['POST /2025-12-01/durable-execution-callbacks/:callback/heartbeat', `${CALLBACK}/heartbeat`, null, 404, NOT_FOUND],
  ['POST /2025-12-01/durable-execution-callbacks/:callback/succeed', `${CALLBACK}/succeed`, 'raw bytes', 404, NOT_FOUND],
]

describe('the routes of the Lambda API', () => {
  for (const [route, at, body, status, code] of ROUTES) {
    it(`${route}: turns away who has not signed, and serves who has`, async () => {
      const method = route.split(' ')[0] as string
      const refused = await raw(method, at, body, false)
      assert.deepEqual([refused.status, refused.code], [403, 'MissingAuthenticationTokenException'])
      const answer = await raw(method, at, body)
      assert.deepEqual([answer.status, answer.code], [status, code ?? null], answer.text)
      assert.equal(answer.type, status === 204 ? null : 'application/json')
    })
  }
})

describe('resource policies by the SDK', () => {
  it('has statements as JSON texts, errors as classes, and a revision id that is the function’s', async () => {
    await create('policy')
    const FunctionName = 'policy'
    await assert.rejects(aws.send(new GetPolicyCommand({ FunctionName })), ResourceNotFoundException)
    const base = { FunctionName, Action: 'lambda:InvokeFunction', Principal: 's3.amazonaws.com', SourceArn: 'arn:aws:s3:::photos' }
    const { Statement = '' } = await aws.send(new AddPermissionCommand({ ...base, StatementId: 'one', SourceAccount: '123456789012' }))
    assert.deepEqual(Object.keys(JSON.parse(Statement) as object), ['Sid', 'Effect', 'Principal', 'Action', 'Resource', 'Condition'])
    const { Policy = '', RevisionId } = await aws.send(new GetPolicyCommand({ FunctionName }))
    assert.deepEqual((JSON.parse(Policy) as { Statement: unknown[] }).Statement, [JSON.parse(Statement)])
    assert.equal(RevisionId, (await aws.send(new GetFunctionConfigurationCommand({ FunctionName }))).RevisionId)
    await assert.rejects(aws.send(new AddPermissionCommand({ ...base, StatementId: 'one' })), ResourceConflictException)
    await assert.rejects(aws.send(new AddPermissionCommand({ ...base, StatementId: 'two', RevisionId: 'x' })), PreconditionFailedException)
    const SourceArn = `arn:aws:s3:::${'x'.repeat(9_900)}`
    await aws.send(new AddPermissionCommand({ ...base, StatementId: 'two', SourceArn }))
    await assert.rejects(aws.send(new AddPermissionCommand({ ...base, StatementId: 'three', SourceArn })), (error: unknown) => {
      assert.ok(error instanceof PolicyLengthExceededException, String(error))
      assert.match(error.message, /bigger than the limit \(20480\)/)
      return true
    })
    for (const StatementId of ['one', 'two']) await aws.send(new RemovePermissionCommand({ FunctionName, StatementId }))
    await assert.rejects(aws.send(new RemovePermissionCommand({ FunctionName, StatementId: 'one' })), /No policy is associated with the given resource/)
  })
})

describe('LoggingConfig', () => {
  it('makes the platform’s lines JSON, and tells the runtime', async () => {
    await create('logs', 'export const handler = async () => [process.env.AWS_LAMBDA_LOG_FORMAT, process.env.AWS_LAMBDA_LOG_LEVEL]')
    const FunctionName = 'logs'
    const LoggingConfig = { LogFormat: 'JSON', ApplicationLogLevel: 'WARN' } as const
    const updated = await aws.send(new UpdateFunctionConfigurationCommand({ FunctionName, LoggingConfig }))
    assert.deepEqual(updated.LoggingConfig, { ...LoggingConfig, SystemLogLevel: 'INFO', LogGroup: '/aws/lambda/logs' })
    await waitUntilFunctionUpdatedV2({ client: aws, maxWaitTime: 20 }, { FunctionName })
    const { Payload, LogResult } = await aws.send(new InvokeCommand({ FunctionName, LogType: 'Tail' }))
    assert.deepEqual(JSON.parse(Buffer.from(Payload ?? []).toString()), ['JSON', 'WARN'])
    const lines = Buffer.from(LogResult ?? '', 'base64')
      .toString()
      .trim()
      .split('\n')
    const events = lines.map((line) => JSON.parse(line) as { type: string; record: { status?: string; metrics?: { memorySizeMB?: number } } })
    assert.deepEqual(
      events.map(({ type }) => type),
      ['platform.start', 'platform.report'],
    )
    assert.deepEqual([events[1]?.record.status, events[1]?.record.metrics?.memorySizeMB], ['success', 128])
  })
})

describe('event invoke configurations', () => {
  const manage = async (at: string) => {
    const response = await fetch(`${node.ready.url}/api/v1/projects/demo${at}`, { headers: { apikey: node.ready.project.secretKey } })
    return (await response.json()) as { deadLetters?: { reason: string; attempts: number }[]; lines?: { text: string }[] }
  }
  const until = async <T>(what: () => Promise<T | undefined>): Promise<T> => {
    for (const end = performance.now() + 30_000; performance.now() < end; await new Promise((resolve) => setTimeout(resolve, 100))) {
      const found = await what()
      if (found !== undefined) return found
    }
    return assert.fail('it did not come to that')
  }
  const told = (condition: string) =>
    until(async () => {
      const { lines = [] } = await manage('/functions/told/logs?limit=100')
      const text = lines.map((line) => /told (\{.*)$/.exec(line.text)?.[1]).find((one) => one?.includes(condition))
      return text === undefined ? undefined : (JSON.parse(text) as Record<string, never>)
    })

  it('decide how often an asynchronous call is tried, and which function is told how it ended', async () => {
    await create('told', "export const handler = async (event) => console.log('told ' + JSON.stringify(event))")
    await create('ends', "export const handler = async (event) => { if (event.bad) throw new TypeError('no'); return { good: event.n } }")
    const FunctionName = 'ends'
    const to = { Destination: arnOf('told') }
    const put = { FunctionName, MaximumRetryAttempts: 0, DestinationConfig: { OnSuccess: to, OnFailure: to } }
    const set = await aws.send(new PutFunctionEventInvokeConfigCommand(put))
    assert.ok(set.LastModified instanceof Date)
    assert.equal(set.FunctionArn, `${arnOf('ends')}:$LATEST`)
    const send = (event: unknown) => aws.send(new InvokeCommand({ FunctionName, InvocationType: 'Event', Payload: Buffer.from(JSON.stringify(event)) }))
    await send({ n: 7 })
    const success = await told('"Success"')
    assert.deepEqual(Object.keys(success), ['version', 'timestamp', 'requestContext', 'requestPayload', 'responseContext', 'responsePayload'])
    assert.partialDeepStrictEqual(success, {
      requestContext: { functionArn: `${arnOf('ends')}:$LATEST`, approximateInvokeCount: 1 },
      requestPayload: { n: 7 },
      responseContext: { statusCode: 200, executedVersion: '$LATEST' },
      responsePayload: { good: 7 },
    })
    await send({ bad: true })
    const failure = await told('"RetriesExhausted"')
    assert.partialDeepStrictEqual(failure, {
      requestContext: { approximateInvokeCount: 1 },
      responseContext: { functionError: 'Unhandled' },
      responsePayload: { errorType: 'TypeError', errorMessage: 'no' },
    })
    const { deadLetters } = await manage('/dead-letters?function=ends')
    assert.deepEqual(
      deadLetters?.map(({ reason, attempts }) => [reason, attempts]),
      [['attempts', 1]],
    )
    await assert.rejects(aws.send(new GetFunctionEventInvokeConfigCommand({ FunctionName: 'told' })), ResourceNotFoundException)
  })
})
