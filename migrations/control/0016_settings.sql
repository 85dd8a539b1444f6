-- functions: settings that stand beside the versions of a function, each for a qualifier: $LATEST, a number or an alias.

-- Who may call, as the JSON that is shown: the order of its members is part of it.
create table mayfly.function_policy (
  function_id uuid not null references mayfly.function (id) on delete cascade,
  qualifier text not null,
  document text not null check (octet_length(document) <= 20480),
  primary key (function_id, qualifier)
);

-- How calls from the queue are tried, and where their outcome is told.
create table mayfly.function_event_invoke (
  function_id uuid not null references mayfly.function (id) on delete cascade,
  qualifier text not null,
  max_retries smallint check (max_retries between 0 and 2),
  max_age_seconds int check (max_age_seconds between 60 and 21600),
  on_success text,
  on_failure text,
  modified_at timestamptz not null default clock_timestamp(),
  primary key (function_id, qualifier)
);

create table mayfly.function_recursion (
  function_id uuid primary key references mayfly.function (id) on delete cascade,
  recursive_loop text not null check (recursive_loop in ('Allow', 'Terminate'))
);

-- Said and shown; the runtime is the node's.
create table mayfly.function_runtime_management (
  function_id uuid not null references mayfly.function (id) on delete cascade,
  qualifier text not null,
  update_on text not null check (update_on in ('Auto', 'Manual', 'FunctionUpdate')),
  runtime_version_arn text,
  primary key (function_id, qualifier)
);

-- A mapping outlives its function.
create table mayfly.event_source_mapping (
  id uuid primary key,
  project_id uuid not null references mayfly.project (id) on delete cascade,
  function_name text not null,
  qualifier text,
  -- Null when the source is not one of AWS.
  source_arn text,
  enabled boolean not null,
  -- In the words of the API, defaults included.
  settings jsonb not null,
  tags jsonb not null default '{}',
  modified_at timestamptz not null default clock_timestamp()
);
create index event_source_mapping_project on mayfly.event_source_mapping (project_id, id);
