-- triggers: when each schedule is due next, and which of its due times were taken.

create table mayfly.schedule (
  trigger_id uuid primary key references mayfly.trigger (id) on delete cascade,
  -- The first due time that was not looked at; null when none comes any more.
  due_at timestamptz
);
create index schedule_due on mayfly.schedule (due_at) where due_at is not null;

-- A due time is taken once, by whichever process comes first, over all restarts.
create table mayfly.firing (
  trigger_id uuid not null references mayfly.trigger (id) on delete cascade,
  due_at timestamptz not null,
  -- `started` until its entry has left the queue; `waiting` for the one before it; `skipped` for that reason.
  state text not null check (state in ('started', 'over', 'waiting', 'skipped')),
  entry_id uuid,
  primary key (trigger_id, due_at)
);
create index firing_open on mayfly.firing (trigger_id, due_at) where state in ('started', 'waiting');
