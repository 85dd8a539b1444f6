import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createClient, FunctionRegion, FunctionsFetchError, FunctionsHttpError, FunctionsRelayError, type SupabaseClient } from '@supabase/supabase-js'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly } from './harness.ts'

let folder = ''
let node: RunningMayfly
let supabase: SupabaseClient

function deploy(name: string, code: string, more: object = {}) {
  const at = path.join(folder, name)
  mkdirSync(at)
  writeFileSync(path.join(at, 'index.mjs'), code)
  writeFileSync(path.join(at, 'mayfly.json'), JSON.stringify({ name, ...more }))
  const done = mayfly(['deploy', at, '--data', node.data])
  assert.equal(done.code, 0, done.stderr)
}

/** What arrives, of any request. */
const TELL = `export default { async fetch(request) {
  const url = new URL(request.url)
  const type = request.headers.get('content-type') ?? ''
  const form = type.startsWith('multipart/form-data') ? [...await request.formData()].map(([name, value]) => [name, typeof value === 'string' ? value : [value.name, value.type, value.size]]) : null
  const body = form ?? [...new Uint8Array(await request.arrayBuffer())]
  const own = ['authorization', 'apikey', 'sb-api-key', 'x-region', 'x-own', 'x-client-info'].flatMap((name) => request.headers.has(name) ? [[name, request.headers.get(name)]] : [])
  return Response.json({ method: request.method, path: url.pathname, query: url.search, type: type.split(';')[0], body, headers: Object.fromEntries(own) })
} }`
/** What was asked for. */
const ANSWER = `export default { async fetch(request) {
  const { kind, status = 200, ms = 0 } = request.method === 'GET' ? { kind: 'json' } : await request.json()
  if (ms) await new Promise((done) => setTimeout(done, ms))
  const bytes = new Uint8Array([0, 1, 255])
  const form = new FormData()
  form.set('a', 'b')
  switch (kind) {
    case 'json': return Response.json({ ok: true }, { status })
    case 'text': return new Response('grün', { status, headers: { 'content-type': 'text/plain' } })
    case 'bytes': return new Response(bytes, { headers: { 'content-type': 'application/octet-stream' } })
    case 'pdf': return new Response(bytes, { headers: { 'content-type': 'application/pdf' } })
    case 'form': return new Response(form)
    case 'events': return new Response(new ReadableStream({ async start(to) { const say = (text) => to.enqueue(new TextEncoder().encode('data: ' + text + '\\n\\n')); say('one'); await new Promise((done) => setTimeout(done, 700)); say('two'); to.close() } }), { headers: { 'content-type': 'text/event-stream' } })
    case 'throw': throw new Error('on purpose')
    case 'sleep': await new Promise((done) => setTimeout(done, 60000))
  }
} }`

before(async () => {
  folder = makeFolder()
  node = await startMayfly(path.join(folder, 'data'))
  deploy('tell', TELL)
  deploy('answer', ANSWER, { timeout: 2 })
  deploy(
    'event',
    'export const handler = async (event) => ({ statusCode: Number(event.queryStringParameters?.status ?? 200), headers: { "x-own": "1" }, body: JSON.stringify(event) })',
  )
  deploy('wrong', 'export const handler = async () => ({ statusCode: 7 })')
  deploy('broken', 'throw new Error("does not load")')
  deploy('greet', "export const handler = async (event) => event.rawPath === '/long' ? { statusCode: 200, body: 'grün' } : 'grün'")
  deploy('open', TELL, { verifyJwt: false })
  const { url, publishableKey } = node.ready.project
  supabase = createClient(url, publishableKey)
})
after(async () => {
  await node?.stop()
  removeFolder(folder)
})

interface Told {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly type: string
  readonly body: unknown
  readonly headers: Readonly<Record<string, string>>
}
const tell = async (options: Parameters<SupabaseClient['functions']['invoke']>[1] = {}, name = 'tell', client = supabase): Promise<Told> => {
  const { data, error } = await client.functions.invoke<Told>(name, options)
  assert.equal(error, null, String(error))
  return data as Told
}
const bytesOf = (text: string) => [...Buffer.from(text)]

describe('supabase-js calls functions', () => {
  it('with bodies of every kind', async () => {
    const json = await tell({ body: { hello: 'wörld' } })
    assert.deepEqual([json.method, json.path, json.type, json.body], ['POST', '/tell', 'application/json', bytesOf('{"hello":"wörld"}')])
    const text = await tell({ body: 'plain' })
    assert.deepEqual([text.type, text.body], ['text/plain', bytesOf('plain')])
    const bytes = new Uint8Array([0, 255, 10])
    for (const body of [new Blob([bytes]), bytes.buffer, new File([bytes], 'a.bin')]) {
      const told = await tell({ body })
      assert.deepEqual([told.type, told.body], ['application/octet-stream', [0, 255, 10]])
    }
    const form = new FormData()
    form.set('name', 'Ada')
    form.set('file', new File(['photo'], 'me.png', { type: 'image/png' }))
    const told = await tell({ body: form })
    assert.deepEqual(told.body, [
      ['name', 'Ada'],
      ['file', ['me.png', 'image/png', 5]],
    ])
    assert.equal((await tell({ body: '<a/>', headers: { 'Content-Type': 'application/xml' } })).type, 'application/xml')
    assert.deepEqual([(await tell()).body, (await tell()).method], [[], 'POST'])
  })

  it('by every method, with paths, queries and headers of its own', async () => {
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE'] as const) assert.equal((await tell({ method })).method, method)
    const told = await tell({ headers: { 'x-own': 'v' } }, 'tell/below/a%20b?c=d')
    assert.deepEqual([told.path, told.query, told.headers['x-own']], ['/tell/below/a%20b', '?c=d', 'v'])
    assert.match(told.headers['x-client-info'] ?? '', /^supabase-js/)
  })

  it('in a region, which one node has all of', async () => {
    const told = await tell({ region: FunctionRegion.EuWest1 })
    assert.deepEqual([told.headers['x-region'], told.query], ['eu-west-1', '?forceFunctionRegion=eu-west-1'])
    const any = await tell({ region: FunctionRegion.Any })
    assert.deepEqual([any.headers['x-region'], any.query], [undefined, ''])
  })

  it('and reads the text of a Lambda handler as text', async () => {
    for (const name of ['greet', 'greet/long']) {
      const { data, error } = await supabase.functions.invoke<string>(name)
      assert.deepEqual([data, error], ['grün', null])
    }
  })

  it('and reads answers of every kind', async () => {
    const answer = async (kind: string) => (await supabase.functions.invoke('answer', { body: { kind } })).data as unknown
    assert.deepEqual(await answer('json'), { ok: true })
    assert.equal(await answer('text'), 'grün')
    for (const kind of ['bytes', 'pdf']) {
      const blob = await answer(kind)
      assert.ok(blob instanceof Blob)
      assert.deepEqual([...new Uint8Array(await blob.arrayBuffer())], [0, 1, 255])
    }
    const form = await answer('form')
    assert.ok(form instanceof FormData)
    assert.equal(form.get('a'), 'b')
  })

  it('and reads a stream of events as it is made', async () => {
    await supabase.functions.invoke('answer', { body: { kind: 'json' } })
    const { data } = await supabase.functions.invoke('answer', { body: { kind: 'events' } })
    assert.ok(data instanceof Response)
    const from = performance.now()
    const pieces: [string, number][] = []
    for await (const piece of data.body ?? []) pieces.push([Buffer.from(piece).toString(), performance.now() - from])
    assert.equal(pieces.map(([text]) => text).join(''), 'data: one\n\ndata: two\n\n')
    assert.ok((pieces[0]?.[1] ?? 1e9) < 400 && (pieces.at(-1)?.[1] ?? 0) > 400, JSON.stringify(pieces))
  })

  it('of Lambda’s form, too', async () => {
    const { data, response } = await supabase.functions.invoke<{ rawPath: string; body: string; headers: Record<string, string> }>('event/x', {
      body: { n: 1 },
    })
    // Its header says nothing of JSON: it is read as the default of such answers.
    const event = (typeof data === 'string' ? JSON.parse(data) : data) as { rawPath: string; body: string; headers: Record<string, string> }
    assert.deepEqual([event.rawPath, event.body, event.headers.apikey], ['/x', '{"n":1}', undefined])
    assert.equal(response?.headers.get('x-own'), '1')
  })
})

describe('supabase-js tells faults apart', () => {
  const fault = async (name: string, options: Parameters<SupabaseClient['functions']['invoke']>[1] = {}, client = supabase) => {
    const { data, error } = await client.functions.invoke(name, options)
    assert.equal(data, null)
    return error as { name: string; message: string; context: Response }
  }

  it('FunctionsHttpError: what the function answered, or did wrong', async () => {
    for (const status of [400, 404, 418, 500, 503]) {
      const error = await fault('answer', { body: { kind: 'json', status } })
      assert.ok(error instanceof FunctionsHttpError, String(error))
      assert.deepEqual([error.context.status, error.context.headers.get('x-relay-error'), await error.context.json()], [status, null, { ok: true }])
    }
    const thrown = await fault('answer', { body: { kind: 'throw' } })
    assert.ok(thrown instanceof FunctionsHttpError)
    const said = await thrown.context.text()
    assert.deepEqual([thrown.context.status, said.includes('on purpose')], [502, false])
    for (const [name, status] of [
      ['event?status=403', 403],
      ['wrong', 502],
    ] as const) {
      const error = await fault(name)
      assert.ok(error instanceof FunctionsHttpError, name)
      assert.equal(error.context.status, status)
    }
  })

  it('FunctionsRelayError: what is not there, does not load, takes too long, or asks for a key', async () => {
    const { url } = node.ready.project
    const strangers = createClient(url, 'sb_publishable_none')
    for (const [name, options, client, status] of [
      ['none', {}, supabase, 404],
      ['broken', {}, supabase, 502],
      ['answer', { body: { kind: 'sleep' } }, supabase, 504],
      ['tell', {}, strangers, 401],
      ['tell', { headers: { Authorization: 'Bearer nobody.knows.it' } }, supabase, 401],
      ['tell', { body: 'x', headers: { 'content-length': '1' } }, strangers, 401],
    ] as const) {
      const error = await fault(name, options, client)
      assert.ok(error instanceof FunctionsRelayError, `${name}: ${error}`)
      assert.equal(error.context.status, status, name)
      const body = (await error.context.json()) as { code: string; message: string }
      assert.ok(body.code !== '' && body.message !== '')
      assert.ok(!body.message.includes('does not load'))
    }
  })

  it('FunctionsFetchError: what never came there, or was given up', async () => {
    const nowhere = createClient('http://127.0.0.1:9', 'sb_publishable_none')
    assert.ok((await fault('tell', {}, nowhere)) instanceof FunctionsFetchError)
    const late = await fault('answer', { body: { kind: 'json', ms: 1_500 }, timeout: 200 })
    assert.ok(late instanceof FunctionsFetchError, String(late))
  })
})

describe('keys of calls by name', () => {
  const { apikey, authorization } = { apikey: 'apikey', authorization: 'authorization' } as const

  it('are asked for where `verifyJwt` says so, in either place', async () => {
    const { url, publishableKey, secretKey } = node.ready.project
    const status = async (headers: Record<string, string>, name = 'tell') => (await fetch(`${url}/functions/v1/${name}`, { method: 'POST', headers })).status
    for (const key of [publishableKey, secretKey]) {
      assert.equal(await status({ [apikey]: key }), 200)
      assert.equal(await status({ [authorization]: `Bearer ${key}` }), 200)
    }
    assert.deepEqual([await status({}), await status({ [apikey]: 'x' }), await status({ [authorization]: 'Basic eDp5' })], [401, 401, 401])
    const refused = await fetch(`${url}/functions/v1/tell`, { headers: { origin: 'https://app.example' } })
    // A browser may read why.
    assert.deepEqual(
      [refused.headers.get('access-control-allow-origin'), /x-relay-error/.test(refused.headers.get('access-control-expose-headers') ?? '')],
      ['*', true],
    )
    assert.match(await refused.text(), /"key_missing"/)
  })

  it('are the function’s own business where it asks for none: what came is what it sees', async () => {
    const { url, publishableKey } = node.ready.project
    const told = async (headers: Record<string, string>) => {
      const response = await fetch(`${url}/functions/v1/open`, { method: 'POST', headers })
      assert.equal(response.status, 200)
      return ((await response.json()) as Told).headers
    }
    assert.deepEqual(await told({ [authorization]: 'Bearer its.own.token' }), { authorization: 'Bearer its.own.token' })
    assert.deepEqual(await told({ [authorization]: 'Basic eDp5' }), { authorization: 'Basic eDp5' })
    assert.deepEqual(await told({ [apikey]: 'of another service' }), { apikey: 'of another service' })
    // What says that a key holds cannot be said from outside.
    assert.deepEqual(await told({ [apikey]: 'none', 'sb-api-key': publishableKey }), { apikey: 'none' })
    assert.deepEqual(await told({ [apikey]: publishableKey }), { apikey: publishableKey, 'sb-api-key': publishableKey })
  })

  it('are no business of preflights', async () => {
    const { url } = node.ready.project
    const response = await fetch(`${url}/functions/v1/tell`, {
      method: 'OPTIONS',
      headers: {
        origin: 'https://app.example',
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'apikey,content-type,x-client-info,x-region',
      },
    })
    assert.deepEqual([response.status, response.headers.get('access-control-allow-origin')], [204, '*'])
    for (const header of ['apikey', 'content-type', 'x-client-info', 'x-region'])
      assert.match(response.headers.get('access-control-allow-headers') ?? '', new RegExp(header))
  })
})
