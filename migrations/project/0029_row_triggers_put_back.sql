-- triggers: who drops what tells of rows is told why that fails, where it cannot be put back.

create or replace function mayfly.row_triggers_dropped() returns event_trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  one record;
begin
  if not has_schema_privilege('mayfly', 'usage') or not has_function_privilege('mayfly.watch_rows()', 'execute') then
    return;
  end if;
  for one in
    select distinct address_names[1] as schema, address_names[2] as relation from pg_event_trigger_dropped_objects()
     where object_type = 'trigger' and original and address_names[3] ~ '^mayfly_row_'
       and exists (select from mayfly.row_sources()
                    where source = address_names[1] || '.' || address_names[2] and 'mayfly_row_' || event = address_names[3])
  loop
    begin
      perform mayfly.watch_rows();
    exception when others then
      -- Gone, it would be missed by nobody and the rows of its table start nothing.
      raise exception 'a function waits for rows of %.%, and its trigger cannot be put back: %', one.schema, one.relation, sqlerrm
        using errcode = sqlstate, hint = 'Deploy the function without its trigger `row`, and it goes.';
    end;
    raise notice 'a function waits for rows of %.%: its trigger is put back', one.schema, one.relation
      using hint = 'Deploy the function without its trigger `row`, and it goes.';
  end loop;
end
$$;
