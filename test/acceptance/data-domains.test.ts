import assert from 'node:assert/strict'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import type pg from 'pg'
import { type AnyClient, guestOf, ownerOf, serviceOf } from './data-fixture.ts'
import { makeFolder, removeFolder, type RunningMayfly, startMayfly, NO_SPARE } from './harness.ts'

const RED = '#ff0000'
const GREEN = '#00ff00'

describe('domains that say how they are shown and read', () => {
  const folder = makeFolder()
  let node: RunningMayfly
  let owner: pg.Client
  let guest: AnyClient
  let service: AnyClient

  before(async () => {
    node = await startMayfly(path.join(folder, 'data'), ['--empty', ...NO_SPARE])
    owner = await ownerOf(node.data, node.ready.project.ref)
    guest = guestOf(node.ready)
    service = serviceOf(node.ready)
    await owner.query(`
      create domain color as int check (value between 0 and 16777215);
      create function color_json(color) returns json language sql immutable as $$ select to_json('#' || lpad(to_hex($1), 6, '0')) $$;
      create function color(text) returns color language sql immutable as $$ select ('x' || lpad(ltrim($1, '#'), 8, '0'))::bit(32)::int $$;
      create function color(json) returns color language sql immutable as $$ select public.color($1 #>> '{}') $$;
      create cast (color as json) with function color_json(color) as implicit;
      create cast (text as color) with function color(text) as implicit;
      create cast (json as color) with function color(json) as implicit;
      create table walls (color color primary key, name text, trim color default 255);
      create table rooms (id int primary key, wall color references walls (color), other color);
      insert into walls values (16711680, 'red'), (65280, 'green');
      insert into rooms values (1, 16711680, 1), (2, 65280, 1), (3, 65280, null);
      create function walls_of(n text) returns setof walls language sql stable as 'select * from public.walls where name = n';

      create domain code as text;
      create function who_shows(code) returns json language sql stable as $$ select json_build_object('role', current_user, 'value', $1::text) $$;
      create cast (code as json) with function who_shows(code) as implicit;
      create schema hidden_place;
      create function hidden_place.reads(text) returns code language sql as $$ select $1::code $$;
      create domain secret_code as text;
      create function closed(secret_code) returns json language sql as $$ select to_json('closed'::text) $$; revoke all on function closed(secret_code) from public, anon;
      create function hidden_place.reads_secret(text) returns secret_code language sql as $$ select $1::secret_code $$;
      create cast (secret_code as json) with function closed(secret_code) as implicit;
      create cast (text as secret_code) with function hidden_place.reads_secret(text) as implicit;
      create table codes (id int primary key, code code, secret secret_code);
      insert into codes values (1, 'a', 'b');
      select mayfly.configure_data('db_aggregates_enabled', 'true');`)
    for (;;) if ((await service.from('codes').select('id.max()')).error === null) break
  })
  after(async () => {
    await owner?.end()
    await node?.stop()
    removeFolder(folder)
  })

  const rows = async (asked: PromiseLike<{ data: unknown; error: unknown }>): Promise<unknown> => {
    const { data, error } = await asked
    assert.equal(error, null, JSON.stringify(error))
    return data
  }

  it('are shown by their cast to json: alone, in *, in embeds and spreads, of functions and in groups; a cast of the request means the value itself', async () => {
    assert.deepEqual(await rows(guest.from('walls').select().order('name')), [
      { color: GREEN, name: 'green', trim: '#0000ff' },
      { color: RED, name: 'red', trim: '#0000ff' },
    ])
    assert.deepEqual(await rows(guest.from('walls').select('c:color,color::int').order('color')), [
      { c: GREEN, color: 65280 },
      { c: RED, color: 16711680 },
    ])
    assert.deepEqual(await rows(guest.from('rooms').select('id,walls(*)').eq('id', 1)), [{ id: 1, walls: { color: RED, name: 'red', trim: '#0000ff' } }])
    assert.deepEqual(await rows(guest.from('rooms').select('id,...walls(color)').eq('id', 1)), [{ id: 1, color: RED }])
    assert.deepEqual(await rows(guest.from('walls').select('name,...rooms(wall)').eq('name', 'green')), [{ name: 'green', wall: [GREEN, GREEN] }])
    assert.deepEqual(await rows(guest.from('rooms').select('wall,count()').order('wall')), [
      { wall: GREEN, count: 2 },
      { wall: RED, count: 1 },
    ])
    assert.deepEqual(await rows(guest.from('rooms').select('count(),...walls(color)').eq('id', 1)), [{ count: 1, color: RED }])
    assert.deepEqual(await rows(guest.rpc('walls_of', { n: 'red' })), [{ color: RED, name: 'red', trim: '#0000ff' }])
    assert.deepEqual(await rows(guest.from('rooms').select('other').is('other', null)), [{ other: null }])
  })

  it('are filtered through their cast from text: one value, lists, in trees, of embeds', async () => {
    const names = async (asked: PromiseLike<{ data: unknown; error: unknown }>) => ((await rows(asked)) as { name: string }[]).map(({ name }) => name)
    assert.deepEqual(await names(guest.from('walls').select('name').eq('color', RED)), ['red'])
    assert.deepEqual(await names(guest.from('walls').select('name').neq('color', RED)), ['green'])
    assert.deepEqual(await names(guest.from('walls').select('name').in('color', [RED, GREEN]).order('name')), ['green', 'red'])
    assert.deepEqual(await names(guest.from('walls').select('name').not('color', 'in', `(${RED})`)), ['green'])
    assert.deepEqual(await names(guest.from('walls').select('name').filter('color', 'eq(any)', `{${RED},#123456}`)), ['red'])
    assert.deepEqual(await names(guest.from('walls').select('name').filter('color', 'isdistinct', RED)), ['green'])
    assert.deepEqual(await names(guest.from('walls').select('name').or(`color.gt.${GREEN},name.eq.none`)), ['red'])
    assert.deepEqual(await rows(guest.from('rooms').select('id,walls!inner()').eq('walls.color', RED)), [{ id: 1 }])
  })

  it('are written by their cast from json: inserted, upserted, updated, put, by their default, and named in Location', async () => {
    assert.deepEqual(
      await rows(
        service
          .from('walls')
          .insert([{ color: '#000001', name: 'one', trim: null }])
          .select(),
      ),
      [{ color: '#000001', name: 'one', trim: null }],
    )
    const { rows: stored } = await owner.query('select color from walls where name = $1', ['one'])
    assert.deepEqual(stored, [{ color: 1 }])
    const many = [{ color: '#000002', trim: '#000003' }, { color: '#000004' }]
    assert.deepEqual(await rows(service.from('walls').insert(many, { defaultToNull: false }).select('color,trim').order('color')), [
      { color: '#000002', trim: '#000003' },
      { color: '#000004', trim: '#0000ff' },
    ])
    assert.deepEqual(await rows(service.from('walls').upsert({ color: '#000001', name: 'first' }).select('name')), [{ name: 'first' }])
    assert.deepEqual(await rows(service.from('walls').update({ trim: GREEN }).eq('color', '#000001').select('trim')), [{ trim: GREEN }])
    const ask = async (query: string, init: { method: string; prefer: string; body: unknown }) => {
      const answer = await fetch(`${node.ready.project.url}/rest/v1/${query}`, {
        method: init.method,
        headers: { apikey: node.ready.project.secretKey, 'content-type': 'application/json', prefer: init.prefer },
        body: JSON.stringify(init.body),
      })
      return { status: answer.status, text: await answer.text(), location: answer.headers.get('location') }
    }
    const put = await ask('walls?color=eq.%23000001', { method: 'PUT', prefer: 'return=representation', body: { color: '#000001', name: 'put' } })
    assert.equal(put.status, 200, put.text)
    const made = await ask('walls', { method: 'POST', prefer: 'return=headers-only', body: { color: '#000005' } })
    assert.equal(made.location, '/walls?color=eq.%23000005')
    assert.deepEqual(await rows(service.from('walls').delete().lt('color', '#000009').select('color').order('color')), [
      { color: '#000001' },
      { color: '#000002' },
      { color: '#000004' },
      { color: '#000005' },
    ])
  })

  it('their functions run as who asks, and nothing of a request becomes SQL', async () => {
    assert.deepEqual(await rows(guest.from('codes').select('code')), [{ code: { role: 'anon', value: 'a' } }])
    assert.deepEqual(await rows(service.from('codes').select('code')), [{ code: { role: 'service_role', value: 'a' } }])
    // One that the role may not call is not called, nor passed by.
    for (const asked of [guest.from('codes').select('secret'), guest.from('codes').select(), guest.from('codes').select('id').eq('secret', 'b')]) {
      const { error, status } = await asked
      assert.equal(error?.code, '42501')
      assert.equal(status, 401)
    }
    for (const value of ["'); drop table walls; --", "#00ff00'::text) or true --", '{"a"}', '","', '\\', '{}']) {
      await guest.from('walls').select('name').eq('color', value)
      await guest.from('walls').select('name').in('color', [value, value])
      await guest.from('walls').select('name').filter('color', 'eq(any)', value)
      await guest.from('walls').insert({ color: value })
      await service
        .from('rooms')
        .update({ other: { '); --': value } })
        .eq('id', 1)
      assert.deepEqual(await rows(guest.from('codes').select('code').eq('code', value)), [])
    }
    assert.deepEqual(await rows(guest.from('walls').select('name').in('color', [RED, GREEN]).order('name')), [{ name: 'green' }, { name: 'red' }])
  })
})
