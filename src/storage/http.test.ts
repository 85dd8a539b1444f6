import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Reply, RequestContext } from '../core/route.ts'
import { failure, routes } from './http.ts'
import { as, chunked, type OpenedStorage, openTestStorage, textUpload, type Who } from './storage-fixture.ts'

interface Ask {
  readonly as?: Who
  readonly headers?: Record<string, string>
  readonly body?: string | Uint8Array
  readonly query?: string
  readonly from?: string
}
interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[]>>
  readonly text: string
  readonly json: Record<string, unknown>
}

describe('the storage API', () => {
  let room: OpenedStorage
  before(async () => {
    room = await openTestStorage()
    await room.bucket('b', { anon: ['select'] }, { public: true })
    await room.bucket('hidden')
  })
  after(() => room?.close())

  /** A request as the gateway hands it over: the path in the form of a row, with what its parameters stand for. */
  const send = async (
    row: string,
    params: Record<string, string>,
    { as: who = 'service', headers = {}, body = '', query = '', from = 'sandbox' }: Ask = {},
  ): Promise<Answer> => {
    const route = routes(room.storage).find(({ method, path }) => `${method} ${path}` === `${row.replace(' ', ' /storage/v1')}`)
    assert.ok(route, row)
    const bytes = Buffer.from(body as string)
    const context = {
      ...as(who),
      remoteAddress: from,
      method: route.method,
      params,
      headers,
      query: new URLSearchParams(query),
      signal: new AbortController().signal,
      body: async (limit: number) => {
        if (bytes.length > limit) throw new MayflyError('payload_too_large', 'too large')
        return bytes
      },
      stream: () => chunked(bytes),
    }
    let reply: Reply
    try {
      reply = await route.handle(context as unknown as RequestContext)
    } catch (error) {
      reply = failure(error)
    }
    const chunks: Uint8Array[] = []
    if (typeof reply.body === 'string' || reply.body instanceof Uint8Array) chunks.push(Buffer.from(reply.body))
    else for await (const chunk of reply.body ?? []) chunks.push(chunk)
    const text = Buffer.concat(chunks).toString()
    return { status: reply.status, headers: reply.headers ?? {}, text, json: /^[[{]/.test(text) ? (JSON.parse(text) as Record<string, unknown>) : {} }
  }
  const put = (key: string, body: string, headers: Record<string, string> = {}) =>
    send('POST /object/:bucket/*', { bucket: 'b', '*': key }, { body, headers: { 'x-upsert': 'true', ...headers } })
  const get = (key: string, ask: Ask = {}) => send('GET /object/:bucket/*', { bucket: 'b', '*': key }, ask)
  const failed = ({ status, json }: Answer) => [status, json.statusCode, json.code]

  it('an event says from which address the upload came; what is none is not kept', async () => {
    await room.bucket('watched')
    const tell = async (from: string, key: string) =>
      assert.equal((await send('POST /object/:bucket/*', { bucket: 'watched', '*': key }, { body: 'x', from })).status, 200, key)
    const told: [string, string | null][] = [
      ['192.0.2.7', '192.0.2.7'],
      ['::ffff:192.0.2.8', '192.0.2.8'],
      ['2001:db8::1', '2001:db8::1'],
      ['sandbox', null],
      ["unknown'; drop table x; --", null],
      ['', null],
    ]
    for (const [n, [from]] of told.entries()) await tell(from, `k${n}`)
    assert.deepEqual(
      (await room.events()).map(({ data }) => data.sourceAddress),
      told.map(([, address]) => address),
    )
    await room.storage.buckets.empty(as('service'), 'watched')
    await room.storage.buckets.delete(as('service'), 'watched')
  })
  it('says every refusal in the words that clients know', async () => {
    const missing = await get('none')
    assert.deepEqual([missing.status, missing.json], [400, { statusCode: '404', error: 'not_found', message: 'Object not found', code: 'NoSuchKey' }])
    assert.deepEqual((await send('GET /bucket/:id', { id: 'none' })).json, {
      statusCode: '404',
      error: 'Bucket not found',
      message: 'Bucket not found',
      code: 'NoSuchBucket',
    })
    await put('there', 'x')
    const again = await send('POST /object/:bucket/*', { bucket: 'b', '*': 'there' }, { body: 'x' })
    assert.deepEqual(
      [again.status, again.json],
      [400, { statusCode: '409', error: 'Duplicate', message: 'The resource already exists', code: 'KeyAlreadyExists' }],
    )
    const denied = await send('POST /object/:bucket/*', { bucket: 'hidden', '*': 'x' }, { as: 'anon', body: 'x' })
    assert.deepEqual(denied.json, { statusCode: '403', error: 'Unauthorized', message: 'new row violates row-level security policy', code: 'AccessDenied' })
    assert.deepEqual(failed(await send('GET /bucket', {}, { as: 'nobody' })), [401, '401', 'key_missing'])
    assert.deepEqual(failed(await send('GET /bucket', {}, { as: 'roleless' })), [403, '403', 'not_allowed'])
    for (const [error, expected] of [
      [new MayflyError('storage_full', 'full'), [507, '507', 'storage_full']],
      [new MayflyError('payload_too_large', 'large'), [400, '413', 'EntityTooLarge']],
      [new MayflyError('uri_invalid', 'bad'), [400, '400', 'InvalidRequest']],
      [new Error('secret detail'), [500, '500', 'internal']],
    ] as const) {
      const reply = failure(error)
      const json = JSON.parse(reply.body as string) as Record<string, unknown>
      assert.deepEqual([reply.status, json.statusCode, json.code], expected)
      assert.doesNotMatch(String(json.message), /secret/)
    }
  })
  it('stores what comes, with what is said of it, JSON as it is', async () => {
    const bytes = '{"a":1}'
    const stored = await put('a.json', bytes, {
      'content-type': 'application/json',
      'cache-control': 'max-age=7',
      'x-metadata': Buffer.from('{"이름":1}').toString('base64'),
      'content-encoding': 'x-own',
    })
    assert.equal(stored.json.Key, 'b/a.json')
    const read = await get('a.json')
    assert.equal(read.text, bytes)
    const { 'last-modified': modified, ...headers } = read.headers
    assert.ok(Date.parse(modified as string) > 0)
    assert.deepEqual(headers, {
      'content-type': 'application/json',
      'content-length': '7',
      'cache-control': 'max-age=7',
      etag: `"${createHash('md5').update(bytes).digest('hex')}"`,
      'accept-ranges': 'bytes',
      'content-encoding': 'x-own',
      'x-robots-tag': 'none',
      'x-content-type-options': 'nosniff',
      vary: 'apikey, authorization',
    })
    const info = (await send('GET /object/info/:bucket/*', { bucket: 'b', '*': 'a.json' })).json
    assert.deepEqual(
      [info.size, info.content_type, info.cache_control, info.metadata, info.content_encoding],
      [7, 'application/json', 'max-age=7', { 이름: 1 }, 'x-own'],
    )
    await put('plain', 'x')
    assert.equal((await get('plain')).headers['content-type'], 'application/octet-stream')
    assert.equal((await get('plain')).headers['cache-control'], 'no-cache')
  })
  it('takes a form with an empty field name, and what its fields say', async () => {
    const form = new FormData()
    form.append('cacheControl', '60')
    form.append('metadata', '{"a":1}')
    form.append('', new Blob(['bytes'], { type: 'image/png' }))
    const request = new Request('http://x/', { method: 'POST', body: form })
    const headers = { 'content-type': request.headers.get('content-type') as string }
    await put('form', Buffer.from(await request.arrayBuffer()).toString('latin1'), headers)
    const read = await get('form')
    assert.deepEqual([read.text, read.headers['content-type'], read.headers['cache-control']], ['bytes', 'image/png', 'max-age=60'])
    assert.deepEqual(failed(await put('form', '--nothing', headers)), [400, '400', 'InvalidRequest'])
    assert.deepEqual(failed(await put('form', 'x', { 'content-type': 'multipart/form-data' })), [400, '400', 'InvalidRequest'])
    assert.equal((await get('form')).text, 'bytes')
  })
  it('answers a part, what is fresh, and only the head', async () => {
    await put('digits', '0123456789', { 'content-type': 'text/plain' })
    const { etag } = (await get('digits')).headers as { etag: string }
    for (const [range, text, contentRange] of [
      ['bytes=0-0', '0', 'bytes 0-0/10'],
      ['bytes=2-4', '234', 'bytes 2-4/10'],
      ['bytes=7-', '789', 'bytes 7-9/10'],
      ['bytes=-3', '789', 'bytes 7-9/10'],
      ['bytes=-30', '0123456789', 'bytes 0-9/10'],
      ['bytes=5-500', '56789', 'bytes 5-9/10'],
    ] as const) {
      const part = await get('digits', { headers: { range } })
      assert.deepEqual([part.status, part.text, part.headers['content-range'], part.headers['content-length']], [206, text, contentRange, String(text.length)])
    }
    for (const range of ['bytes=0-1,3-4', 'bytes=-', 'lines=1-2', 'bytes=a-b', ''])
      assert.deepEqual([(await get('digits', { headers: { range } })).status], [200], range)
    for (const range of ['bytes=10-', 'bytes=5-4', 'bytes=999999999999999-', 'bytes=-0'])
      assert.deepEqual(failed(await get('digits', { headers: { range } })), [400, '400', 'InvalidRange'], range)
    assert.equal((await get('digits', { headers: { range: 'bytes=1-2', 'if-range': '"other"' } })).status, 200)
    assert.equal((await get('digits', { headers: { range: 'bytes=1-2', 'if-range': etag } })).status, 206)
    for (const tag of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
      const fresh = await get('digits', { headers: { 'if-none-match': tag } })
      assert.deepEqual([fresh.status, fresh.text, fresh.headers.etag], [304, '', etag], tag)
    }
    assert.equal((await get('digits', { headers: { 'if-none-match': '"x"' } })).status, 200)
    assert.equal((await get('digits', { headers: { 'if-modified-since': new Date(Date.now() + 60_000).toUTCString() } })).status, 304)
    assert.equal((await get('digits', { headers: { 'if-modified-since': 'Thu, 01 Jan 1970 00:00:00 GMT' } })).status, 200)
    const head = await send('HEAD /object/:bucket/*', { bucket: 'b', '*': 'digits' })
    assert.deepEqual([head.status, head.text, head.headers['content-length']], [200, '', '10'])
    await put('empty', '')
    assert.deepEqual([(await get('empty')).status, (await get('empty')).text], [200, ''])
  })
  it('sends what could run in a browser into a sandbox, and nothing to be guessed', async () => {
    for (const [type, isActive] of [
      ['text/html', true],
      ['image/svg+xml', true],
      ['application/xhtml+xml', true],
      ['text/xml', true],
      ['application/pdf', true],
      ['text/javascript', true],
      ['IMAGE/SVG+XML;x', true],
      ['some/thing', true],
      ['image/png', false],
      ['text/plain;charset=UTF-8', false],
      ['video/mp4', false],
    ] as const) {
      await put('typed', '<script>', { 'content-type': type })
      const { headers } = await get('typed')
      assert.deepEqual(
        [headers['content-type'], headers['content-security-policy'], headers['x-content-type-options']],
        [type, isActive ? 'sandbox' : undefined, 'nosniff'],
        type,
      )
    }
  })
  it('names a download without letting a name become a header', async () => {
    await put('folder/사진 1.txt', 'x')
    const name = async (query: string) => (await get('folder/사진 1.txt', { query })).headers['content-disposition']
    assert.equal(await name(''), undefined)
    assert.equal(await name('download'), 'attachment;')
    assert.equal(await name('download=a.txt'), "attachment; filename=a.txt; filename*=UTF-8''a.txt;")
    for (const hostile of ['download=%0d%0ax:%20y', 'download=%22;%20x=%22', "download='", 'download=한글', 'download=%00'])
      assert.match((await name(hostile)) as string, /^attachment; filename=[\w%.-]+; filename\*=UTF-8''[\w%.-]+;$/, hostile)
  })
  it('what a header would carry is refused when it is not fit for one', async () => {
    for (const headers of [{ 'content-type': 'x' }, { 'content-type': 'a/b\u0000' }])
      assert.deepEqual(failed(await put('x', 'x', headers)), [400, '415', 'InvalidMimeType'])
    for (const headers of [
      { 'cache-control': 'a\u00e9' },
      { 'content-encoding': 'a b' },
      { 'x-metadata': 'bm90IGpzb24=' },
      { 'x-metadata': Buffer.from('[1]').toString('base64') },
    ])
      assert.deepEqual(failed(await put('x', 'x', headers)), [400, '400', 'InvalidRequest'], JSON.stringify(headers))
  })
  it('refuses metadata that is nested deeper than PostgreSQL reads', async () => {
    const form = (depth: number) =>
      `--b\r\ncontent-disposition: form-data; name="metadata"\r\n\r\n{"a":${'['.repeat(depth)}${']'.repeat(depth)}}\r\n--b\r\ncontent-disposition: form-data; name=""; filename="x"\r\n\r\nx\r\n--b--`
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    assert.equal((await put('deep', form(100), headers)).status, 200)
    for (const depth of [2_000, 6_000, 7_000, 8_000, 20_000, 400_000]) {
      const reply = await put('deep', form(depth), headers)
      if (reply.status !== 200) assert.deepEqual(failed(reply), [400, '400', 'InvalidRequest'], String(depth))
      if (depth > 10_000) assert.equal(reply.status, 400)
    }
  })
  it('keeps user metadata up to userMetadata, 1 MiB', async () => {
    const sized = (bytes: number) => ({ 'x-metadata': Buffer.from(`{"a":"${'x'.repeat(bytes - 8)}"}`).toString('base64') })
    assert.equal((await put('meta', 'x', sized(LIMITS.userMetadata.value))).status, 200)
    assert.deepEqual(failed(await put('meta', 'x', sized(LIMITS.userMetadata.value + 1))), [400, '413', 'EntityTooLarge'])
  })
  it('makes and changes buckets by number and by text', async () => {
    const made = await send(
      'POST /bucket',
      {},
      { body: JSON.stringify({ id: 'sized', name: 'sized', public: true, file_size_limit: '20MB', allowed_mime_types: ['image/*'], type: 'STANDARD' }) },
    )
    assert.deepEqual(made.json, { name: 'sized' })
    const shown = async () => (await send('GET /bucket/:id', { id: 'sized' })).json
    assert.deepEqual([(await shown()).file_size_limit, (await shown()).public, (await shown()).allowed_mime_types], [20_000_000, true, ['image/*']])
    assert.deepEqual((await send('PUT /bucket/:id', { id: 'sized' }, { body: '{"public":false,"file_size_limit":null}' })).json, {
      message: 'Successfully updated',
    })
    assert.deepEqual([(await shown()).file_size_limit, (await shown()).public, (await shown()).allowed_mime_types], [null, false, ['image/*']])
    for (const body of [
      '{"id":"x","file_size_limit":"much"}',
      '{"id":"x","file_size_limit":-1}',
      '{"id":"x","allowed_mime_types":"image/png"}',
      '{"id":5}',
      '[]',
      '{',
      '"\\u0000"',
      '{"id":"a\\u0000b"}',
    ])
      assert.deepEqual(failed(await send('POST /bucket', {}, { body })), [400, '400', 'InvalidRequest'], body)
    assert.deepEqual(failed(await send('POST /bucket', {}, { body: '{}' })), [400, '400', 'InvalidBucketName'])
    assert.deepEqual(failed(await send('POST /bucket', {}, { body: '{"id":"b"}' })), [400, '409', 'BucketAlreadyExists'])
    const listed = (await send('GET /bucket', {}, { query: 'limit=1&sortColumn=name&sortOrder=desc' })).json as unknown as { name: string }[]
    assert.deepEqual(
      listed.map((bucket) => bucket.name),
      ['sized'],
    )
    assert.deepEqual(failed(await send('GET /bucket', {}, { query: 'sortColumn=owner' })), [400, '400', 'InvalidRequest'])
  })
  it('lists up to listedObjects and removes up to removedObjects at once', async () => {
    const list = (limit: number) => send('POST /object/list/:bucket', { bucket: 'b' }, { body: JSON.stringify({ prefix: '', limit }) })
    assert.equal((await list(LIMITS.listedObjects.value)).status, 200)
    for (const limit of [LIMITS.listedObjects.value + 1, 0, 1.5]) assert.deepEqual(failed(await list(limit)), [400, '400', 'InvalidRequest'])
    const remove = (count: number) =>
      send('DELETE /object/:bucket', { bucket: 'b' }, { body: JSON.stringify({ prefixes: Array.from({ length: count }, (_, n) => `no-${n}`) }) })
    assert.deepEqual((await remove(LIMITS.removedObjects.value)).json, [])
    for (const count of [LIMITS.removedObjects.value + 1, 0]) assert.deepEqual(failed(await remove(count)), [400, '400', 'InvalidRequest'])
  })
  it('removes by exact names, given as texts or as newer clients give them', async () => {
    for (const key of ['r/1', 'r/2', 'r/3']) await put(key, 'x')
    const gone = (await send('DELETE /object/:bucket', { bucket: 'b' }, { body: JSON.stringify({ prefixes: ['r/1', { path: 'r/2', versionId: 'v' }, 'r/'] }) }))
      .json
    assert.deepEqual(
      (gone as unknown as { name: string }[]).map((row) => row.name),
      ['r/1', 'r/2'],
    )
    assert.equal((await send('DELETE /object/:bucket/*', { bucket: 'b', '*': 'r/3' })).json.message, 'Successfully deleted')
    assert.deepEqual(failed(await send('DELETE /object/:bucket/*', { bucket: 'b', '*': 'r/3' })), [400, '404', 'NoSuchKey'])
  })
  it('shows a public object to anyone and a hidden one as missing', async () => {
    await put('shown', 'x')
    await room.storage.uploads.upload(as('service'), textUpload('hidden', 'shown', 'x'))
    assert.equal((await send('GET /object/public/:bucket/*', { bucket: 'b', '*': 'shown' }, { as: 'nobody' })).text, 'x')
    assert.deepEqual(failed(await send('GET /object/public/:bucket/*', { bucket: 'b', '*': 'none' }, { as: 'nobody' })), [400, '404', 'NoSuchKey'])
    assert.deepEqual(failed(await send('GET /object/public/:bucket/*', { bucket: 'hidden', '*': 'shown' }, { as: 'service' })), [400, '404', 'NoSuchBucket'])
    assert.deepEqual(failed(await send('GET /object/authenticated/:bucket/*', { bucket: 'hidden', '*': 'shown' }, { as: 'anon' })), [400, '404', 'NoSuchKey'])
    assert.deepEqual(failed(await send('GET /object/info/authenticated/:bucket/*', { bucket: 'hidden', '*': 'shown' }, { as: 'anon' })), [
      400,
      '404',
      'NoSuchKey',
    ])
    assert.deepEqual(failed(await send('HEAD /object/authenticated/:bucket/*', { bucket: 'b', '*': 'none' })).slice(0, 1), [400])
  })
  it('tells it as a fault, not as missing, when the bytes of a row are gone', async () => {
    await put('lost', 'x')
    const { blob } = await room.storage.objects.find(as('service'), { bucket: 'b', key: 'lost' }, 'x')
    await room.blobs.delete(as('service').project.id, [blob.blob])
    assert.deepEqual(failed(await get('lost')), [500, '500', 'internal'])
  })
})
