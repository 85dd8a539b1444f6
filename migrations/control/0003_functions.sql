-- Functions: what users deployed, each change as a version of its own.

create table mayfly.artefact (
  project_id uuid not null references mayfly.project (id) on delete cascade,
  sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
  bytes bigint not null check (bytes > 0),
  created_at timestamptz not null default clock_timestamp(),
  primary key (project_id, sha256)
);

create table mayfly.function (
  id uuid primary key,
  project_id uuid not null references mayfly.project (id) on delete cascade,
  name text not null check (name ~ '^[a-zA-Z0-9_-]{1,64}$'),
  -- The version that $LATEST names.
  version_id uuid not null,
  revision_id uuid not null,
  tags jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  modified_at timestamptz not null default clock_timestamp(),
  unique (project_id, name)
);

create table mayfly.function_version (
  id uuid primary key,
  function_id uuid not null references mayfly.function (id) on delete cascade deferrable initially deferred,
  project_id uuid not null,
  definition jsonb not null,
  artefact text not null,
  code_bytes bigint not null,
  -- Sealed; null when none was ever set.
  environment bytea,
  state text not null check (state in ('pending', 'active', 'failed')),
  state_reason text,
  created_at timestamptz not null default clock_timestamp(),
  foreign key (project_id, artefact) references mayfly.artefact (project_id, sha256) deferrable initially deferred
);

create index function_version_function on mayfly.function_version (function_id);
create index function_version_artefact on mayfly.function_version (project_id, artefact);

alter table mayfly.function
  add foreign key (version_id) references mayfly.function_version (id) deferrable initially deferred;

-- A version never changes once built: only its state may, and only while it is being built.
create function mayfly.function_version_is_final() returns trigger language plpgsql as $$
begin
  if old.state <> 'pending'
     or (new.id, new.function_id, new.project_id, new.definition, new.artefact, new.code_bytes, new.environment, new.created_at)
        is distinct from
        (old.id, old.function_id, old.project_id, old.definition, old.artefact, old.code_bytes, old.environment, old.created_at)
  then
    raise exception 'version % is built and never changes', old.id using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end
$$;

create trigger function_version_is_final before update on mayfly.function_version
  for each row execute function mayfly.function_version_is_final();
