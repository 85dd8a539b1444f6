import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import type { EmbeddedDatabases } from '../backends/database/embedded.ts'
import { openTestDatabases } from '../backends/database/embedded-fixture.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { ProjectRef } from '../core/project.ts'
import type { Reply } from '../core/route.ts'
import { Sealer } from '../core/seal.ts'
import { Stays } from '../core/stays.ts'
import { insertProject, updateProjectState } from '../core/store.ts'
import { systemClock } from '../lib/clock.ts'
import { uuidv7 } from '../lib/ids.ts'
import { SiteFiles } from './files.ts'
import { artefactOf, parseSiteFiles, typeOf } from './manifest.ts'
import { isHashed, type SiteRequest, siteReply } from './reply.ts'
import { type Site, Sites } from './service.ts'

const ONE = 'one' as ProjectRef
const TWO = 'two' as ProjectRef
const sha = (text: string | Buffer) => createHash('sha256').update(text).digest('hex')
const code = (wanted: string) => (error: unknown) => error instanceof MayflyError && error.code === wanted

let databases: EmbeddedDatabases
let folder = ''
let close: () => Promise<void> = async () => {}
let files: SiteFiles
let sites: Sites
let stays: Stays

before(async () => {
  ;({ databases, folder, close } = await openTestDatabases())
  const sealer = new Sealer(randomBytes(32))
  for (const ref of [ONE, TWO]) {
    const id = uuidv7(systemClock.now())
    await insertProject(databases.control.sql, { id, ref, name: ref, dataKey: sealer.makeDataKey(id) })
    await updateProjectState(databases.control.sql, ref, 'active')
  }
  files = new SiteFiles(path.join(folder, 'sites'))
  await files.recover()
  stays = new Stays()
  sites = new Sites({ control: databases.control, files, stays, clock: systemClock })
})
after(() => close())

const store = async (project: ProjectRef, text: string | Buffer) => {
  await sites.storeFile(
    project,
    sha(text),
    (async function* () {
      yield Buffer.from(text)
    })(),
  )
  return sha(text)
}
const site = async (name: string, content: Record<string, string>) => {
  const list: { path: string; sha256: string }[] = []
  for (const [at, text] of Object.entries(content)) list.push({ path: at, sha256: await store(ONE, text) })
  await sites.put(ONE, name, list)
  return (await sites.find(ONE, name)) as Site
}
const ask = async (of: Site, rawPath: string, more: Partial<SiteRequest> = {}) => {
  const asked = { method: 'GET', rawQuery: '', ifNoneMatch: undefined, range: undefined, ifRange: undefined, acceptEncoding: undefined, rawPath, ...more }
  const reply: Reply = await siteReply(sites, of, asked, async () => ({ ref: 'one' }))
  const chunks: Uint8Array[] = []
  if (typeof reply.body === 'string' || reply.body instanceof Uint8Array) chunks.push(Buffer.from(reply.body))
  else for await (const chunk of reply.body ?? []) chunks.push(chunk)
  return {
    status: reply.status,
    headers: (reply.headers ?? {}) as Record<string, string>,
    text: Buffer.concat(chunks).toString(),
    bytes: Buffer.concat(chunks),
  }
}

describe('files of sites', () => {
  it('are stored under their own hash or not at all, and leave nothing behind', async () => {
    await assert.rejects(
      sites.storeFile(
        ONE,
        sha('right'),
        (async function* () {
          yield Buffer.from('wrong')
        })(),
      ),
      code('bad_request'),
    )
    await assert.rejects(
      sites.storeFile(
        ONE,
        sha('broken'),
        // biome-ignore lint/correctness/useYield: it breaks off before its first
        (async function* () {
          throw new Error('broken off')
        })(),
      ),
      /broken off/,
    )
    assert.deepEqual(await sites.missing(ONE, [sha('right'), sha('broken')]), [sha('right'), sha('broken')])
    assert.deepEqual(existsSync(path.join(folder, 'sites', ONE)) ? readdirSync(path.join(folder, 'sites', ONE)) : [], [])
    await assert.rejects(files.read(ONE, '../../etc/passwd', 1), code('bad_request'))
  })
  it('what a killed process left half written is gone after the next start', async () => {
    await store(ONE, 'whole')
    writeFileSync(path.join(folder, 'sites', ONE, '.tmp-half'), 'half')
    await files.recover()
    assert.ok(!readdirSync(path.join(folder, 'sites', ONE)).includes('.tmp-half'))
    assert.deepEqual(await sites.missing(ONE, [sha('whole')]), [])
  })
  it('are a project’s own', async () => {
    await store(ONE, 'mine')
    assert.deepEqual(await sites.missing(TWO, [sha('mine')]), [sha('mine')])
    await assert.rejects(sites.put(TWO, 'a', [{ path: 'index.html', sha256: sha('mine') }]), code('bad_request'))
    assert.equal(await sites.find(TWO, 'a'), null)
  })
  it('go when no site names them any more, and not before', async () => {
    await site('swept', { 'index.html': 'v1', 'same.txt': 'kept by both' })
    await site('swept', { 'index.html': 'v2', 'same.txt': 'kept by both' })
    assert.equal(await sites.sweep(3600), 0, 'not within the hour')
    await sites.sweep(0)
    assert.deepEqual(await sites.missing(ONE, [sha('v1'), sha('v2'), sha('kept by both')]), [sha('v1')])
  })
})

describe('a site', () => {
  it('is changed as a whole, and the same again changes nothing', async () => {
    const index = await store(ONE, '<h1>1</h1>')
    const list = [{ path: 'index.html', sha256: index }]
    assert.deepEqual(await sites.put(ONE, 'again', list), { created: true, changed: true, artefact: artefactOf(list) })
    assert.deepEqual(await sites.put(ONE, 'again', list), { created: false, changed: false, artefact: artefactOf(list) })
    const more = [...list, { path: 'a.txt', sha256: await store(ONE, 'a') }]
    assert.equal((await sites.put(ONE, 'again', more)).changed, true)
    assert.equal((await sites.put(ONE, 'again', more.toReversed())).changed, false, 'the order says nothing')
    const [info] = (await sites.list(ONE)).filter((one) => one.name === 'again')
    assert.deepEqual([info?.version, info?.files, info?.bytes], [2, 2, 11])
    await assert.rejects(sites.put(ONE, 'again', [{ path: 'index.html', sha256: sha('never sent') }]), code('bad_request'))
    assert.deepEqual([...((await sites.find(ONE, 'again')) as Site).files.keys()].toSorted(), ['a.txt', 'index.html'])
    await sites.delete(ONE, 'again')
    assert.equal(await sites.find(ONE, 'again'), null)
    await assert.rejects(sites.delete(ONE, 'again'), code('site_not_found'))
  })
  it('has a name that can stand in a host name', async () => {
    const list = [{ path: 'index.html', sha256: await store(ONE, 'x') }]
    for (const name of ['', 'A', 'a.b', '-a', 'a-', 'a_b', 'é', 'a'.repeat(64), '../x'])
      await assert.rejects(sites.put(ONE, name, list), code('bad_request'), JSON.stringify(name))
    await sites.put(ONE, 'a'.repeat(63), list)
  })
  it('has up to siteFiles files and siteBytes bytes', async () => {
    const sha256 = await store(ONE, 'one of many')
    const many = (count: number) => Array.from({ length: count }, (_, i) => ({ path: `${i}.txt`, sha256 }))
    assert.equal(parseSiteFiles({ files: many(LIMITS.siteFiles.value) }).length, 5000)
    assert.throws(() => parseSiteFiles({ files: many(LIMITS.siteFiles.value + 1) }), /at most 5000 files/)
    await databases.control.sql`update mayfly.site_file set bytes = ${LIMITS.siteBytes.value / 2} where sha256 = ${sha256}`
    await sites.put(ONE, 'large', many(2))
    await assert.rejects(sites.put(ONE, 'large', many(3)), code('bad_request'))
  })
  it('has paths that can be asked for, and none that lead anywhere else', () => {
    const refused = ['', '/a', 'a//b', 'a/', '../a', 'a/../b', './a', 'a\\b', 'a\0', 'a\nb', '_mayfly/project.json', '_mayfly', 'a'.repeat(1025)]
    for (const at of refused) assert.throws(() => parseSiteFiles({ files: [{ path: at, sha256: sha('') }] }), code('bad_request'), JSON.stringify(at))
    assert.throws(() => parseSiteFiles({ files: [] }), /at least one/)
    const twice = ['\u00e9.txt', 'e\u0301.txt'].map((at) => ({ path: at, sha256: sha('') }))
    assert.throws(() => parseSiteFiles({ files: twice }), /stands twice/)
    assert.equal(parseSiteFiles({ files: [{ path: '사진/😀 x.txt', sha256: sha('') }] })[0]?.path, '사진/😀 x.txt')
  })
  it('is remembered, of at most rememberedSites names', async () => {
    assert.equal(await sites.find(ONE, 'later'), null)
    const [project] = await databases.control.sql<{ id: string }>`select id from mayfly.project where ref = ${ONE}`
    await databases.control
      .sql`insert into mayfly.site (id, project_id, name, artefact) values (${uuidv7(systemClock.now())}, ${project?.id}, 'later', ${sha('')})`
    assert.equal(await sites.find(ONE, 'later'), null, 'believed')
    for (let i = 0; i < LIMITS.rememberedSites.value - 1; i++) await sites.find(TWO, `no-${i}`)
    assert.equal(await sites.find(ONE, 'later'), null, 'still one of the thousand')
    await sites.find(TWO, 'one-more')
    assert.equal((await sites.find(ONE, 'later'))?.name, 'later')
    sites.invalidate(ONE)
  })
  it('goes with its project', async () => {
    await store(TWO, 'x')
    await sites.put(TWO, 'gone', [{ path: 'index.html', sha256: sha('x') }])
    const id = (await databases.control.sql<{ id: string }>`select id from mayfly.project where ref = ${TWO}`)[0]?.id as string
    const sending = (async function* () {
      yield Buffer.from('begun')
      await new Promise(() => {})
    })()
    const slow = assert.rejects(sites.storeFile(TWO, sha('begun and never ended'), sending), code('project_not_found'))
    while (!readdirSync(path.join(folder, 'sites', TWO)).some((name) => name.startsWith('.tmp-'))) await new Promise(setImmediate)
    await stays.end(id)
    await slow
    await sites.dropProject(TWO)
    await assert.rejects(store(TWO, 'late'), code('project_not_found'))
    await databases.control.sql`delete from mayfly.project where ref = ${TWO}`
    assert.equal(existsSync(path.join(folder, 'sites', TWO)), false)
    assert.equal(await sites.find(TWO, 'gone'), null)
  })
})

const LONG = 'let a = 1; '.repeat(1_000)

describe('what a site answers', () => {
  let page: Site
  before(async () => {
    page = await site('page', {
      'index.html': '<h1>hello</h1>',
      'sub/index.html': 'sub',
      'assets/app-3f2a9c1b.js': 'hashed()',
      'a b/한글.txt': 'korean',
      '404.html': 'own 404',
      'large.bin': 'x'.repeat(300_000),
      'no-ending': 'bytes',
      'long.js': LONG,
      'picture.png': LONG,
    })
  })
  it('its files, with type, ETag and nosniff', async () => {
    const index = await ask(page, '/')
    assert.deepEqual([index.status, index.text, index.headers['content-type']], [200, '<h1>hello</h1>', 'text/html; charset=utf-8'])
    assert.deepEqual([index.headers['x-content-type-options'], index.headers['cache-control']], ['nosniff', 'no-cache'])
    assert.equal(index.headers.etag, `"${sha('<h1>hello</h1>')}"`)
    assert.equal((await ask(page, '/index.html')).text, '<h1>hello</h1>')
    assert.equal((await ask(page, '/sub/')).text, 'sub')
    assert.equal((await ask(page, '/a%20b/%ED%95%9C%EA%B8%80.txt')).text, 'korean')
    assert.equal((await ask(page, `/${'a b/한글.txt'.normalize('NFD').split('/').map(encodeURIComponent).join('/')}`)).text, 'korean')
    assert.equal((await ask(page, '/large.bin')).text.length, 300_000)
    assert.equal((await ask(page, '/no-ending')).headers['content-type'], 'application/octet-stream')
    const head = await ask(page, '/large.bin', { method: 'HEAD' })
    assert.deepEqual([head.status, head.text, head.headers['content-length']], [200, '', '300000'])
  })
  it('nothing twice to who has it', async () => {
    const etag = `"${sha('<h1>hello</h1>')}"`
    for (const ifNoneMatch of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
      const reply = await ask(page, '/', { ifNoneMatch })
      assert.deepEqual([reply.status, reply.text, reply.headers.etag], [304, '', etag], ifNoneMatch)
    }
    assert.equal((await ask(page, '/', { ifNoneMatch: '"x"' })).status, 200)
  })
  it('what has a hash in its name for ever, words and dates not', async () => {
    assert.equal((await ask(page, '/assets/app-3f2a9c1b.js')).headers['cache-control'], 'public, max-age=31536000, immutable')
    for (const name of ['index-BcK3x9Zq.js', 'main.0123456789abcdef0123.css', 'app-X4QK2M7A.js']) assert.ok(isHashed(name), name)
    for (const name of ['my-document.pdf', 'a-20240101.png', 'favicon.ico', 'report-2024.html', 'x-DOCUMENT.pdf', 'a-facecafe.js', 'jquery-3.7.1.js'])
      assert.ok(!isHashed(name), name)
  })
  it('a part of a file, small or large, and of one that is compressed for others too', async () => {
    const whole = await ask(page, '/large.bin')
    const etag = whole.headers.etag as string
    assert.equal(whole.headers['accept-ranges'], 'bytes')
    for (const [range, sent, says] of [
      ['bytes=0-0', 1, 'bytes 0-0/300000'],
      ['bytes=299990-', 10, 'bytes 299990-299999/300000'],
      ['bytes=-70000', 70_000, 'bytes 230000-299999/300000'],
    ] as const) {
      const part = await ask(page, '/large.bin', { range })
      assert.deepEqual([part.status, part.text.length, part.headers['content-length'], part.headers['content-range']], [206, sent, String(sent), says], range)
    }
    assert.equal((await ask(page, '/', { range: 'bytes=1-2' })).text, 'h1')
    assert.equal((await ask(page, '/large.bin', { range: 'bytes=0-0', ifRange: etag })).status, 206)
    for (const more of [{ range: 'bytes=0-0', ifRange: '"other"' }, { range: 'bytes=0-0,2-3' }, { method: 'HEAD', range: 'bytes=0-0' }])
      assert.deepEqual([(await ask(page, '/large.bin', more)).status], [200], JSON.stringify(more))
    const outside = await ask(page, '/large.bin', { range: 'bytes=300000-' })
    assert.deepEqual([outside.status, outside.headers['content-range'], outside.text], [416, 'bytes */300000', ''])
    assert.deepEqual([(await ask(page, '/large.bin', { range: 'bytes=0-0', ifNoneMatch: etag })).status], [304])
    assert.equal((await ask(page, '/nothing', { range: 'bytes=0-0' })).status, 404)
    const text = await ask(page, '/long.js', { range: 'bytes=0-8', acceptEncoding: 'br' })
    assert.deepEqual([text.status, text.text, text.headers['content-encoding'], text.headers.vary], [206, 'let a = 1', undefined, 'accept-encoding'])
  })
  it('texts in fewer bytes to who takes them, under a tag of their own', async () => {
    const plain = await ask(page, '/long.js')
    assert.deepEqual([plain.headers['content-encoding'], plain.headers.vary, plain.headers.etag], [undefined, 'accept-encoding', `"${sha(LONG)}"`])
    for (const [acceptEncoding, coding, open] of [
      ['gzip, deflate, br', 'br', brotliDecompressSync],
      ['gzip', 'gzip', gunzipSync],
    ] as const) {
      const reply = await ask(page, '/long.js', { acceptEncoding })
      const { 'content-encoding': told, 'content-length': length, etag, vary, 'content-type': type } = reply.headers
      assert.deepEqual([reply.status, told, vary, type], [200, coding, 'accept-encoding', 'text/javascript; charset=utf-8'])
      assert.deepEqual([Number(length), etag], [reply.bytes.length, `"${sha(LONG)}-${coding}"`])
      assert.ok(reply.bytes.length < LONG.length / 4)
      assert.equal(open(reply.bytes).toString(), LONG)
      const again = await ask(page, '/long.js', { acceptEncoding, ifNoneMatch: etag as string })
      assert.deepEqual([again.status, again.headers.etag, again.headers.vary], [304, etag, 'accept-encoding'])
      // Who has the other bytes has not these.
      assert.equal((await ask(page, '/long.js', { acceptEncoding, ifNoneMatch: `"${sha(LONG)}"` })).status, 200)
      const head = await ask(page, '/long.js', { acceptEncoding, method: 'HEAD' })
      assert.deepEqual([head.text, head.headers['content-length'], head.headers['content-encoding']], ['', length, coding])
    }
    for (const at of ['/', '/large.bin', '/picture.png'])
      assert.deepEqual([(await ask(page, at, { acceptEncoding: 'br, gzip' })).headers['content-encoding']], [undefined], at)
    assert.equal((await ask(page, '/long.js', { acceptEncoding: 'br;q=0, identity' })).headers['content-encoding'], undefined)
  })
  it('the way to a folder’s page, on its own host', async () => {
    const reply = await ask(page, '/sub', { rawQuery: 'a=1' })
    assert.deepEqual([reply.status, reply.headers.location], [308, '/sub/?a=1'])
    for (const at of ['//sub', '/%2Fsub', '//evil.example/sub', '/\\evil.example']) assert.equal((await ask(page, at)).status, 404, at)
  })
  it('its own 404 page, or ours', async () => {
    const own = await ask(page, '/nothing', { ifNoneMatch: '*' })
    assert.deepEqual([own.status, own.text, own.headers['cache-control']], [404, 'own 404', 'no-cache'])
    const bare = await site('bare', { 'index.html': 'x' })
    assert.match((await ask(bare, '/nothing')).text, /no such page/)
  })
  it('no hostile path, and no other method', async () => {
    const hostile = [
      '/../index.html',
      '/%2e%2e/index.html',
      '/sub/../index.html',
      '/sub%2f..%2findex.html',
      '/%252e%252e/x',
      '/index.html%00',
      '/index.html/',
      '/.',
    ]
    for (const at of [...hostile, '/etc/passwd', '/constructor', '/__proto__', '/health', '/api/v1/status', '/_mayfly', '/_mayfly/'])
      assert.equal((await ask(page, at)).status, 404, at)
    for (const at of ['/%', '/%ff', '/%zz']) assert.equal((await ask(page, at)).status, 400, at)
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) assert.deepEqual([(await ask(page, '/', { method })).status], [405], method)
  })
  it('how its page finds the project', async () => {
    const reply = await ask(page, '/_mayfly/project.json')
    assert.deepEqual([reply.status, reply.text, reply.headers['cache-control']], [200, '{"ref":"one"}', 'no-store'])
  })
  it('types by the ending, also of names that every object has', () => {
    assert.equal(typeOf('a.HTML'), 'text/html; charset=utf-8')
    assert.equal(typeOf('a.constructor'), 'application/octet-stream')
    assert.equal(typeOf('a.tar.gz'), 'application/octet-stream')
  })
})
