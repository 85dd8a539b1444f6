import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { request } from 'node:http'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeFolder, type RunningMayfly, removeFolder, startMayfly, NO_SPARE } from './harness.ts'

const sha = (text: string | Buffer) => createHash('sha256').update(text).digest('hex')
let folder = ''
let node: RunningMayfly

before(async () => {
  folder = makeFolder()
  node = await startMayfly(path.join(folder, 'data'), ['--empty', ...NO_SPARE, '--domain', 'apps.example'])
})
after(async () => {
  await node?.stop()
  removeFolder(folder)
})

const port = () => Number(new URL(node.ready.url).port)
interface Answer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly text: string
}
/** As a browser asks that has resolved `*.localhost` to this machine. */
const at = (host: string, target: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: port(), method, path: target, headers: { host: `${host}:${port()}`, ...headers } }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(chunks).toString() }))
    })
    sent.on('error', reject)
    sent.on('upgrade', (_response, socket) => {
      socket.destroy()
      reject(new Error('it became a WebSocket'))
    })
    sent.end()
  })
const manage = async (method: string, target: string, body: string | Buffer | null = null) => {
  const response = await fetch(`${node.ready.url}/api/v1/projects/demo${target}`, {
    method,
    headers: { apikey: node.ready.project.secretKey },
    ...(body === null ? {} : { body: body as string }),
  })
  const text = await response.text()
  return { status: response.status, json: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> }
}
const put = async (name: string, content: Record<string, string>) => {
  for (const text of Object.values(content)) assert.equal((await manage('PUT', `/site-files/${sha(text)}`, text)).status, 200)
  const files = Object.entries(content).map(([file, text]) => ({ path: file, sha256: sha(text) }))
  return await manage('PUT', `/sites/${name}`, JSON.stringify({ files }))
}

describe('a site', () => {
  it('is served at a host name of its own, with the files it has now', async () => {
    const made = await put('shop', { 'index.html': '<h1>shop</h1>', 'sub/index.html': 'sub', '404.html': 'not here' })
    assert.deepEqual([made.status, made.json.changed], [201, true])
    assert.equal((made.json.site as { url: string }).url, `http://shop.demo.localhost:${port()}/`)
    const page = await at('shop.demo.localhost', '/')
    assert.deepEqual([page.status, page.text, page.headers['content-type']], [200, '<h1>shop</h1>', 'text/html; charset=utf-8'])
    assert.deepEqual(
      [page.headers['x-content-type-options'], page.headers['set-cookie'], page.headers['access-control-allow-origin']],
      ['nosniff', undefined, undefined],
    )
    assert.deepEqual([(await at('shop.demo.localhost', '/sub')).headers.location, (await at('shop.demo.localhost', '/sub/')).text], ['/sub/', 'sub'])
    assert.equal((await at('shop.demo.localhost', '/', { 'if-none-match': String(page.headers.etag) })).status, 304)
    const head = await at('shop.demo.localhost', '/', {}, 'HEAD')
    assert.deepEqual([head.status, head.text, head.headers['content-length']], [200, '', '13'])
    const none = await at('shop.demo.localhost', '/nothing')
    assert.deepEqual([none.status, none.text], [404, 'not here'])
    assert.equal((await at('shop.demo.localhost', '/', {}, 'POST')).status, 405)
    assert.equal((await at('shop.demo.localhost', '/', {}, 'OPTIONS')).status, 405)

    assert.deepEqual([(await put('shop', { 'index.html': 'new' })).status, (await at('shop.demo.localhost', '/')).text], [200, 'new'])
    assert.equal((await at('shop.demo.localhost', '/sub/')).status, 404)
    const [listed] = (await manage('GET', '/sites')).json.sites as { name: string; url: string; files: number }[]
    assert.deepEqual([listed?.name, listed?.url, listed?.files], ['shop', `http://shop.demo.localhost:${port()}/`, 1])
  })
  it('sends a part to who asks for one, and texts in fewer bytes to who takes them', async () => {
    const script = 'export const answer = 42\n'.repeat(200)
    await put('shop', { 'index.html': 'new', 'app.js': script })
    const part = await at('shop.demo.localhost', '/app.js', { range: 'bytes=7-11', 'accept-encoding': 'br' })
    assert.deepEqual([part.status, part.text, part.headers['content-range']], [206, 'const', `bytes 7-11/${script.length}`])
    assert.equal((await at('shop.demo.localhost', '/app.js', { range: `bytes=${script.length}-` })).status, 416)
    for (const [accept, coding] of [
      ['gzip, deflate, br', 'br'],
      ['gzip', 'gzip'],
    ] as const) {
      const small = await at('shop.demo.localhost', '/app.js', { 'accept-encoding': accept })
      assert.deepEqual([small.status, small.headers['content-encoding'], small.headers.vary], [200, coding, 'accept-encoding'])
      assert.ok(Number(small.headers['content-length']) < script.length / 5)
      assert.equal((await at('shop.demo.localhost', '/app.js', { 'accept-encoding': accept, 'if-none-match': String(small.headers.etag) })).status, 304)
    }
    assert.equal((await at('shop.demo.localhost', '/app.js')).text, script)
  })
  it('tells its page how to reach the project, and the API lets that page in', async () => {
    const reply = await at('shop.demo.localhost', '/_mayfly/project.json')
    assert.equal(reply.status, 200)
    const { url, publishableKey } = node.ready.project
    assert.deepEqual(JSON.parse(reply.text), { url, ref: 'demo', publishableKey })
    const called = await fetch(`${url}/functions/v1/none`, { headers: { apikey: publishableKey, origin: `http://shop.demo.localhost:${port()}` } })
    assert.deepEqual([called.status, called.headers.get('access-control-allow-origin')], [404, '*'])
  })
  it('is led to from the address of the project, whatever is asked for', async () => {
    const led = async (target: string) => {
      const response = await fetch(node.ready.url + target, { redirect: 'manual' })
      return [response.status, response.headers.get('location')]
    }
    const own = `http://shop.demo.localhost:${port()}/`
    assert.deepEqual(await led('/sites/shop'), [307, own])
    assert.deepEqual(await led('/sites/shop/'), [307, own])
    assert.deepEqual(await led('/p/demo/sites/shop/a%20b/c?x=1&y=%2F'), [307, `${own}a%20b/c?x=1&y=%2F`])
    assert.deepEqual(await led('/sites/shop//evil.example/'), [307, `${own}/evil.example/`])
    const none = await fetch(`${node.ready.url}/sites/none/`, { redirect: 'manual' })
    assert.deepEqual([none.status, ((await none.json()) as { code: string }).code], [404, 'site_not_found'])
  })
  it('is served below the domain too', async () => {
    assert.equal((await at('shop.demo.apps.example', '/')).text, 'new')
    assert.equal((JSON.parse((await at('shop.demo.apps.example', '/_mayfly/project.json')).text) as { url: string }).url, `http://apps.example:${port()}`)
    assert.equal((await at('apps.example', '/health')).status, 200)
    assert.equal((await at('apps.example', '/sites/shop/x')).headers.location, `http://shop.demo.apps.example:${port()}/x`)
    for (const host of ['demo.apps.example', 'a.b.c.apps.example', 'shop.demo.other.example']) assert.equal((await at(host, '/')).status, 421, host)
  })
  it('has nothing else of the node behind its host name', async () => {
    const key = { apikey: node.ready.project.secretKey }
    // No WebSocket either.
    const upgrade = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' }
    assert.equal((await at('shop.demo.localhost', `/realtime/v1/websocket?apikey=${key.apikey}&vsn=1.0.0`, upgrade)).status, 404)
    for (const target of [
      '/health',
      '/api/v1/projects/demo/sites',
      '/functions/v1/x',
      '/p/demo/functions/v1/x',
      '/storage/v1/bucket',
      '/sites/shop/',
      '/metrics',
      '/2015-03-31/functions',
    ])
      assert.equal((await at('shop.demo.localhost', target, key)).status, 404, target)
  })
  it('of another name or project is said to be none', async () => {
    const none = await at('none.demo.localhost', '/')
    assert.deepEqual([none.status, none.text], [404, 'There is no site none in the project demo.\n'])
    assert.match((await at('shop.nothing.localhost', '/')).text, /no project nothing/)
    assert.equal((await at('shop.d.localhost', '/')).status, 404)
    assert.equal((await at('SHOP.Demo.LOCALHOST.', '/')).text, 'new', 'names are one in capitals and with their last dot')
  })
  it('answers no hostile path', async () => {
    const hostile = [
      '/..',
      '/../../etc/passwd',
      '/%2e%2e/%2e%2e/etc/passwd',
      '/..%2f..%2fetc%2fpasswd',
      '/%252e%252e/etc/passwd',
      '/index.html%00.png',
      '//index.html',
      '/.',
    ]
    for (const target of hostile) assert.equal((await at('shop.demo.localhost', target)).status, 404, target)
    assert.equal((await at('shop.demo.localhost', '/%')).status, 400)
    const refused: [string, object][] = [
      ['x', { files: [{ path: '../x', sha256: sha('new') }] }],
      ['x', { files: [{ path: 'index.html', sha256: sha('never sent') }] }],
      ['x', { files: [{ path: 'index.html', sha256: '../../x' }] }],
      ['x', { files: {} }],
      ['X', { files: [{ path: 'index.html', sha256: sha('new') }] }],
      ['x.y', { files: [{ path: 'index.html', sha256: sha('new') }] }],
    ]
    for (const [name, body] of refused) {
      const { status, json } = await manage('PUT', `/sites/${name}`, JSON.stringify(body))
      assert.deepEqual([status, json.code], [400, 'bad_request'], JSON.stringify(body))
    }
  })
  it('takes files up to siteFile, 50 MiB, and no byte past it', async () => {
    const largest = Buffer.alloc(50 * 1024 * 1024, 'x')
    assert.equal((await manage('PUT', `/site-files/${sha(largest)}`, largest)).status, 200)
    const larger = Buffer.concat([largest, Buffer.from('x')])
    const refused = await manage('PUT', `/site-files/${sha(larger)}`, larger)
    assert.deepEqual([refused.status, refused.json.code], [413, 'payload_too_large'])
    assert.equal((await manage('PUT', `/site-files/${sha('a')}`, 'b')).status, 400)
  })
  it('is there after kill -9, and gone when it was deleted', async () => {
    await put('kept', { 'index.html': 'kept', 'image.svg': '<svg/>' })
    await node.kill()
    node = await startMayfly(path.join(folder, 'data'), ['--empty', ...NO_SPARE, '--domain', 'apps.example'])
    assert.equal((await at('kept.demo.localhost', '/')).text, 'kept')
    assert.equal((await at('kept.demo.localhost', '/image.svg')).headers['content-type'], 'image/svg+xml')
    assert.equal((await manage('DELETE', '/sites/kept')).status, 204)
    assert.equal((await at('kept.demo.localhost', '/')).status, 404)
    for (const name of ['kept', '%00', '..%2f', 'a%20b']) assert.deepEqual((await manage('DELETE', `/sites/${name}`)).json.code, 'site_not_found', name)
  })
})
