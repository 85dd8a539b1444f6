-- usage: every execution, once.
create table mayfly.invocation_meter (
  invocation_id uuid not null,
  attempt int not null,
  project text not null,
  function_name text not null,
  version text not null,
  started_at timestamptz not null,
  -- Null while it runs; `cut` when its node ended first: recorded, not billed.
  outcome text check (outcome in ('ok', 'error', 'timeout', 'exit', 'cut')),
  duration_ms double precision not null default 0,
  billed_ms bigint not null default 0,
  memory_mb int not null,
  max_memory_mb int,
  cold text,
  wait_ms double precision not null default 0,
  init_ms double precision not null default 0,
  bytes_in bigint not null default 0,
  bytes_out bigint not null default 0,
  primary key (invocation_id, attempt)
);
create index invocation_meter_day on mayfly.invocation_meter (project, started_at);
create index invocation_meter_open on mayfly.invocation_meter (started_at) where outcome is null;
