-- triggers: lines that the log gave up before a trigger had looked at them.
alter table mayfly.log_cursor add column unseen bigint not null default 0;
