import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import {
  CreateFunctionCommand,
  GetAccountSettingsCommand,
  GetFunctionConfigurationCommand,
  InvokeCommand,
  LambdaServiceException,
  UpdateFunctionConfigurationCommand,
} from '@aws-sdk/client-lambda'
import { awsOf, makeFolder, mayfly, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

let folder = ''
let node: RunningMayfly

before(async () => {
  folder = makeFolder()
  node = await startMayfly(path.join(folder, 'data'))
})
after(async () => {
  await node?.stop()
  removeFolder(folder)
})

const cli = (...args: string[]) => mayfly([...args, '--data', node.data])
const json = <T>(...args: string[]): T => {
  const { code, stdout, stderr } = cli(...args, '--json')
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout) as T
}

/** Writes a function into a folder of its own and deploys it. */
function deploy(name: string, settings: object, code: string | Record<string, string> = 'export const handler = async () => 1', ...more: string[]) {
  const at = path.join(folder, name)
  mkdirSync(at, { recursive: true })
  for (const [file, text] of Object.entries(typeof code === 'string' ? { 'index.mjs': code } : code)) writeFileSync(path.join(at, file), text)
  writeFileSync(path.join(at, 'mayfly.json'), JSON.stringify(settings))
  return cli('deploy', at, '--json', ...more)
}

const management = async (method: string, route: string, key: string, body?: unknown) => {
  const response = await fetch(`${node.ready.url}/api/v1/${route}`, {
    method,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  // biome-ignore lint/suspicious/noExplicitAny: replies are looked into freely
  return { status: response.status, body: (text === '' ? null : JSON.parse(text)) as any }
}

const failsAs = (name: string, status: number, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof LambdaServiceException, String(error))
  assert.deepEqual([error.name, error.$metadata.httpStatusCode], [name, status])
  assert.match(error.message, message)
  return true
}

describe('a limit profile of a project', () => {
  it('holds deploys, configuration and queued events to its numbers; what is beyond it already goes on, and says so', async () => {
    const aws = awsOf(node.ready)
    const { ref } = node.ready.project
    assert.equal(deploy('large', { memory: 2048 }, 'export const handler = async () => 1').code, 0)
    const listed = json<{ projects: { ref: string; profile: string }[] }>('projects')
    assert.deepEqual(
      listed.projects.map((one) => [one.ref, one.profile]),
      [[ref, 'mayfly']],
    )
    assert.equal(cli('projects', 'set', ref, '--profile', 'lambda-2017').code, 0)
    assert.match(cli('projects').stdout, /lambda-2017/)
    assert.match(cli('projects', 'show', ref).stdout, /memory +128 to 1500 MB\n +timeout +1 to 300 s/)
    assert.match(cli('projects', 'profiles').stdout, /lambda-2017 +128 to 1500 MB/)

    for (const dry of [[], ['--dry-run']]) {
      const refused = deploy('new', { memory: 1501, timeout: 301 }, undefined, ...dry)
      assert.equal(refused.code, 1)
      assert.match(
        refused.stderr + refused.stdout,
        /memory: 1501 MB is more than the 1500 MB that the limit profile lambda-2017 .*timeout: 301 s is more than the 300 s/,
      )
    }
    assert.equal(deploy('new', { memory: 1500, timeout: 300 }).code, 0)
    assert.equal(json<{ payload: number }>('invoke', 'large').payload, 1)
    const again = deploy('large', { memory: 2048 }, 'export const handler = async () => 2')
    assert.equal(again.code, 0)
    assert.match(again.stderr + again.stdout, /memory: 2048 MB is more than the 1500 MB that the limit profile lambda-2017 .* stays until it is changed/)
    assert.equal(json<{ payload: number }>('invoke', 'large').payload, 2)

    await assert.rejects(
      aws.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'new', Timeout: 600 })),
      failsAs('InvalidParameterValueException', 400, /^timeout: 600 s is more than the 300 s that the limit profile lambda-2017 /),
    )
    const code = { ZipFile: await zipOf({ 'index.mjs': 'export const handler = async () => 1' }) }
    await assert.rejects(
      aws.send(new CreateFunctionCommand({ FunctionName: 'made', Runtime: 'nodejs24.x', Handler: 'index.handler', Role: ROLE, Code: code, MemorySize: 3008 })),
      failsAs('InvalidParameterValueException', 400, /^memory: 3008 MB is more than the 1500 MB/),
    )
    assert.equal((await aws.send(new GetFunctionConfigurationCommand({ FunctionName: 'new' }))).Timeout, 300)

    const event = (bytes: number) => new InvokeCommand({ FunctionName: 'new', InvocationType: 'Event', Payload: Buffer.from(`"${'x'.repeat(bytes - 2)}"`) })
    assert.equal((await aws.send(event(131_072))).StatusCode, 202)
    await assert.rejects(aws.send(event(131_073)), failsAs('RequestTooLargeException', 413, /smaller than 131072 bytes/))
    const queued = await management('POST', `projects/${ref}/functions/new/invoke?async=1`, node.ready.project.secretKey, 'x'.repeat(131_071))
    assert.equal(queued.body.code, 'payload_too_large')
    assert.match(queued.body.message, /131072 bytes, by the limit profile lambda-2017/)

    assert.equal((await aws.send(new GetAccountSettingsCommand({}))).AccountLimit?.CodeSizeZipped, 52_428_800)
    // What it means is the operator's to choose; the project may look.
    const shown = await management('GET', `projects/${ref}`, node.ready.project.secretKey)
    assert.deepEqual([shown.body.project.profile, shown.body.limits.memory.most], ['lambda-2017', 1500])
    for (const body of [{ profile: 'mayfly' }])
      assert.equal((await management('PATCH', `projects/${ref}`, node.ready.project.secretKey, body)).body.code, 'not_allowed')
    const unknown = cli('projects', 'set', ref, '--profile', 'lambda-1999')
    assert.equal(unknown.code, 1)
    assert.match(unknown.stderr, /profile: one of `mayfly`, `lambda`, `lambda-2017`/)
    assert.equal(cli('projects', 'set', 'nobody', '--profile', 'lambda').code, 5)

    // It outlives the node.
    await node.stop()
    node = await startMayfly(node.data)
    assert.match(cli('projects').stdout, /lambda-2017/)
    assert.equal(cli('projects', 'set', ref, '--profile', 'mayfly').code, 0)
    assert.equal(deploy('new', { memory: 1501, timeout: 301 }).code, 0)
  })
})
