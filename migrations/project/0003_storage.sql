-- storage: buckets and objects of a project; which bytes an object has stands apart, where no user writes.

create table storage.buckets (
  id text primary key,
  name text not null unique,
  owner uuid,
  owner_id text,
  public boolean not null default false,
  avif_autodetection boolean not null default false,
  file_size_limit bigint check (file_size_limit >= 0),
  allowed_mime_types text[],
  type text not null default 'STANDARD' check (type = 'STANDARD'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table storage.objects (
  id uuid primary key default gen_random_uuid(),
  bucket_id text not null references storage.buckets (id),
  name text not null,
  owner uuid,
  owner_id text,
  version text,
  metadata jsonb,
  user_metadata jsonb,
  path_tokens text[] generated always as (string_to_array(name, '/')) stored,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  last_accessed_at timestamptz not null default now(),
  unique (bucket_id, name)
);
-- Listing walks the names below a prefix, byte by byte, in whatever locale the database is.
create index objects_by_name on storage.objects (bucket_id, name collate "C");

alter table storage.buckets enable row level security;
alter table storage.objects enable row level security;

-- The bytes of an object. Its name in the store of bytes is known here alone.
create table mayfly.storage_blob (
  object_id uuid primary key,
  blob text not null unique check (blob ~ '^[0-9a-f]{32}$'),
  version text not null,
  bytes bigint not null,
  etag text not null,
  content_type text not null,
  cache_control text not null,
  content_encoding text,
  stored_at timestamptz not null default clock_timestamp()
);
-- Bytes that no object has any more, from the commit that took them away until they are deleted.
create table mayfly.storage_garbage (
  blob text primary key,
  since timestamptz not null default clock_timestamp()
);
create sequence mayfly.storage_sequencer;

-- What policies ask.
create function storage.foldername(name text) returns text[] immutable language sql as
  $$ select (string_to_array(name, '/'))[1 : array_length(string_to_array(name, '/'), 1) - 1] $$;
create function storage.filename(name text) returns text immutable language sql as
  $$ select (string_to_array(name, '/'))[array_length(string_to_array(name, '/'), 1)] $$;
create function storage.extension(name text) returns text immutable language sql as
  $$ select case when storage.filename(name) like '%.%' then reverse(split_part(reverse(storage.filename(name)), '.', 1)) else '' end $$;
create function storage.operation() returns text stable language sql as
  $$ select nullif(current_setting('storage.operation', true), '') $$;
create function storage.allow_only_operation(expected_operation text) returns boolean stable language sql as
  $$ select coalesce(storage.operation() = expected_operation, false) $$;
create function storage.allow_any_operation(expected_operations text[]) returns boolean stable language sql as
  $$ select coalesce(storage.operation() = any (expected_operations), false) $$;

-- Tells who waits for it what became of an object, in the transaction of the change.
create function mayfly.storage_tell(of_object uuid, of_bucket text, of_name text, of_event text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  its mayfly.storage_blob;
begin
  select * into its from mayfly.storage_blob where object_id = of_object;
  if found then
    perform mayfly.publish('object', of_bucket, of_event, jsonb_build_object(
      'key', of_name, 'size', its.bytes, 'eTag', its.etag, 'contentType', its.content_type, 'version', its.version,
      'sequencer', lpad(to_hex(nextval('mayfly.storage_sequencer')), 16, '0')));
  end if;
end
$$;

-- An object that somebody was allowed to write, a moment ago in this transaction, gets its bytes.
create function mayfly.storage_attach(of_bucket text, of_name text, of_version text, of_blob text, of_bytes bigint, of_etag text,
  of_type text, of_cache text, of_encoding text) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  of_object uuid;
begin
  select id into of_object from storage.objects where bucket_id = of_bucket and name = of_name and version = of_version;
  if not found then
    raise exception 'the object that was written is not there' using errcode = 'no_data_found';
  end if;
  insert into mayfly.storage_garbage (blob) select blob from mayfly.storage_blob where object_id = of_object;
  insert into mayfly.storage_blob (object_id, blob, version, bytes, etag, content_type, cache_control, content_encoding)
  values (of_object, of_blob, of_version, of_bytes, of_etag, of_type, of_cache, of_encoding)
  on conflict (object_id) do update set blob = excluded.blob, version = excluded.version, bytes = excluded.bytes, etag = excluded.etag,
    content_type = excluded.content_type, cache_control = excluded.cache_control, content_encoding = excluded.content_encoding,
    stored_at = excluded.stored_at;
  perform mayfly.storage_tell(of_object, of_bucket, of_name, 'created');
  return of_object;
end
$$;

-- The bytes of an object that somebody was allowed to see.
create function mayfly.storage_blob_of(of_object uuid) returns setof mayfly.storage_blob
language sql stable security definer set search_path = pg_catalog, pg_temp as
  $$ select * from mayfly.storage_blob where object_id = of_object $$;

-- An object of a public bucket, whoever asks.
create function mayfly.storage_public_object(of_bucket text, of_name text) returns setof storage.objects
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select object.* from storage.objects as object join storage.buckets as bucket on bucket.id = object.bucket_id
   where object.bucket_id = of_bucket and object.name = of_name and bucket.public
$$;

-- What a bucket takes, whoever asks: its limits hold also for those who may not see it.
create function mayfly.storage_bucket(of_bucket text) returns setof storage.buckets
language sql stable security definer set search_path = pg_catalog, pg_temp as
  $$ select * from storage.buckets where id = of_bucket $$;

create function mayfly.storage_object_removed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform mayfly.storage_tell(old.id, old.bucket_id, old.name, 'removed');
  with gone as (delete from mayfly.storage_blob where object_id = old.id returning blob)
  insert into mayfly.storage_garbage (blob) select blob from gone;
  return null;
end
$$;
create trigger mayfly_object_removed after delete on storage.objects for each row execute function mayfly.storage_object_removed();

create function mayfly.storage_object_moved() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if old.id <> new.id then
    update mayfly.storage_blob set object_id = new.id where object_id = old.id;
  end if;
  if (old.bucket_id, old.name) is distinct from (new.bucket_id, new.name) then
    perform mayfly.storage_tell(new.id, old.bucket_id, old.name, 'removed');
    perform mayfly.storage_tell(new.id, new.bucket_id, new.name, 'created');
  end if;
  return null;
end
$$;
create trigger mayfly_object_moved after update on storage.objects for each row
  when ((old.id, old.bucket_id, old.name) is distinct from (new.id, new.bucket_id, new.name)) execute function mayfly.storage_object_moved();

-- Rows are deleted by the Storage API: it looks at rights and limits, and clients that know it expect this refusal.
create function storage.protect_delete() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if coalesce(current_setting('storage.allow_delete_query', true), 'false') <> 'true' then
    raise exception 'Direct deletion from storage tables is not allowed. Use the Storage API instead.' using errcode = 'insufficient_privilege';
  end if;
  return null;
end
$$;
create trigger protect_objects_delete before delete on storage.objects for each statement execute function storage.protect_delete();
create trigger protect_buckets_delete before delete on storage.buckets for each statement execute function storage.protect_delete();

-- The name of the policy that lets a role do something with the objects of a bucket. A long name is cut to the 63 bytes of an identifier.
create function mayfly.storage_policy_name(of_bucket text, of_role text, of_command text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select format('mayfly: %s %s %s',
    case when octet_length(of_bucket) + octet_length(of_role) + octet_length(of_command) <= 53 then of_bucket else '#' || md5(of_bucket) end,
    of_role, of_command)
$$;

-- Makes true what each role may do with a bucket's objects: {"anon": ["select", "insert"]}. What is there already is not touched.
create function mayfly.storage_allow(of_bucket text, allow jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  of_role text;
  of_command text;
  policy text;
  wanted boolean;
  there boolean;
begin
  foreach of_role in array array['anon', 'authenticated'] loop
    foreach of_command in array array['select', 'insert', 'update', 'delete'] loop
      policy := mayfly.storage_policy_name(of_bucket, of_role, of_command);
      wanted := coalesce(allow -> of_role ? of_command, false);
      there := exists (select from pg_policy where polrelid = 'storage.objects'::regclass and polname = policy);
      if there and not wanted then
        execute format('drop policy %I on storage.objects', policy);
      elsif wanted and not there then
        execute format('create policy %I on storage.objects for %s to %I %s %s', policy, of_command, of_role,
          case when of_command <> 'insert' then format('using (bucket_id = %L)', of_bucket) else '' end,
          case when of_command in ('insert', 'update') then format('with check (bucket_id = %L)', of_bucket) else '' end);
      end if;
    end loop;
  end loop;
end
$$;

-- What each role may do, as `mayfly.storage_allow` takes it; of policies that others made nothing is said.
create function mayfly.storage_allowed(of_bucket text) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_object_agg(of_role, commands), '{}')
    from (select of_role, jsonb_agg(of_command order by of_command) as commands
            from unnest(array['anon', 'authenticated']) as roles (of_role)
           cross join unnest(array['select', 'insert', 'update', 'delete']) as all_commands (of_command)
           where exists (select from pg_policy
                          where polrelid = 'storage.objects'::regclass and polname = mayfly.storage_policy_name(of_bucket, of_role, of_command))
           group by of_role) as found
$$;

-- A bucket of the same name that comes later is another one: it begins with nobody allowed.
create function mayfly.storage_bucket_removed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform mayfly.storage_allow(old.id, '{}');
  return null;
end
$$;
create trigger mayfly_bucket_removed after delete on storage.buckets for each row execute function mayfly.storage_bucket_removed();

revoke all on function
  mayfly.storage_tell(uuid, text, text, text), mayfly.storage_attach(text, text, text, text, bigint, text, text, text, text),
  mayfly.storage_blob_of(uuid), mayfly.storage_public_object(text, text), mayfly.storage_bucket(text),
  mayfly.storage_object_removed(), mayfly.storage_object_moved(), mayfly.storage_policy_name(text, text, text),
  mayfly.storage_allow(text, jsonb), mayfly.storage_allowed(text), mayfly.storage_bucket_removed() from public;
grant usage on schema mayfly to :"authenticator";
grant execute on function
  mayfly.storage_attach(text, text, text, text, bigint, text, text, text, text), mayfly.storage_blob_of(uuid),
  mayfly.storage_public_object(text, text), mayfly.storage_bucket(text) to :"authenticator";

grant usage on schema storage to anon, authenticated, service_role, :"owner";
grant select, insert, update, delete on storage.buckets, storage.objects to anon, authenticated, service_role;

do $$
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
  alter publication supabase_realtime add table storage.objects;
end $$;
