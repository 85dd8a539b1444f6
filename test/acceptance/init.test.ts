import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { GetQueueAttributesCommand, type QueueAttributeName, SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs'
import { readLogs, runMayfly } from './cloud-fixture.ts'
import { makeFolder, mayfly, ROOT, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'
import { type FakeRegistry, startRegistry } from './registry-fixture.ts'

let folder = ''
/** Below the checkout, so that packages of its own are found without installing them. */
let below = ''
let node: RunningMayfly
let registry: FakeRegistry

before(async () => {
  folder = makeFolder()
  mkdirSync(path.join(ROOT, 'node_modules', '.cache'), { recursive: true })
  below = mkdtempSync(path.join(ROOT, 'node_modules', '.cache', 'init-'))
  registry = await startRegistry()
  node = await startMayfly(path.join(folder, 'data'), ['--empty', '--npm-registry', registry.url])
})
after(async () => {
  await node?.stop()
  await registry?.[Symbol.asyncDispose]()
  removeFolder(folder)
  removeFolder(below)
})

const here = () => ({ XDG_STATE_HOME: path.join(folder, 'state') })
const init = (name: string, template: string, ...more: string[]) => {
  const at = path.join(below, name)
  const made = mayfly(['init', at, '--template', template, '--no-install', ...more])
  assert.equal(made.code, 0, made.stderr)
  return at
}
const deploy = (at: string) => {
  const made = mayfly(['deploy', at], here())
  assert.equal(made.code, 0, made.stderr)
  assert.match(made.stdout, /^Deployed\.$/m)
  return made.stdout
}
const call = (path: string, init: RequestInit = {}) =>
  fetch(`${node.ready.project.url}/functions/v1/${path}`, {
    ...init,
    headers: { apikey: node.ready.project.publishableKey, 'content-type': 'application/json' },
  })
const invoke = (name: string, event: string, ...more: string[]) => {
  const { code, stdout, stderr } = mayfly(['invoke', name, '--event', event, ...more], here())
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout) as { body: string }
}
const readJson = <T>(...parts: string[]) => JSON.parse(readFileSync(path.join(...parts), 'utf8')) as T

describe('mayfly init', () => {
  it('makes an http function that deploys and answers at once', async () => {
    const at = init('hello', 'http')
    deploy(at)
    const answer = await call('hello?name=Ada')
    assert.deepEqual(await answer.json(), { hello: 'Ada' })
    // The same request as an event.
    assert.equal(JSON.parse(invoke('hello', 'http', '--path', '/?name=Bo').body).hello, 'Bo')
  })

  it('makes a Lambda handler with a function URL', async () => {
    const at = init('echo', 'lambda')
    deploy(at)
    const { stdout } = mayfly(['url', 'echo', '--json'], here())
    const [{ url }] = (JSON.parse(stdout) as { urls: [{ url: string }] }).urls
    const answer = (await (await fetch(`${url}notes?a=1`, { method: 'POST', body: 'hello', headers: { 'content-type': 'text/plain' } })).json()) as object
    assert.deepEqual(answer, { method: 'POST', path: '/notes', query: { a: '1' }, body: 'hello' })
    // The same request as an event, without its address.
    assert.deepEqual(JSON.parse(invoke('echo', 'http', '--path', '/notes?a=1', '--body', 'hello').body), answer)
  })

  it("makes a function of Google's framework, whose packages the node installs", async () => {
    const at = path.join(folder, 'greeter')
    assert.equal(mayfly(['init', at, '--template', 'google']).code, 0)
    // The registry is this process's: it has to answer meanwhile.
    const made = await runMayfly(['deploy', at, '--data', path.join(folder, 'data')])
    assert.equal(made.code, 0, made.stderr)
    assert.deepEqual(await (await call('greeter?name=Ada')).json(), { hello: 'Ada' })
  })

  it('makes an app of Azure Functions', async () => {
    const at = path.join(folder, 'greetings')
    assert.equal(mayfly(['init', at, '--template', 'azure']).code, 0)
    // What the code itself names so stays.
    assert.ok(readFileSync(path.join(at, 'src', 'functions', 'hello.js'), 'utf8').includes('`hello to ${name}`'))
    const made = await runMayfly(['deploy', at, '--data', path.join(folder, 'data')])
    assert.equal(made.code, 0, made.stderr)
    const { urls } = JSON.parse(mayfly(['url', 'greetings', '--json'], here()).stdout) as { urls: [{ url: string }] }
    assert.equal(await (await fetch(`${urls[0].url}api/hello/Ada`)).text(), 'Hello, Ada!')
  })

  it('makes an API with a bucket: notes are written, listed, changed, removed', async () => {
    deploy(init('my-api', 'api'))
    const made = (await (await call('notes', { method: 'POST', body: '{"text":"one"}' })).json()) as { id: string }
    assert.equal((await call(`notes/${made.id}`, { method: 'PUT', body: '{"text":"two"}' })).status, 200)
    assert.equal(((await (await call(`notes/${made.id}`)).json()) as { text: string }).text, 'two')
    assert.deepEqual(await (await call('notes')).json(), { notes: [made.id] })
    assert.equal((await call(`notes/${made.id}`, { method: 'DELETE' })).status, 204)
    assert.equal((await call(`notes/${made.id}`)).status, 404)
    assert.equal((await call('notes', { method: 'POST', body: 'no JSON' })).status, 400)
  })

  it('makes functions for a schedule and for a queue: the clock starts the one, messages the other, and both run by events', async () => {
    const triggers = async (name: string) => {
      const answer = await fetch(`${node.ready.url}/api/v1/projects/demo/functions/${name}/triggers`, { headers: { apikey: node.ready.project.secretKey } })
      return ((await answer.json()) as { triggers: readonly { started: boolean; schedule?: object; queue?: object }[] }).triggers
    }
    assert.match(mayfly(['init', '--help']).stdout.replaceAll(/\s+/g, ' '), /cron: is started by the clock; queue: is started by messages/)
    const nightly = init('nightly', 'cron')
    const { warnings } = JSON.parse(mayfly(['deploy', nightly, '--json'], here()).stdout) as { warnings: string[] }
    assert.deepEqual(warnings, [])
    const [schedule] = await triggers('nightly')
    assert.deepEqual([schedule?.schedule, schedule?.started], [{ cron: '0 3 * * *', timezone: 'UTC' }, true])
    const ran = mayfly(['invoke', 'nightly', '--event', 'schedule'], here())
    assert.match((JSON.parse(ran.stdout) as { day: string }).day, /^\d{4}-\d\d-\d\d$/)
    deploy(init('mails', 'queue'))
    const [queue] = await triggers('mails')
    assert.deepEqual([queue?.queue, queue?.started], [{ name: 'mails', batchSize: 10 }, true])
    for (const [body, failures] of [
      [[], 0],
      [['--body', 'no JSON'], 1],
    ] as const) {
      const { stdout } = mayfly(['invoke', 'mails', '--event', 'queue', ...body], here())
      assert.equal((JSON.parse(stdout) as { batchItemFailures: object[] }).batchItemFailures.length, failures)
    }
    // A message of the queue itself, by a client of SQS.
    const { url, region, accessKey } = node.ready
    const sqs = new SQSClient({ endpoint: url, region, credentials: { accessKeyId: accessKey.id, secretAccessKey: accessKey.secret } })
    const QueueUrl = `${url}/000000000000/mails`
    await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: '{"to":"Grace"}' }))
    const AttributeNames: QueueAttributeName[] = ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible']
    for (const end = Date.now() + 60_000; ; await new Promise((resolve) => setTimeout(resolve, 100))) {
      const { Attributes = {} } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames }))
      const isDone = Object.values(Attributes).join() === '0,0'
      if (isDone && (await readLogs(node, 'mails')).includes('a message for Grace')) break
      assert.ok(Date.now() < end, 'the message is processed and gone')
    }
    sqs.destroy()
    // Again it changes nothing, and a schedule that is none is refused by its name.
    assert.match(mayfly(['deploy', nightly], here()).stdout, /Nothing changes/)
    const file = path.join(nightly, 'mayfly.json')
    writeFileSync(file, readFileSync(file, 'utf8').replace('0 3 * * *', '0 25 * * *'))
    const refused = mayfly(['deploy', nightly], here())
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /triggers\.0\.schedule\.cron: must be five fields/)
  })

  it('makes the photo app: its page is served and its function runs', async () => {
    const said = mayfly(['init', path.join(below, 'photos-of-mine'), '--template', 'photo-app', '--no-install'])
    assert.match(said.stdout, /^ {2}npx mayfly projects create photos-of-mine && npx mayfly deploy .*photos-of-mine --project photos-of-mine$/m)
    const at = init('pictures', 'photo-app')
    const page = path.join('site', 'app.ts')
    assert.equal(readFileSync(path.join(at, page), 'utf8'), readFileSync(path.join(ROOT, 'examples', 'photo-app', page), 'utf8'))
    assert.match(deploy(at), /^photo-app: http/m)
    // An object that is not there: its thumbnails go, and that is all.
    assert.equal(invoke('resize', 's3:put', '--bucket', 'avatars', '--key', 'no where.jpg'), null)
  })

  it('gives each function types and a schema that need no network', () => {
    for (const at of ['hello', 'echo', 'my-api', 'pictures', 'nightly', 'mails'].map((name) => path.join(below, name))) {
      for (const file of ['mayfly.json', 'notes/mayfly.json', 'resize/mayfly.json'].filter((one) => existsSync(path.join(at, one)))) {
        const { $schema } = readJson<{ $schema: string }>(at, file)
        assert.ok(readJson<{ definitions: object }>(path.dirname(path.join(at, file)), $schema).definitions, `${at}/${file}`)
      }
      assert.equal(readFileSync(path.join(at, 'README.md'), 'utf8').includes('{name}'), false)
    }
    const check = (at: string) =>
      execFileSync(path.join(ROOT, 'node_modules', '.bin', 'tsc'), ['-p', at], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
    for (const name of ['hello', 'echo', 'my-api', 'nightly', 'mails']) check(path.join(below, name))
    // The types are the package's own, and they hold.
    writeFileSync(
      path.join(below, 'hello', 'index.ts'),
      "import type { Handler } from '@mayfly/functions'\nexport const handler: Handler = async (_event, context) => context.nothing",
    )
    assert.throws(
      () => check(path.join(below, 'hello')),
      (error: { stdout?: string }) => /'nothing' does not exist/.test(error.stdout ?? ''),
    )
  })

  it('gives VS Code a way to each function, by the port of `mayfly inspect`', () => {
    interface Launch {
      readonly configurations: readonly {
        readonly type: string
        readonly request: string
        readonly port: number
        readonly localRoot: string
        readonly remoteRoot: string
      }[]
    }
    const usual = /default: "(\d+)"/.exec(mayfly(['inspect', '--help']).stdout)?.[1]
    for (const [name, roots] of [
      ['hello', ['']],
      ['echo', ['']],
      ['my-api', ['/notes']],
      ['pictures', ['/resize']],
      [path.join(folder, 'greeter'), ['']],
      [path.join(folder, 'greetings'), ['']],
    ] as const) {
      const { configurations } = readJson<Launch>(path.resolve(below, name), '.vscode', 'launch.json')
      assert.deepEqual(
        configurations.map(({ type, request, port, localRoot, remoteRoot }) => [type, request, String(port), localRoot, remoteRoot]),
        roots.map((root) => ['node', 'attach', usual, `\${workspaceFolder}${root}`, '/var/task']),
        name,
      )
    }
  })

  it('overwrites nothing, and says which templates there are', () => {
    const again = mayfly(['init', path.join(below, 'echo')])
    assert.equal(again.code, 2)
    assert.match(again.stderr, /has .*index\.ts.* already; nothing was written/)
    for (const [template, said] of [
      ['no-such', /there is http, api/],
      ['constructor', /there is http, api, photo-app, todo, cron, queue, lambda, azure, google/],
    ] as const) {
      const refused = mayfly(['init', path.join(below, 'other'), '--template', template])
      assert.equal(refused.code, 2)
      assert.match(refused.stderr, said)
    }
    assert.equal(mayfly(['init', path.join(below, 'not a name')]).code, 2)
    assert.equal(existsSync(path.join(below, 'not a name')), false)
  })
})
