-- triggers: events of buses that came under an id of their sender's, so that the same again starts nothing.
create table mayfly.bus_event (
  project_id uuid not null references mayfly.project (id) on delete cascade,
  -- A digest of the bus, the source and the id.
  key bytea not null,
  seen_at timestamptz not null,
  primary key (project_id, key)
);
create index bus_event_seen on mayfly.bus_event (seen_at);
