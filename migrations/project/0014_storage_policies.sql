-- storage: the owner of a project makes policies on buckets and objects, as migrations that come from elsewhere expect.

-- Who makes a policy must own its table, and who owns one may do anything to it: so all else is refused, whatever command
-- it comes by, by comparing the tables with what they were. That needs an event trigger. Where only a superuser could
-- make one, the tables stay the node's.
create table mayfly.storage_shape (
  only_one boolean primary key default true check (only_one),
  shape text not null
);

-- All of the two tables but their rows, statistics, comments and policies.
create function mayfly.shape_of_storage() returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  with mine as (
    select c.oid from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where n.nspname = 'storage' and c.relname in ('buckets', 'objects')
  ), indexes as (
    select indexrelid as oid from pg_index where indrelid in (select oid from mine)
  ), parts as (
    select format('class %s', (oid, relname, relnamespace, relowner, relkind, relam, relpersistence, reltablespace, relrowsecurity, relforcerowsecurity,
                               relreplident, relacl, reloptions)) as part
      from pg_class where oid in (select oid from mine union all select oid from indexes)
    union all
    select format('attribute %s', (attrelid, attnum, attname, atttypid, atttypmod, attcollation, attnotnull, atthasdef, attidentity, attgenerated,
                                   attisdropped, attstorage, attcompression, attacl, attoptions))
      from pg_attribute where attrelid in (select oid from mine)
    union all
    select format('default %s', (adrelid, adnum, adbin::text)) from pg_attrdef where adrelid in (select oid from mine)
    union all
    select format('trigger %s', (oid, tgrelid, tgname, tgfoid, tgtype, tgenabled, tgqual::text, tgargs)) from pg_trigger where tgrelid in (select oid from mine)
    union all
    select format('rule %s', (oid, ev_class, rulename)) from pg_rewrite where ev_class in (select oid from mine)
    union all
    select format('constraint %s', (oid, conname, contype, condeferrable, condeferred, convalidated, conbin::text))
      from pg_constraint where conrelid in (select oid from mine) or confrelid in (select oid from mine)
    union all
    select format('index %s', (indexrelid, indisunique, indisvalid, indisready, indislive, indisreplident, indisclustered)) from pg_index where indrelid in (select oid from mine)
    union all
    select format('inherits %s', (inhrelid, inhparent)) from pg_inherits where inhrelid in (select oid from mine) or inhparent in (select oid from mine)
    union all
    select format('wrapper %s', (oid, fdwowner, fdwhandler, fdwvalidator, fdwacl)) from pg_foreign_data_wrapper where fdwname = 'mayfly_anchor'
    union all
    select format('schema %s', (oid, nspname, nspowner, nspacl)) from pg_namespace where nspname = 'storage'
  )
  select md5(string_agg(part, E'\n' order by part collate "C")) from parts
$$;

-- Our own migrations say what the tables are; nobody else changes them.
create function mayfly.guard_storage() returns event_trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  is_now text := mayfly.shape_of_storage();
begin
  if (select rolsuper from pg_roles where rolname = session_user) then
    insert into mayfly.storage_shape (shape) values (is_now)
    on conflict (only_one) do update set shape = excluded.shape where mayfly.storage_shape.shape <> excluded.shape;
  elsif is_now is distinct from (select shape from mayfly.storage_shape) then
    raise exception 'the tables of the schema storage are the node''s: they take policies, and no other change' using errcode = 'insufficient_privilege',
      hint = 'Put what you need beside them, in a table of your own with the id of the object.';
  end if;
end
$$;
revoke all on function mayfly.guard_storage(), mayfly.shape_of_storage() from public;

do $$
begin
  if not exists (select from pg_roles where rolname = 'supabase_storage_admin') then
    create role supabase_storage_admin nologin noinherit;
  end if;
  if not (select rolsuper from pg_roles where rolname = current_user) then
    return;
  end if;
  grant usage on schema storage to supabase_storage_admin;
  alter table storage.buckets owner to supabase_storage_admin;
  alter table storage.objects owner to supabase_storage_admin;
  -- What is needed where the one refers to the other; no trigger, no reference, no truncate, which no event trigger hears of.
  revoke all on storage.buckets, storage.objects from supabase_storage_admin;
  grant select, insert, update, delete on storage.buckets, storage.objects to supabase_storage_admin;
  -- Of REASSIGN OWNED no event trigger hears. It fails where one of the things can belong to a superuser alone, and gives away
  -- nothing then: this wrapper, which has no handler and does nothing else. It came to its owner while that was one.
  create foreign data wrapper mayfly_anchor;
  alter role supabase_storage_admin superuser;
  alter foreign data wrapper mayfly_anchor owner to supabase_storage_admin;
  alter role supabase_storage_admin nosuperuser;
  grant supabase_storage_admin to :"owner" with inherit true, set false, admin false;
  create event trigger mayfly_guard_storage on ddl_command_end execute function mayfly.guard_storage();
  -- Hears of the one before it.
  comment on event trigger mayfly_guard_storage is 'the tables of the schema storage take policies, and no other change';
  insert into mayfly.storage_shape (shape) values (mayfly.shape_of_storage()) on conflict do nothing;
end $$;
