import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'

const ROOT = path.resolve(import.meta.dirname, '..', '..', '..')
interface Loaded {
  readonly run: (request: Request, environment: object, context: object) => Promise<Response>
}
const { loadAzure } = (await import(path.join(import.meta.dirname, 'azure.mjs'))) as {
  loadAzure: (root: string, handler: string, moduleAt: (file: string) => Promise<unknown>) => Promise<Loaded>
}
const { core } = (await import(path.join(import.meta.dirname, 'azure-core.mjs'))) as {
  core: { functions: Map<string, unknown>; locked: boolean; hooks: Map<string, unknown[]> }
}

describe('an app of Azure', () => {
  let folder = ''
  let storage: Server
  const blobs = new Map<string, string>([
    ['photos/a b.txt', 'abc'],
    ['prices/latest.txt', '7'],
  ])
  before(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'mayfly-azure-'))
    cpSync(path.join(ROOT, 'test', 'acceptance', 'apps', 'azure-shop'), folder, { recursive: true })
    symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'))
    storage = createServer(async (request, response) => {
      const at = decodeURIComponent(request.url ?? '').replace('/storage/v1/object/', '')
      if (request.headers.authorization !== 'Bearer k') return void response.writeHead(401).end()
      if (request.method === 'GET') return void response.writeHead(blobs.has(at) ? 200 : 404).end(blobs.get(at))
      let text = ''
      for await (const chunk of request) text += chunk
      blobs.set(at, text)
      response.end('{}')
    })
    await new Promise<void>((resolve) => storage.listen(0, '127.0.0.1', resolve))
    Object.assign(process.env, {
      MAYFLY_URL: `http://127.0.0.1:${(storage.address() as AddressInfo).port}`,
      MAYFLY_KEY: 'k',
      AZURE_FUNCTION_KEY: 'f',
      AZURE_MASTER_KEY: 'm',
    })
  })
  after(() => {
    storage.closeAllConnections()
    storage.close()
    rmSync(folder, { recursive: true, force: true })
  })

  /** As each sandbox loads it: from nothing. */
  const load = async (handler: string) => {
    core.functions.clear()
    core.locked = false
    for (const hooks of core.hooks.values()) hooks.length = 0
    const require = createRequire(path.join(folder, 'package.json'))
    return await loadAzure(folder, handler, async (file) => {
      delete require.cache[require.resolve(file)]
      return require(file)
    })
  }
  let calls = 0
  const context = () => ({ awsRequestId: `call-${++calls}` })
  const get = async ({ run }: Loaded, at: string, init: RequestInit = {}) => await run(new Request(`http://shop.example${at}`, init), {}, context())
  const start = async (handler: string, event: unknown) =>
    await (await load(handler)).run(new Request('http://localhost/', { method: 'POST', body: JSON.stringify(event) }), {}, context())

  it('says what it registers, and what of it is not served', async () => {
    process.env._MAYFLY_DESCRIBE = '1'
    const { run } = await load('app')
    delete process.env._MAYFLY_DESCRIBE
    const { functions, warnings } = (await (await run(new Request('http://x/'), {}, context())).json()) as {
      functions: { name: string; trigger: string; details: Record<string, unknown> }[]
      warnings: string[]
    }
    assert.equal(functions.length, 16)
    assert.deepEqual(
      functions.filter(({ trigger }) => trigger !== 'httpTrigger').map(({ name, trigger }) => [name, trigger]),
      [
        ['onPhoto', 'blobTrigger'],
        ['nightly', 'timerTrigger'],
        ['onOrder', 'queueTrigger'],
        ['onNews', 'serviceBusTrigger'],
        ['onGrid', 'eventGridTrigger'],
        ['onRows', 'cosmosDBTrigger'],
        ['forwards', 'queueTrigger'],
      ],
    )
    assert.equal(functions.find(({ name }) => name === 'onPhoto')?.details.path, 'photos/{name}')
    assert.deepEqual(warnings, ['forwards: the output "queue" is not served: calls that use it fail.'])
  })

  it('answers at its routes, by method, constraint and rank', async () => {
    const app = await load('app')
    const cases: [string, RequestInit, number, string | null][] = [
      ['/api/hello?name=Ann', {}, 200, 'Hello, Ann!'],
      ['/API/Hello', { method: 'POST', body: 'Bo' }, 200, 'Hello, Bo!'],
      ['/api/products/toys/12', {}, 200, '{"category":"toys","id":"12"}'],
      ['/api/products/toys', {}, 200, '{"category":"toys"}'],
      ['/api/products/toys/twelve', {}, 404, null],
      ['/api/products/newest/1', {}, 201, 'newest'],
      ['/api/files/a/b%20c', { method: 'PUT', body: 'xyz' }, 200, 'a/b c: 3'],
      ['/api/files/a', {}, 404, null],
      ['/hello', {}, 404, null],
      ['/api/hooked', {}, 200, '{"from":"hook","said":"own"}'],
      ['/api/nothing', {}, 204, null],
      ['/api/%ff', {}, 404, null],
    ]
    for (const [at, init, status, body] of cases) {
      const response = await get(app, at, init)
      assert.equal(response.status, status, at)
      if (body !== null) assert.equal(await response.text(), body, at)
    }
    assert.deepEqual((await get(app, '/api/products/newest/1')).headers.getSetCookie(), ['seen=1; SameSite=Lax'])
    await assert.rejects(get(app, '/api/broken'), /the shop is closed/)
  })

  it('asks for keys where a function does', async () => {
    const app = await load('app')
    const status = async (at: string, headers: Record<string, string> = {}) => (await get(app, at, { headers })).status
    assert.equal(await status('/api/kept'), 401)
    assert.equal(await status('/api/kept?code=wrong'), 401)
    assert.equal(await status('/api/kept?code='), 401)
    assert.equal(await status('/api/kept?code=f'), 200)
    assert.equal(await status('/api/kept', { 'x-functions-key': 'm' }), 200)
    assert.equal(await status('/api/managed?code=f'), 401)
    assert.equal(await status('/api/managed?code=m'), 200)
  })

  it('runs its other functions by events, with blobs in and out', async () => {
    const record = { eventSource: 'aws:s3', s3: { bucket: { name: 'photos' }, object: { key: 'a+b.txt', eTag: 'e' } } }
    assert.equal((await start('onPhoto', { Records: [record] })).status, 200)
    assert.equal(blobs.get('copies/a b.txt'), 'ABC')
    await assert.rejects(start('onPhoto', { blob: 'photos/gone.txt' }), /is not there any more/)
    assert.equal((await start('nightly', {})).status, 204)
    assert.equal(await (await start('onOrder', { id: 4 })).text(), '{"shipped":4}')
    assert.equal(await (await start('onOrder', { Records: [{ messageId: '1', body: '{"id":5}' }] })).text(), '{"shipped":5}')
    assert.equal(await (await start('onNews', 'today')).text(), 'news: today')
    assert.equal(await (await start('onGrid', { subject: 's' })).text(), 'grid: s')
    assert.equal(await (await start('onRows', [{ id: 1 }, { id: 2 }])).text(), 'rows: 2')
    await assert.rejects(start('forwards', 'x'), /the output 'queue' of forwards is not served/)
    await assert.rejects(load('nowhere'), /registers no function 'nowhere'/)
  })

  it('takes requests at a port of its own where it streams', () => {
    const own = mkdtempSync(path.join(tmpdir(), 'mayfly-azure-'))
    try {
      symlinkSync(path.join(ROOT, 'node_modules'), path.join(own, 'node_modules'))
      writeFileSync(path.join(own, 'package.json'), '{"main":"index.js"}')
      writeFileSync(
        path.join(own, 'index.js'),
        `const { app } = require('@azure/functions')
         app.setup({ enableHttpStream: true })
         app.http('streamed', { route: 's/{id}', handler: async (request) => {
           const said = await request.text()
           const body = new ReadableStream({ start(to) { for (const part of ['one ', said]) to.enqueue(new TextEncoder().encode(part)); to.close() } })
           return { headers: { 'x-id': request.params.id }, body }
         } })`,
      )
      // Its port stays open as long as the process.
      const program = `import { createRequire } from 'node:module'
        import { loadAzure } from ${JSON.stringify(path.join(import.meta.dirname, 'azure.mjs'))}
        const require = createRequire(${JSON.stringify(path.join(own, 'package.json'))})
        const { run } = await loadAzure(${JSON.stringify(own)}, 'app', async (file) => require(file))
        const answer = await run(new Request('http://a.example/api/s/7', { method: 'POST', body: 'two' }), {}, { awsRequestId: 'i' })
        console.log(answer.status, answer.headers.get('x-id'), await answer.text())
        process.exit()`
      assert.equal(execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8', timeout: 30_000 }), '200 7 one two\n')
    } finally {
      rmSync(own, { recursive: true, force: true })
    }
  })
})
