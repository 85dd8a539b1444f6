import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createClient } from '@supabase/supabase-js'
import { copyApp, operatorOf, readLogs, runMayfly } from './cloud-fixture.ts'
import { Dev } from './dev-fixture.ts'
import { makeFolder, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'
import { type FakeRegistry, startRegistry } from './registry-fixture.ts'

const until = async (what: () => Promise<boolean>) => {
  for (const end = Date.now() + 30_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 100))) if (await what()) return
  assert.fail('it did not come to that')
}

/** A framework of one package, for what is not about the framework. */
function smallFramework(at: string): string {
  mkdirSync(at)
  writeFileSync(path.join(at, 'package.json'), JSON.stringify({ name: '@google-cloud/functions-framework', version: '5.9.0' }))
  writeFileSync(path.join(at, 'index.js'), 'exports.all = new Map()\nexports.http = (name, run) => exports.all.set(name, run)\n')
  writeFileSync(path.join(at, 'README.md'), 'Ann')
  writeFileSync(path.join(at, 'index.d.ts'), 'export {}\n')
  writeFileSync(
    path.join(at, 'testing.js'),
    "const { all } = require('./index.js')\nexports.getFunction = (name) => all.get(name)\nexports.getTestServer = (name) => require('node:http').createServer(all.get(name))\n",
  )
  return at
}

describe('functions of Google, unchanged', () => {
  let folder = ''
  let node: RunningMayfly
  let registry: FakeRegistry
  before(async () => {
    folder = makeFolder()
    registry = await startRegistry({ '@google-cloud/functions-framework': { '5.9.0': smallFramework(path.join(folder, 'framework')) } })
    const token = path.join(folder, 'token')
    writeFileSync(token, 'only-for-the-registry\n')
    node = await startMayfly(path.join(folder, 'data'), ['--empty', '--npm-registry', registry.url, '--npm-token-file', token])
  })
  after(async () => {
    await node?.stop()
    await registry?.[Symbol.asyncDispose]()
    removeFolder(folder)
  })

  const at = (...args: string[]) => runMayfly([...args, '--data', path.join(folder, 'data')])
  const deploy = async (...args: string[]) => {
    const { code, stdout, stderr } = await at('deploy', ...args, '--json')
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout) as { changed: boolean; warnings: string[]; steps: { what: string }[]; function: { framework: string; handler: string } }
  }
  const call = (where: string, init: RequestInit = {}) =>
    fetch(`${node.ready.project.url}/functions/v1/${where}`, { ...init, headers: { apikey: node.ready.project.publishableKey, ...init.headers } })
  const logs = (name: string) => readLogs(node, name)

  it('deploys the folder of the quickstart: packages by its lockfile, the target by its start script', async () => {
    const app = copyApp('google-hello', path.join(folder, 'google-hello'))
    const first = await deploy(app)
    assert.equal(first.function.framework, 'google')
    assert.equal(first.function.handler, 'helloHttp')
    assert.ok(first.steps.some(({ what }) => what === 'install'))
    const read = registry.requests.length
    assert.ok(read > 20)
    assert.ok(registry.requests.every((one) => one.method === 'GET' && one.authorization === 'Bearer only-for-the-registry'))

    assert.equal(await (await call('google-hello?name=Ann')).text(), 'Hello Ann!')
    const posted = await call('google-hello', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"name":"Bo"}' })
    assert.equal(await posted.text(), 'Hello Bo!')
    assert.equal((await fetch(`${node.ready.project.url}/functions/v1/google-hello`)).status, 401, 'who calls needs a key')

    // The same again: nothing is asked of the registry, and nothing changes.
    const again = await deploy(app)
    assert.equal(again.changed, false)
    assert.ok(again.steps.some(({ what }) => what === 'reuse'))
    // A build server may do as much.
    const { token } = JSON.parse((await at('tokens', 'create', 'ci', '--json')).stdout) as { token: string }
    const byToken = await runMayfly(['deploy', app, '--json'], { MAYFLY_URL: node.ready.url, MAYFLY_TOKEN: token })
    assert.equal(byToken.code, 0, byToken.stderr)
    assert.equal((JSON.parse(byToken.stdout) as { changed: boolean }).changed, false)
    // Another app with the same packages takes those that are there.
    writeFileSync(path.join(app, 'index.js'), readFileSync(path.join(app, 'index.js'), 'utf8').replace('Hello', 'Good morning'))
    assert.equal((await deploy(app)).changed, true)
    assert.equal(await (await call('google-hello?name=Ann')).text(), 'Good morning Ann!')
    assert.equal(registry.requests.length, read)
  })

  it('gives requests to the framework whole, and its answers back as they are made', async () => {
    const app = copyApp('google-events', path.join(folder, 'google-events'))
    const { warnings } = await deploy(app, '--name', 'app', '--entry-point', 'app', '--trigger-topic', 'news')
    assert.deepEqual(warnings, [])
    assert.match((await at('triggers')).stdout, /^app +topic news +the node$/m)
    assert.deepEqual(await (await call('app/a%20b/c?x=1&y=2')).json(), { path: '/a%20b/c', url: '/a%20b/c?x=1&y=2', query: { x: '1', y: '2' } })
    const tea = await call('app/teapot')
    assert.equal(tea.status, 418)
    assert.equal(tea.headers.get('x-tea'), 'green')
    assert.deepEqual(tea.headers.getSetCookie(), ['a=1; Path=/', 'b=2; Path=/'])
    assert.equal(await tea.text(), 'short and stout')
    const bytes = Buffer.from([0, 255, 10, 13, 128])
    const echo = await call('app/echo', { method: 'PUT', headers: { 'content-type': 'application/x-any' }, body: bytes })
    assert.deepEqual(Buffer.from(await echo.arrayBuffer()), bytes)
    const form = await call('app/parsed', { method: 'POST', body: new URLSearchParams('a=1&b[c]=2') })
    assert.deepEqual(await form.json(), { a: '1', b: { c: '2' } })
    assert.equal((await call('app/none')).status, 204)
    assert.equal(await (await call('app/stream')).text(), 'one two three')
    assert.equal((await (await call('app/large')).arrayBuffer()).byteLength, 64 * 65_536)
    assert.equal((await call('app/favicon.ico')).status, 404)
    for (const [where, line] of [
      ['fail', 'routes.js:31'],
      ['reject', 'routes.js:35'],
    ] as const) {
      const failed = await call(`app/${where}`)
      assert.equal(failed.status, 500)
      assert.equal(failed.headers.get('x-google-status'), 'crash')
      assert.equal(await failed.text(), 'Internal Server Error', 'what went wrong is for the log')
      await until(async () => (await logs('app')).includes(line))
    }
  })

  it('starts functions of CloudEvents and of background events by objects that come and go, and by a topic', async () => {
    const storage = createClient(node.ready.project.url, node.ready.project.secretKey).storage
    assert.equal((await storage.createBucket('photos')).error, null)
    const triggers = [{ object: { bucket: 'photos', events: ['created', 'removed'] } }]
    const cloud = { name: 'on-storage', entryPoint: 'storageEvent', triggers: [...triggers, { topic: { name: 'news' } }], async: { maxAttempts: 1 } }
    await deploy(copyApp('google-events', path.join(folder, 'on-storage'), { mayfly: cloud }))
    const background = { name: 'on-background', entryPoint: 'backgroundEvent', triggers, environment: { FUNCTION_SIGNATURE_TYPE: 'event' } }
    await deploy(copyApp('google-events', path.join(folder, 'on-background'), { mayfly: background }))
    const put = async (key: string) => assert.equal((await storage.from('photos').upload(key, Buffer.from('12345'))).error, null)
    await put('a b/사진.txt')
    await put('bad.txt')
    await until(async () =>
      (await logs('on-storage')).includes('google.cloud.storage.object.v1.finalized objects/a b/사진.txt in photos: a b/사진.txt, 5 bytes'),
    )
    await until(async () => (await logs('on-background')).includes('google.storage.object.finalize photos/a b/사진.txt'))
    assert.equal((await storage.from('photos').remove(['a b/사진.txt'])).error, null)
    await until(async () => (await logs('on-storage')).includes('google.cloud.storage.object.v1.deleted objects/a b/사진.txt'))
    await until(async () => (await logs('on-background')).includes('google.storage.object.delete photos/a b/사진.txt'))
    assert.equal((await at('events', 'send', 'told', '--bus', 'news', '--data', '{"a":1}')).code, 0)
    await until(async () => (await logs('on-storage')).includes('google.cloud.pubsub.topic.v1.messagePublished'))
    // One that fails is a failed attempt, and its line is told.
    await until(async () => (await at('dlq', 'ls')).stdout.includes('on-storage'))
    assert.match(await logs('on-storage'), /cannot read bad\.txt\n\s+at .*src\/index\.js:11/)
  })

  it('starts functions by `mayfly invoke` with events of either form', async () => {
    const name = 'projects/_/buckets/photos/objects/by hand.txt'
    const data = { bucket: 'photos', name: 'by hand.txt', kind: 'storage#object', size: '3' }
    const event = {
      specversion: '1.0',
      id: '1',
      source: '//storage.googleapis.com/projects/_/buckets/photos',
      subject: 'objects/by hand.txt',
      type: 'google.cloud.storage.object.v1.finalized',
      data,
    }
    const resource = { service: 'storage.googleapis.com', name, type: 'storage#object' }
    const legacy = { context: { eventId: '1', timestamp: '2026-11-26T00:00:00Z', eventType: 'google.storage.object.finalize', resource }, data }
    for (const one of [event, legacy]) {
      const { code, stdout, stderr } = await at('invoke', 'on-storage', '--data', JSON.stringify(one), '--json')
      assert.equal(code, 0, stderr)
      const { payload } = JSON.parse(stdout) as { payload: { statusCode: number; body: string } }
      assert.equal(payload.statusCode, 200)
      assert.equal(payload.body, 'by hand.txt')
    }
    const failed = await at('invoke', 'on-storage', '--data', JSON.stringify({ ...event, data: { ...data, name: 'bad.txt' } }))
    assert.notEqual(failed.code, 0)
  })

  it('is developed: an edit is another answer, and one that does not load is told by its line', async () => {
    const app = path.join(folder, 'developed')
    mkdirSync(app)
    writeFileSync(path.join(app, 'package.json'), JSON.stringify({ name: 'developed', dependencies: { '@google-cloud/functions-framework': '5.9.0' } }))
    // What packages read as they run is there, also where others only read it for themselves.
    const code = `const functions = require('@google-cloud/functions-framework')
const at = require('node:path').dirname(require.resolve('@google-cloud/functions-framework'))
const { existsSync, readFileSync } = require('node:fs')
const name = () => readFileSync(at + '/README.md', 'utf8') + (existsSync(at + '/index.d.ts') ? '?' : '!')
functions.http('developed', (_req, res) => res.end('Hello ' + name()))
`
    const file = path.join(app, 'index.js')
    writeFileSync(file, code)
    const dev = new Dev(app, { XDG_STATE_HOME: path.join(folder, 'state'), MAYFLY_URL: node.ready.url, MAYFLY_KEY: operatorOf(node) })
    try {
      const deployed = await dev.event('deployed')
      const ask = async () => await (await fetch(`${deployed.base}/functions/v1/developed?name=Ann`, { headers: { apikey: String(deployed.key) } })).text()
      assert.equal(await ask(), 'Hello Ann!')
      let from = dev.events.length
      writeFileSync(file, code.replace('Hello', 'Good evening'))
      await dev.event('deployed', undefined, from)
      assert.equal(await ask(), 'Good evening Ann!')
      from = dev.events.length
      writeFileSync(file, `${code}\nundefined.greeting\n`)
      assert.match(String((await dev.event('failed', undefined, from)).message), /TypeError: [\s\S]*index\.js:\d+:11/)
      assert.equal(await ask(), 'Good evening Ann!')
    } finally {
      dev.child.kill('SIGINT')
      await dev.ended
    }
    // Its next project is given what was installed for the one that is gone.
    const read = registry.requests.length
    writeFileSync(file, code)
    const again = new Dev(app, { XDG_STATE_HOME: path.join(folder, 'state'), MAYFLY_URL: node.ready.url, MAYFLY_KEY: operatorOf(node) })
    try {
      await again.event('deployed')
      assert.equal(registry.requests.length, read)
    } finally {
      again.child.kill('SIGINT')
      await again.ended
    }
  })

  it('refuses at deploy what does not load or is not there, by the line of its own file', async () => {
    const { code, stderr } = await at('deploy', copyApp('google-broken', path.join(folder, 'google-broken')))
    assert.notEqual(code, 0)
    assert.match(stderr, /TypeError: Cannot read properties of undefined \(reading 'greeting'\)\n.*index\.js:4:27/)
    assert.doesNotMatch(stderr, /loading\.mjs|google\.mjs|node:internal/)
    const missing = await at('deploy', path.join(folder, 'google-events'), '--name', 'missing', '--entry-point', 'nowhere')
    assert.notEqual(missing.code, 0)
    assert.match(missing.stderr, /neither registers nor exports a function 'nowhere'.*It registers app, storageEvent.*\. It exports backgroundEvent/)
    const unknown = copyApp('google-hello', path.join(folder, 'unknown'))
    const own = JSON.parse(readFileSync(path.join(unknown, 'package.json'), 'utf8')) as { dependencies: Record<string, string> }
    writeFileSync(path.join(unknown, 'package.json'), JSON.stringify({ ...own, dependencies: { ...own.dependencies, 'no-such-package-here': '1.0.0' } }))
    const failed = await at('deploy', unknown)
    assert.notEqual(failed.code, 0)
    assert.match(failed.stderr, /no-such-package-here/)
    assert.doesNotMatch(failed.stderr, /only-for-the-registry/)
    // A script that builds is run, and its own words are told.
    writeFileSync(path.join(unknown, 'package.json'), JSON.stringify({ name: 'unknown', scripts: { 'gcp-build': 'node broken.js' } }))
    writeFileSync(path.join(unknown, 'broken.js'), "\nthrow new Error('cannot be built')\n")
    writeFileSync(path.join(unknown, 'mayfly.json'), JSON.stringify({ framework: 'google' }))
    rmSync(path.join(unknown, 'package-lock.json'))
    const unbuilt = await at('deploy', unknown)
    assert.notEqual(unbuilt.code, 0)
    assert.match(unbuilt.stderr, /the script "gcp-build" failed:[\s\S]*broken\.js:2[\s\S]*cannot be built/)
  })
})
