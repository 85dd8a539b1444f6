-- observe: lines that were written together are one row; a third of the rows, and of what writing them costs.
create table mayfly.log_chunk (
  project text not null,
  function_name text not null,
  version text not null,
  invocation_id uuid not null,
  -- When its first line was written.
  at timestamptz not null,
  -- [[ms since 1970, 'platform' | 'stdout' | 'stderr', text], …], at most 1024.
  lines jsonb not null,
  bytes int not null,
  seq bigint generated always as identity primary key
);
create index log_chunk_function on mayfly.log_chunk (project, function_name, seq);
create index log_chunk_age on mayfly.log_chunk (at);

insert into mayfly.log_chunk (project, function_name, version, invocation_id, at, lines, bytes)
  select project, function_name, version, invocation_id, at,
         jsonb_build_array(jsonb_build_array(round(extract(epoch from at) * 1000), source, line)), octet_length(line)
    from mayfly.log_line order by seq;
drop table mayfly.log_line;
