-- usage: executions that ended well at once, and are stored by who began them and by nobody else. One row is the hundreds of
-- a function that ended beside each other: a row of its own for each, with its two indexes, took more than the call did.
create table mayfly.execution_pack (
  project text not null,
  function_name text not null,
  version text not null,
  memory_mb int not null,
  -- Of the executions in it, which all began within one minute of the clock.
  first_at timestamptz not null,
  last_at timestamptz not null,
  executions int not null,
  -- An array of arrays in JSON, as `core/meter.ts` says. A text, for nothing of it is read when it is written.
  calls text not null,
  -- Up to where the journal of the process had been read with it.
  journal text not null,
  segment bigint not null,
  "offset" bigint not null
);
alter table mayfly.execution_pack alter column calls set storage external;
create index execution_pack_function on mayfly.execution_pack (project, function_name, last_at);
create index execution_pack_project on mayfly.execution_pack (project, last_at);
create index execution_pack_journal on mayfly.execution_pack (journal, segment, "offset");

create view mayfly.packed_execution as
  select (call ->> 0)::uuid as invocation_id, 1 as attempt, project, function_name, version, to_timestamp((call ->> 1)::float8 / 1000.0) as started_at,
         'ok'::text as outcome, (call ->> 2)::float8 as duration_ms, (call ->> 3)::bigint as billed_ms, memory_mb, (call ->> 4)::int as max_memory_mb,
         null::text as cold, null::float8 as queue_ms, (call ->> 5)::float8 as wait_ms, (call ->> 6)::float8 as init_ms, (call ->> 7)::float8 as response_ms,
         (call ->> 8)::bigint as bytes_in, (call ->> 9)::bigint as bytes_out, first_at, last_at
    from mayfly.execution_pack cross join lateral json_array_elements(calls::json) as call;

-- Those of a function that began between two moments, at least the last `most` of them: of what lies farther back nothing is unfolded.
create function mayfly.packed_executions(of_project text, of_function text, since timestamptz, until timestamptz, most int)
  returns setof mayfly.packed_execution language sql stable as $$
  with near as (
    select first_at, executions from mayfly.execution_pack
     where project = of_project and function_name = of_function and last_at < until order by last_at desc limit most),
  enough as (
    select coalesce(max(first_at), '-infinity') as at
      from (select first_at, sum(executions) over (order by first_at desc) as upto from near) as counted where upto >= most)
  select * from mayfly.packed_execution
   where project = of_project and function_name = of_function and first_at <= until
     and last_at >= greatest(since, (select at from enough)) and last_at <= until + interval '1 minute'
$$;
