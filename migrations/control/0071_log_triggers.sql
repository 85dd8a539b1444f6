-- triggers: how far each trigger of log lines has read.
create table mayfly.log_cursor (
  trigger_id uuid primary key references mayfly.trigger (id) on delete cascade,
  -- The last chunk of its project's log that it has dealt with. Chunks of one project are committed in the order of their numbers.
  seq bigint not null
);
