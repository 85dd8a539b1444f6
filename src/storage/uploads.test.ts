import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, afterEach, before, describe, it } from 'node:test'
import { DatabaseError } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { StorageError, type StorageErrorCode } from './errors.ts'
import { as, chunked, type OpenedStorage, openTestStorage, textUpload } from './storage-fixture.ts'

const refused = (code: StorageErrorCode) => (error: unknown) => {
  assert.ok(error instanceof StorageError, String(error))
  assert.equal(error.code, code)
  return true
}
const md5 = (text: string) => createHash('md5').update(text).digest('hex')

describe('an upload', () => {
  let room: OpenedStorage
  before(async () => {
    room = await openTestStorage()
    await room.bucket('watched')
    await room.bucket('open', { anon: ['select', 'insert'] })
    await room.bucket('writable', { anon: ['select', 'insert', 'update', 'delete'] })
    await room.bucket('inbox', { anon: ['insert'] })
    await room.bucket('small', {}, { fileSizeLimit: 10, allowedMimeTypes: ['image/*', 'text/plain'] })
  })
  after(() => room?.close())
  afterEach(() => room.storage.settled())
  const service = as('service')
  const upload = (caller: ReturnType<typeof as>, ...rest: Parameters<typeof textUpload>) => room.storage.uploads.upload(caller, textUpload(...rest))
  /** Every file of the place belongs to an object, and every object has its file. */
  const isTidy = async () => {
    await room.storage.settled()
    const rows = await (await room.databases.openProject('demo')).sql<{ blob: string }>`select blob from mayfly.storage_blob`
    assert.deepEqual(room.files().toSorted(), rows.map((row) => row.blob).toSorted())
  }

  it('is there byte for byte, with what is known of it', async () => {
    const { id } = await upload(service, 'watched', '한글/😀.txt', 'hello', { userMetadata: { by: 'me' }, cacheControl: 'max-age=60' })
    assert.equal(await room.read(service, 'watched', '한글/😀.txt'), 'hello')
    const { object, blob } = await room.storage.objects.find(service, { bucket: 'watched', key: '한글/😀.txt' }, 'x')
    assert.equal(object.id, id)
    assert.deepEqual(object.user_metadata, { by: 'me' })
    assert.deepEqual(
      [blob.bytes, blob.etag, blob.contentType, blob.cacheControl, blob.version],
      ['5', md5('hello'), 'text/plain', 'max-age=60', object.version],
    )
    const { lastModified, ...metadata } = object.metadata ?? {}
    assert.match(String(lastModified), /^\d{4}-.*Z$/)
    assert.deepEqual(metadata, {
      eTag: `"${md5('hello')}"`,
      size: 5,
      mimetype: 'text/plain',
      cacheControl: 'max-age=60',
      contentLength: 5,
      httpStatusCode: 200,
    })
    await isTidy()
  })
  it('tells its event in the transaction of its row, and of an overwritten one again', async () => {
    await room.events()
    room.woken.length = 0
    room.points.length = 0
    await upload(as('service', 3, '192.0.2.7'), 'watched', 'a b.txt', 'one')
    await upload(as('function', 1), 'watched', 'a b.txt', 'three', { upsert: true })
    await upload(service, 'small', 'unheard.txt', 'x')
    const events = await room.events()
    assert.deepEqual(
      events.map(({ source, event, depth, data }) => [source, event, depth, data.key, data.size, data.eTag, data.contentType]),
      [
        ['watched', 'created', 3, 'a b.txt', 3, md5('one'), 'text/plain'],
        ['watched', 'created', 1, 'a b.txt', 5, md5('three'), 'text/plain'],
      ],
    )
    assert.deepEqual(
      events.map(({ data }) => data.sourceAddress),
      ['192.0.2.7', null],
    )
    const [first, second] = events.map(({ data }) => data.sequencer as string)
    assert.match(first as string, /^[0-9a-f]{16}$/)
    assert.ok((first as string) < (second as string))
    assert.deepEqual(room.woken, ['demo', 'demo', 'demo'])
    assert.deepEqual(room.points, ['afterBytesFsync', 'afterObjectCommit', 'afterBytesFsync', 'afterThumbnailCommit', 'afterBytesFsync', 'afterObjectCommit'])
  })
  it('that is refused leaves no bytes, no row and no event', async () => {
    await room.events()
    const anon = as('anon')
    await assert.rejects(upload(anon, 'watched', 'x', 'x'), refused('AccessDenied'))
    await assert.rejects(upload(as('authenticated'), 'open', 'x', 'x'), refused('AccessDenied'))
    await assert.rejects(upload(service, 'none', 'x', 'x'), refused('NoSuchBucket'))
    await assert.rejects(upload(service, 'small', 'x', 'x', { contentType: 'text/html' }), refused('InvalidMimeType'))
    await assert.rejects(upload(service, 'watched', '../x', 'x'), refused('InvalidKey'))
    await assert.rejects(upload(service, 'watched', 'x', 'x', { contentType: 'a\r\nb: c' }), refused('InvalidMimeType'))
    await assert.rejects(upload(as('roleless'), 'watched', 'x', 'x'), (error) => error instanceof MayflyError && error.code === 'not_allowed')
    await assert.rejects(upload(as('nobody'), 'watched', 'x', 'x'), (error) => error instanceof MayflyError && error.code === 'key_missing')
    await assert.rejects(upload(service, 'watched', 'x', chunked('begun', new Error('broke off'))), /broke off/)
    assert.deepEqual(await room.events(), [])
    await assert.rejects(room.read(service, 'watched', 'x'), refused('NoSuchKey'))
    await isTidy()
  })
  it('is asked of PostgreSQL before a byte of it is read', async () => {
    let read = false
    async function* bytes() {
      read = true
      yield Buffer.from('x')
    }
    await assert.rejects(upload(as('anon'), 'watched', 'y', bytes()), refused('AccessDenied'))
    await assert.rejects(upload(service, 'watched', '한글/😀.txt', bytes()), refused('KeyAlreadyExists'))
    await assert.rejects(upload(service, 'small', 'y', bytes(), { declaredBytes: 11 }), refused('EntityTooLarge'))
    assert.equal(read, false)
  })
  it('goes up to the limit of its bucket and no byte past it, said before or not', async () => {
    await upload(service, 'small', 'ten', '0123456789', { declaredBytes: 10 })
    for (const declaredBytes of [11, null])
      await assert.rejects(upload(service, 'small', 'eleven', '01234567890', { declaredBytes }), refused('EntityTooLarge'))
    await assert.rejects(upload(service, 'small', 'eleven', chunked('0123456789', '0')), refused('EntityTooLarge'))
    await isTidy()
  })
  it('goes up to objectBytes where a bucket says nothing', async () => {
    const half = Buffer.alloc(LIMITS.objectBytes.value / 2)
    await upload(service, 'watched', 'large', chunked(half, half))
    await room.storage.objects.remove(service, 'watched', ['large'])
    await assert.rejects(upload(service, 'watched', 'large', chunked(half, half, 'x')), refused('EntityTooLarge'))
    await isTidy()
  })
  it('by anon needs a policy; one that only lets insert neither lets overwrite nor read', async () => {
    const anon = as('anon')
    await upload(anon, 'open', 'mine', '1')
    assert.equal(await room.read(anon, 'open', 'mine'), '1')
    await assert.rejects(upload(anon, 'open', 'mine', '2', { upsert: true }), refused('AccessDenied'))
    await upload(anon, 'inbox', 'letter', '1')
    await assert.rejects(room.read(anon, 'inbox', 'letter'), refused('NoSuchKey'))
    await upload(anon, 'writable', 'mine', '1')
    await upload(anon, 'writable', 'mine', '2', { upsert: true })
    assert.equal(await room.read(anon, 'writable', 'mine'), '2')
    await isTidy()
  })
  it('of two to one key at once, one is stored and the other is a duplicate', async () => {
    for (let round = 0; round < 5; round++) {
      const bothRead = Promise.withResolvers<void>()
      const texts = ['first', 'second']
      const results = await Promise.allSettled(
        texts.map((text, n) => {
          const body = chunked(text, n === 0 ? bothRead.promise : Promise.resolve().then(() => bothRead.resolve()))
          return upload(service, 'watched', `race-${round}`, body)
        }),
      )
      const won = results.findIndex((result) => result.status === 'fulfilled')
      assert.deepEqual(results.map((result) => result.status).toSorted(), ['fulfilled', 'rejected'])
      refused('KeyAlreadyExists')((results.find((result) => result.status === 'rejected') as PromiseRejectedResult).reason)
      assert.equal(await room.read(service, 'watched', `race-${round}`), texts[won])
    }
    await isTidy()
  })
  it('of many to one key with upsert all are stored, the last commit stays, and its bytes are the row’s', async () => {
    await room.events()
    const texts = Array.from({ length: 12 }, (_, n) => `text number ${n}`)
    await Promise.all(texts.map((text) => upload(service, 'watched', 'upserted', text, { upsert: true })))
    const { object, blob } = await room.storage.objects.find(service, { bucket: 'watched', key: 'upserted' }, 'x')
    const text = await room.read(service, 'watched', 'upserted')
    assert.deepEqual([blob.etag, (object.metadata as { eTag: string }).eTag, blob.version], [md5(text), `"${md5(text)}"`, object.version])
    const events = await room.events()
    assert.equal(events.length, 12)
    assert.equal(events.toSorted((a, b) => ((a.data.sequencer as string) < (b.data.sequencer as string) ? -1 : 1)).at(-1)?.data.eTag, blob.etag)
    await isTidy()
  })
  it('whose bucket goes meanwhile finds no bucket and leaves nothing', async () => {
    await room.bucket('going')
    const gone = Promise.withResolvers<void>()
    const uploading = upload(service, 'going', 'x', chunked('x', gone.promise))
    uploading.catch(() => {})
    while (room.files().every((name) => !name.startsWith('.new-'))) await new Promise((resolve) => setTimeout(resolve, 5))
    await room.storage.buckets.delete(service, 'going')
    gone.resolve()
    await assert.rejects(uploading, refused('NoSuchBucket'))
    await isTidy()
  })
  it('whose right is taken meanwhile is refused at its end', async () => {
    await room.bucket('closing', { anon: ['insert'] })
    const closed = Promise.withResolvers<void>()
    const uploading = upload(as('anon'), 'closing', 'x', chunked('x', closed.promise))
    uploading.catch(() => {})
    while (room.files().every((name) => !name.startsWith('.new-'))) await new Promise((resolve) => setTimeout(resolve, 5))
    await room.bucket('closing', {})
    closed.resolve()
    await assert.rejects(uploading, refused('AccessDenied'))
    await isTidy()
  })
  it('whose connection breaks in its commit keeps its bytes: nobody knows yet whether the row is there', async () => {
    const project = await room.databases.openProject('demo')
    await project.script(`create function public.linger() returns trigger language plpgsql as $$ begin if new.name = 'lingering' then perform pg_sleep(20); end if; return null; end $$;
      create constraint trigger linger after insert on storage.objects deferrable initially deferred for each row execute function public.linger()`)
    const before = room.files().length
    const uploading = upload(service, 'watched', 'lingering', 'x')
    uploading.catch(() => {})
    for (let ended = 0; ended === 0; ) {
      ended = (await project.sql`select pg_terminate_backend(pid) from pg_stat_activity where query = 'commit' and wait_event = 'PgSleep'`).length
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await assert.rejects(uploading, (error) => error instanceof DatabaseError && error.isAway)
    await project.script('drop trigger linger on storage.objects; drop function public.linger()')
    assert.equal(room.files().length, before + 1)
    await assert.rejects(room.read(service, 'watched', 'lingering'), refused('NoSuchKey'))
    // What the sweeper would do in an hour.
    const rows = await project.sql<{ blob: string }>`select blob from mayfly.storage_blob`
    await room.blobs.delete(
      service.project.id,
      room.files().filter((name) => !rows.some((row) => row.blob === name)),
    )
  })
  it('two hundred at once are all there', async () => {
    await Promise.all(Array.from({ length: 200 }, (_, n) => upload(service, 'watched', `many/${n}`, `body ${n}`)))
    for (const n of [0, 57, 199]) assert.equal(await room.read(service, 'watched', `many/${n}`), `body ${n}`)
    await isTidy()
  })

  it('a copy has bytes of its own, and asks for both rights', async () => {
    await upload(service, 'watched', 'source.txt', 'copied', { userMetadata: { a: 1 } })
    const copy = (
      who: ReturnType<typeof as>,
      from: [string, string],
      to: [string, string],
      upsert = false,
      changed: Parameters<typeof room.storage.uploads.copy>[1]['changed'] = null,
    ) => room.storage.uploads.copy(who, { source: { bucket: from[0], key: from[1] }, target: { bucket: to[0], key: to[1], upsert }, changed })
    await copy(service, ['watched', 'source.txt'], ['writable', 'copy.txt'])
    await room.storage.objects.remove(service, 'watched', ['source.txt'])
    await room.storage.settled()
    assert.equal(await room.read(service, 'writable', 'copy.txt'), 'copied')
    const { object } = await room.storage.objects.find(service, { bucket: 'writable', key: 'copy.txt' }, 'x')
    assert.deepEqual(object.user_metadata, { a: 1 })
    await assert.rejects(copy(service, ['watched', 'source.txt'], ['writable', 'other']), refused('NoSuchKey'))
    await assert.rejects(copy(service, ['writable', 'copy.txt'], ['writable', 'mine']), refused('KeyAlreadyExists'))
    await assert.rejects(copy(service, ['writable', 'copy.txt'], ['none', 'x']), refused('NoSuchBucket'))
    await assert.rejects(copy(service, ['writable', 'copy.txt'], ['writable', 'a/../b']), refused('InvalidKey'))
    await assert.rejects(copy(as('anon'), ['writable', 'copy.txt'], ['watched', 'x']), refused('AccessDenied'))
    await assert.rejects(copy(as('anon'), ['small', 'ten'], ['writable', 'x']), refused('NoSuchKey'))
    await assert.rejects(
      copy(service, ['writable', 'copy.txt'], ['small', 'html'], false, { contentType: 'text/html', userMetadata: null }),
      refused('InvalidMimeType'),
    )
    await copy(as('anon'), ['writable', 'copy.txt'], ['writable', 'mine'], true, { contentType: 'image/png', cacheControl: 'max-age=1', userMetadata: null })
    const { blob, object: changed } = await room.storage.objects.find(service, { bucket: 'writable', key: 'mine' }, 'x')
    assert.deepEqual([blob.contentType, blob.cacheControl, changed.user_metadata], ['image/png', 'max-age=1', null])
    await isTidy()
  })
})

describe('an upload while its project is deleted', () => {
  const isGone = (error: unknown) => error instanceof MayflyError && error.code === 'project_not_found'
  const service = as('service')
  let room: OpenedStorage
  before(async () => {
    room = await openTestStorage()
    await room.bucket('watched')
  })
  after(() => room?.close())
  const place = () => room.blobs.places()
  const drop = async () => {
    await room.stays.end(service.project.id)
    await room.storage.dropProject(service.project)
  }

  it('is refused in the middle of its bytes and in its commit is waited for; a copy or another that comes later makes no folder', async () => {
    const { uploads } = room.storage
    await uploads.upload(service, textUpload('watched', 'there', 'x'))
    const project = await room.databases.openProject('demo')
    await project.script(`create function public.linger() returns trigger language plpgsql as $$ begin if new.name = 'lingering' then perform pg_sleep(1); end if; return null; end $$;
      create constraint trigger linger after insert on storage.objects deferrable initially deferred for each row execute function public.linger()`)
    const committing = uploads.upload(service, textUpload('watched', 'lingering', 'x'))
    while ((await project.sql`select from pg_stat_activity where query = 'commit' and wait_event = 'PgSleep'`).length === 0) await new Promise(setImmediate)
    const never = chunked('x', new Promise(() => {}))
    const sending = assert.rejects(uploads.upload(service, textUpload('watched', 'sending', never)), isGone)
    while (room.files().every((name) => !name.startsWith('.new-'))) await new Promise(setImmediate)
    await drop()
    await sending
    assert.deepEqual(await place(), [])
    // It was there before the deletion went on, and went with it.
    await committing
    assert.deepEqual(await place(), [])
    await assert.rejects(uploads.upload(service, textUpload('watched', 'late', 'x')), isGone)
    const copy = uploads.copy(service, {
      source: { bucket: 'watched', key: 'there' },
      target: { bucket: 'watched', key: 'copy', upsert: false },
      changed: null,
    })
    await assert.rejects(copy, isGone)
    assert.deepEqual(await place(), [])
  })
})
