-- observe: the lines that functions wrote.
create table mayfly.log_line (
  project text not null,
  function_name text not null,
  version text not null,
  invocation_id uuid not null,
  at timestamptz not null,
  source text not null check (source in ('platform', 'stdout', 'stderr')),
  line text not null,
  seq bigint generated always as identity primary key
);
create index log_line_function on mayfly.log_line (project, function_name, seq);
create index log_line_age on mayfly.log_line (at);
