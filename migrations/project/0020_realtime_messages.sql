-- realtime: the table whose policies say who may be in a private channel, what he hears there, and what he may say.

-- No row of it stays: who joins is asked about by rows that are put in and taken back. It is the project owner's, who makes
-- policies on it as migrations that come from elsewhere do; whatever else is done to it, whoever was let in is not any more.
create table realtime.messages (
  topic text not null,
  extension text not null,
  payload jsonb,
  event text,
  private boolean default false,
  updated_at timestamp not null default now(),
  inserted_at timestamp not null default now(),
  id uuid not null default gen_random_uuid(),
  primary key (id, inserted_at)
);
alter table realtime.messages enable row level security;
grant usage on schema realtime to anon, authenticated, service_role, :"owner";

-- What policies ask.
create function realtime.topic() returns text stable language sql as
  $$ select nullif(current_setting('realtime.topic', true), '') $$;

-- Whether the role that asks may say something of this kind; nothing of it stays.
create function realtime.may_write(of_topic text, of_extension text) returns boolean language plpgsql as $$
begin
  insert into realtime.messages (topic, extension, private) values (of_topic, of_extension, true);
  raise exception using errcode = 'MF001';
exception
  when sqlstate 'MF001' then return true;
  when insufficient_privilege then return false;
end
$$;
revoke all on function realtime.may_write(text, text) from public;
grant execute on function realtime.may_write(text, text) to anon, authenticated, service_role;

grant create on schema realtime to :"owner";
alter table realtime.messages owner to :"owner";
revoke create on schema realtime from :"owner";
grant select, insert, update on realtime.messages to anon, authenticated, service_role;

-- What was dropped would be made by no migration again.
create function mayfly.guard_realtime() returns event_trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from pg_event_trigger_dropped_objects() where object_type = 'table' and object_identity = 'realtime.messages') then
    raise exception 'the table realtime.messages is the node''s: it takes policies' using errcode = 'insufficient_privilege';
  end if;
end
$$;
revoke all on function mayfly.guard_realtime() from public;
do $$
begin
  if (select rolsuper from pg_roles where rolname = current_user) then
    create event trigger mayfly_guard_realtime on sql_drop when tag in ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED') execute function mayfly.guard_realtime();
  end if;
end $$;
