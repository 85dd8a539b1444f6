-- auth: what a project signs the tokens of its users with.
create table mayfly.signing_key (
  -- Tokens name it as their `kid`.
  id uuid primary key,
  project_id uuid not null references mayfly.project (id) on delete cascade,
  algorithm text not null check (algorithm in ('ES256')),
  public_jwk jsonb not null,
  -- Sealed, PKCS #8.
  private bytea not null,
  -- `retired`: signs no more, and is believed until the last token that it has signed is over.
  state text not null default 'current' check (state in ('current', 'retired')),
  created_at timestamptz not null default clock_timestamp(),
  retired_at timestamptz,
  check ((state = 'retired') = (retired_at is not null))
);
create unique index signing_key_current on mayfly.signing_key (project_id) where state = 'current';
create index signing_key_project on mayfly.signing_key (project_id);
