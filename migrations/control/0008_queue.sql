-- invoke: entries, the invocations that wait for their run, and dead letters, those that were given up.

-- Ids and numbers only, so that claims stay cheap; what an entry is made of lies beside it.
create table mayfly.entry (
  -- The id of the invocation, the same for every attempt.
  id uuid primary key,
  function_id uuid not null,
  priority smallint not null default 0,
  enqueued_at timestamptz not null default clock_timestamp(),
  due_at timestamptz not null default clock_timestamp(),
  -- Rises with each lease and fences what a former holder says.
  attempt int not null default 0,
  -- Attempts that the function itself used up.
  spent int not null default 0,
  -- Leases that ended without an outcome of the function.
  lost int not null default 0,
  leased_by uuid,
  leased_until timestamptz,
  check ((leased_by is null) = (leased_until is null))
);
create index entry_due on mayfly.entry (function_id, priority, due_at, id) where leased_until is null;
create index entry_leased on mayfly.entry (leased_until) where leased_until is not null;

create table mayfly.entry_payload (
  entry_id uuid primary key,
  project text not null,
  function_name text not null,
  trace_id text,
  client_context text,
  depth smallint not null,
  payload bytea not null
);

create table mayfly.dead_letter (
  id uuid primary key,
  project text not null,
  function_name text not null,
  payload bytea not null,
  enqueued_at timestamptz not null,
  dead_at timestamptz not null default clock_timestamp(),
  attempts int not null,
  lost int not null,
  reason text not null check (reason in ('attempts', 'age', 'node', 'function_gone')),
  error_type text,
  error_message text
);
create index dead_letter_project on mayfly.dead_letter (project, dead_at desc, id);
create index dead_letter_age on mayfly.dead_letter (dead_at);
