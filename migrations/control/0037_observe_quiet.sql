-- observe: of calls that wrote nothing many are one row, and their lines are told from what they were.
alter table mayfly.log_chunk alter column invocation_id drop not null;
alter table mayfly.log_chunk add column quiet_calls int not null default 0;
-- [[invocation, began and ended in ms since 1970, duration, billed ms, memory, most memory, init, cold], …]: three lines each, 1024 in all at most.
alter table mayfly.log_chunk add column quiet json;
-- Packed it would take longer to write than it is.
alter table mayfly.log_chunk alter column quiet set storage external;
alter table mayfly.log_chunk add check ((invocation_id is null) = (quiet is not null));
