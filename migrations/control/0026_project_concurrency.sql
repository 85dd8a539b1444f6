-- functions: how many calls of a project may run at once, and how much of a full node it has beside others.

create table mayfly.project_concurrency (
  project_id uuid primary key references mayfly.project (id) on delete cascade,
  -- Null: as the node's setting says.
  concurrency int check (concurrency >= 0),
  weight int not null check (weight between 1 and 100)
);
