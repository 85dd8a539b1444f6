-- auth: what a build server shows to deploy to one project. Only the hash of a token is kept.
create table mayfly.deploy_token (
  id uuid primary key,
  project_id uuid not null references mayfly.project (id) on delete cascade,
  name text not null,
  hash bytea not null unique,
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  -- Written at most once a minute; null while nobody has used it.
  last_used_at timestamptz,
  unique (project_id, name)
);
