-- functions: secrets of a project, which its functions get as environment variables when they name them.
create table mayfly.secret (
  project_id uuid not null references mayfly.project (id) on delete cascade,
  name text not null check (name ~ '^[a-zA-Z_][a-zA-Z0-9_]{0,127}$'),
  -- Sealed, for this name in this project.
  value bytea not null,
  created_at timestamptz not null default clock_timestamp(),
  modified_at timestamptz not null default clock_timestamp(),
  primary key (project_id, name)
);
