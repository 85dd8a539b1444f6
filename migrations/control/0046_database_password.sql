-- door: the password by which any PostgreSQL client enters a project's database; made when it is first asked for.
create table mayfly.database_password (
  project_id uuid primary key references mayfly.project (id) on delete cascade,
  -- Sealed, as it is shown again.
  value bytea not null,
  -- What a login is compared with, in PostgreSQL's own form (`SCRAM-SHA-256$…`); nobody can sign in by knowing it.
  verifier text not null,
  made_at timestamptz not null default clock_timestamp()
);
