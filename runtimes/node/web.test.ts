import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { inspect } from 'node:util'

// Node's own, before the light ones stand in their place.
const Real = { Request: globalThis.Request, Response: globalThis.Response }
const web = (await import(new URL('./web.mjs', import.meta.url).href)) as {
  offerWeb(): void
  requestOf(call: unknown): Request
  partsOf(response: Response): { status: number; headers: [string, string][]; body: string } | null
}
web.offerWeb()

const stream = () => new ReadableStream({ start: (to) => (to.enqueue(Buffer.from('streamed')), to.close()) })
const callOf = (head: Record<string, unknown>, more: Record<string, unknown> = {}) => ({
  head: {
    method: 'GET',
    url: 'http://127.0.0.1:8000/f/a?b=c',
    headers: [
      ['a', 'b'],
      ['A', 'c'],
      ['content-type', 'text/x'],
    ],
    ...head,
  },
  body: null,
  bytes: null,
  signal: new AbortController().signal,
  ...more,
})

/** What can be seen of one; errors by their names. */
async function seenOf(make: () => Response): Promise<unknown> {
  try {
    const response = make()
    const { status, statusText, ok, type, url, redirected, bodyUsed } = response
    const headers = [...response.headers]
    return {
      status,
      statusText,
      ok,
      type,
      url,
      redirected,
      bodyUsed,
      headers,
      hasBody: response.body !== null,
      text: await response.text(),
      after: response.bodyUsed,
    }
  } catch (error) {
    return (error as Error).name
  }
}

describe('a light Response', () => {
  const inits: unknown[] = [
    undefined,
    {},
    { status: 404 },
    { status: 599 },
    { status: 204 },
    { status: 600 },
    { status: 199 },
    { status: '201' },
    { status: 200.7 },
    { statusText: 'Fine' },
    { headers: { 'X-B': '1', a: '2' } },
    { headers: { 'content-type': 'text/html' } },
    { headers: { 'Content-Type': 'text/html', 'content-type': 'text/x' } },
    { headers: { a: ' padded ' } },
    { headers: { a: '' } },
    { headers: { a: 'é' } },
    { headers: { a: 'б' } },
    { headers: { a: 'b\nc' } },
    { headers: { 'a b': 'c' } },
    { headers: { a: 1 } },
    {
      headers: [
        ['a', 'b'],
        ['a', 'c'],
        ['set-cookie', 'd'],
        ['set-cookie', 'e'],
      ],
    },
    { headers: new Headers({ z: '1', b: '2' }) },
    { headers: null },
    null,
    7,
  ]
  const bodies: unknown[] = ['', 'text', 'ünïcödé \ud800', null, undefined, 7, { a: 1 }, new Uint8Array([1, 2]), new URLSearchParams('a=b')]
  it('is what a real one is, for every body and init', async () => {
    for (const init of inits) {
      for (const body of bodies) {
        const of = (Class: typeof Response) => seenOf(() => new Class(body as string, init as ResponseInit))
        assert.deepEqual(await of(globalThis.Response), await of(Real.Response), inspect({ body, init }))
      }
      for (const data of [{ a: [1] }, null, 'text', undefined, 1n]) {
        const of = (Class: typeof Response) => seenOf(() => Class.json(data, init as ResponseInit))
        assert.deepEqual(await of(globalThis.Response), await of(Real.Response), inspect({ data, init }))
      }
    }
  })

  it('gives its parts away only while nobody has asked for more', async () => {
    const light = () => new globalThis.Response('text', { status: 201, headers: { B: '1', a: '2' } })
    assert.deepEqual(web.partsOf(light()), {
      status: 201,
      headers: [
        ['a', '2'],
        ['b', '1'],
        ['content-type', 'text/plain;charset=UTF-8'],
      ],
      body: 'text',
    })
    const looked = light()
    assert.equal(looked.ok, true)
    assert.notEqual(web.partsOf(looked), null)
    looked.headers.set('a', 'changed')
    assert.equal(web.partsOf(looked), null)
    assert.equal(looked.headers.get('a'), 'changed')
    assert.equal(looked.clone().headers.get('a'), 'changed')
    assert.equal(web.partsOf(new Real.Response('text')), null)
  })

  it('is an instance of the one class that there is, and so is one of a class below it', async () => {
    class Mine extends globalThis.Response {
      own = 1
    }
    const mine = new Mine('text')
    for (const one of [new globalThis.Response('text'), new globalThis.Response(null), mine, globalThis.Response.error(), new Real.Response('')]) {
      assert.ok(one instanceof globalThis.Response && one instanceof Real.Response)
      assert.equal(Object.prototype.toString.call(one), '[object Response]')
    }
    assert.ok(mine instanceof Mine && mine.own === 1 && mine.constructor === Mine)
    assert.equal(new globalThis.Response('').constructor, globalThis.Response)
    assert.equal(globalThis.Response.name, 'Response')
    assert.throws(() => (globalThis.Response as unknown as () => void)(), TypeError)
    assert.equal(await mine.text(), 'text')
  })
})

describe('a light Request', () => {
  const urls = [
    'http://127.0.0.1:8000/f/a?b=c',
    'http://LOCALHOST:80/a/../b',
    'http://localhost:8000/a%20b',
    'http://localhost:8000/a b?c"d',
    'https://a.example/',
    'http://127.1:8000/a/./b',
    'http://localhost:8000/a/%2e%2e/b',
    'http://a.example:8000/..a/b..?x=../y',
  ]
  it('says of itself what a real one says', async () => {
    for (const url of urls) {
      for (const method of ['GET', 'POST', 'PATCH', 'propfind']) {
        const call = callOf({ url, method }, method === 'GET' ? {} : { body: { stream: stream() } })
        const real = new Real.Request(url, {
          method,
          headers: call.head.headers as [string, string][],
          ...(method === 'GET' ? {} : { body: stream(), duplex: 'half' }),
        } as RequestInit)
        const light = web.requestOf(call)
        for (const name of ['method', 'url', 'bodyUsed', 'mode', 'credentials', 'cache', 'redirect', 'referrer', 'integrity', 'keepalive', 'duplex'] as const)
          assert.deepEqual(
            (light as unknown as Record<string, unknown>)[name],
            (real as unknown as Record<string, unknown>)[name],
            `${name} of ${method} ${url}`,
          )
        assert.deepEqual([...light.headers], [...real.headers])
        assert.equal(light.headers, light.headers)
        assert.equal(light.body === null, real.body === null)
        assert.equal(await light.text(), await real.text())
        assert.equal(light.bodyUsed, real.bodyUsed)
        assert.ok(light instanceof globalThis.Request && light.constructor === globalThis.Request)
        assert.match(inspect(light), /^Request/)
      }
    }
  })

  it('is refused at once where a real one is', () => {
    for (const head of [{ method: 'TRACE' }, { method: 'a b' }, { url: 'http://[/' }]) assert.throws(() => web.requestOf(callOf(head)), TypeError)
    // Of the host, which has looked at them; a bad one is found when it is asked for.
    assert.throws(() => web.requestOf(callOf({ headers: [['a b', 'c']] })).headers, TypeError)
  })

  it('goes on as another request with what was changed in it', async () => {
    const light = web.requestOf(callOf({ method: 'POST' }, { body: { stream: stream() } }))
    light.headers.set('a', 'changed')
    const next = new Request(light)
    assert.equal(next.headers.get('a'), 'changed')
    assert.equal(await next.text(), 'streamed')
    assert.equal(new Request(web.requestOf(callOf({})), { headers: { a: 'other' } }).headers.get('a'), 'other')
    const clone = web.requestOf(callOf({}))
    clone.headers.set('a', 'changed')
    assert.equal(clone.clone().headers.get('a'), 'changed')
    const controller = new AbortController()
    const aborted = web.requestOf(callOf({}, { signal: controller.signal }))
    controller.abort(new Error('left'))
    assert.equal(aborted.signal.aborted, true)
    assert.equal(new Request(aborted).signal.aborted, true)
    assert.throws(() => new (Request as unknown as new () => Request)(), TypeError)
  })

  describe('and the network', () => {
    const server = createServer((request, response) => response.end(`${request.method} ${request.url} ${request.headers.a}`))
    before(() => new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening)))
    after(() => server.close())
    it('is fetched as it is', async () => {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/x`
      const light = web.requestOf(callOf({ url, headers: [['a', 'b']] }))
      assert.equal(await (await fetch(light)).text(), 'GET /x b')
      assert.equal(await (await fetch(url, { headers: { a: 'c' } })).text(), 'GET /x c')
      await assert.rejects(fetch('no url'), TypeError)
    })
  })
})
