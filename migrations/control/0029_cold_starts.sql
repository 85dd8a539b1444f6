-- usage: why calls of a project were cold is read by time; warm ones, which are most, stand in no index for it.
create index invocation_meter_cold on mayfly.invocation_meter (project, started_at) where cold is not null;
