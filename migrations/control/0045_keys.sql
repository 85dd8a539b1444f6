-- auth: keys that end, secrets that a project brought along, and issuers that it trusts.
alter table mayfly.api_key
  -- What a rotation gives the former keys; null for one that goes on. By the database's clock.
  add column ends_at timestamptz;

-- The secret of tokens of the older form (HS256): its keys `anon` and `service_role` are tokens too.
create table mayfly.legacy_secret (
  project_id uuid primary key references mayfly.project (id) on delete cascade,
  -- Sealed.
  secret bytea not null,
  -- When the keys that are shown were issued, in seconds: so they are the same text each time.
  issued_at bigint not null,
  -- Given ones, sealed: shown again as they came.
  anon_key bytea,
  service_key bytea,
  created_at timestamptz not null default clock_timestamp()
);

-- Whose users a project takes for its own.
create table mayfly.trusted_issuer (
  project_id uuid not null references mayfly.project (id) on delete cascade,
  issuer text not null,
  audience text not null,
  jwks_url text not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (project_id, issuer)
);
