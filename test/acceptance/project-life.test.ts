import assert from 'node:assert/strict'
import { request } from 'node:http'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { type AnyClient, clientOf, ownerOf } from './data-fixture.ts'
import { makeFolder, mayfly, type RunningMayfly, removeFolder, startMayfly, NO_SPARE } from './harness.ts'
import { manage, until } from './photos.ts'

interface Keys {
  readonly publishableKey: string
  readonly secretKey: string
}

describe('the life of a project', () => {
  const folder = makeFolder()
  const data = path.join(folder, 'data')
  const point = path.join(folder, 'point')
  let node: RunningMayfly
  let shop: AnyClient

  const start = async (...args: string[]) => {
    node = await startMayfly(data, ['--empty', ...NO_SPARE, ...args], { MAYFLY_TEST_CRASH_AT: point })
  }
  const cli = (...args: string[]) => {
    const done = mayfly([...args, '--json'], { XDG_STATE_HOME: path.join(folder, 'state') })
    assert.equal(done.code, 0, `${args.join(' ')}: ${done.stderr}${done.stdout}`)
    return done.stdout === '' ? {} : (JSON.parse(done.stdout) as Record<string, never>)
  }
  const refused = (...args: string[]) => mayfly(args, { XDG_STATE_HOME: path.join(folder, 'state') })
  const urlOf = (ref: string) => `${node.ready.url}/p/${ref}`
  const keysOf = async (ref: string) => (await manage<{ keys: Keys }>(data, `/api/v1/projects/${ref}/keys`)).keys
  const client = async (ref: string) => clientOf(urlOf(ref), (await keysOf(ref)).secretKey)
  const stateOf = async (ref: string) =>
    (await manage<{ projects: { ref: string; state: string }[] }>(data, '/api/v1/projects')).projects.find((one) => one.ref === ref)?.state ?? null
  /** Does a server work in its data? */
  const runs = (ref: string) => existsSync(path.join(data, 'pg', 'projects', ref, 'postmaster.pid'))
  const pause = async () => {
    const { operatorToken } = JSON.parse(readFileSync(path.join(data, 'run.json'), 'utf8')) as { operatorToken: string }
    const { status } = await fetch(`${node.ready.url}/api/v1/projects/shop/pause`, { method: 'POST', headers: { authorization: `Bearer ${operatorToken}` } })
    assert.equal(status, 200)
  }
  const rows = async (of: AnyClient) => {
    const { data: found, error } = await of.from('orders').select('id,batch').order('id')
    assert.equal(error, null)
    return found as { id: number; batch: number }[]
  }

  before(async () => {
    await start()
    cli('projects', 'create', 'shop')
    shop = await client('shop')
    assert.equal((await shop.storage.createBucket('files')).error, null)
    const owner = await ownerOf(data, 'shop')
    await owner.query(
      'create table public.orders (id int generated always as identity primary key, batch int not null); grant all on public.orders to service_role',
    )
    await owner.end()
    assert.equal((await shop.from('orders').insert([{ batch: 0 }, { batch: 0 }])).error, null)
    assert.equal((await shop.storage.from('files').upload('a.txt', 'first', { contentType: 'text/plain' })).error, null)
  })
  after(async () => {
    await node?.stop()
    removeFolder(folder)
  })

  it('a paused one has no server, and its next request resumes it with all that it had', async () => {
    cli('projects', 'pause', 'shop')
    assert.equal(runs('shop'), false)
    assert.equal(await stateOf('shop'), 'paused')
    // Looking at it wakes nothing.
    cli('projects', 'show', 'shop')
    assert.equal(await stateOf('shop'), 'paused')
    assert.equal((await rows(shop)).length, 2)
    assert.equal(await stateOf('shop'), 'active')
    cli('projects', 'pause', 'shop')
    const file = await shop.storage.from('files').download('a.txt')
    assert.equal(await file.data?.text(), 'first')
    assert.equal(runs('shop'), true)
  })

  it('one that is paused again and again while it is used loses nothing', async () => {
    let stop = false
    let written = 0
    const writing = (async () => {
      while (!stop) {
        const { error } = await shop.from('orders').insert([{ batch: 100 }])
        assert.equal(error, null, error?.message)
        written++
      }
    })()
    for (let i = 0; i < 3; i++) await pause()
    stop = true
    await writing
    assert.ok(written > 0)
    assert.equal((await rows(shop)).filter(({ batch }) => batch === 100).length, written)
  })

  it('a realtime socket ends with a pause by hand, and the client comes back', async () => {
    const channel = shop.channel('room')
    const joined = Promise.withResolvers<void>()
    channel.subscribe((status) => status === 'SUBSCRIBED' && joined.resolve())
    await joined.promise
    cli('projects', 'pause', 'shop')
    await until('the project is awake again', async () => (await stateOf('shop')) === 'active')
    await until('the channel is joined again', async () => channel.state === 'joined')
    await shop.removeChannel(channel)
    shop.realtime.disconnect()
  })

  it('a clone is as the source was at one moment, while that is in use, with keys of its own', async () => {
    let stop = false
    let batch = 1_000
    const writing = (async () => {
      while (!stop) {
        batch++
        const { error } = await shop.from('orders').insert([{ batch }, { batch }, { batch }])
        assert.equal(error, null)
        const name = `${batch}.txt`
        assert.equal((await shop.storage.from('files').upload(name, String(batch))).error, null)
        if (batch % 3 === 0) assert.equal((await shop.storage.from('files').remove([name])).error, null)
      }
    })()
    const id = '00000000-0000-4000-8000-000000000001'
    // A question wakes it.
    await rows(shop)
    const owner = await ownerOf(data, 'shop')
    await owner.query(`
      create table public.ended (role text);
      grant insert on public.ended to public;
      grant select on public.ended to service_role;
      create function public.hear() returns trigger language plpgsql as $$ begin insert into public.ended values (current_user); return old; end $$;
      create trigger hear before delete on auth.sessions for each row execute function public.hear();
      grant usage on schema public to public;
      insert into auth.users (id) values ('${id}');
      insert into auth.sessions (id, user_id) values ('${id}', '${id}')`)
    await owner.end()
    await until('some batches are written', async () => batch > 1_005)
    const before = batch - 1
    cli('projects', 'clone', 'shop', 'shop-copy')
    stop = true
    await writing
    const copy = await client('shop-copy')
    const copied = await rows(copy)
    const last = Math.max(...copied.map((row) => row.batch))
    assert.ok(last >= before, 'what was acknowledged before is there')
    for (let at = 1_001; at <= last; at++) assert.equal(copied.filter((row) => row.batch === at).length, 3, `batch ${at} is whole`)
    const { data: files } = await copy.storage.from('files').list('', { limit: 1_000 })
    assert.ok(files && files.length > 3)
    for (const { name } of files)
      assert.equal(await (await copy.storage.from('files').download(name)).data?.text(), name === 'a.txt' ? 'first' : name.slice(0, -4))
    // Whoever was signed in there is not here; what the project hung on that had no right of ours.
    assert.deepEqual((await copy.from('ended').select()).data, [{ role: 'supabase_auth_admin' }])
    const copyOwner = await ownerOf(data, 'shop-copy')
    assert.deepEqual((await copyOwner.query('select id from auth.sessions')).rows, [])
    await copyOwner.end()
    // Two that have nothing of each other from then on.
    await copy.from('orders').delete().gte('id', 0)
    await copy.storage.from('files').remove(['a.txt'])
    assert.ok((await rows(shop)).length > copied.length - 1)
    assert.equal(await (await shop.storage.from('files').download('a.txt')).data?.text(), 'first')
    const foreign = clientOf(urlOf('shop-copy'), (await keysOf('shop')).secretKey)
    assert.equal((await foreign.from('orders').select()).status, 401)
    assert.match(refused('projects', 'clone', 'shop', 'shop-copy').stderr, /project_exists|already/)
    assert.match(refused('projects', 'clone', 'nowhere', 'else').stderr, /no project/)
    cli('projects', 'delete', 'shop-copy', '--yes')
    assert.equal(await stateOf('shop-copy'), null)
  })

  for (const at of ['afterPauseLetGo', 'afterPauseCommit', 'afterResumeCommit', 'afterCloneDatabase', 'afterCloneObjects'] as const) {
    it(`a node that dies at ${at} comes back with the project whole`, async () => {
      const expected = await rows(shop)
      const operation = at.includes('Clone') ? ['clone', 'shop', 'second'] : [at.includes('Resume') ? 'resume' : 'pause', 'shop']
      if (at.includes('Resume')) cli('projects', 'pause', 'shop')
      writeFileSync(point, at)
      assert.notEqual(refused('projects', ...operation).code, 0)
      await node.ended()
      rmSync(point)
      await start()
      shop = await client('shop')
      assert.equal(await stateOf('shop'), at === 'afterPauseCommit' ? 'paused' : 'active')
      assert.deepEqual(await rows(shop), expected)
      if (!at.includes('Clone')) return
      // What was begun is finished by the start.
      assert.equal(await stateOf('second'), 'active')
      const second = await client('second')
      assert.deepEqual(await rows(second), expected)
      assert.equal(await (await second.storage.from('files').download('a.txt')).data?.text(), 'first')
      cli('projects', 'delete', 'second', '--yes')
    })
  }

  it('one that nobody uses is paused by itself, but not while somebody listens', async () => {
    await node.stop()
    await start('--pause-after-seconds', '1')
    shop = await client('shop')
    const channel = shop.channel('room')
    const joined = Promise.withResolvers<void>()
    channel.subscribe((status) => status === 'SUBSCRIBED' && joined.resolve())
    await rows(shop)
    await joined.promise
    // Another one goes to rest meanwhile; this one does not.
    cli('projects', 'create', 'idle')
    await until('the idle one rests', async () => (await stateOf('idle')) === 'paused')
    assert.equal(await stateOf('shop'), 'active')
    await shop.removeChannel(channel)
    shop.realtime.disconnect()
    await until('it rests', async () => (await stateOf('shop')) === 'paused')
    await until('its server has ended', async () => !runs('shop'))
    assert.ok((await rows(shop)).length > 0)
  })

  it('a function is called in a paused project, and its trigger runs for what was uploaded just before', async () => {
    const app = path.join(folder, 'app')
    mkdirSync(app, { recursive: true })
    writeFileSync(
      path.join(app, 'index.mjs'),
      `export const handler = async (event) => {
        if (!event.Records) return { hello: 'you' }
        const key = event.Records[0].s3.object.key
        await fetch(process.env.MAYFLY_URL + '/storage/v1/object/files/seen-' + key, { method: 'POST', headers: { apikey: process.env.MAYFLY_KEY, 'content-type': 'text/plain' }, body: 'seen' })
      }`,
    )
    writeFileSync(
      path.join(app, 'mayfly.json'),
      JSON.stringify({ name: 'seen', triggers: [{ object: { bucket: 'files', events: ['created'], prefix: ['in-'] } }] }),
    )
    cli('deploy', app, '--project', 'shop')
    assert.equal((await shop.storage.from('files').upload('in-1.txt', 'x')).error, null)
    cli('projects', 'pause', 'shop')
    await until('the function has seen the upload', async () => (await shop.storage.from('files').download('seen-in-1.txt')).error === null)
    cli('projects', 'pause', 'shop')
    const called = await shop.functions.invoke('seen', { body: {} })
    assert.equal(called.error, null)
  })

  it('what requests do that outlast the grace of a pause is not left lying: whatever was acknowledged goes on, though nobody wakes it', async () => {
    // Without a pause of its own accord, and nobody asks for anything after.
    await node.stop()
    await start('--pause-after-seconds', '0')
    shop = await client('shop')
    await rows(shop)
    const { secretKey } = await keysOf('shop')
    const slow = (name: string, ms: number) =>
      new Promise<boolean>((resolve) => {
        const sent = request(`${urlOf('shop')}/storage/v1/object/files/${name}`, {
          method: 'POST',
          headers: { apikey: secretKey, 'content-type': 'text/plain', 'content-length': '2' },
        })
        sent.on('response', (response) => {
          response.resume()
          resolve(response.statusCode === 200)
        })
        sent.on('error', () => resolve(false))
        sent.write('a')
        setTimeout(() => sent.end('b'), ms)
      })
    // They end around the moment at which the pause waits no longer, and some well after.
    const uploads = Array.from({ length: 24 }, (_, at) => ({ name: `in-slow-${at}.txt`, done: slow(`in-slow-${at}.txt`, 4_800 + at * 40) }))
    const pausing = pause()
    const acknowledged: string[] = []
    for (const { name, done } of uploads) if (await done) acknowledged.push(name)
    await pausing
    const { operatorToken } = JSON.parse(readFileSync(path.join(data, 'run.json'), 'utf8')) as { operatorToken: string }
    // The control database alone is asked: that wakes no project.
    const shown = async (what: string) =>
      (await (await fetch(`${node.ready.url}/api/v1/projects/shop/${what}`, { headers: { authorization: `Bearer ${operatorToken}` } })).json()) as object
    const earlier = 2
    await until('each has been seen', async () => {
      const { invocations } = (await shown('functions/seen/invocations?limit=200')) as { invocations: unknown[] }
      const { waiting, running } = (await shown('queue')) as { waiting: number; running: number }
      // An upload whose client was cut off may count too: those that were answered have run when none is left.
      return invocations.length >= earlier + acknowledged.length && waiting + running === 0
    })
    for (const name of acknowledged) assert.equal((await shop.storage.from('files').download(`seen-${name}`)).error, null, name)
  })
})
