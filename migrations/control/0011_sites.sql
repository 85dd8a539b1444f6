-- sites: static files of a project, each site at a host name of its own.

-- Bytes on disk by their hash; what no site names is swept.
create table mayfly.site_file (
  project_id uuid not null references mayfly.project (id) on delete cascade,
  sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
  bytes bigint not null check (bytes >= 0),
  stored_at timestamptz not null default clock_timestamp(),
  primary key (project_id, sha256)
);

create table mayfly.site (
  id uuid primary key,
  project_id uuid not null references mayfly.project (id) on delete cascade,
  -- A label of a host name.
  name text not null check (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  -- The hash of its paths with theirs: the same for the same content.
  artefact text not null check (artefact ~ '^[0-9a-f]{64}$'),
  -- Rises with each change.
  version bigint not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  modified_at timestamptz not null default clock_timestamp(),
  unique (project_id, name)
);

create table mayfly.site_path (
  site_id uuid not null references mayfly.site (id) on delete cascade deferrable initially deferred,
  path text not null,
  project_id uuid not null,
  sha256 text not null,
  type text not null,
  primary key (site_id, path),
  foreign key (project_id, sha256) references mayfly.site_file (project_id, sha256) deferrable initially deferred
);
create index site_path_file on mayfly.site_path (project_id, sha256);
