import assert from 'node:assert/strict'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import type pg from 'pg'
import { guestOf, ownerOf, serviceOf } from './data-fixture.ts'
import { makeFolder, removeFolder, type RunningMayfly, startMayfly, NO_SPARE } from './harness.ts'

const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0xff])

describe('media types of a project', () => {
  const folder = makeFolder()
  let node: RunningMayfly
  let owner: pg.Client

  before(async () => {
    node = await startMayfly(path.join(folder, 'data'), ['--empty', ...NO_SPARE])
    owner = await ownerOf(node.data, node.ready.project.ref)
    await owner.query(`
      create table points (id int primary key, name text, x int);
      insert into points values (1, 'one', 10), (2, 'two', 20), (3, 'hidden', 30);
      alter table points enable row level security;
      create policy seen on points to anon using (name <> 'hidden');
      create policy all_seen on points to service_role using (true);
      create table others (id int primary key); insert into others values (1);

      create domain "text/xml" as xml;
      create domain "image/png" as bytea;
      create domain "application/vnd.lines" as text;
      create domain "text/tab-separated-values" as text;
      create domain "application/x-we""ird" as text;
      create domain "*/*" as bytea;

      create function title() returns "text/xml" language sql stable as $$ select '<t>é</t>'::xml $$;
      create function picture() returns "image/png" language sql stable as $$ select '\\x89504e470d0a1a0a00ff'::bytea $$;
      create function no_picture() returns "image/png" language sql stable as $$ select null::bytea $$;
      create function large(bytes int) returns "image/png" language sql stable as $$ select (convert_to(repeat('0', bytes - 1), 'UTF8') || '\\x00'::bytea) $$;
      create function titles() returns setof "text/xml" language sql stable as $$ select '<t/>'::xml $$;
      create function whatever() returns "*/*" language plpgsql stable as $$
        declare wanted text := current_setting('request.headers', true)::json ->> 'accept';
        begin
          if wanted = 'app/known' then perform set_config('response.headers', '[{"Content-Type": "app/known"}]', true); return 'known'; end if;
          if wanted = 'app/refused' then raise sqlstate 'PT415' using message = 'not this one'; end if;
          return 'any';
        end $$;

      create function more_lines(text, points) returns "application/vnd.lines" language sql immutable as $$ select coalesce($1 || E'\\n', '') || $2.name || '=' || $2.x $$;
      create aggregate lines_of(points) (sfunc = more_lines, stype = "application/vnd.lines");
      create function more_of_any(text, anyelement) returns "text/tab-separated-values" language sql immutable as $$ select coalesce($1, '') || ($2)::text || E'\\t' $$;
      create aggregate "any ""of"" (anyelement)"(anyelement) (sfunc = more_of_any, stype = "text/tab-separated-values");
      create function some_points(low int) returns setof points language sql stable as $$ select * from public.points where id >= low $$;
      create function add_all() returns setof points language sql as $$ insert into public.points values (9, 'nine', 90) returning * $$;

      create domain "application/vnd.closed" as text;
      create function more_closed(text, points) returns "application/vnd.closed" language sql immutable as $$ select coalesce($1, '') || $2.name $$;
      create aggregate closed_of(points) (sfunc = more_closed, stype = "application/vnd.closed");
      revoke all on function closed_of(points) from public, anon;
      create domain "application/vnd.who" as text;
      create function more_who(text, points) returns "application/vnd.who" language sql stable as $$ select current_user || ' ' || (select count(*) from public.points) $$;
      create aggregate who_of(points) (sfunc = more_who, stype = "application/vnd.who");

      create schema hidden_place;
      create domain "application/vnd.hidden" as text;
      create function hidden_place.more(text, public.points) returns "application/vnd.hidden" language sql immutable as $$ select 'hidden' $$;
      create aggregate hidden_place.all_of(public.points) (sfunc = hidden_place.more, stype = "application/vnd.hidden");

      create function st_asgeojson(r record, geom_column text default '', maxdecimaldigits int default 9) returns text language plpgsql stable as $$
        begin return json_build_object('type', 'Feature', 'geometry', json_build_object('type', 'Point'), 'properties', to_json(r)); end $$;`)
    const service = serviceOf(node.ready)
    for (;;) if ((await service.from('others').select()).error === null) break
  })
  after(async () => {
    await owner?.end()
    await node?.stop()
    removeFolder(folder)
  })

  const ask = async (query: string, accept: string, init: RequestInit & { secret?: boolean } = {}) => {
    const { project } = node.ready
    const headers = { apikey: init.secret ? project.secretKey : project.publishableKey, accept, ...(init.headers as Record<string, string>) }
    const response = await fetch(`${project.url}/rest/v1/${query}`, { ...init, headers })
    const bytes = Buffer.from(await response.arrayBuffer())
    return {
      status: response.status,
      type: response.headers.get('content-type'),
      range: response.headers.get('content-range'),
      bytes,
      text: bytes.toString('utf8'),
    }
  }
  const brief = async (query: string, accept: string, init: RequestInit & { secret?: boolean } = {}) => {
    const { status, type, text } = await ask(query, accept, init)
    return status === 200 ? [status, type, text] : [status, (JSON.parse(text) as { code: string; message: string }).code]
  }

  it('are what functions return that are named for them: as text, and as bytes', async () => {
    assert.deepEqual(await brief('rpc/title', 'text/xml'), [200, 'text/xml; charset=utf-8', '<t>é</t>'])
    const picture = await ask('rpc/picture', 'text/html;q=0.9,image/png,*/*;q=0.8')
    assert.deepEqual([picture.status, picture.type, picture.bytes], [200, 'image/png', PNG])
    assert.deepEqual(await brief('rpc/no_picture', 'image/png'), [200, 'image/png', ''])
    // As before where nothing else is wanted.
    assert.deepEqual(await brief('rpc/title', '*/*'), [200, 'application/json; charset=utf-8', '"<t>é</t>"'])
    const posted = await ask('rpc/picture', 'image/png', { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } })
    assert.deepEqual([posted.status, posted.bytes], [200, PNG])
  })
  it('are answered with PGRST107 where none fits', async () => {
    const none = await ask('points', 'text/plain, image/png')
    assert.deepEqual([none.status, JSON.parse(none.text).message], [406, 'None of these media types are available: text/plain, image/png'])
    for (const [query, accept] of [
      ['rpc/title', 'image/png'],
      ['rpc/titles', 'text/xml'],
      ['others', 'application/vnd.lines'],
      ['points', 'application/vnd.hidden'],
      ['points', 'application/x-we"ird'],
      ['rpc/title', 'application/geo+json'],
    ] as const)
      assert.deepEqual(await brief(query, accept), [406, 'PGRST107'], `${query} ${accept}`)
    assert.equal((await brief('points', 'text/plain, application/json'))[0], 200)
  })
  it('are made of rows by an aggregate over a relation, of its rows as they are alone', async () => {
    const lines = 'application/vnd.lines'
    assert.deepEqual(await brief('points?order=id', lines), [200, lines, 'one=10\ntwo=20'])
    assert.deepEqual(await brief('points?order=id.desc&limit=1', lines), [200, lines, 'two=20'])
    assert.deepEqual(await brief('points?id=eq.0', lines), [200, lines, ''])
    assert.deepEqual(await brief('rpc/some_points?low=2', lines), [200, lines, 'two=20'])
    for (const select of ['id', 'id,name,x', '*,id', 'x:id', '*,other:name'])
      assert.deepEqual(await brief(`points?select=${select}`, lines), [406, 'PGRST107'], select)
    const counted = await ask('points?order=id&limit=1', lines, { headers: { prefer: 'count=exact' } })
    assert.deepEqual([counted.status, counted.range, counted.text], [206, '0-0/2', 'one=10'])
    const written = await ask('points?id=eq.1', lines, {
      method: 'PATCH',
      body: '{"x":11}',
      secret: true,
      headers: { prefer: 'return=representation', 'content-type': 'application/json' },
    })
    assert.deepEqual([written.status, written.type, written.text], [200, lines, 'one=11'])
    await owner.query('update points set x = 10 where id = 1')
  })
  it('are made of anything by an aggregate over it, whatever its name and the columns', async () => {
    const tabs = 'text/tab-separated-values'
    assert.deepEqual(await brief('points?select=x,name&order=id', tabs), [200, tabs, '(10,one)\t(20,two)\t'])
    assert.deepEqual(await brief('others', tabs, { secret: true }), [200, tabs, '(1)\t'])
    assert.deepEqual(await brief('rpc/whatever', tabs), [200, 'application/octet-stream', 'any'])
  })
  it('any: `*/*` takes what is wanted, and says itself what it is', async () => {
    assert.deepEqual(await brief('rpc/whatever', '*/*'), [200, 'application/octet-stream', 'any'])
    assert.deepEqual(await brief('rpc/whatever', 'app/known'), [200, 'app/known', 'known'])
    assert.deepEqual(await brief('rpc/whatever', 'app/refused'), [415, 'PT415'])
  })
  it('GeoJSON is made of rows by st_asgeojson, which PostGIS brings', async () => {
    const { data, error } = await guestOf(node.ready).from('points').select('id,name').order('id').geojson()
    assert.equal(error, null)
    const feature = (id: number, name: string) => ({ type: 'Feature', geometry: { type: 'Point' }, properties: { id, name } })
    assert.deepEqual(data, { type: 'FeatureCollection', features: [feature(1, 'one'), feature(2, 'two')] })
    const told = await ask('points?id=eq.0', 'application/geo+json')
    assert.deepEqual([told.type, JSON.parse(told.text)], ['application/geo+json; charset=utf-8', { type: 'FeatureCollection', features: [] }])
  })
  it('show nobody more than his policies do, and are run by who may and as who asks', async () => {
    assert.deepEqual(await brief('points', 'application/vnd.who'), [200, 'application/vnd.who', 'anon 2'])
    assert.deepEqual(await brief('points', 'application/vnd.who', { secret: true }), [200, 'application/vnd.who', 'service_role 3'])
    assert.deepEqual(await brief('points', 'application/vnd.closed'), [401, '42501'])
    // A function that is read writes nothing, in whatever form it is asked for.
    assert.deepEqual(await brief('rpc/add_all', 'application/vnd.lines', { secret: true }), [405, '25006'])
    assert.equal((await owner.query('select from points')).rowCount, 3)
  })
  it('leave in parts where they are large', async () => {
    const bytes = 33 * 1024 * 1024
    const large = await ask(`rpc/large?bytes=${bytes}`, 'image/png', { secret: true })
    assert.deepEqual([large.status, large.type, large.bytes.length], [200, 'image/png', bytes])
    assert.ok(large.bytes.equals(Buffer.concat([Buffer.alloc(bytes - 1, '0'), Buffer.from([0])])))
  })
})
