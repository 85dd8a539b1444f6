-- triggers: what guards the telling of rows finds it in the catalogue: whoever may not name it alters functions of their own.

create or replace function mayfly.guard_rows() returns event_trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if (select rolsuper from pg_roles where rolname = session_user) then
    return;
  end if;
  if not exists (
    select from pg_namespace as n join pg_proc as told on told.pronamespace = n.oid join pg_proc as publishes on publishes.pronamespace = n.oid
     where n.nspname = 'mayfly' and told.proname = 'row_changed' and told.pronargs = 0 and publishes.proname = 'publish_row'
       and told.prosecdef and told.proconfig = array['search_path=pg_catalog, pg_temp']
       -- As who made the schema left it: the owner of the project, whom alone it lets start the triggers.
       and has_function_privilege(told.proowner, publishes.oid, 'execute')) then
    raise exception 'mayfly.row_changed() tells of the rows that start functions, and stays as it is' using errcode = 'insufficient_privilege',
      hint = 'Deploy the function without its trigger `row`: then no table has it.';
  end if;
end
$$;
