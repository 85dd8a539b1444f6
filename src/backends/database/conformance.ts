import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Connection, DatabaseError, type Databases, type Sql, type Tx } from './database.ts'
import { PostgresDatabase, quoteIdentifier } from './postgres.ts'

export interface OpenedDatabases {
  readonly databases: Databases
  /** How a login role (`LOGINS`) of a project reaches its database; `control`: where the control database is. */
  readonly connection: (ref: string, role: string) => Connection
  readonly close: () => Promise<void>
}

const LOGINS = ['owner', 'authenticator', 'auth_authenticator'] as const

const failsWith = (sqlState: string) => (error: unknown) => {
  assert.ok(error instanceof DatabaseError, String(error))
  assert.equal(error.sqlState, sqlState)
  return true
}

/** What every place for databases must do; an implementation is done when it passes. */
export function databasesConformance(name: string, open: () => Promise<OpenedDatabases>): void {
  describe(`${name} keeps the Databases contract`, () => {
    let opened: OpenedDatabases
    let databases: Databases
    before(async () => {
      opened = await open()
      databases = opened.databases
      await databases.control.script('create table public.t (n int primary key, s text)')
    })
    after(() => opened?.close())
    const asRole = async <T>(ref: string, role: string, work: (database: PostgresDatabase) => Promise<T>): Promise<T> => {
      await using database = new PostgresDatabase(opened.connection(ref, role), { max: 1, statementTimeoutMs: 5_000, usersPath: true })
      return await work(database)
    }

    it('takes values as parameters, whatever they hold', async () => {
      const { sql } = databases.control
      for (const text of ["'; drop table t; --", '한글 😀', '$1', '']) assert.deepEqual(await sql`select ${text}::text as text`, [{ text }])
      assert.deepEqual(await sql`select ${Buffer.from([0, 255])}::bytea as bytes, ${null}::int as nothing`, [{ bytes: Buffer.from([0, 255]), nothing: null }])
    })
    it('commits all of a transaction or nothing', async () => {
      const { control } = databases
      await control.transaction(async (tx) => {
        await tx`insert into public.t values (1, 'a')`
        await tx`insert into public.t values (2, 'b')`
      })
      await assert.rejects(
        control.transaction(async (tx) => {
          await tx`insert into public.t values (3, 'c')`
          throw new Error('mine')
        }),
        /mine/,
      )
      await assert.rejects(
        control.transaction((tx) => tx`insert into public.t values (1, 'again')`),
        failsWith('23505'),
      )
      assert.deepEqual(await control.sql`select n from public.t order by n`, [{ n: 1 }, { n: 2 }])
    })
    it('does not call a transaction committed whose error was swallowed', async () => {
      await assert.rejects(
        databases.control.transaction(async (tx) => {
          await tx`insert into public.t values (9, 'x')`
          await tx`select 1 / 0`.catch(() => {})
        }),
        failsWith('25P02'),
      )
      assert.deepEqual(await databases.control.sql`select n from public.t where n = 9`, [])
    })
    it('sends a flight at once, and commits all of it or nothing', async () => {
      const { sql } = databases.control
      await databases.control.script('create table public.flown (n int primary key, bytes bytea)')
      const [made, read] = await databases.control.flight((tx) =>
        Promise.all([
          tx<{ n: number }>`insert into public.flown select n, ${Buffer.from([0, 1])} from unnest(${[1, 2]}::int[]) as n returning n`,
          tx<{ n: number; bytes: Buffer }>`select n, bytes from public.flown order by n`,
        ]),
      )
      assert.deepEqual(made, [{ n: 1 }, { n: 2 }])
      assert.deepEqual(
        read,
        [1, 2].map((n) => ({ n, bytes: Buffer.from([0, 1]) })),
        'each sees what stands before it',
      )
      for (let again = 0; again < 2; again++)
        await assert.rejects(
          databases.control.flight((tx) => Promise.all([tx`insert into public.flown values (${3})`, tx`insert into public.flown values (${1})`, tx`select 1`])),
          { sqlState: '23505' },
        )
      await assert.rejects(
        databases.control.flight(async (tx) => {
          const asked = tx`insert into public.flown values (${4})`
          if (made.length > 0) throw new Error('changed its mind')
          return await asked
        }),
        /changed its mind/,
      )
      await assert.rejects(
        databases.control.flight(async (tx) => {
          await tx`select 1`
          return await tx`insert into public.flown values (${5})`
        }),
        /has left/,
      )
      await Promise.all(Array.from({ length: 20 }, (_, n) => databases.control.flight((tx) => tx`insert into public.flown values (${100 + n})`)))
      assert.deepEqual(await sql`select count(*)::int as n, max(n) filter (where n < 100) as last from public.flown`, [{ n: 22, last: 2 }])
      await databases.control.script('drop table public.flown')
    })
    it('leaves no half transaction behind a script that fails', async () => {
      await assert.rejects(databases.control.script('begin; insert into public.t values (8, null); select 1 / 0; commit'), failsWith('22012'))
      assert.deepEqual(await databases.control.sql`select n from public.t where n = 8`, [])
    })
    it('serves fifty at once', async () => {
      const all = await Promise.all(Array.from({ length: 50 }, (_, n) => databases.control.sql<{ n: number }>`select ${n}::int as n, pg_sleep(0.01)`))
      assert.deepEqual(
        all.map(([row]) => row?.n),
        Array.from({ length: 50 }, (_, n) => n),
      )
    })
    it('makes a project once, however often it is asked, and keeps two apart', async () => {
      await Promise.all([databases.ensureProject('one'), databases.ensureProject('two')])
      await databases.ensureProject('one')
      await (await databases.openProject('one')).script('create table public.only_here (n int)')
      assert.deepEqual(await (await databases.openProject('two')).sql`select to_regclass('public.only_here') as found`, [{ found: null }])
    })
    it('gives login roles that are no superuser, read no file of the server and cannot become more', async () => {
      for (const role of LOGINS) {
        await asRole('one', role, async (database) => {
          assert.deepEqual(await database.sql`select rolsuper, rolcreaterole, rolcreatedb, rolreplication from pg_roles where rolname = current_user`, [
            { rolsuper: false, rolcreaterole: false, rolcreatedb: false, rolreplication: false },
          ])
          await assert.rejects(database.sql`select pg_read_file('/etc/passwd')`, failsWith('42501'))
          await assert.rejects(database.script("copy (select 1) to program 'true'"), failsWith('42501'))
          await assert.rejects(database.script("create table x (t text); copy x from '/etc/passwd'"), failsWith('42501'))
          await assert.rejects(database.script('alter role current_user superuser'), failsWith('42501'))
          await assert.rejects(database.script('set role mayfly'), failsWith('42501'))
          await assert.rejects(database.sql`select * from mayfly.migration`, failsWith('42501'))
        })
      }
    })
    it('opens a project as its owner, whose tables are open to the API’s roles, in sessions that nobody had before', async () => {
      {
        await using owner = await databases.openOwner('one')
        const [role] = await owner.sql<{ name: string }>`select current_user::text as name`
        assert.equal(role?.name, opened.connection('one', 'owner').user)
        await owner.script('create table public.lists (n int primary key); set search_path = nowhere')
        await owner.transaction(async (tx) => void (await tx`insert into public.lists values (1)`))
        assert.deepEqual(await owner.sql`select n from lists`, [{ n: 1 }])
      }
      // The owner may give itself another password: that locks nobody out.
      await asRole('one', 'owner', (database) => database.script("alter role current_user password 'mine alone'"))
      await using again = await databases.openOwner('one')
      assert.deepEqual(await again.sql`select n from lists`, [{ n: 1 }])
      await asRole('one', 'authenticator', async (database) => {
        for (const name of ['anon', 'authenticated', 'service_role']) {
          const seen = await database.transaction(async (tx) => {
            await tx`select set_config('role', ${name}, true)`
            await tx`insert into public.lists values (2)`
            await tx`delete from public.lists where n = 2`
            return await tx`select n from public.lists`
          })
          assert.deepEqual(seen, [{ n: 1 }], name)
        }
      })
    })
    it('keeps the owner in its project, from files and programs, and from what is ours', async () => {
      await using owner = await databases.openOwner('one')
      const [{ ours } = { ours: '' }] = await (await databases.openProject('one')).sql<{ ours: string }>`select quote_ident(current_user) as ours`
      const refusals: readonly (readonly [text: string, sqlState: RegExp])[] = [
        [`set role ${ours}`, /42501/],
        [`set session authorization ${ours}`, /42501/],
        [`select set_config('role', '${ours}', false)`, /42501/],
        [`grant ${ours} to current_user`, /42501/],
        [`set role ${quoteIdentifier(opened.connection('one', 'authenticator').user)}`, /42501/],
        ['alter role current_user superuser', /42501/],
        ['alter role current_user createrole', /42501/],
        ['alter role current_user replication', /42501/],
        ['alter role current_user connection limit 1000', /42501/],
        ['alter role service_role superuser', /42501/],
        ['alter role anon bypassrls', /42501/],
        ['create role friend', /42501/],
        ['grant service_role to anon', /42501/],
        ['grant pg_read_server_files to current_user', /42501/],
        ['grant pg_execute_server_program to current_user', /42501/],
        ['create database elsewhere', /42501/],
        ['alter system set log_statement = ddl', /42501/],
        ['set log_min_messages = debug5', /42501/],
        ["set session_preload_libraries = 'x'", /42501/],
        ["load '/tmp/x.so'", /42501/],
        ["copy (select 1) to program 'true'", /42501/],
        ["copy (select 1) to '/tmp/x'", /42501/],
        ["create table public.lines (line text); copy public.lines from '/etc/passwd'", /42501/],
        ["select pg_read_file('/etc/passwd')", /42501/],
        ["select pg_read_binary_file('PG_VERSION')", /42501/],
        ["select pg_ls_dir('.')", /42501/],
        ["select lo_import('/etc/passwd')", /42501/],
        ["select lo_export(1, '/tmp/x')", /42501/],
        ['select pg_reload_conf()', /42501/],
        ['select rolpassword from pg_authid', /42501/],
        ["select pg_create_physical_replication_slot('s')", /42501/],
        ["select pg_create_logical_replication_slot('s', 'pgoutput')", /42501/],
        ["create subscription s connection 'host=/tmp' publication p", /42501/],
        ["create tablespace t location '/tmp'", /42501/],
        ['create extension dblink', /42501|0A000|58P01/],
        ['create extension postgres_fdw', /42501|0A000|58P01/],
        ['create extension file_fdw', /42501|0A000|58P01/],
        ['create extension plpython3u', /42501|0A000|58P01/],
        ['create foreign data wrapper w', /42501/],
        ["create function f() returns int language c as 'x'", /42501/],
        ["create function f() returns int language internal as 'pg_backend_pid'", /42501/],
        ['create event trigger e on sql_drop execute function suppress_redundant_updates_trigger()', /42501/],
        ['select * from mayfly.migration', /42501/],
        ['select * from mayfly.outbox', /42501/],
        ["insert into mayfly.outbox (kind, source, event, trigger_ids, data) values ('object', 'b', 'created', '{}', '{}')", /42501/],
        ["select mayfly.publish('row', 'public.t', 'insert', '{}')", /42501/],
        ['select * from mayfly.subscription', /42501/],
        ['create trigger t after insert on storage.objects for each row execute function mayfly.row_changed()', /42501/],
        ['create or replace function mayfly.row_changed() returns trigger language plpgsql as $$ begin return null; end $$', /42501/],
        ['alter function mayfly.publish_row(text, text, jsonb, jsonb) owner to current_user', /42501/],
        ['create or replace function mayfly.watch_rows() returns void language sql as $$ select $$', /42501/],
        ['drop event trigger mayfly_tables_changed', /42501|42704/],
        ['select * from mayfly.storage_blob', /42501/],
        ['create table mayfly.mine ()', /42501/],
        ['create table auth.mine ()', /42501/],
        ['create function auth.uid() returns uuid language sql as $$ select null::uuid $$', /42501/],
        ['create or replace function auth.uid() returns uuid language sql as $$ select null::uuid $$', /42501/],
        ['drop schema storage cascade', /42501/],
        ['drop table storage.objects cascade', /42501/],
        ['alter table storage.objects disable row level security', /42501/],
        ['alter table storage.objects disable trigger all', /42501/],
        ['create trigger t before insert on storage.objects for each row execute function suppress_redundant_updates_trigger()', /42501/],
        ['drop table auth.users cascade', /42501/],
        ['create rule r as on insert to storage.objects do instead nothing', /42501/],
        ['alter function auth.uid() owner to current_user', /42501/],
        ['drop schema mayfly cascade', /42501/],
        ['drop event trigger if exists mayfly_schema_changed; drop function mayfly.publish(text, text, text, jsonb)', /42501/],
      ]
      for (const [text, sqlState] of refusals)
        await assert.rejects(owner.script(text), (error) => {
          assert.ok(error instanceof DatabaseError, `${text}: ${String(error)}`)
          assert.match(error.sqlState, sqlState, `${text}: ${error.message}`)
          return true
        })
      // Of what is ours it may run what we hand it, and no more.
      const runs = await owner.sql<{ name: string }>`
        select p.oid::regprocedure::text as name from pg_proc as p
         where pronamespace = 'mayfly'::regnamespace and prosecdef and has_function_privilege(current_user, oid, 'execute')
           and not has_function_privilege('authenticated', oid, 'execute')`
      assert.deepEqual(runs.map(({ name }) => name).toSorted(), [
        'mayfly.configure_auth(text,text)',
        'mayfly.configure_data(text,text)',
        'mayfly.invoke(text,jsonb)',
        'mayfly.publish_row(text,text,jsonb,jsonb)',
        'mayfly.row_changed()',
        'mayfly.row_sources()',
      ])
      // What tells of rows runs casts that the owner may have written: in the role of none but the owner.
      assert.deepEqual(await owner.sql`select pg_get_userbyid(proowner) = current_user as own from pg_proc where oid = 'mayfly.row_changed()'::regprocedure`, [
        { own: true },
      ])
    })
    it('lets the owner make policies on buckets and objects, and change nothing else of their tables, whatever it tries', async () => {
      const project = await databases.openProject('one')
      const [{ guarded } = { guarded: false }] = await project.sql<{ guarded: boolean }>`
        select exists (select from pg_event_trigger where evtname = 'mayfly_guard_storage') as guarded`
      await using owner = await databases.openOwner('one')
      const make = `create policy mine on storage.objects for select to authenticated using (bucket_id = 'a' and (select auth.uid())::text = (storage.foldername(name))[1])`
      // Where no event trigger can hold it to that, it gets nothing.
      if (!guarded) return await assert.rejects(owner.script(make), failsWith('42501'))
      await owner.script(`
        ${make};
        alter table storage.objects enable row level security;
        create policy mine on storage.buckets for select using (true);
        comment on policy mine on storage.objects is 'by folder';
        alter policy mine on storage.objects to anon, authenticated;
        alter policy mine on storage.objects rename to theirs;
        drop policy theirs on storage.objects; drop policy mine on storage.buckets;
        create table public.lure (n int);
        create function public.lure() returns trigger language plpgsql as $$ begin insert into public.ran values (current_user); return new; end $$;
        create function public.lure(name text) returns text immutable language sql as $$ select name $$`)
      for (const text of [
        'create trigger t before insert on storage.objects for each row execute function public.lure()',
        'grant trigger on storage.objects to current_user',
        'grant trigger, references on storage.objects to current_user; create trigger t before insert on storage.objects for each row execute function public.lure()',
        'create rule r as on insert to storage.objects do also insert into public.lure values (1)',
        'create index i on storage.objects (public.lure(name))',
        'alter table storage.objects add check (public.lure(name) is not null)',
        'alter table storage.objects alter column name set default public.lure(null)',
        'alter table storage.objects add column extra text',
        'alter table storage.objects drop column user_metadata',
        'alter table storage.objects disable trigger all',
        'alter table storage.objects disable trigger mayfly_object_removed',
        'alter table storage.objects disable row level security',
        'alter table storage.objects force row level security',
        'alter table storage.objects owner to current_user',
        'alter table storage.objects rename to gone',
        'alter table storage.objects set schema public',
        'alter table storage.objects replica identity nothing',
        'alter table storage.objects set (autovacuum_enabled = false)',
        'alter index storage.objects_by_name rename to mine',
        'drop index storage.objects_by_name',
        'create table public.child () inherits (storage.objects)',
        'alter table public.lure inherit storage.objects',
        'create table public.refers (id uuid references storage.objects (id))',
        'grant references on storage.objects to current_user; create table public.refers (id uuid references storage.objects (id))',
        'reassign owned by supabase_storage_admin to current_user',
        'reassign owned by supabase_storage_admin to anon',
        'drop foreign data wrapper mayfly_anchor cascade',
        'alter foreign data wrapper mayfly_anchor owner to current_user',
        'drop owned by supabase_storage_admin cascade',
        'truncate storage.objects',
        'truncate storage.buckets cascade',
        'set role supabase_storage_admin',
        'grant supabase_storage_admin to anon',
        'alter role supabase_storage_admin login',
        'drop table storage.objects cascade',
        'drop schema storage cascade',
        'alter event trigger mayfly_guard_storage disable',
        'set event_triggers = off; drop table storage.objects cascade',
        'set session_replication_role = replica',
        'alter function mayfly.guard_storage() owner to current_user',
        'create or replace function mayfly.shape_of_storage() returns text language sql as $$ select null::text $$',
        "update mayfly.storage_shape set shape = ''",
        'do $$ begin alter table storage.objects disable trigger all; exception when others then raise; end $$',
      ])
        await assert.rejects(
          owner.script(text),
          (error) => {
            assert.ok(error instanceof DatabaseError, `${text}: ${String(error)}`)
            assert.match(error.sqlState, /^(42501|42809|2BP01|42804|42P16)$/, `${text}: ${error.message}`)
            return true
          },
          text,
        )
      // What a policy calls runs in the role of who is bound by it, and nobody of ours is.
      await owner.script(`
        create table public.ran (role text); grant insert, select on public.ran to public;
        create function public.seen() returns boolean language plpgsql as $$ begin insert into public.ran values (current_user); return true; end $$;
        create policy seen on storage.objects using (public.seen());
        create policy seen on storage.buckets using (public.seen())`)
      await project.sql`insert into storage.buckets (id, name) values ('seen', 'seen')`
      await project.sql`select from storage.buckets`
      await (await databases.openRoles('one')).transaction(async (tx) => {
        await tx`select set_config('role', 'anon', true)`
        await tx`select from storage.buckets`
      })
      assert.deepEqual(await owner.sql`select distinct role from public.ran`, [{ role: 'anon' }])
      await owner.script(
        'drop function public.seen() cascade; drop table public.ran, public.lure; drop function public.lure(); drop function public.lure(text)',
      )
      await project.script("set storage.allow_delete_query = 'true'; delete from storage.buckets where id = 'seen'")
    })
    it('lets no role of one project into another', async () => {
      for (const role of LOGINS) {
        const own = opened.connection('one', role)
        const other = opened.connection('two', role)
        await using stranger = new PostgresDatabase({ ...other, password: own.password }, { max: 1, statementTimeoutMs: 5_000 })
        await assert.rejects(stranger.sql`select 1`, failsWith('28P01'))
        await using guest = new PostgresDatabase({ ...own, host: other.host, database: other.database }, { max: 1, statementTimeoutMs: 5_000 })
        // Where each project has a server, the password is wrong there; on one server the door is closed.
        await assert.rejects(guest.sql`select 1`, (error) => error instanceof DatabaseError && ['28P01', '42501'].includes(error.sqlState))
        const control = opened.connection('one', 'control')
        await using climber = new PostgresDatabase({ ...own, host: control.host, database: control.database }, { max: 1, statementTimeoutMs: 5_000 })
        await assert.rejects(climber.sql`select 1`, (error) => error instanceof DatabaseError && ['28P01', '42501'].includes(error.sqlState))
      }
    })
    it('gives anon nothing by itself, and service_role past row-level security', async () => {
      const project = await databases.openProject('one')
      await project.script(
        'create table public.guarded (n int); alter table public.guarded enable row level security; insert into public.guarded values (1); grant select on public.guarded to anon, service_role',
      )
      await asRole('one', 'authenticator', async (database) => {
        const seen = (role: string) =>
          database.transaction(async (tx) => {
            await tx`select set_config('role', ${role}, true)`
            return (await tx`select n from public.guarded`).length
          })
        assert.deepEqual([await seen('anon'), await seen('service_role')], [0, 1])
        await assert.rejects(database.script(`set role ${quoteIdentifier(opened.connection('one', 'owner').user)}`), failsWith('42501'))
      })
    })
    it('opens a project as authenticator, who takes a role for a transaction and has none of ours', async () => {
      const roles = await databases.openRoles('one')
      assert.equal(await databases.openRoles('one'), roles)
      const [before] = await roles.sql<{
        name: string
        super: boolean
      }>`select session_user as name, rolsuper as super from pg_roles where rolname = session_user`
      assert.deepEqual(before, { name: opened.connection('one', 'authenticator').user, super: false })
      for (const role of ['anon', 'authenticated', 'service_role']) {
        const [row] = await roles.transaction(async (tx) => {
          await tx`select set_config('role', ${role}, true), set_config('request.jwt.claims', ${JSON.stringify({ role })}, true)`
          return await tx<{ role: string; claimed: string }>`select current_user as role, auth.role() as claimed`
        })
        assert.deepEqual(row, { role, claimed: role })
      }
      assert.deepEqual(await roles.sql`select current_user::text = session_user::text as own`, [{ own: true }])
      const reached = await databases.projectConnection('one')
      await using ours = new PostgresDatabase(reached, { max: 1, statementTimeoutMs: 5_000 })
      assert.deepEqual(await ours.sql`select to_regclass('public.only_here') is not null as found`, [{ found: true }])
    })
    it('keeps passwords and sessions from every session of the data API, whatever SQL runs in it', async () => {
      await using owner = await databases.openOwner('one')
      // As a function that builds its SQL from what it is given, or one that means it.
      await owner.script(`
        create function public.run(text text) returns text language plpgsql as $$ declare found text; begin
          execute text; execute 'select current_user' into found; return found; end $$;
        create function public.look(text text) returns text language plpgsql as $$ declare found text; begin
          execute text into found; return found; end $$`)
      const roles = await databases.openRoles('one')
      const asAnon = (call: (tx: Tx) => Promise<object[]>) =>
        roles.transaction(async (tx) => {
          await tx`select set_config('role', 'anon', true)`
          return await call(tx)
        })
      const ours = opened.connection('one', 'owner').user
      for (const text of [
        'set role supabase_auth_admin',
        'set local role supabase_auth_admin',
        "select set_config('role', 'supabase_auth_admin', true)",
        'reset role; set role supabase_auth_admin',
        `set role ${quoteIdentifier(ours)}`,
        `set role ${quoteIdentifier(opened.connection('one', 'auth_authenticator').user)}`,
        `set session authorization ${quoteIdentifier(ours)}`,
        'set session authorization supabase_auth_admin',
        'alter role current_user superuser',
      ])
        await assert.rejects(
          asAnon((tx) => tx`select public.run(${text})`),
          failsWith('42501'),
          text,
        )
      for (const role of ['anon', 'authenticated', 'service_role'])
        for (const table of ['users', 'identities', 'sessions', 'refresh_tokens', 'mfa_amr_claims'])
          await assert.rejects(
            roles.transaction(async (tx) => {
              await tx`select set_config('role', ${role}, true)`
              await tx`select public.look(${`select count(*)::text from auth.${table}`})`
            }),
            failsWith('42501'),
            `${role} ${table}`,
          )
      await owner.script('drop function public.run(text), public.look(text)')
    })
    it('reads and writes users in sessions that can become nothing else', async () => {
      const login = await databases.openLogin('one')
      assert.equal(await databases.openLogin('one'), login)
      await login.sql`select name, value from mayfly.auth_setting`
      for (const role of ['anon', 'authenticated', 'service_role', opened.connection('one', 'owner').user, opened.connection('one', 'authenticator').user])
        await assert.rejects(
          login.transaction((tx) => tx`select set_config('role', ${role}, true)`),
          failsWith('42501'),
          role,
        )
      await assert.rejects(login.sql`select * from mayfly.storage_blob`, failsWith('42501'))
      await assert.rejects(login.script('create table auth.mine ()'), failsWith('42501'))
    })
    it('runs what the owner hangs on the users’ tables in a role that may do no more there', async () => {
      await using owner = await databases.openOwner('one')
      await owner.script(`
        create table public.ran (what text, role text, super boolean);
        grant insert on public.ran to public;
        create function public.tell(what text) returns void language plpgsql as $$ begin
          insert into public.ran select what, current_user, rolsuper or rolcreaterole from pg_roles where rolname = current_user; end $$;
        grant usage on schema public to public;
        create function public.hook() returns trigger language plpgsql as $$ begin perform public.tell(tg_table_name || ' ' || tg_op); return coalesce(new, old); end $$;
        create trigger hook before insert or update or delete on auth.users for each row execute function public.hook();
        create trigger hook before insert or update or delete on auth.identities for each row execute function public.hook();
        create trigger hook before insert or update or delete on auth.sessions for each row execute function public.hook();
        create type public.disguise as (id uuid);
        create function public.undisguise(given public.disguise) returns uuid language plpgsql as $$ begin perform public.tell('cast'); return given.id; end $$;
        create cast (public.disguise as uuid) with function public.undisguise(public.disguise) as implicit;
        create table public.refers (id public.disguise references auth.users (id) on delete cascade)`)
      const id = '00000000-0000-4000-8000-000000000001'
      const fill = async (sql: Sql | Tx) => {
        await sql`insert into auth.users (id) values (${id})`
        await sql`insert into auth.identities (provider_id, user_id, identity_data, provider) values ('x', ${id}, '{}', 'email')`
        await sql`insert into auth.sessions (id, user_id) values (${id}, ${id})`
      }
      await (await databases.openLogin('one')).transaction(async (tx) => {
        await tx`select set_config('role', 'supabase_auth_admin', true)`
        await fill(tx)
        await tx`delete from auth.users where id = ${id}`
      })
      await fill(owner.sql)
      await owner.sql`insert into public.refers values (row(${id}::uuid)::public.disguise)`
      await owner.sql`delete from auth.users where id = ${id}`
      const own = opened.connection('one', 'owner').user
      const ran = await owner.sql<{ what: string; role: string; super: boolean }>`select distinct what, role, super from public.ran`
      assert.deepEqual([...new Set(ran.map(({ what }) => what))].toSorted(), [
        'cast',
        'identities DELETE',
        'identities INSERT',
        'sessions DELETE',
        'sessions INSERT',
        'users DELETE',
        'users INSERT',
      ])
      for (const { what, role, super: mayMore } of ran) {
        assert.ok(['supabase_auth_admin', own].includes(role), `${what} ran as ${role}`)
        assert.equal(mayMore, false, `${what} ran as ${role}`)
      }
      await owner.script(
        'drop table public.refers; drop type public.disguise cascade; drop function public.hook() cascade; drop function public.tell(text); drop table public.ran; revoke usage on schema public from public; grant usage on schema public to anon, authenticated, service_role',
      )
    })
    it('has no table that its owner may hang things on, or refer to, and whose role may do more', async () => {
      const found = await (await databases.openProject('one')).sql`
        select c.oid::regclass::text as table, r.rolname as owner
          from pg_class as c join pg_roles as r on r.oid = c.relowner
         where c.relkind in ('r', 'p', 'v', 'm', 'f') and (r.rolsuper or r.rolcreaterole)
           and (has_table_privilege(${opened.connection('one', 'owner').user}, c.oid, 'trigger')
                or has_table_privilege(${opened.connection('one', 'owner').user}, c.oid, 'references'))
           and not c.relnamespace in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) and c.relname <> 'only_here'`
      assert.deepEqual(found, [])
    })
    it('runs nothing of a user’s where our own sessions name something without its schema', async () => {
      const project = await databases.openProject('one')
      await asRole('one', 'owner', async (database) => {
        // Each fits better than PostgreSQL's own for an argument of this very type.
        await database.script(`
          create function public.lower(text varchar) returns text language sql as $$ select 'hijacked by ' || current_user $$;
          create function public.spied(a varchar, b varchar) returns boolean language sql as $$ select true $$;
          create operator public.= (leftarg = varchar, rightarg = varchar, function = public.spied);
          create table public.pg_class (relname text); create temporary table pg_settings (name text)`)
        assert.deepEqual(await database.sql`select lower('A'::varchar) like 'hijacked%' as taken, 'a'::varchar = 'b'::varchar as same`, [
          { taken: true, same: true },
        ])
      })
      const asked = async (sql: Sql) =>
        await sql`
        select lower('A'::varchar) as lower, 'a'::varchar = 'b'::varchar as same, to_regclass('guarded') as table, current_setting('search_path') as path`
      const safe = [{ lower: 'a', same: false, table: null, path: 'pg_catalog,pg_temp' }]
      assert.deepEqual(await asked(project.sql), safe)
      assert.deepEqual(await project.transaction(asked), safe)
      await project.script("do $$ begin if lower('A'::varchar) <> 'a' then raise exception 'hijacked'; end if; end $$")
      await assert.rejects(project.sql`select from guarded`, failsWith('42P01'))
      assert.equal((await databases.control.sql<{ path: string }>`select current_setting('search_path') as path`)[0]?.path, 'pg_catalog,pg_temp')
      // A schema that bears our role's name, and settings of the database, lead nowhere either.
      await asRole('one', 'owner', (database) => assert.rejects(database.script('alter database postgres set search_path = public'), DatabaseError))
    })
    it('removes a project, however often it is asked, and whoever looks for it meanwhile', async () => {
      const dropping = databases.dropProject('two')
      let gone = false
      const looking = async () => {
        while (!gone) await (await databases.openProject('two')).sql`select 1`.catch(() => {})
      }
      const looks = Array.from({ length: 4 }, () => looking().catch(() => {}))
      await dropping
      gone = true
      await Promise.all(looks)
      await databases.dropProject('two')
      await assert.rejects(databases.openProject('two'))
    })
  })
}
