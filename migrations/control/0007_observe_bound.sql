-- observe: how much of each project's log is kept, so that it can be bounded without adding it up.
create table mayfly.log_volume (
  project text primary key,
  -- What its chunks count with: their text and a share for each row.
  bytes bigint not null,
  -- What was given up because there was too much; what grew too old does not count.
  dropped_lines bigint not null default 0,
  dropped_bytes bigint not null default 0
);
insert into mayfly.log_volume (project, bytes) select project, sum(bytes + 256) from mayfly.log_chunk group by project;
create index log_chunk_project on mayfly.log_chunk (project, seq);
