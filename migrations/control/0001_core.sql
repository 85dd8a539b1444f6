-- core: the projects of this instance.
create table mayfly.project (
  id uuid primary key,
  ref text not null unique check (ref ~ '^[a-z][a-z0-9-]{1,38}[a-z0-9]$'),
  name text not null,
  state text not null check (state in ('creating', 'active', 'deleting')),
  -- Raised in the transaction of any change of definitions, keys or policies: caches compare it.
  version bigint not null default 1,
  created_at timestamptz not null default clock_timestamp()
);
