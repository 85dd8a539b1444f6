-- functions: how many calls of a function may run at once, and how many sandboxes of a version are kept ready for calls.

create table mayfly.function_concurrency (
  function_id uuid primary key references mayfly.function (id) on delete cascade,
  reserved int not null check (reserved >= 0)
);

create table mayfly.provisioned_concurrency (
  function_id uuid not null references mayfly.function (id) on delete cascade,
  -- The number of a published version, or an alias.
  qualifier text not null,
  requested int not null check (requested > 0),
  modified_at timestamptz not null default clock_timestamp(),
  primary key (function_id, qualifier)
);
