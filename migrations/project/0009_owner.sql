-- core: the owner of a project, in whose role people and their tools work on its database.

-- Its tables are its own, and it may take the role that row-level security does not bind: so it sees all rows as it is,
-- as scripts and dumps that come from elsewhere expect.
alter role :"owner" connection limit 24 bypassrls;
alter role :"owner" set search_path = "$user", public, extensions;

-- Languages that a user may install by itself and whose programs run in the server's process have led out of it before.
-- Where only a superuser could keep them out, the server is somebody else's, who decides what is installed there.
create function mayfly.guard_extensions() returns event_trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from pg_event_trigger_ddl_commands() as command join pg_extension as extension on extension.oid = command.objid
              where command.classid = 'pg_extension'::regclass and extension.extname ~ '(^|_)pl(perl|tcl|python)')
     and not (select rolsuper from pg_roles where rolname = session_user) then
    raise exception 'this extension may not be installed in a project' using errcode = 'insufficient_privilege',
      hint = 'Functions are written in SQL and PL/pgSQL; other languages run in functions of the project.';
  end if;
end
$$;
revoke all on function mayfly.guard_extensions() from public;
do $$
begin
  if (select rolsuper from pg_roles where rolname = current_user) then
    create event trigger mayfly_guard_extensions on ddl_command_end when tag in ('CREATE EXTENSION') execute function mayfly.guard_extensions();
  end if;
end $$;
