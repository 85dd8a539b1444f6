import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import type { ProjectRef } from '../../core/project.ts'
import type { TriggerSpec } from '../../core/trigger-spec.ts'
import { eventSourceConformance } from '../source-conformance.ts'
import { openPlace, type Place } from '../triggers-fixture.ts'

const DEMO = 'demo' as ProjectRef

const asOwner = async (place: Place, text: string) => {
  await using owner = await place.databases.openOwner('demo')
  await owner.script(text)
}

eventSourceConformance({
  kind: 'row',
  trigger: { row: { table: 'public.orders', events: ['insert'] } },
  prepare: (place) => asOwner(place, 'create table if not exists public.orders (id bigint generated always as identity, n int)'),
  cause: (place, n) => asOwner(place, `insert into public.orders (n) values (${n})`),
  crashes: ['afterRelay', 'afterOutboxDelete'],
})

describe('rows that start functions', () => {
  let place: Place
  before(async () => {
    place = await openPlace()
  })
  after(() => place?.close())
  afterEach(async () => {
    await asOwner(place, 'drop schema if exists shop cascade; drop table if exists public.t, public.other')
    await place.clear()
  })

  const watch = async (...rows: NonNullable<TriggerSpec['row']>[]) => {
    const triggers = place.open()
    if ((await place.own.sql`select from mayfly.subscription`).length === 0) await place.addFunction('f')
    await triggers.put(
      DEMO,
      'f',
      rows.map((row) => ({ row })),
    )
    return {
      texts: async () => {
        await triggers.once(DEMO)
        // In no promised order.
        return (await place.queued()).map(({ payload }) => payload).toSorted()
      },
    }
  }
  const all: ['insert', 'update', 'delete'] = ['insert', 'update', 'delete']
  const ids = (texts: readonly string[]) => texts.map((text) => (JSON.parse(text) as { record: { id: number } }).record.id).toSorted((a, b) => a - b)

  it('come with what they are and were, to the last digit', async () => {
    await asOwner(place, `create table public.t (id bigint primary key, price numeric, at timestamptz, tags text[])`)
    const { texts } = await watch({ table: 'public.t', events: all })
    await asOwner(place, `insert into t values (9007199254740993, 0.1000, '2026-01-02T03:04:05Z', '{a,"b c"}')`)
    await asOwner(place, `update t set price = 12345678901234567890.5, tags = null`)
    await asOwner(place, `delete from t`)
    const first = '{"id":9007199254740993,"price":0.1000,"at":"2026-01-02T03:04:05+00:00","tags":["a","b c"]}'
    const then = '{"id":9007199254740993,"price":12345678901234567890.5,"at":"2026-01-02T03:04:05+00:00","tags":null}'
    const sorted = (text: string) =>
      text.replaceAll(/\{"at[^}]*\}|\{"id[^}]*\}/g, (row) =>
        row
          .slice(1, -1)
          .split(/,(?=")/)
          .toSorted()
          .join(),
      )
    assert.deepEqual(
      (await texts()).map(sorted),
      [
        `{"type":"DELETE","table":"t","schema":"public","record":null,"old_record":${then}}`,
        `{"type":"INSERT","table":"t","schema":"public","record":${first},"old_record":null}`,
        `{"type":"UPDATE","table":"t","schema":"public","record":${then},"old_record":${first}}`,
      ].map(sorted),
    )
  })
  it('start nothing unless their transaction commits', async () => {
    await asOwner(place, 'create table public.t (id int)')
    const { texts } = await watch({ table: 'public.t', events: all })
    await asOwner(place, 'begin; insert into t values (1); rollback')
    await asOwner(place, 'begin; savepoint s; insert into t values (2); rollback to s; insert into t values (3); commit')
    assert.deepEqual(ids(await texts()), [3])
  })
  it('are told by columns that changed, and by values that they have', async () => {
    await asOwner(place, `create table public.t (id int, status text, n numeric, note text)`)
    const { texts } = await watch({ table: 'public.t', events: ['update'], columns: ['status', 'n'], when: { status: ['paid', null] } })
    await asOwner(place, `insert into t values (1, 'new', 1, ''), (2, 'new', 1, ''), (3, 'new', 1, ''), (4, 'paid', 1, '')`)
    await asOwner(place, `update t set note = 'x'`)
    await asOwner(place, `update t set status = 'paid' where id = 1; update t set status = 'sent' where id = 2; update t set status = null where id = 3`)
    await asOwner(place, `update t set n = 2 where id = 4`)
    assert.deepEqual(ids(await texts()), [1, 3, 4])
  })
  it('are found in tables that are made later, renamed, or in partitions, and not in others of the name', async () => {
    const { texts } = await watch({ table: 'shop.t', events: ['insert'] }, { table: 'public.other', events: ['insert'] })
    await asOwner(place, `create table public.t (id int); insert into public.t values (1)`)
    await asOwner(
      place,
      `begin; create schema shop; create table shop.t (id int) partition by range (id);
      create table shop.low partition of shop.t for values from (0) to (10); insert into shop.t values (2); commit`,
    )
    await asOwner(place, `create table shop.high partition of shop.t for values from (10) to (20); insert into shop.high values (12)`)
    await asOwner(place, `alter table public.t rename to other; insert into public.other values (3)`)
    await asOwner(place, `alter table public.other rename to t; insert into public.t values (4)`)
    assert.deepEqual(ids(await texts()), [2, 3, 12])
  })
  it('leave nothing on a table for which nobody waits any more', async () => {
    await asOwner(place, 'create table public.t (id int)')
    await watch({ table: 'public.t', events: all })
    const there = async () =>
      (await place.own.sql<{ name: string }>`select tgname as name from pg_trigger where tgrelid = 'public.t'::regclass order by 1`).map(({ name }) => name)
    assert.deepEqual(await there(), ['mayfly_row_delete', 'mayfly_row_insert', 'mayfly_row_update'])
    await watch({ table: 'public.t', events: ['update'] })
    assert.deepEqual(await there(), ['mayfly_row_update'])
    await watch()
    assert.deepEqual(await there(), [])
  })
  it('come without values that are too long, which then are taken for any', async () => {
    await asOwner(place, 'create table public.t (id int, body text, status text)')
    const { texts } = await watch({ table: 'public.t', events: all, when: { body: 'short' } })
    await asOwner(place, `insert into t values (1, repeat('x', 70000), 'new'), (2, 'long', 'new'), (3, 'short', 'new')`)
    assert.deepEqual(
      (await texts()).map((text) => JSON.parse(text) as { omitted?: unknown }).toSorted((a) => (a.omitted ? -1 : 1)),
      [
        { type: 'INSERT', table: 't', schema: 'public', record: { id: 1, status: 'new' }, old_record: null, omitted: ['body'] },
        { type: 'INSERT', table: 't', schema: 'public', record: { id: 3, body: 'short', status: 'new' }, old_record: null },
      ],
    )
  })
  it('run casts of the owner’s with the owner’s rights alone, whoever writes', async () => {
    await asOwner(
      place,
      `create type public.disguise as enum ('a');
       create function public.undisguise(given public.disguise) returns json language plpgsql as $$ begin
         return json_build_object('role', current_user, 'super', (select rolsuper from pg_roles where rolname = current_user)); end $$;
       create cast (public.disguise as json) with function public.undisguise(public.disguise);
       create table public.t (id int, worn public.disguise)`,
    )
    const { texts } = await watch({ table: 'public.t', events: all })
    await place.own.script("insert into public.t values (1, 'a'::public.disguise)")
    await (await place.databases.openRoles('demo')).transaction(async (tx) => {
      await tx`select set_config('role', 'anon', true)`
      await tx`insert into public.t values (2, 'a'::public.disguise)`
    })
    for (const text of await texts()) assert.deepEqual((JSON.parse(text) as { record: { worn: unknown } }).record.worn, { role: 'postgres', super: false })
    assert.equal((await texts()).length, 2)
    await asOwner(place, 'drop table public.t; drop type public.disguise cascade')
  })
  it('are told of by what their owner cannot take away or change, and whose triggers come again', async () => {
    await asOwner(place, 'create table public.t (id int)')
    const { texts } = await watch({ table: 'public.t', events: ['insert'] })
    for (const text of [
      'drop function mayfly.row_changed()',
      'drop function mayfly.row_changed() cascade',
      'drop routine mayfly.row_changed cascade',
      'drop owned by current_user cascade',
      'alter function mayfly.row_changed() security invoker',
      'alter function mayfly.row_changed() reset all',
      'alter function mayfly.row_changed() set search_path = public',
      'alter function mayfly.row_changed() set schema public',
      'alter function mayfly.row_changed() owner to anon',
      'alter event trigger mayfly_guard_rows disable',
      'drop event trigger mayfly_guard_rows_drop',
      'do $$ begin drop function mayfly.row_changed() cascade; exception when others then raise; end $$',
    ])
      await assert.rejects(
        asOwner(place, text),
        (error: { sqlState?: string; message: string }) => {
          assert.match(error.sqlState ?? '', /^(42501|2BP01)$/, `${text}: ${error.message}`)
          return true
        },
        text,
      )
    await asOwner(place, 'insert into t values (1)')
    await asOwner(place, 'drop trigger mayfly_row_insert on t; insert into t values (2)')
    await asOwner(place, 'begin; drop trigger mayfly_row_insert on t; insert into t values (3); commit')
    assert.deepEqual(ids(await texts()), [1, 2, 3])
    // Where it cannot be put back it stays, and who dropped it hears why.
    await asOwner(place, 'create table public.other (id int)')
    await watch({ table: 'public.t', events: ['insert'] }, { table: 'public.other', events: ['insert'] })
    const inTheWay = `create function public.mine() returns trigger language plpgsql as 'begin return null; end';
      alter table other disable trigger all; alter trigger mayfly_row_insert on other rename to was;
      create constraint trigger mayfly_row_insert after insert on other for each row execute function public.mine()`
    await asOwner(place, inTheWay)
    await assert.rejects(
      asOwner(place, 'drop trigger mayfly_row_insert on t'),
      /a function waits for rows of public\.t, and its trigger cannot be put back: trigger "mayfly_row_insert" for relation "other" is a constraint trigger/,
    )
    await asOwner(place, 'drop table other; drop function public.mine(); insert into t values (4)')
    assert.deepEqual(ids(await texts()), [1, 2, 3, 4])
    // Nor does it keep anybody from functions of their own who may not name it.
    await asOwner(
      place,
      `create schema shop; grant usage, create on schema shop to service_role; set role service_role;
       create function shop.own() returns int language sql as 'select 1'; alter function shop.own() stable; drop function shop.own(); reset role`,
    )
    // What nobody waits for any more goes, and so do a table and functions of one's own.
    await watch()
    assert.deepEqual(await place.own.sql`select tgname from pg_trigger where tgname like 'mayfly_row_%'`, [])
    await asOwner(
      place,
      'create function public.mine() returns int language sql as $$ select 1 $$; alter function public.mine() stable; drop function public.mine(); drop table t',
    )
  })
})
