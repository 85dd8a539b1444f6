import assert from 'node:assert/strict'
import { after, before } from 'node:test'
import {
  CreateFunctionCommand,
  InvokeCommand,
  type InvokeCommandInput,
  type LambdaClient,
  LambdaServiceException,
  waitUntilFunctionActiveV2,
} from '@aws-sdk/client-lambda'
import { awsOf } from './aws.ts'
import { makeFolder, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

interface Wanted {
  /** Seconds. */
  readonly timeout?: number
  readonly memory?: number
  /** Where its code stands; `index.mjs` when not given. */
  readonly file?: string
  readonly environment?: Record<string, string>
}

/**
 * A node for one file of tests, and functions of one file of code on it, by the unmodified SDK; `at` is filled once the tests run.
 * @param then  what else comes before all tests: a further hook of the file would run beside this one, not behind it
 */
export function lambdaNode(then: () => Promise<void> = async () => {}) {
  const at = { folder: '', node: null as unknown as RunningMayfly, aws: null as unknown as LambdaClient }
  before(async () => {
    at.folder = makeFolder()
    at.node = await startMayfly(`${at.folder}/data`)
    at.aws = awsOf(at.node.ready)
    await then()
  })
  after(async () => {
    at.aws?.destroy()
    await at.node?.stop()
    if (at.folder) removeFolder(at.folder)
  })

  /** Resolves when it takes calls. */
  async function create(name: string, code: string, { timeout = 10, memory = 128, file = 'index.mjs', environment }: Wanted = {}): Promise<void> {
    await at.aws.send(
      new CreateFunctionCommand({
        FunctionName: name,
        Runtime: 'nodejs24.x',
        Handler: 'index.handler',
        Role: ROLE,
        Timeout: timeout,
        MemorySize: memory,
        Code: { ZipFile: await zipOf({ [file]: code }) },
        ...(environment ? { Environment: { Variables: environment } } : {}),
      }),
    )
    await waitUntilFunctionActiveV2({ client: at.aws, maxWaitTime: 30 }, { FunctionName: name })
  }

  /** As the client sees it: status, the header of an error, the payload's bytes, the tail of the log, and how long it took. */
  async function invoke(name: string, event: unknown = {}, more: Partial<InvokeCommandInput> = {}) {
    const from = performance.now()
    const payload = Buffer.from(JSON.stringify(event))
    const reply = await at.aws.send(new InvokeCommand({ FunctionName: name, Payload: payload, LogType: 'Tail', ...more }))
    const text = Buffer.from(reply.Payload ?? []).toString()
    const log = Buffer.from(reply.LogResult ?? '', 'base64').toString()
    return {
      ms: performance.now() - from,
      status: reply.StatusCode,
      error: reply.FunctionError ?? null,
      id: reply.$metadata.requestId as string,
      version: reply.ExecutedVersion,
      text,
      /** Read when it is asked for: not every payload is JSON. */
      get value(): unknown {
        return text === '' ? null : JSON.parse(text)
      },
      log,
      report: log.split('\n').find((line) => line.startsWith('REPORT')) ?? '',
    }
  }
  return { at, create, invoke }
}

export async function failsAs(work: Promise<unknown>, name: string, status: number, message: RegExp): Promise<void> {
  await assert.rejects(work, (error: unknown) => {
    assert.ok(error instanceof LambdaServiceException, String(error))
    assert.deepEqual([error.name, error.$metadata.httpStatusCode], [name, status])
    assert.match(error.message, message)
    return true
  })
}
