-- auth: the one-time codes that sign in to the console, and who is signed in. Of either only the hash is kept.
create table mayfly.login_code (
  hash bytea primary key,
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null
);

create table mayfly.console_session (
  id uuid primary key,
  hash bytea not null unique,
  created_at timestamptz not null default clock_timestamp(),
  -- Written at most once a minute: how long nobody came decides too.
  last_used_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null
);
