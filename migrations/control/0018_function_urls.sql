-- functions: addresses of functions, one for each function and for each of its aliases.
create table mayfly.function_url (
  -- The name in the address.
  id text primary key check (id ~ '^[a-z0-9]{32}$'),
  function_id uuid not null references mayfly.function (id) on delete cascade,
  -- Null: the function itself, whose $LATEST answers.
  alias text,
  auth_type text not null check (auth_type in ('NONE', 'AWS_IAM')),
  invoke_mode text not null check (invoke_mode in ('BUFFERED', 'RESPONSE_STREAM')),
  -- Null: questions of browsers about other origins are the function's to answer.
  cors jsonb,
  created_at timestamptz not null default clock_timestamp(),
  modified_at timestamptz not null default clock_timestamp(),
  unique nulls not distinct (function_id, alias),
  foreign key (function_id, alias) references mayfly.function_alias (function_id, name) on delete cascade
);

-- What holds for all addresses of a project; without a row what is said at the column.
create table mayfly.function_url_setting (
  project_id uuid primary key references mayfly.project (id) on delete cascade,
  -- An address with AuthType NONE lets in whom a policy lets in, as on AWS; false: it lets anyone in by itself.
  strict boolean not null default false
);
