-- deployments: queues are parts of a project file.
alter table mayfly.deployment_part drop constraint deployment_part_kind_check;
alter table mayfly.deployment_part add constraint deployment_part_kind_check check (kind in ('function', 'bucket', 'site', 'queue'));
