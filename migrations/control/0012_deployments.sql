-- deployments: whole project files as desired state, until the parts of the project are equal to it.

create table mayfly.deployment (
  id uuid primary key,
  project_id uuid not null references mayfly.project (id) on delete cascade,
  name text not null check (name ~ '^[a-zA-Z0-9_-]{1,64}$'),
  -- Sealed JSON: the environments of functions stand in it.
  document bytea not null,
  -- Rises with each other document.
  version bigint not null default 1,
  -- The version that the project was last equal to.
  reached bigint not null default 0,
  state text not null check (state in ('applying', 'reached', 'failed')),
  error text,
  created_at timestamptz not null default clock_timestamp(),
  modified_at timestamptz not null default clock_timestamp(),
  unique (project_id, name)
);
create index deployment_applying on mayfly.deployment (id) where state = 'applying';

-- What a deployment has made or is about to: no two own the same, and what is in no document any more is known to be removed.
create table mayfly.deployment_part (
  project_id uuid not null references mayfly.project (id) on delete cascade,
  kind text not null check (kind in ('function', 'bucket', 'site')),
  name text not null,
  deployment_id uuid not null references mayfly.deployment (id) on delete cascade,
  primary key (project_id, kind, name)
);
create index deployment_part_deployment on mayfly.deployment_part (deployment_id);
