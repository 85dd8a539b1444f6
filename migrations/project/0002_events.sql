-- triggers: what happened in this project that somebody waits for, until the relay has taken it.

-- A mirror of the project's triggers, so that whoever causes an event knows in the same transaction whether one waits.
create table mayfly.subscription (
  trigger_id uuid primary key,
  -- `object`, later `row`, `auth`…
  kind text not null,
  -- Of an object: its bucket.
  source text not null,
  -- Of an object: created, removed.
  events text[] not null
);
create index subscription_source on mayfly.subscription (kind, source);

-- Read without a cursor, whatever is visible: a sequence is given before its transaction commits.
create table mayfly.outbox (
  seq bigint generated always as identity primary key,
  event_id uuid not null default gen_random_uuid(),
  kind text not null,
  source text not null,
  event text not null,
  trigger_ids uuid[] not null,
  -- How many functions stand behind it: the end of a loop of functions that cause each other.
  depth smallint not null default 0,
  happened_at timestamptz not null default clock_timestamp(),
  data jsonb not null
);

-- Called where an event is caused, by our own functions alone; its row commits with the cause or not at all.
create function mayfly.publish(of_kind text, of_source text, of_event text, what jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  waiting uuid[];
begin
  select array_agg(trigger_id) into waiting from mayfly.subscription where kind = of_kind and source = of_source and of_event = any (events);
  if waiting is null then
    return;
  end if;
  insert into mayfly.outbox (kind, source, event, trigger_ids, depth, data)
  values (of_kind, of_source, of_event, waiting, coalesce(nullif(current_setting('mayfly.depth', true), ''), '0')::smallint, what);
end
$$;
revoke all on function mayfly.publish(text, text, text, jsonb) from public;
