-- queues: the queues of projects, their messages, and moves from one queue to others.
create table mayfly.message_queue (
  id uuid primary key,
  project_id uuid not null references mayfly.project (id) on delete cascade,
  name text not null,
  -- What was said of it; what was not has its default.
  settings jsonb not null,
  tags jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  modified_at timestamptz not null default clock_timestamp(),
  constraint message_queue_name unique (project_id, name)
);

-- Ids and numbers only, as each receipt writes a row anew; the message itself lies beside it.
create table mayfly.message (
  queue_id uuid not null,
  -- Begins with the time at which it was sent.
  id uuid not null,
  visible_at timestamptz not null,
  sent_at timestamptz not null default clock_timestamp(),
  first_received_at timestamptz,
  -- Fences who says that he is done with it.
  receive_count int not null default 0,
  -- The queue that gave it up.
  source_id uuid,
  bytes int not null,
  primary key (queue_id, id)
);
create index message_visible on mayfly.message (queue_id, visible_at, id);

create table mayfly.message_body (
  message_id uuid primary key,
  -- Bytes, as a text of PostgreSQL holds no NUL.
  body bytea not null,
  attributes bytea,
  trace_header text,
  sender text not null
);

create table mayfly.message_move (
  id uuid primary key,
  project_id uuid not null references mayfly.project (id) on delete cascade,
  source_id uuid not null references mayfly.message_queue (id) on delete cascade,
  -- Null: each to the queue that it came from.
  target_id uuid,
  per_second int,
  state text not null default 'RUNNING' check (state in ('RUNNING', 'COMPLETED', 'CANCELLED', 'FAILED')),
  failure text,
  moved bigint not null default 0,
  total bigint not null,
  started_at timestamptz not null default clock_timestamp()
);
create index message_move_source on mayfly.message_move (source_id, started_at desc);
create unique index message_move_running on mayfly.message_move (source_id) where state = 'RUNNING';
