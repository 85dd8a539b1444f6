import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'
import { Readable } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import { createClient } from '@supabase/supabase-js'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly, NO_SPARE } from './harness.ts'

type StorageClient = ReturnType<typeof createClient>['storage']
const clientOf = (url: string, key: string): StorageClient => createClient(url, key, { auth: { persistSession: false, autoRefreshToken: false } }).storage
/** What a call gave; its error fails the test. */
const must = <T>({ data, error }: { data: T | null; error: unknown }): T => {
  assert.equal(error, null)
  return data as T
}
/** HTTP status, status in the body and code of a call that must fail. */
const failure = ({ data, error }: { data: unknown; error: unknown }) => {
  assert.equal(data, null)
  const { status, statusCode, code } = error as { status: number; statusCode: string; code: string }
  return [status, statusCode, code]
}
/** Every file below a folder. */
const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [entry.name] : []))
const linkOf = (file: string): string => {
  try {
    return readlinkSync(file)
  } catch {
    return '' // closed meanwhile
  }
}

describe('storage', () => {
  let folder = ''
  let node: RunningMayfly
  let service: StorageClient
  let anon: StorageClient
  let other = ''
  before(async () => {
    folder = makeFolder()
    node = await startMayfly(path.join(folder, 'data'))
    const { url, secretKey, publishableKey } = node.ready.project
    service = clientOf(url, secretKey)
    anon = clientOf(url, publishableKey)
    const operator = readFileSync(path.join(node.data, 'operator.token'), 'utf8').trim()
    const made = await fetch(`${node.ready.url}/api/v1/projects`, {
      method: 'POST',
      headers: { authorization: `Bearer ${operator}` },
      body: '{"ref":"other"}',
    })
    other = ((await made.json()) as { keys: { secretKey: string } }).keys.secretKey
    must(await service.createBucket('avatars', { public: true }))
    must(await service.createBucket('private'))
  })
  after(async () => {
    await node?.stop()
    removeFolder(folder)
  })
  const raw = async (
    method: string,
    at: string,
    more: { key?: string | null; headers?: Record<string, string>; body?: string | Uint8Array | ReadableStream } = {},
  ) => {
    const key = more.key === undefined ? node.ready.project.secretKey : more.key
    const response = await fetch(`${node.ready.project.url}/storage/v1${at}`, {
      method,
      headers: { ...(key === null ? {} : { apikey: key }), ...more.headers },
      ...(more.body === undefined ? {} : { body: more.body, duplex: 'half' }),
    } as RequestInit)
    const bytes = Buffer.from(await response.arrayBuffer())
    const json = bytes[0] === 0x7b ? (JSON.parse(bytes.toString()) as Record<string, unknown>) : {}
    return { status: response.status, headers: response.headers, bytes, json }
  }

  it('makes, shows, lists, changes, empties and deletes buckets', async () => {
    assert.deepEqual(must(await service.createBucket('box', { public: false, fileSizeLimit: '1MB', allowedMimeTypes: ['image/*'] })), { name: 'box' })
    assert.deepEqual(failure(await service.createBucket('box')), [400, '409', 'BucketAlreadyExists'])
    for (const name of ['a/b', 'public', '..', '한글', '']) assert.deepEqual(failure(await service.createBucket(name)), [400, '400', 'InvalidBucketName'], name)
    const box = must(await service.getBucket('box'))
    assert.deepEqual([box.id, box.public, box.file_size_limit, box.allowed_mime_types], ['box', false, 1_000_000, ['image/*']])
    must(await service.updateBucket('box', { public: true, fileSizeLimit: null }))
    assert.deepEqual((({ public: isPublic, file_size_limit }) => [isPublic, file_size_limit])(must(await service.getBucket('box'))), [true, null])
    assert.ok(must(await service.listBuckets()).some(({ name }) => name === 'box'))
    assert.deepEqual(must(await anon.listBuckets()), [])
    must(await service.from('box').upload('a.png', Buffer.from('x'), { contentType: 'image/png' }))
    assert.deepEqual(failure(await service.deleteBucket('box')), [400, '409', 'ResourceNotEmpty'])
    must(await service.emptyBucket('box'))
    must(await service.deleteBucket('box'))
    assert.deepEqual(failure(await service.getBucket('box')), [400, '404', 'NoSuchBucket'])
  })
  it('holds to policies that a migration makes on objects, as apps bring them', async () => {
    const app = path.join(folder, 'own-policies')
    mkdirSync(path.join(app, 'supabase', 'migrations'), { recursive: true })
    writeFileSync(path.join(app, 'mayfly.json'), '{ "name": "own-policies", "buckets": [{ "name": "folders" }], "migrations": "supabase/migrations" }')
    const write = (name: string, sql: string) => writeFileSync(path.join(app, 'supabase', 'migrations', name), sql)
    const mine = "bucket_id = 'folders' and (select auth.uid())::text = (storage.foldername(name))[1]"
    write(
      '20260304050607_folders.sql',
      `alter table storage.objects enable row level security;
create policy "Users write to their folder" on storage.objects for insert to authenticated with check (${mine});
create policy "Users read their folder" on storage.objects for select to authenticated using (${mine});
`,
    )
    const deploy = () => mayfly(['deploy', app, '--data', node.data])
    const deployed = deploy()
    assert.equal(deployed.code, 0, deployed.stderr)
    const someone = async () => {
      const { url, publishableKey } = node.ready.project
      const client = createClient(url, publishableKey, { auth: { persistSession: false, autoRefreshToken: false } })
      const { data, error } = await client.auth.signInAnonymously()
      assert.equal(error, null)
      return { id: data.user?.id ?? '', files: client.storage.from('folders') }
    }
    const mona = await someone()
    const nils = await someone()
    must(await mona.files.upload(`${mona.id}/a.txt`, 'hers'))
    assert.equal(await must(await mona.files.download(`${mona.id}/a.txt`)).text(), 'hers')
    for (const at of [`${nils.id}/a.txt`, 'a.txt']) assert.equal(failure(await mona.files.upload(at, 'x'))[1], '403', at)
    for (const files of [nils.files, anon.from('folders')]) {
      assert.equal(failure(await files.download(`${mona.id}/a.txt`))[1], '404')
      assert.deepEqual(must(await files.list(mona.id)), [])
    }
    assert.deepEqual(must(await mona.files.remove([`${mona.id}/a.txt`])), [], 'no policy lets anybody delete')

    write('20260304050608_delete.sql', `create policy "Users delete in their folder" on storage.objects for delete to authenticated using (${mine});\n`)
    assert.equal(deploy().code, 0)
    assert.deepEqual(must(await nils.files.remove([`${mona.id}/a.txt`])), [])
    assert.equal(must(await mona.files.remove([`${mona.id}/a.txt`])).length, 1)

    write('20260304050609_guard.sql', 'alter table storage.objects disable row level security;\n')
    const refused = deploy()
    assert.notEqual(refused.code, 0)
    assert.match(refused.stderr, /take policies, and no other change.*42501.*Nothing of the file stays/s)
    assert.equal(failure(await nils.files.upload(`${mona.id}/b.txt`, 'x'))[1], '403')
  })
  it('stores bytes, texts, streams, blobs and files, and gives them back byte for byte', async () => {
    const bytes = randomBytes(3_000_000)
    const bodies: [string, () => Parameters<ReturnType<StorageClient['from']>['upload']>[1]][] = [
      ['buffer', () => bytes],
      ['array-buffer', () => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer],
      ['blob', () => new Blob([bytes], { type: 'image/png' })],
      ['file', () => new File([bytes], 'name.bin')],
      ['stream', () => Readable.from([bytes.subarray(0, 1_000_000), bytes.subarray(1_000_000)])],
    ]
    for (const [name, body] of bodies) {
      const stored = must(await service.from('private').upload(`kinds/${name}`, body()))
      assert.deepEqual([stored.path, stored.fullPath], [`kinds/${name}`, `private/kinds/${name}`])
      assert.match(stored.id, /^[0-9a-f-]{36}$/)
      const read = must(await service.from('private').download(`kinds/${name}`))
      assert.ok(Buffer.from(await read.arrayBuffer()).equals(bytes), name)
    }
    assert.equal(must(await service.from('private').info('kinds/blob')).contentType, 'image/png')
    assert.equal(must(await service.from('private').info('kinds/blob')).cacheControl, 'max-age=3600')
    must(await service.from('private').upload('a.json', '{"a": 1}', { contentType: 'application/json', cacheControl: '5', metadata: { by: '나' } }))
    assert.equal(await must(await service.from('private').download('a.json')).text(), '{"a": 1}')
    const info = must(await service.from('private').info('a.json'))
    assert.deepEqual(
      [info.size, info.contentType, info.cacheControl, info.metadata, info.etag],
      [8, 'application/json', 'max-age=5', { by: '나' }, `"${createHash('md5').update('{"a": 1}').digest('hex')}"`],
    )
    must(await service.from('private').upload('empty', Buffer.alloc(0)))
    assert.equal(must(await service.from('private').download('empty')).size, 0)
  })
  it('writes over only with upsert, by update too', async () => {
    const box = service.from('private')
    must(await box.upload('once', 'one'))
    assert.deepEqual(failure(await box.upload('once', 'two')), [400, '409', 'KeyAlreadyExists'])
    assert.equal(await must(await box.download('once')).text(), 'one')
    must(await box.upload('once', 'three', { upsert: true }))
    assert.equal(await must(await box.download('once')).text(), 'three')
    must(await box.update('once', new Blob(['four'])))
    assert.equal(await must(await box.download('once')).text(), 'four')
  })
  it('of two uploads to one key at once stores one, with upsert both', async () => {
    const box = service.from('private')
    const results = await Promise.all(['a', 'b'].map((text) => box.upload('race', text.repeat(100_000))))
    assert.deepEqual(results.map(({ error }) => (error as { code?: string } | null)?.code ?? 'stored').toSorted(), ['KeyAlreadyExists', 'stored'])
    for (const { error } of await Promise.all(['c', 'd'].map((text) => box.upload('race', text.repeat(100_000), { upsert: true })))) assert.equal(error, null)
    assert.match(await must(await box.download('race')).text(), /^(c{100000}|d{100000})$/)
  })
  it('lists folders, pages and what is searched for', async () => {
    const box = service.from('avatars')
    for (const key of ['list/b.txt', 'list/a/1.txt', 'list/a/2.txt', 'list/한글.txt', 'list/c.txt']) must(await box.upload(key, 'x'))
    const names = (rows: readonly { name: string; id: string | null }[]) => rows.map(({ name, id }) => (id === null ? `${name}/` : name))
    assert.deepEqual(names(must(await box.list('list'))), ['a/', 'b.txt', 'c.txt', '한글.txt'])
    assert.deepEqual(names(must(await box.list('list', { limit: 2, offset: 1 }))), ['b.txt', 'c.txt'])
    assert.deepEqual(names(must(await box.list('list', { sortBy: { column: 'name', order: 'desc' } }))), ['한글.txt', 'c.txt', 'b.txt', 'a/'])
    assert.deepEqual(names(must(await box.list('list', { search: 'B' }))), ['b.txt'])
    assert.deepEqual(names(must(await box.list('list/a'))), ['1.txt', '2.txt'])
    assert.deepEqual(names(must(await box.list())), ['list/'])
    const [directory, file] = must(await box.list('list'))
    assert.deepEqual(directory, { name: 'a', id: null, updated_at: null, created_at: null, last_accessed_at: null, metadata: null })
    assert.equal(file?.metadata?.mimetype, 'text/plain;charset=UTF-8')
    assert.equal(file?.metadata?.size, 1)
  })
  it('moves, copies, removes, and says what exists', async () => {
    const box = service.from('private')
    must(await box.upload('from/한글 1.txt', 'moved'))
    assert.equal(must(await box.move('from/한글 1.txt', 'to/2.txt')).message, 'Successfully moved')
    assert.deepEqual(must(await box.copy('to/2.txt', '3.txt', { destinationBucket: 'avatars' })), { path: 'avatars/3.txt' })
    assert.deepEqual(failure(await box.copy('none', 'x')), [400, '404', 'NoSuchKey'])
    assert.deepEqual(failure(await box.move('to/2.txt', 'once')), [400, '409', 'KeyAlreadyExists'])
    assert.equal((await box.exists('to/2.txt')).data, true)
    assert.equal((await box.exists('from/한글 1.txt')).data, false)
    assert.deepEqual(
      must(await box.remove(['to/2.txt', 'never there'])).map(({ name }) => name),
      ['to/2.txt'],
    )
    assert.deepEqual(failure(await box.download('to/2.txt')), [400, '404', 'NoSuchKey'])
    assert.equal(await must(await service.from('avatars').download('3.txt')).text(), 'moved')
  })
  it('shows a public object to anyone, by parts and conditions, and sandboxes what could run', async () => {
    const box = service.from('avatars')
    must(await box.upload('한글 😀.txt', '0123456789', { cacheControl: '60' }))
    const { publicUrl } = box.getPublicUrl('한글 😀.txt')?.data ?? { publicUrl: '' }
    const whole = await fetch(publicUrl)
    assert.equal(await whole.text(), '0123456789')
    assert.equal(whole.headers.get('cache-control'), 'max-age=60')
    assert.equal(whole.headers.get('x-content-type-options'), 'nosniff')
    const etag = whole.headers.get('etag') as string
    const part = await fetch(publicUrl, { headers: { range: 'bytes=2-3' } })
    assert.deepEqual([part.status, await part.text(), part.headers.get('content-range')], [206, '23', 'bytes 2-3/10'])
    assert.equal((await fetch(publicUrl, { headers: { 'if-none-match': etag } })).status, 304)
    const head = await fetch(publicUrl, { method: 'HEAD' })
    assert.deepEqual([head.status, head.headers.get('content-length'), await head.text()], [200, '10', ''])
    const download = await fetch(box.getPublicUrl('한글 😀.txt', { download: '이름.txt' }).data.publicUrl)
    assert.match(download.headers.get('content-disposition') as string, /filename\*=UTF-8''%EC%9D%B4%EB%A6%84\.txt/)
    await download.arrayBuffer()
    must(await box.upload('page.html', '<script>alert(1)</script>', { contentType: 'text/html' }))
    const page = await fetch(box.getPublicUrl('page.html').data.publicUrl)
    assert.deepEqual([page.headers.get('content-type'), page.headers.get('content-security-policy')], ['text/html', 'sandbox'])
    await page.arrayBuffer()
    const missing = await fetch(box.getPublicUrl('none').data.publicUrl)
    assert.deepEqual([missing.status, await missing.json()], [400, { statusCode: '404', error: 'not_found', message: 'Object not found', code: 'NoSuchKey' }])
    must(await service.from('private').upload('hidden.txt', 'x'))
    assert.equal(((await (await fetch(service.from('private').getPublicUrl('hidden.txt').data.publicUrl)).json()) as { code: string }).code, 'NoSuchBucket')
  })
  it('refuses who has no right: anon without a policy, another project, nobody', async () => {
    assert.deepEqual(failure(await anon.from('private').upload('x', 'x')), [400, '403', 'AccessDenied'])
    assert.deepEqual(failure(await anon.from('avatars').upload('x', 'x')), [400, '403', 'AccessDenied'])
    assert.deepEqual(failure(await anon.from('private').download('hidden.txt')), [400, '404', 'NoSuchKey'])
    assert.deepEqual(must(await anon.from('private').list()), [])
    assert.deepEqual(must(await anon.from('private').remove(['hidden.txt'])), [])
    assert.deepEqual(failure(await anon.createBucket('mine')), [400, '403', 'AccessDenied'])
    assert.deepEqual(failure(await anon.deleteBucket('private')), [400, '404', 'NoSuchBucket'])
    const stranger = clientOf(node.ready.project.url, other)
    assert.deepEqual(failure(await stranger.from('private').download('hidden.txt')), [401, '401', 'key_invalid'])
    assert.deepEqual(failure(await stranger.from('private').upload('x', 'x')), [401, '401', 'key_invalid'])
    const theirs = clientOf(`${node.ready.url}/p/other`, other)
    must(await theirs.createBucket('private'))
    assert.deepEqual(failure(await theirs.from('private').download('hidden.txt')), [400, '404', 'NoSuchKey'])
    const guest = await raw('GET', '/object/private/hidden.txt', { key: null })
    assert.deepEqual([guest.status, guest.json.code], [401, 'key_missing'])
  })
  it('holds the limits of a bucket', async () => {
    must(await service.createBucket('small', { public: false, fileSizeLimit: 1000, allowedMimeTypes: ['image/*', 'application/pdf'] }))
    const box = service.from('small')
    must(await box.upload('a', Buffer.alloc(1000), { contentType: 'image/png' }))
    assert.deepEqual(failure(await box.upload('b', Buffer.alloc(1001), { contentType: 'image/png' })), [400, '413', 'EntityTooLarge'])
    assert.deepEqual(failure(await box.upload('b', new Blob([Buffer.alloc(1001)], { type: 'image/png' }))), [400, '413', 'EntityTooLarge'])
    assert.deepEqual(failure(await box.upload('b', 'x')), [400, '415', 'InvalidMimeType'])
    assert.deepEqual(
      must(await box.list()).map(({ name }) => name),
      ['a'],
    )
  })
  it('goes up to 50 MiB, streamed, and no byte past it', async () => {
    const half = Buffer.alloc(25 * 1024 * 1024, 1)
    const stream = (...parts: Buffer[]) => Readable.toWeb(Readable.from(parts)) as ReadableStream
    assert.equal((await raw('POST', '/object/private/large', { body: stream(half, half) })).status, 200)
    assert.equal((await raw('HEAD', '/object/private/large')).headers.get('content-length'), String(2 * half.length))
    const past = await raw('POST', '/object/private/larger', { body: stream(half, half, Buffer.from('x')) })
    assert.deepEqual([past.status, past.json.statusCode, past.json.code], [400, '413', 'EntityTooLarge'])
    const rss = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${node.pid()}/status`, 'utf8'))?.[1])
    assert.ok(rss < 400_000, `the node had ${rss} kB at most`)
    must(await service.from('private').remove(['large']))
  })
  it('takes hostile names for what they are', async () => {
    for (const at of ['%2e%2e%2f%2e%2e%2fetc', 'a%2f..%2fb', 'a%5c..%5cb', 'a%00b', 'a%0ab', '%ff', `${'x'.repeat(1025)}`, '%2e', '']) {
      const { status, json } = await raw('POST', `/object/private/${at}`, { body: 'x' })
      assert.deepEqual([status, json.statusCode, json.code], [400, '400', 'InvalidKey'], at)
    }
    for (const [at, key] of [
      ['enc%2Foded', 'enc/oded'],
      ['%252e%252e%252f', '%2e%2e%2f'],
      ['a%20b%2Bc', 'a b+c'],
      ['%F0%9F%A6%8B', '🦋'],
      ['__proto__', '__proto__'],
      [`'; drop table x --`, `'; drop table x --`],
    ] as const) {
      assert.deepEqual((await raw('POST', `/object/private/${at}`, { body: key })).json.Key, `private/${key}`)
      assert.equal((await raw('GET', `/object/private/${at}`)).bytes.toString(), key)
    }
    assert.ok(filesBelow(path.join(node.data, 'blobs')).every((name) => /^[0-9a-f]{32}$/.test(name)))
    for (const at of ['/object/sign/private/x', '/object/upload/sign/private/x']) assert.equal((await raw('POST', at, { body: '{}' })).json.statusCode, '404')
    for (const at of ['/render/image/public/avatars/x', '/s3/private', '/upload/resumable']) assert.equal((await raw('GET', at)).status, 404, at)
  })
  it('keeps nothing of an upload whose sender goes', async () => {
    const blobs = path.join(node.data, 'blobs')
    const before = filesBelow(blobs).toSorted()
    const socket = connect(Number(new URL(node.ready.url).port), '127.0.0.1')
    socket.write(
      `POST /storage/v1/object/private/broken HTTP/1.1\r\nhost: localhost\r\napikey: ${node.ready.project.secretKey}\r\ncontent-length: 100000\r\n\r\n${'x'.repeat(5000)}`,
    )
    while (!filesBelow(blobs).some((name) => name.startsWith('.new-'))) await new Promise((resolve) => setTimeout(resolve, 10))
    socket.destroy()
    while (filesBelow(blobs).some((name) => name.startsWith('.new-'))) await new Promise((resolve) => setTimeout(resolve, 10))
    assert.deepEqual(filesBelow(blobs).toSorted(), before)
    assert.equal((await service.from('private').exists('broken')).data, false)
    assert.doesNotMatch(node.stderr(), /fault of this node/)
  })
  it('lets a download end whose object is deleted meanwhile, and closes what a reader leaves', async () => {
    const bytes = randomBytes(20_000_000)
    must(await service.from('private').upload('slow', bytes))
    const openBlobs = () => readdirSync(`/proc/${node.pid()}/fd`).filter((fd) => linkOf(`/proc/${node.pid()}/fd/${fd}`).includes('/blobs/')).length
    const get = () => fetch(`${node.ready.project.url}/storage/v1/object/private/slow`, { headers: { apikey: node.ready.project.secretKey } })
    const reader = ((await get()).body as ReadableStream<Uint8Array>).getReader()
    const { value } = await reader.read()
    must(await service.from('private').remove(['slow']))
    const chunks = [value as Uint8Array]
    for (let next = await reader.read(); !next.done; next = await reader.read()) chunks.push(next.value)
    assert.ok(Buffer.concat(chunks).equals(bytes))
    must(await service.from('private').upload('slow', bytes))
    for (const response of await Promise.all([1, 2, 3, 4, 5].map(get))) await response.body?.cancel()
    for (let tried = 0; openBlobs() > 0 && tried < 100; tried++) await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(openBlobs(), 0)
  })
  it('lets roles do what a project file allows, and no more', async () => {
    const product = path.join(folder, 'product')
    mkdirSync(product)
    const deploy = (allow: object) => {
      writeFileSync(path.join(product, 'mayfly.json'), JSON.stringify({ name: 'product', buckets: [{ name: 'guests', fileSizeLimit: '1KB', allow }] }))
      const { code, stderr } = mayfly(['deploy', product, '--data', node.data])
      assert.equal(code, 0, stderr)
    }
    deploy({ anon: ['select', 'insert'] })
    const box = anon.from('guests')
    must(await box.upload('a/b.txt', 'by anon'))
    assert.equal(await must(await box.download('a/b.txt')).text(), 'by anon')
    assert.deepEqual(
      must(await box.list()).map(({ name }) => name),
      ['a'],
    )
    assert.deepEqual(failure(await box.upload('a/b.txt', 'over', { upsert: true })), [400, '403', 'AccessDenied'])
    assert.deepEqual(failure(await box.upload('large', 'x'.repeat(1001))), [400, '413', 'EntityTooLarge'])
    assert.deepEqual(must(await box.remove(['a/b.txt'])), [])
    assert.deepEqual(failure(await box.move('a/b.txt', 'c')), [400, '404', 'NoSuchKey'])
    deploy({ anon: ['select'] })
    assert.deepEqual(failure(await box.upload('c', 'x')), [400, '403', 'AccessDenied'])
    assert.equal(await must(await box.download('a/b.txt')).text(), 'by anon')
  })
  it('removes a project’s bytes with the project', async () => {
    const operator = readFileSync(path.join(node.data, 'operator.token'), 'utf8').trim()
    const blobs = path.join(node.data, 'blobs')
    must(await clientOf(`${node.ready.url}/p/other`, other).from('private').upload('x', 'x'))
    const places = readdirSync(blobs).length
    const gone = await fetch(`${node.ready.url}/api/v1/projects/other`, { method: 'DELETE', headers: { authorization: `Bearer ${operator}` } })
    assert.equal(gone.status, 204)
    assert.equal(readdirSync(blobs).length, places - 1)
  })
  it('leaves nothing on disk of a project that is deleted while it is uploaded and deployed to', async () => {
    const headers = { authorization: `Bearer ${readFileSync(path.join(node.data, 'operator.token'), 'utf8').trim()}` }
    const all = () => readdirSync(node.data, { recursive: true, withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []))
    const before = new Set(all())
    const made = await fetch(`${node.ready.url}/api/v1/projects`, { method: 'POST', headers, body: '{"ref":"racing"}' })
    const key = ((await made.json()) as { keys: { secretKey: string } }).keys.secretKey
    const storage = clientOf(`${node.ready.url}/p/racing`, key)
    must(await storage.createBucket('box'))
    must(await storage.from('box').upload('there', 'x'))
    const app = path.join(folder, 'racing')
    mkdirSync(path.join(app, 'greet'), { recursive: true })
    writeFileSync(path.join(app, 'greet', 'index.mjs'), 'export default { fetch: () => new Response("hi") }')
    const deployed = mayfly(['deploy', path.join(app, 'greet'), '--data', node.data, '--project', 'racing'])
    assert.equal(deployed.code, 0, deployed.stderr)
    assert.ok(all().includes('racing'))

    // Some in the middle of their bytes, and some that come all the time.
    const slow = Array.from({ length: 3 }, (_, n) => {
      const body = new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(Buffer.from('begun')) })
      return fetch(`${node.ready.url}/p/racing/storage/v1/object/box/slow-${n}`, {
        method: 'POST',
        headers: { apikey: key },
        body,
        duplex: 'half',
      } as RequestInit)
    })
    let deleting = true
    const late: unknown[] = []
    const busy = Array.from({ length: 4 }, async (_, worker) => {
      for (let n = 0; deleting; n++) {
        const { error } = await storage.from('box').upload(`busy-${worker}-${n}`, 'x')
        if (error) late.push(error)
      }
    })
    while (filesBelow(path.join(node.data, 'blobs')).filter((name) => name.startsWith('.new-')).length < 3)
      await new Promise((resolve) => setTimeout(resolve, 5))
    const gone = await fetch(`${node.ready.url}/api/v1/projects/racing`, { method: 'DELETE', headers })
    assert.equal(gone.status, 204)
    deleting = false
    await Promise.all(busy)
    assert.ok(late.length > 0)
    for (const response of await Promise.all(slow)) assert.equal(response.status, 404)
    for (let tries = 0; tries < 100 && all().some((name) => !before.has(name)); tries++) await new Promise((resolve) => setTimeout(resolve, 50))
    assert.deepEqual(
      all().filter((name) => !before.has(name)),
      [],
    )
  })
})

describe('storage and kill -9', () => {
  let folder = ''
  let node: RunningMayfly | null = null
  before(() => {
    folder = makeFolder()
  })
  after(async () => {
    await node?.stop()
    removeFolder(folder)
  })
  const start = async (crashAt?: string) => {
    const args = ['--empty', ...NO_SPARE]
    node = await startMayfly(path.join(folder, 'data'), args, crashAt === undefined ? {} : { MAYFLY_TEST_CRASH_AT: crashAt })
    const { url, secretKey } = node.ready.project
    return { running: node, storage: clientOf(url, secretKey) }
  }

  it('every upload that was answered is there byte for byte, and no other is seen', async () => {
    const acknowledged = new Map<string, Buffer>()
    const check = async (storage: StorageClient) => {
      for (const [key, bytes] of acknowledged) {
        const read = must(await storage.from('kept').download(key))
        assert.ok(Buffer.from(await read.arrayBuffer()).equals(bytes), key)
      }
    }
    const first = await start()
    must(await first.storage.createBucket('kept'))
    let uploading = true
    const sender = (async () => {
      for (let n = 0; uploading; n++) {
        const bytes = randomBytes(20_000 + n)
        const { error } = await first.storage.from('kept').upload(`busy-${n}`, bytes)
        if (error) break
        acknowledged.set(`busy-${n}`, bytes)
      }
    })()
    while (acknowledged.size < 20) await new Promise((resolve) => setTimeout(resolve, 5))
    await first.running.kill()
    uploading = false
    await sender

    const second = await start('afterBytesFsync:3')
    await check(second.storage)
    for (const key of ['one', 'two']) {
      const bytes = randomBytes(1000)
      must(await second.storage.from('kept').upload(key, bytes))
      acknowledged.set(key, bytes)
    }
    assert.ok((await second.storage.from('kept').upload('unanswered', 'x')).error)
    await new Promise((resolve) =>
      second.running.child.exitCode === null && second.running.child.signalCode === null ? second.running.child.once('exit', resolve) : resolve(null),
    )

    const third = await start('afterObjectCommit')
    await check(third.storage)
    assert.equal((await third.storage.from('kept').exists('unanswered')).data, false)
    assert.ok((await third.storage.from('kept').upload('committed', 'committed')).error)
    await new Promise((resolve) =>
      third.running.child.exitCode === null && third.running.child.signalCode === null ? third.running.child.once('exit', resolve) : resolve(null),
    )

    const fourth = await start()
    await check(fourth.storage)
    // Committed, though the answer never came: there, whole.
    assert.equal(await must(await fourth.storage.from('kept').download('committed')).text(), 'committed')
    await fourth.running.stop()
    node = null
  })
})
