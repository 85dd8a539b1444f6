-- triggers: what tells of rows stays as it is, though it is its owner's: without it events would be lost and nobody told.

create function mayfly.guard_rows() returns event_trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  told oid := to_regprocedure('mayfly.row_changed()');
begin
  if (select rolsuper from pg_roles where rolname = session_user) then
    return;
  end if;
  if told is null or not exists (
    select from pg_proc where oid = told and prosecdef and proconfig = array['search_path=pg_catalog, pg_temp']
       -- As who made the schema left it: the owner of the project, whom alone it lets start the triggers.
       and has_function_privilege(proowner, 'mayfly.publish_row(text, text, jsonb, jsonb)', 'execute')) then
    raise exception 'mayfly.row_changed() tells of the rows that start functions, and stays as it is' using errcode = 'insufficient_privilege',
      hint = 'Deploy the function without its trigger `row`: then no table has it.';
  end if;
end
$$;

-- A trigger of ours that somebody drops while a function waits for those rows is put back.
create function mayfly.row_triggers_dropped() returns event_trigger
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
    perform mayfly.watch_rows();
    raise notice 'a function waits for rows of %.%: its trigger is put back', one.schema, one.relation
      using hint = 'Deploy the function without its trigger `row`, and it goes.';
  end loop;
end
$$;
revoke all on function mayfly.guard_rows(), mayfly.row_triggers_dropped() from public;
do $$
begin
  if (select rolsuper from pg_roles where rolname = current_user) then
    create event trigger mayfly_guard_rows_drop on sql_drop when tag in ('DROP FUNCTION', 'DROP ROUTINE', 'DROP OWNED', 'DROP EXTENSION')
      execute function mayfly.guard_rows();
    create event trigger mayfly_guard_rows on ddl_command_end when tag in ('ALTER FUNCTION', 'ALTER ROUTINE') execute function mayfly.guard_rows();
    create event trigger mayfly_row_triggers_dropped on sql_drop when tag in ('DROP TRIGGER') execute function mayfly.row_triggers_dropped();
  end if;
end $$;
