import { after, before } from 'node:test'
import path from 'node:path'
import { existsSync } from 'node:fs'
import {
  CreateFunctionCommand,
  InvokeCommand,
  InvokeWithResponseStreamCommand,
  type InvokeWithResponseStreamCompleteEvent,
  type LambdaClient,
  waitUntilFunctionActiveV2,
} from '@aws-sdk/client-lambda'
import { awsOf } from './aws.ts'
import { makeFolder, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

export const noPython = existsSync('/usr/bin/python3') ? false : 'needs the package python3'

/** A node for one file of tests, and what they ask of it; its parts are there once the tests run. */
export function runtimesNode() {
  const at = { folder: '', node: null as unknown as RunningMayfly, aws: null as unknown as LambdaClient }
  before(async () => {
    at.folder = makeFolder()
    at.node = await startMayfly(path.join(at.folder, 'data'))
    at.aws = awsOf(at.node.ready)
  })
  after(async () => {
    await at.node?.stop()
    if (at.folder) removeFolder(at.folder)
  })

  async function deploy(
    name: string,
    Runtime: string,
    files: Record<string, string | Buffer>,
    more: Partial<CreateFunctionCommand['input']> = {},
  ): Promise<void> {
    const ZipFile = await zipOf(files, ['bootstrap'])
    await at.aws.send(
      new CreateFunctionCommand({
        FunctionName: name,
        Runtime: Runtime as 'provided',
        Handler: 'app.handler',
        Role: ROLE,
        Timeout: 10,
        Code: { ZipFile },
        ...more,
      }),
    )
    await waitUntilFunctionActiveV2({ client: at.aws, maxWaitTime: 30 }, { FunctionName: name })
  }

  async function invoke(name: string, event: unknown, more: Partial<InvokeCommand['input']> = {}) {
    const reply = await at.aws.send(new InvokeCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)), LogType: 'Tail', ...more }))
    const text = Buffer.from(reply.Payload ?? []).toString()
    const log = Buffer.from(reply.LogResult ?? '', 'base64').toString()
    return { text, value: text === '' ? null : JSON.parse(text), error: reply.FunctionError ?? null, log }
  }

  /** Also waits for the end of the call, as the log's last lines do. */
  async function bytesOf(name: string, event: unknown) {
    const reply = await at.aws.send(new InvokeCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)), LogType: 'Tail' }))
    return { text: Buffer.from(reply.Payload ?? []).toString(), error: reply.FunctionError ?? null }
  }

  /** All of a stream: each chunk with the time when it came, and how it ended. */
  async function read(name: string, event: unknown) {
    const reply = await at.aws.send(new InvokeWithResponseStreamCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)) }))
    const chunks: { at: number; bytes: Uint8Array }[] = []
    let end: InvokeWithResponseStreamCompleteEvent = {}
    for await (const one of reply.EventStream ?? []) {
      if (one.PayloadChunk) chunks.push({ at: performance.now(), bytes: one.PayloadChunk.Payload ?? new Uint8Array() })
      if (one.InvokeComplete) end = one.InvokeComplete
    }
    return { chunks, end, text: Buffer.concat(chunks.map(({ bytes }) => bytes)).toString() }
  }

  return { at, deploy, invoke, bytesOf, read }
}
