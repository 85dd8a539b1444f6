-- auth: the keys that open a project.
create table mayfly.api_key (
  id uuid primary key,
  project_id uuid not null references mayfly.project (id) on delete cascade,
  kind text not null check (kind in ('publishable', 'secret')),
  -- Looked up by hash; sealed too, so that the operator can be shown it again.
  hash bytea not null unique,
  value bytea not null,
  created_at timestamptz not null default clock_timestamp()
);
create index api_key_project on mayfly.api_key (project_id);

create table mayfly.access_key (
  id text primary key check (id ~ '^AKIA[A-Z2-7]{16}$'),
  project_id uuid not null references mayfly.project (id) on delete cascade,
  -- Sealed: a signature can only be checked with the secret itself.
  secret bytea not null,
  created_at timestamptz not null default clock_timestamp()
);
create index access_key_project on mayfly.access_key (project_id);
