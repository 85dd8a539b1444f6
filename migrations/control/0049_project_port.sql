-- core: ports that are a project's own: its API is served there without its name in the path.
create table mayfly.project_port (
  project_id uuid primary key references mayfly.project (id) on delete cascade,
  port integer not null constraint project_port_port_key unique check (port between 1024 and 65535)
);
