-- One row a line, by its id: a line that is told twice counts once.
create table public.log_errors (
  id text primary key,
  function text not null,
  at timestamptz not null,
  message text not null
);
create index log_errors_at on public.log_errors (at);
-- No policy: the functions of the project read and write it, and nobody else.
alter table public.log_errors enable row level security;
grant select, insert, delete on public.log_errors to service_role;
