-- core: the projects of this instance.
create table mayfly.project (
  id uuid primary key,
  ref text not null unique check (ref ~ '^[a-z][a-z0-9-]{1,38}[a-z0-9]$'),
  name text not null,
  state text not null check (state in ('creating', 'active', 'deleting')),
  -- Raised in the transaction of any change of definitions, keys or policies: caches compare it.
  version bigint not null default 1,
  -- The key that this project's secrets are sealed with, itself sealed with the instance key.
  data_key bytea not null,
  created_at timestamptz not null default clock_timestamp()
);

-- How far a process's journal was read: written in the transaction of what was made of its records, so that none counts twice.
create table mayfly.journal_position (
  journal text primary key,
  segment bigint not null,
  position bigint not null
);
