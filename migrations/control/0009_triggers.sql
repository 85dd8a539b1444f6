-- triggers: what starts functions, how far each project's mirror has come, and what the relays have handed on.

-- How far the subscriptions in a project's own database follow the triggers here: it is behind while the two differ.
create table mayfly.mirror (
  project_id uuid primary key references mayfly.project (id) on delete cascade,
  wanted bigint not null default 0,
  reached bigint not null default 0
);
create index mirror_behind on mayfly.mirror (project_id) where wanted <> reached;

-- One never changes: another definition is another trigger.
create table mayfly.trigger (
  id uuid primary key,
  project_id uuid not null references mayfly.project (id) on delete cascade,
  -- Null when the function is gone: for a while its last events are still on their way, and become dead letters.
  function_id uuid references mayfly.function (id) on delete set null,
  function_name text not null,
  -- `object`, later `row`, `schedule`…
  kind text not null,
  definition jsonb not null,
  created_at timestamptz not null default clock_timestamp(),
  orphaned_at timestamptz
);
create index trigger_project on mayfly.trigger (project_id, function_name, created_at, id);
create index trigger_function on mayfly.trigger (function_id);
create index trigger_orphaned on mayfly.trigger (orphaned_at) where orphaned_at is not null;

-- Events that are in the queue and may still lie in their project's outbox.
create table mayfly.relayed (
  project_id uuid not null references mayfly.project (id) on delete cascade,
  event_id uuid not null,
  primary key (project_id, event_id)
);

create function mayfly.trigger_is_orphaned() returns trigger language plpgsql as $$
begin
  if new.function_id is null and old.function_id is not null then
    new.orphaned_at := clock_timestamp();
  end if;
  return new;
end
$$;
create trigger trigger_is_orphaned before update on mayfly.trigger
  for each row execute function mayfly.trigger_is_orphaned();

-- Whoever changes the triggers, a function's deletion too, leaves the mirror behind in the same transaction.
create function mayfly.trigger_moves_mirror() returns trigger language plpgsql as $$
begin
  if tg_op <> 'INSERT' and old.function_id is null then
    return null; -- an orphan, which no mirror shows
  end if;
  insert into mayfly.mirror (project_id, wanted)
  select id, 1 from mayfly.project where id = coalesce(new.project_id, old.project_id)
      on conflict (project_id) do update set wanted = mirror.wanted + 1;
  return null;
end
$$;
create trigger trigger_moves_mirror after insert or update or delete on mayfly.trigger
  for each row execute function mayfly.trigger_moves_mirror();
