-- usage: the last packed executions of a whole project are found by their time. By function it took as many unfolded packs as there
-- are functions; of one function nothing changes. Each is a statement of its own, with the plan of its own.
create or replace function mayfly.packed_executions(of_project text, of_function text, since timestamptz, until timestamptz, most int)
  returns setof mayfly.packed_execution language plpgsql stable as $$
declare
  enough timestamptz;
begin
  if of_function is null then
    select coalesce(max(first_at), '-infinity') into enough
      from (select first_at, sum(executions) over (order by first_at desc) as upto
              from (select first_at, executions from mayfly.execution_pack
                     where project = of_project and last_at < until order by last_at desc limit most) as near) as counted
     where upto >= most;
    return query select * from mayfly.packed_execution
     where project = of_project and first_at <= until and last_at >= greatest(since, enough) and last_at <= until + interval '1 minute';
  else
    select coalesce(max(first_at), '-infinity') into enough
      from (select first_at, sum(executions) over (order by first_at desc) as upto
              from (select first_at, executions from mayfly.execution_pack
                     where project = of_project and function_name = of_function and last_at < until order by last_at desc limit most) as near) as counted
     where upto >= most;
    return query select * from mayfly.packed_execution
     where project = of_project and function_name = of_function and first_at <= until
       and last_at >= greatest(since, enough) and last_at <= until + interval '1 minute';
  end if;
end $$;
