-- invoke: how an entry's last attempt failed, for runtimes that tell the next one; at most some kilobytes.
alter table mayfly.entry add column last_error jsonb;
