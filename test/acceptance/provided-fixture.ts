import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { after, before } from 'node:test'
import { CreateFunctionCommand, InvokeCommand, type LambdaClient, waitUntilFunctionActiveV2 } from '@aws-sdk/client-lambda'
import { awsOf } from './aws.ts'
import { makeFolder, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

/** Null when it went well, else why it did not. */
export function failureOf(program: string, args: readonly string[], cwd: string, environment: Record<string, string> = {}): string | null {
  const { status, error, stderr } = spawnSync(program, args, { cwd, encoding: 'utf8', timeout: 600_000, env: { ...process.env, ...environment } })
  return status === 0 ? null : `${path.basename(program)}: ${error?.message ?? stderr.trim().split('\n').at(-1)}`
}

/** A node for one file of tests, to which they bring a `bootstrap`. */
export function providedNode() {
  let folder = ''
  let node: RunningMayfly
  let aws: LambdaClient
  before(async () => {
    folder = makeFolder()
    node = await startMayfly(path.join(folder, 'data'))
    aws = awsOf(node.ready)
  })
  after(async () => {
    await node?.stop()
    if (folder) removeFolder(folder)
  })

  async function deploy(name: string, files: Record<string, string | Buffer>, Variables: Record<string, string> = {}): Promise<void> {
    const Code = { ZipFile: await zipOf(files, ['bootstrap']) }
    await aws.send(
      new CreateFunctionCommand({
        FunctionName: name,
        Runtime: 'provided.al2023',
        Handler: 'app.handler',
        Role: ROLE,
        Timeout: 10,
        MemorySize: 256,
        Code,
        Environment: { Variables },
      }),
    )
    await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 30 }, { FunctionName: name })
  }
  async function invoke(name: string, event: unknown) {
    const reply = await aws.send(new InvokeCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)), LogType: 'Tail' }))
    const text = Buffer.from(reply.Payload ?? []).toString()
    return { value: JSON.parse(text), error: reply.FunctionError ?? null, log: Buffer.from(reply.LogResult ?? '', 'base64').toString() }
  }
  const folderFor = (name: string) => {
    const at = path.join(folder, name)
    mkdirSync(at)
    return at
  }
  return { aws: () => aws, folderFor, deploy, invoke }
}
