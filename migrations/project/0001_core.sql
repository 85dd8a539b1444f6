-- core: the roles and schemas of a project's database.
do $$
declare
  each text;
begin
  foreach each in array array['anon', 'authenticated', 'service_role'] loop
    if not exists (select from pg_roles where rolname = each) then
      execute format('create role %I nologin noinherit', each);
    end if;
  end loop;
  if not exists (select from pg_roles where rolname = :'authenticator') then
    create role :"authenticator" login noinherit connection limit 20;
  end if;
  if not exists (select from pg_roles where rolname = :'owner') then
    create role :"owner" login connection limit 10;
  end if;
  if not (select rolbypassrls from pg_roles where rolname = 'service_role') then
    alter role service_role bypassrls;
  end if;
  -- Who made a role may hand it on, but is no member of it by that alone; giving away a schema takes one.
  if not (select rolsuper from pg_roles where rolname = current_user) then
    grant :"owner" to current_user with inherit true, set true;
  end if;
end $$;
grant anon, authenticated, service_role to :"authenticator";
grant anon, authenticated, service_role to :"owner";

create schema if not exists extensions;
create schema if not exists auth;
create schema if not exists storage;
create schema if not exists realtime;
revoke all on schema mayfly from public;
grant usage on schema public, extensions, auth to anon, authenticated, service_role;
grant create, usage on schema public, extensions to :"owner";
alter schema public owner to :"owner";
alter default privileges for role :"owner" in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges for role :"owner" in schema public grant all on routines to anon, authenticated, service_role;
alter default privileges for role :"owner" in schema public grant all on sequences to anon, authenticated, service_role;

-- A custom setting is an empty string after its transaction, not null: '' counts as none.
create function auth.jwt() returns jsonb stable language sql as
  $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
create function auth.uid() returns uuid stable language sql as
  $$ select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''), auth.jwt() ->> 'sub')::uuid $$;
create function auth.role() returns text stable language sql as
  $$ select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''), auth.jwt() ->> 'role') $$;
create function auth.email() returns text stable language sql as
  $$ select coalesce(nullif(current_setting('request.jwt.claim.email', true), ''), auth.jwt() ->> 'email') $$;
