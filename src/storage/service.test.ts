import assert from 'node:assert/strict'
import { utimesSync } from 'node:fs'
import { after, afterEach, before, describe, it } from 'node:test'
import { DatabaseError } from '../backends/database/database.ts'
import { MayflyError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { systemClock } from '../lib/clock.ts'
import { StorageError, type StorageErrorCode } from './errors.ts'
import { as, chunked, DEMO, type OpenedStorage, openTestStorage, textUpload } from './storage-fixture.ts'

const refused = (code: StorageErrorCode) => (error: unknown) => {
  assert.ok(error instanceof StorageError, String(error))
  assert.equal(error.code, code)
  return true
}

describe('the storage of a project', () => {
  let room: OpenedStorage
  /** How far the clock of the room is ahead. */
  let aheadMs = 0
  before(async () => {
    room = await openTestStorage({ clock: { ...systemClock, now: () => Date.now() + aheadMs } })
    await room.bucket('watched')
  })
  after(() => room?.close())
  afterEach(() => room.storage.settled())
  const service = as('service')
  const anon = as('anon')
  const upload = (caller: ReturnType<typeof as>, ...rest: Parameters<typeof textUpload>) => room.storage.uploads.upload(caller, textUpload(...rest))
  const list = async (caller: ReturnType<typeof as>, bucket: string, more: Partial<Parameters<typeof room.storage.objects.list>[1]> = {}) =>
    (await room.storage.objects.list(caller, { bucket, prefix: '', search: '', sortBy: 'name', descending: false, limit: 100, offset: 0, ...more })).map(
      ({ name, id }) => (id === null ? `${name}/` : name),
    )
  const policies = async () =>
    (
      await (
        await room.databases.openProject('demo')
      ).sql<{ name: string }>`select policyname as name from pg_policies where tablename = 'objects' order by 1`
    ).map((row) => row.name)

  it('has buckets that only who may sees', async () => {
    await room.storage.buckets.create(service, 'b', { public: true, fileSizeLimit: 5, allowedMimeTypes: ['image/*'] })
    const bucket = await room.storage.buckets.get(service, 'b')
    assert.deepEqual([bucket.id, bucket.public, bucket.file_size_limit, bucket.allowed_mime_types], ['b', true, '5', ['image/*']])
    await assert.rejects(room.storage.buckets.get(anon, 'b'), refused('NoSuchBucket'))
    await assert.rejects(
      room.storage.buckets.create(service, 'b', { public: true, fileSizeLimit: null, allowedMimeTypes: null }),
      refused('BucketAlreadyExists'),
    )
    await assert.rejects(room.storage.buckets.create(anon, 'c', { public: true, fileSizeLimit: null, allowedMimeTypes: null }), refused('AccessDenied'))
    await assert.rejects(
      room.storage.buckets.create(service, 'a/b', { public: true, fileSizeLimit: null, allowedMimeTypes: null }),
      refused('InvalidBucketName'),
    )
    await assert.rejects(room.storage.buckets.create(service, 'c', { public: true, fileSizeLimit: 2 ** 40, allowedMimeTypes: null }), refused('EntityTooLarge'))
    await assert.rejects(room.storage.buckets.create(service, 'c', { public: true, fileSizeLimit: null, allowedMimeTypes: ['x'] }), refused('InvalidMimeType'))
    for (const who of [anon, as('authenticated')]) {
      await assert.rejects(room.storage.buckets.update(who, 'b', { public: false }), refused('NoSuchBucket'))
      await assert.rejects(room.storage.buckets.delete(who, 'b'), refused('NoSuchBucket'))
      await assert.rejects(room.storage.buckets.empty(who, 'b'), refused('NoSuchBucket'))
    }
    await room.storage.buckets.update(service, 'b', { fileSizeLimit: null })
    const changed = await room.storage.buckets.get(service, 'b')
    assert.deepEqual([changed.public, changed.file_size_limit, changed.allowed_mime_types], [true, null, ['image/*']])
    await room.storage.buckets.delete(service, 'b')
    await assert.rejects(room.storage.buckets.update(service, 'b', {}), refused('NoSuchBucket'))
  })
  it('lists buckets by page, order and search', async () => {
    for (const name of ['page-a', 'page-B', 'page-c']) await room.bucket(name)
    const page = async (more: object) =>
      (await room.storage.buckets.list(service, { search: 'PAGE', limit: 100, offset: 0, sortColumn: 'name', descending: false, ...more })).map((b) => b.name)
    assert.deepEqual(await page({}), ['page-B', 'page-a', 'page-c'])
    assert.deepEqual(await page({ descending: true, limit: 2 }), ['page-c', 'page-a'])
    assert.deepEqual(await page({ sortColumn: 'created_at', offset: 1 }), ['page-B', 'page-c'])
    assert.deepEqual(await page({ sortColumn: 'created_at', descending: true }), ['page-c', 'page-B', 'page-a'])
  })
  it('empties a bucket with all its events, and deletes only an empty one', async () => {
    for (const key of ['one', 'two/three']) await upload(service, 'watched', key, 'x')
    await room.events()
    await assert.rejects(room.storage.buckets.delete(service, 'watched'), refused('ResourceNotEmpty'))
    await room.storage.buckets.empty(service, 'watched')
    assert.deepEqual((await room.events()).map(({ event, data }) => [event, data.key]).toSorted(), [
      ['removed', 'one'],
      ['removed', 'two/three'],
    ])
    await room.storage.settled()
    assert.deepEqual(room.files(), [])
  })

  it('allows what a wish says, takes away what it does not say any more, and the same again changes nothing', async () => {
    const before = await policies()
    await room.bucket('gallery', { anon: ['select', 'insert'], authenticated: ['delete'] })
    await room.bucket('gallery2', { anon: ['select'] })
    const made = (await policies()).filter((name) => !before.includes(name))
    assert.deepEqual(made, [
      'mayfly: gallery anon insert',
      'mayfly: gallery anon select',
      'mayfly: gallery authenticated delete',
      'mayfly: gallery2 anon select',
    ])
    await upload(anon, 'gallery', 'x', 'x')
    assert.equal(await room.read(anon, 'gallery', 'x'), 'x')
    assert.deepEqual(await list(anon, 'gallery'), ['x'])
    assert.deepEqual(await room.storage.objects.remove(anon, 'gallery', ['x']), [])
    await assert.rejects(upload(anon, 'gallery2', 'x', 'x'), refused('AccessDenied'))
    await assert.rejects(room.storage.objects.move(anon, { bucket: 'gallery', key: 'x' }, { bucket: 'gallery', key: 'y' }), refused('NoSuchKey'))
    await room.bucket('gallery', { anon: ['select', 'insert'], authenticated: ['delete'] })
    await room.bucket('gallery', { anon: ['select', 'delete'] })
    await assert.rejects(upload(anon, 'gallery', 'y', 'y'), refused('AccessDenied'))
    assert.equal((await room.storage.objects.remove(anon, 'gallery', ['x', 'not there'])).length, 1)
    assert.deepEqual(
      (await policies()).filter((name) => name.startsWith('mayfly: gallery ')),
      ['mayfly: gallery anon delete', 'mayfly: gallery anon select'],
    )
  })
  it('allows on buckets of hostile and of long names what is said of them alone', async () => {
    const names = [`it's; drop "x" -- (1)`.replaceAll('"', ''), 'x'.repeat(LIMITS.bucketName.value), `${'x'.repeat(LIMITS.bucketName.value - 1)}y`]
    for (const name of names) await room.bucket(name)
    await room.bucket(names[0] as string, { anon: ['insert', 'select'] })
    await room.bucket(names[1] as string, { anon: ['insert', 'select'] })
    await upload(anon, names[0] as string, 'a', 'a')
    await upload(anon, names[1] as string, 'a', 'a')
    await assert.rejects(upload(anon, names[2] as string, 'a', 'a'), refused('AccessDenied'))
    await room.bucket(names[1] as string, {})
    await assert.rejects(upload(anon, names[1] as string, 'b', 'b'), refused('AccessDenied'))
    assert.equal(await room.read(anon, names[0] as string, 'a'), 'a')
  })
  it('forgets with a bucket what was allowed on it', async () => {
    await room.bucket('reborn', { anon: ['insert'] })
    await room.storage.buckets.delete(service, 'reborn')
    await room.storage.buckets.create(service, 'reborn', { public: false, fileSizeLimit: null, allowedMimeTypes: null })
    await assert.rejects(upload(anon, 'reborn', 'x', 'x'), refused('AccessDenied'))
  })
  it('brings a bucket to its wish, and tells a wish that cannot be', async () => {
    await room.bucket('wish', {}, { public: true, fileSizeLimit: 10 })
    await room.bucket('wish', {}, { allowedMimeTypes: ['text/plain'] })
    const bucket = await room.storage.getBucket(DEMO, 'wish')
    assert.deepEqual(bucket, { name: 'wish', public: false, fileSizeLimit: null, allowedMimeTypes: ['text/plain'], allow: {} })
    const before = await room.storage.buckets.get(service, 'wish')
    await room.bucket('wish', { anon: ['select', 'insert'], authenticated: [] }, { allowedMimeTypes: ['text/plain'] })
    assert.deepEqual(await room.storage.buckets.get(service, 'wish'), before)
    assert.deepEqual((await room.storage.getBucket(DEMO, 'wish'))?.allow, { anon: ['insert', 'select'] })
    assert.equal(await room.storage.getBucket(DEMO, 'none'), null)
    assert.ok((await room.storage.listBuckets(DEMO)).some(({ name }) => name === 'wish'))
    await assert.rejects(room.bucket('a/b'), (error) => error instanceof MayflyError && error.code === 'bad_request')
  })

  it('lists a folder: what lies in it and the folders in it, by name, by time, by page', async () => {
    await room.bucket('tree', { anon: ['select'] })
    for (const key of ['b.txt', 'a/1', 'a/2', 'a/deep/3', 'A.txt', '한글/x', 'a', 'a_b', 'a%b/y']) await upload(service, 'tree', key, 'x')
    assert.deepEqual(await list(anon, 'tree'), ['A.txt', 'a/', 'a', 'a%b/', 'a_b', 'b.txt', '한글/'])
    assert.deepEqual(await list(anon, 'tree', { descending: true }), ['한글/', 'b.txt', 'a_b', 'a%b/', 'a/', 'a', 'A.txt'])
    assert.deepEqual(await list(anon, 'tree', { limit: 2, offset: 1 }), ['a/', 'a'])
    assert.deepEqual(await list(anon, 'tree', { prefix: 'a' }), ['1', '2', 'deep/'])
    assert.deepEqual(await list(anon, 'tree', { prefix: 'a/' }), ['1', '2', 'deep/'])
    assert.deepEqual(await list(anon, 'tree', { prefix: 'a/deep' }), ['3'])
    assert.deepEqual(await list(anon, 'tree', { prefix: '한글' }), ['x'])
    assert.deepEqual(await list(anon, 'tree', { prefix: 'a_' }), [])
    assert.deepEqual(await list(anon, 'tree', { search: 'A' }), ['A.txt', 'a/', 'a', 'a%b/', 'a_b'])
    assert.deepEqual(await list(anon, 'tree', { search: 'a%' }), ['a%b/'])
    assert.deepEqual(await list(anon, 'tree', { sortBy: 'created_at' }), ['a/', 'a%b/', '한글/', 'b.txt', 'A.txt', 'a', 'a_b'])
    assert.deepEqual(await list(anon, 'tree', { sortBy: 'updated_at', descending: true, limit: 4 }), ['a/', 'a%b/', '한글/', 'a_b'])
    assert.deepEqual(await list(as('authenticated'), 'tree'), [])
    assert.deepEqual(await list(service, 'none'), [])
  })
  it('moves an object with its bytes, tells both ends, and asks what the other bucket takes', async () => {
    await room.bucket('narrow', {}, { fileSizeLimit: 2, allowedMimeTypes: ['text/*'] })
    await upload(service, 'watched', 'from', 'moved')
    await room.events()
    const move = (who: ReturnType<typeof as>, from: string, bucket: string, key: string) =>
      room.storage.objects.move(who, { bucket: 'watched', key: from }, { bucket, key })
    await move(service, 'from', 'watched', 'to')
    assert.equal(await room.read(service, 'watched', 'to'), 'moved')
    await assert.rejects(room.read(service, 'watched', 'from'), refused('NoSuchKey'))
    assert.deepEqual(
      (await room.events()).map(({ event, data }) => [event, data.key]),
      [
        ['removed', 'from'],
        ['created', 'to'],
      ],
    )
    await move(service, 'to', 'watched', 'to')
    assert.deepEqual(await room.events(), [])
    await upload(service, 'watched', 'taken', 'x')
    await room.events()
    await assert.rejects(move(service, 'to', 'watched', 'taken'), refused('KeyAlreadyExists'))
    await assert.rejects(move(service, 'to', 'none', 'x'), refused('NoSuchBucket'))
    await assert.rejects(move(service, 'to', 'narrow', 'x'), refused('EntityTooLarge'))
    await assert.rejects(move(service, 'to', 'watched', 'a/../b'), refused('InvalidKey'))
    await assert.rejects(move(anon, 'to', 'watched', 'x'), refused('NoSuchKey'))
    await assert.rejects(move(service, 'none', 'watched', 'x'), refused('NoSuchKey'))
    assert.equal(await room.read(service, 'watched', 'to'), 'moved')
    assert.deepEqual(await room.events(), [])
  })
  it('of two that meet head-on begins one anew', async () => {
    const project = await room.databases.openProject('demo')
    await project.script(`create function public.cross() returns trigger language plpgsql as $$ begin
        perform pg_advisory_xact_lock(case new.name when 'left' then 1 else 2 end);
        perform pg_sleep(0.2);
        perform pg_advisory_xact_lock(case new.name when 'left' then 2 else 1 end); return new; end $$;
      create trigger crossing before insert on storage.objects for each row execute function public.cross()`)
    await Promise.all(['left', 'right'].map((key) => upload(service, 'watched', key, key)))
    await project.script('drop trigger crossing on storage.objects')
    const move = (from: string, to: string) => room.storage.objects.move(service, { bucket: 'watched', key: from }, { bucket: 'watched', key: to })
    for (const result of await Promise.allSettled([move('left', 'right'), move('right', 'left')])) {
      assert.equal(result.status, 'rejected')
      refused('KeyAlreadyExists')((result as PromiseRejectedResult).reason)
    }
  })
  it('tells what a trigger of the project’s own says, and is not misled by its constraints', async () => {
    const project = await room.databases.openProject('demo')
    await project.script(`create table public.quota (n int primary key); grant all on public.quota to service_role; insert into public.quota values (1);
      create function public.count() returns trigger language plpgsql as $$ begin
        if new.name = 'loud' then raise exception 'the quota is used up'; end if;
        if new.name = 'twice' then insert into public.quota values (1); end if; return new; end $$;
      create trigger count before insert on storage.objects for each row execute function public.count()`)
    const says = (message: RegExp) => (error: unknown) => refused('InvalidRequest')(error) && message.test((error as Error).message)
    await assert.rejects(upload(service, 'watched', 'loud', 'x'), says(/the quota is used up/))
    await assert.rejects(upload(service, 'watched', 'twice', 'x'), says(/quota_pkey/))
    await project.script('drop trigger count on storage.objects')
  })
  it('lets a download come to its end when its object is deleted meanwhile', async () => {
    const text = 'x'.repeat(1_000_000)
    await upload(service, 'watched', 'read', text)
    const found = await room.storage.objects.find(service, { bucket: 'watched', key: 'read' }, 'x')
    const blob = await room.storage.objects.open(DEMO, found)
    await room.storage.objects.remove(service, 'watched', ['read'])
    await room.storage.settled()
    assert.equal(room.files().includes(found.blob.blob), false)
    let seen = 0
    for await (const chunk of blob?.read() ?? []) seen += chunk.length
    assert.equal(seen, text.length)
    assert.equal(await room.storage.objects.open(DEMO, found), null)
  })
  it('gives an object of a public bucket to anyone, of another to nobody', async () => {
    await room.bucket('shown', {}, { public: true })
    await room.bucket('hidden')
    for (const bucket of ['shown', 'hidden']) await upload(service, bucket, 'x', 'x')
    assert.equal((await room.storage.objects.findPublic(DEMO.ref, { bucket: 'shown', key: 'x' })).blob.bytes, '1')
    await assert.rejects(room.storage.objects.findPublic(DEMO.ref, { bucket: 'shown', key: 'y' }), refused('NoSuchKey'))
    for (const bucket of ['hidden', 'none']) await assert.rejects(room.storage.objects.findPublic(DEMO.ref, { bucket, key: 'x' }), refused('NoSuchBucket'))
    await assert.rejects(room.read(anon, 'shown', 'x'), refused('NoSuchKey'))
  })

  describe('in SQL', () => {
    const inRole = async <T>(role: string, work: (database: { script(text: string): Promise<void> }) => Promise<T>) => {
      const roles = await room.databases.openRoles('demo')
      return await work({ script: (text) => roles.script(`begin; set local role ${role}; ${text}; commit`) })
    }
    const failsWith = (sqlState: string) => (error: unknown) => error instanceof DatabaseError && error.sqlState === sqlState

    it('no user sees or writes which bytes an object has, nor gives himself rights', async () => {
      for (const role of ['anon', 'authenticated', 'service_role']) {
        for (const statement of [
          'select * from mayfly.storage_blob',
          "update mayfly.storage_blob set blob = ''",
          'select * from mayfly.storage_garbage',
          "select mayfly.storage_attach('watched', 'x', 'v', repeat('0', 32), 1, '', '', '', null)",
          'select mayfly.storage_blob_of(gen_random_uuid())',
          `select mayfly.storage_allow('watched', '{"anon":["select"]}')`,
          "select mayfly.storage_tell(gen_random_uuid(), '', '', '')",
          'create policy mine on storage.objects to anon using (true)',
          'alter table storage.objects disable row level security',
          'truncate storage.objects',
        ])
          await assert.rejects(
            inRole(role, (database) => database.script(statement)),
            failsWith('42501'),
            `${role}: ${statement}`,
          )
      }
      // Not even who may take all roles.
      const roles = await room.databases.openRoles('demo')
      for (const statement of ['select * from mayfly.storage_blob', 'select mayfly.storage_allow($$x$$, $${}$$)', 'select * from mayfly.outbox'])
        await assert.rejects(roles.script(statement), failsWith('42501'), statement)
    })
    it('a row without bytes is no object, and one whose columns were written over has its own bytes still', async () => {
      await room.events()
      await inRole('service_role', (database) =>
        database.script("insert into storage.objects (bucket_id, name, version, metadata) values ('watched', 'ghost', 'v', '{\"size\": 5}')"),
      )
      await assert.rejects(room.read(service, 'watched', 'ghost'), refused('NoSuchKey'))
      assert.deepEqual(await room.events(), [])
      await upload(service, 'watched', 'ghost', 'real', { upsert: true })
      await upload(service, 'watched', 'secret', 'secret')
      await inRole('service_role', (database) =>
        database.script(
          "update storage.objects set version = (select version from storage.objects where name = 'secret'), metadata = '{}' where name = 'ghost'",
        ),
      )
      assert.equal(await room.read(service, 'watched', 'ghost'), 'real')
    })
    it('a deletion is refused unless it says that it is meant; then its event is told and its bytes go', async () => {
      await upload(service, 'watched', 'by-sql', 'x')
      const { blob } = await room.storage.objects.find(service, { bucket: 'watched', key: 'by-sql' }, 'x')
      await room.events()
      await assert.rejects(
        inRole('service_role', (database) => database.script("delete from storage.objects where name = 'by-sql'")),
        failsWith('42501'),
      )
      await inRole('service_role', (database) =>
        database.script("set local storage.allow_delete_query = 'true'; delete from storage.objects where name = 'by-sql'"),
      )
      assert.deepEqual(
        (await room.events()).map(({ event, data }) => [event, data.key]),
        [['removed', 'by-sql']],
      )
      await room.storage.sweep()
      assert.equal(room.files().includes(blob.blob), false)
    })
    it('policies see the folder, the file, what is done and by whom', async () => {
      const project = await room.databases.openProject('demo')
      await project.script(`create policy own_folder on storage.objects for insert to anon
        with check (bucket_id = 'watched' and (storage.foldername(name))[1] = 'public' and storage.extension(name) = 'png' and storage.filename(name) <> 'no.png'
          and storage.operation() = 'storage.object.upload' and auth.role() = 'anon' and metadata ->> 'mimetype' = 'image/png')`)
      const png = { contentType: 'image/png' }
      await upload(anon, 'watched', 'public/deep/a.png', 'x', png)
      for (const [key, more] of [
        ['public/no.png', png],
        ['private/a.png', png],
        ['public/a.jpg', png],
        ['a.png', png],
        ['public/b.png', {}],
        ['public/b.png', { ...png, upsert: true }],
      ] as const)
        await assert.rejects(upload(anon, 'watched', key, 'x', more), refused('AccessDenied'), key)
      await project.script('drop policy own_folder on storage.objects')
    })
    it('a trigger of a user runs in the role of who asks, never in ours', async () => {
      const project = await room.databases.openProject('demo')
      await project.script(`create table public.seen (who text, super boolean); grant all on public.seen to anon, service_role;
        create function public.spy() returns trigger language plpgsql as $$ begin
          insert into public.seen select current_user, rolsuper from pg_roles where rolname = session_user; return new; end $$;
        create trigger spy before insert or update or delete on storage.objects for each row execute function public.spy();`)
      await upload(service, 'watched', 'spied', 'x')
      await room.storage.objects.move(service, { bucket: 'watched', key: 'spied' }, { bucket: 'watched', key: 'spied2' })
      await room.bucket('watched', { anon: ['insert'] })
      await room.bucket('watched', {})
      await room.storage.sweep()
      await project.script('drop trigger spy on storage.objects')
      assert.deepEqual(await project.sql`select distinct who, super from public.seen`, [{ who: 'service_role', super: false }])
    })
    it('is published for realtime', async () => {
      const project = await room.databases.openProject('demo')
      assert.deepEqual(await project.sql`select schemaname || '.' || tablename as name from pg_publication_tables where pubname = 'supabase_realtime'`, [
        { name: 'storage.objects' },
      ])
    })
  })

  describe('is swept', () => {
    it('of bytes that no row names after unnamedBlob, an hour; never of an object’s, and not before', async () => {
      await upload(service, 'watched', 'kept', 'kept')
      const { name } = await room.blobs.put(DEMO.id, chunked('of a node that was killed'))
      const going = Promise.withResolvers<void>()
      const stuck = room.blobs.put(DEMO.id, chunked('begun', going.promise, new Error('broke off')))
      stuck.catch(() => {})
      while (!room.files().some((file) => file.startsWith('.new-'))) await new Promise((resolve) => setTimeout(resolve, 5))
      aheadMs = LIMITS.unnamedBlob.value - 60_000
      await room.storage.sweep()
      assert.ok(room.files().includes(name))
      assert.ok(room.files().some((file) => file.startsWith('.new-')))
      aheadMs = LIMITS.unnamedBlob.value + 60_000
      await room.storage.sweep()
      assert.equal(room.files().includes(name), false)
      assert.equal(
        room.files().some((file) => file.startsWith('.new-')),
        false,
      )
      assert.equal(await room.read(service, 'watched', 'kept'), 'kept')
      going.resolve()
      await assert.rejects(stuck)
    })
    it('of a copy’s bytes by the age of the copy, however old its source is', async () => {
      aheadMs = 0
      const { name } = await room.blobs.put(DEMO.id, chunked('old'))
      utimesSync(room.fileOf(name), 0, 0)
      const copy = (await room.blobs.copy(DEMO.id, name)) as string
      await room.storage.sweep()
      assert.ok(room.files().includes(copy))
    })
  })
  it('goes with its project', async () => {
    await room.storage.dropProject(DEMO)
    assert.deepEqual(room.files(), [])
  })
})
