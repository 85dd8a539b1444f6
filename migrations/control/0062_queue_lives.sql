-- invoke: the whole life of what is queued; order by key, pauses, results that are kept, and events that came twice.

alter table mayfly.entry
  -- The order in which entries came, where that matters: of one key they run one after the other.
  add column seq bigint generated always as identity,
  add column order_key text,
  -- It stands behind another of its key, and is nobody's to take.
  add column held boolean not null default false;
drop index mayfly.entry_due;
create index entry_due on mayfly.entry (function_id, priority, due_at, id) where leased_until is null and not held;
create index entry_order on mayfly.entry (function_id, order_key, seq) where order_key is not null;

-- Rows come and go by the million: what is dead is taken away after some thousands of them, whatever the table's size,
-- so that the head of an index is not a graveyard.
alter table mayfly.entry set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
  autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000);
alter table mayfly.entry_payload set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
  autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000);

-- How each attempt that was no success ended; kept as long as dead letters.
create table mayfly.entry_failure (
  invocation_id uuid not null,
  attempt int not null,
  failed_at timestamptz not null default clock_timestamp(),
  error_type text,
  error_message text,
  -- Null where no other attempt follows.
  next_at timestamptz,
  primary key (invocation_id, attempt)
);
create index entry_failure_age on mayfly.entry_failure (failed_at);

-- What an invocation answered at its end, where its function keeps that.
create table mayfly.kept_result (
  id uuid primary key,
  project text not null,
  is_error boolean not null,
  payload bytea not null,
  ended_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null
);
create index kept_result_expiry on mayfly.kept_result (expires_at);

-- To whom an outcome was told.
create table mayfly.told_outcome (
  invocation_id uuid primary key,
  condition text not null,
  -- Where it was told: the name of a function, or an address.
  kind text not null,
  target text not null,
  -- The entry that carries it.
  delivery_id uuid not null,
  told_at timestamptz not null default clock_timestamp()
);
create index told_outcome_age on mayfly.told_outcome (told_at);

-- Keys under which events came, each standing for one invocation until it expires.
create table mayfly.entry_key (
  function_id uuid not null,
  key text not null,
  invocation_id uuid not null,
  expires_at timestamptz not null,
  primary key (function_id, key)
);
create index entry_key_expiry on mayfly.entry_key (expires_at);

create table mayfly.function_pause (
  function_id uuid primary key references mayfly.function (id) on delete cascade,
  -- Null when it goes on again.
  paused_at timestamptz,
  -- What waited then is no older than from here on.
  resumed_at timestamptz
);

-- What stands here for a webhook has an address in it, and calls no function.
alter table mayfly.entry_payload add column webhook jsonb;
alter table mayfly.dead_letter add column webhook jsonb;
create index dead_letter_filter on mayfly.dead_letter (project, function_name, dead_at desc, id);
