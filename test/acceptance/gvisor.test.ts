import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { CreateFunctionCommand, InvokeCommand, type LambdaClient, waitUntilFunctionActiveV2 } from '@aws-sdk/client-lambda'
import { awsOf } from './aws.ts'
import { makeFolder, processes, ROLE, type RunningMayfly, removeFolder, startMayfly, zipOf } from './harness.ts'

const NODE = `
import fs from 'node:fs'
import os from 'node:os'
let calls = 0
export const handler = async ({ bytes }) => {
  fs.writeFileSync('/tmp/kept', Buffer.alloc(bytes))
  const answer = await fetch(process.env.MAYFLY_URL + '/storage/v1/bucket', { headers: { apikey: process.env.MAYFLY_KEY } })
  return { kernel: os.release(), uid: process.getuid(), calls: ++calls, interfaces: Object.keys(os.networkInterfaces()), status: answer.status, buckets: await answer.json() }
}
`
const FORKS = `
import { spawn } from 'node:child_process'
export const handler = async ({ count }) => {
  const all = Array.from({ length: count }, () => spawn('sleep', ['20'], { stdio: 'ignore' }).on('error', () => {}))
  const begun = all.filter(({ pid }) => pid !== undefined).length
  for (const one of all) one.kill('SIGKILL')
  return { begun }
}
`
const PYTHON = `
def handler(event, context):
    return {'sum': sum(event['numbers']), 'kernel': open('/proc/version').read()}
`
const isRoot = process.getuid?.() === 0
const skip = !isRoot ? 'gVisor takes root' : existsSync('/usr/bin/runsc') ? false : 'needs the package runsc'

describe('--sandbox gvisor', { skip }, () => {
  let folder = ''
  let node: RunningMayfly
  let aws: LambdaClient
  const create = async (name: string, runtime: string, handler: string, files: Record<string, string>) => {
    const code = {
      FunctionName: name,
      Runtime: runtime as never,
      Handler: handler,
      Role: ROLE,
      Timeout: 60,
      MemorySize: 256,
      Code: { ZipFile: await zipOf(files) },
    }
    await aws.send(new CreateFunctionCommand(code))
    await waitUntilFunctionActiveV2({ client: aws, maxWaitTime: 60 }, { FunctionName: name })
  }
  const invoke = async (name: string, event: unknown): Promise<Record<string, unknown>> => {
    const reply = await aws.send(new InvokeCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)) }))
    const text = Buffer.from(reply.Payload ?? []).toString()
    assert.equal(reply.FunctionError, undefined, text)
    return JSON.parse(text) as Record<string, unknown>
  }
  before(async () => {
    folder = makeFolder()
    node = await startMayfly(`${folder}/data`, ['--empty', '--sandbox', 'gvisor', '--sandbox-pool-size', '1'])
    aws = awsOf(node.ready)
  })
  after(async () => {
    aws?.destroy()
    await node?.stop()
    assert.deepEqual(
      processes().filter(({ args }) => args.includes('runsc') && args.includes(folder)),
      [],
    )
    removeFolder(folder)
  })

  it('is in force, with a kernel of its own', async () => {
    assert.equal(node.ready.sandbox.driver, 'gvisor')
    assert.ok(node.ready.sandbox.limits.includes('own-kernel'))
    const health = (await (await fetch(`${node.ready.url}/health`)).json()) as { sandbox: { driver: string; missing: { what: string }[] } }
    assert.equal(health.sandbox.driver, 'gvisor')
    assert.ok(health.sandbox.missing.some(({ what }) => what === 'compile cache'))
  })

  it('runs a function of Node, warm too, which reaches its project and nothing else', async () => {
    await create('hello', 'nodejs24.x', 'index.handler', { 'index.mjs': NODE })
    const host = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim()
    const first = await invoke('hello', { bytes: 1_000 })
    assert.notEqual(first.kernel, host)
    assert.deepEqual({ ...first, kernel: '' }, { kernel: '', uid: 1000, calls: 1, interfaces: ['lo'], status: 200, buckets: [] })
    assert.equal((await invoke('hello', { bytes: 1_000 })).calls, 2)
  })

  it('ends one that begins processes without end, says so in the log of its call, and serves the next', async () => {
    await create('forks', 'nodejs24.x', 'index.handler', { 'index.mjs': FORKS })
    const reply = await aws.send(new InvokeCommand({ FunctionName: 'forks', Payload: Buffer.from('{"count":2000}'), LogType: 'Tail' }))
    const log = Buffer.from(reply.LogResult ?? '', 'base64').toString()
    assert.match(Buffer.from(reply.Payload ?? []).toString(), /Runtime\.ExitError/)
    assert.match(log, /signal: killed, as it began more than the 128 processes and threads that a sandbox may have/)
    assert.deepEqual(await invoke('forks', { count: 3 }), { begun: 3 })
  })

  it('runs a function of Python', { skip: existsSync('/usr/bin/python3') ? false : 'needs python3' }, async () => {
    const version = /^(\d+\.\d+)/.exec(readFileSync('/usr/share/python3/debian_defaults', 'utf8').match(/default-version = python([\d.]+)/)?.[1] ?? '')?.[1]
    await create('sum', `python${version}`, 'index.handler', { 'index.py': PYTHON })
    const { sum, kernel } = await invoke('sum', { numbers: [1, 2, 3] })
    assert.deepEqual([sum, /4\.4\.0/.test(String(kernel))], [6, true])
  })

  it('does not fork for calls of Python, and says so', async () => {
    const { url, project } = node.ready
    const at = `${url}/api/v1/projects/${project.ref}`
    const headers = { apikey: project.secretKey }
    const zip = await zipOf({ 'index.py': PYTHON })
    const artefact = createHash('sha256').update(zip).digest('hex')
    await fetch(`${at}/artefacts/${artefact}`, { method: 'PUT', headers, body: new Uint8Array(zip) })
    const put = async (body: object) => {
      const response = await fetch(`${at}/functions/forked`, { method: 'PUT', headers, body: JSON.stringify({ artefact, handler: 'index.handler', ...body }) })
      return { status: response.status, text: await response.text() }
    }
    const refused = await put({ runtime: 'python3.11', reuse: 'fork' })
    assert.equal(refused.status, 400, refused.text)
    assert.match(refused.text, /reuse: `fork` takes a kernel that keeps the processes of calls apart.*`never` gives each call a sandbox of its own/)
    const { status, text } = await put({ runtime: 'python3.11', reuse: 'never' })
    assert.equal(status, 201, text)
  })
})
