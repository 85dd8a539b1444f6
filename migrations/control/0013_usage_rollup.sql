-- usage: what was executed, added up by function and day, so that the bill outlives the single executions.
create table mayfly.usage_day (
  project text not null,
  -- UTC, of when the execution was admitted.
  day date not null,
  function_name text not null,
  executions bigint not null,
  errors bigint not null,
  -- Lost with their node, or refused: recorded, never billed, and counted in no other column.
  cut bigint not null,
  cold bigint not null,
  billed_ms bigint not null,
  -- Billed milliseconds times MB of memory: whole numbers, so that adding up is exact.
  billed_mb_ms bigint not null,
  bytes_in bigint not null,
  bytes_out bigint not null,
  primary key (project, day, function_name)
);

-- Adds the executions that a statement brought (1), or takes away what they were before it (-1), in its own
-- transaction: whichever way an execution gets its end, the sum of the executions is the sum here. Those without an
-- end count nothing yet. Nobody is told when old executions are removed: that is what the sums are for.
create function mayfly.add_usage() returns trigger language plpgsql as $$
declare
  sign constant int := tg_argv[0];
begin
  insert into mayfly.usage_day as total
  select project, (started_at at time zone 'UTC')::date, function_name,
         sum(ran), sum(case when outcome in ('error', 'timeout', 'exit') then ran else 0 end), sum(sign - ran), sum(case when cold is null then 0 else ran end),
         sum(ran * billed_ms), sum(ran * billed_ms * memory_mb), sum(ran * bytes_in), sum(ran * bytes_out)
    from (select *, case when outcome = 'cut' then 0 else sign end as ran from changed where outcome is not null) as ended
   group by 1, 2, 3 order by 1, 2, 3
  on conflict (project, day, function_name) do update set
    executions = total.executions + excluded.executions, errors = total.errors + excluded.errors, cut = total.cut + excluded.cut,
    cold = total.cold + excluded.cold, billed_ms = total.billed_ms + excluded.billed_ms, billed_mb_ms = total.billed_mb_ms + excluded.billed_mb_ms,
    bytes_in = total.bytes_in + excluded.bytes_in, bytes_out = total.bytes_out + excluded.bytes_out;
  return null;
end $$;

insert into mayfly.usage_day
select project, (started_at at time zone 'UTC')::date, function_name,
       count(*) filter (where outcome <> 'cut'), count(*) filter (where outcome in ('error', 'timeout', 'exit')), count(*) filter (where outcome = 'cut'),
       count(cold) filter (where outcome <> 'cut'), coalesce(sum(billed_ms) filter (where outcome <> 'cut'), 0),
       coalesce(sum(billed_ms * memory_mb) filter (where outcome <> 'cut'), 0),
       coalesce(sum(bytes_in) filter (where outcome <> 'cut'), 0), coalesce(sum(bytes_out) filter (where outcome <> 'cut'), 0)
  from mayfly.invocation_meter where outcome is not null
 group by 1, 2, 3;

create trigger usage_added after insert on mayfly.invocation_meter referencing new table as changed for each statement execute function mayfly.add_usage('1');
create trigger usage_became after update on mayfly.invocation_meter referencing new table as changed for each statement execute function mayfly.add_usage('1');
create trigger usage_was after update on mayfly.invocation_meter referencing old table as changed for each statement execute function mayfly.add_usage('-1');

-- A function's last executions are read, page by page, and old ones removed. What days add up to stands in usage_day.
create index invocation_meter_function on mayfly.invocation_meter (project, function_name, started_at desc, invocation_id, attempt);
drop index mayfly.invocation_meter_day;
