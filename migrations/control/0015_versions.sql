-- functions: published versions, and aliases that name them.

-- The last number that was given out: none is ever given twice.
alter table mayfly.function add column published int not null default 0;
-- Why the last update did not take effect; null when it did.
alter table mayfly.function add column refused_code text;
alter table mayfly.function add column refused_reason text;

-- A published version is a build of its own: its environment tells its number, so it shares no sandbox with $LATEST.
create table mayfly.published_version (
  function_id uuid not null references mayfly.function (id) on delete cascade,
  number int not null check (number > 0),
  version_id uuid not null unique references mayfly.function_version (id) deferrable initially deferred,
  -- What publishing said of it; the definition of the build has that of $LATEST.
  description text not null,
  revision_id uuid not null,
  published_at timestamptz not null default clock_timestamp(),
  primary key (function_id, number)
);

create table mayfly.function_alias (
  function_id uuid not null references mayfly.function (id) on delete cascade,
  name text not null check (name ~ '^[a-zA-Z0-9_-]{1,128}$' and name !~ '^[0-9]+$'),
  -- Null: $LATEST.
  version int,
  -- A share of the calls goes to another version.
  other_version int,
  other_weight double precision check (other_weight between 0 and 1),
  description text not null default '',
  -- What it named before, the last one at the end; a way back.
  former int[] not null default '{}',
  revision_id uuid not null,
  created_at timestamptz not null default clock_timestamp(),
  modified_at timestamptz not null default clock_timestamp(),
  primary key (function_id, name),
  foreign key (function_id, version) references mayfly.published_version (function_id, number) deferrable initially deferred,
  foreign key (function_id, other_version) references mayfly.published_version (function_id, number) deferrable initially deferred,
  check ((other_version is null) = (other_weight is null)),
  check (other_version is null or (version is not null and other_version <> version))
);

-- What waits in the queue keeps the qualifier it was sent with; what that means is asked when it runs.
alter table mayfly.entry_payload add column qualifier text;
alter table mayfly.dead_letter add column qualifier text;
