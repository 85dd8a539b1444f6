-- triggers: rows that come, change or go start functions, in the transaction that makes them do so.

-- Of the tables that functions wait for: each with its schema, and one of `insert`, `update`, `delete`.
create function mayfly.row_sources() returns table (source text, event text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select distinct subscription.source, unnest(subscription.events) from mayfly.subscription where kind = 'row'
$$;

-- The values stand there as texts of JSON, so that no number on the way is taken for one of 53 bits.
create function mayfly.publish_row(of_source text, of_event text, record jsonb, old_record jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  shorter int;
  omitted text[] := '{}';
begin
  if not exists (select from mayfly.subscription where kind = 'row' and source = of_source and of_event = any (events)) then
    return;
  end if;
  foreach shorter in array array[1024, 64] loop
    exit when coalesce(octet_length(record::text), 0) + coalesce(octet_length(old_record::text), 0) <= 65536;
    select omitted || coalesce(array_agg(distinct name), '{}') into omitted
      from (select * from jsonb_each(record) union all select * from jsonb_each(old_record)) as long (name, value)
     where octet_length(value::text) > shorter;
    record := record - omitted;
    old_record := old_record - omitted;
  end loop;
  if coalesce(octet_length(record::text), 0) + coalesce(octet_length(old_record::text), 0) > 524288 then
    raise exception 'a row that starts a function has too many columns' using errcode = 'program_limit_exceeded';
  end if;
  perform mayfly.publish('row', of_source, of_event,
    jsonb_build_object('record', record::text, 'old_record', old_record::text, 'omitted', to_jsonb(omitted)));
end
$$;

-- It is the owner's: JSON of a value may be made by a cast that the owner wrote, which must run with no more rights than those.
create function mayfly.row_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform mayfly.publish_row(tg_argv[0], lower(tg_op),
    case when tg_op <> 'DELETE' then to_jsonb(new) end, case when tg_op <> 'INSERT' then to_jsonb(old) end);
  return null;
end
$$;

-- Puts the triggers on the tables that functions wait for, and takes them from others, as whoever calls it: by what that may do.
create function mayfly.watch_rows() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  one record;
begin
  for one in
    with wanted as (
      select c.oid as relation, row_sources.source, row_sources.event
        from mayfly.row_sources() join pg_namespace as n on n.nspname = split_part(source, '.', 1)
        join pg_class as c on c.relnamespace = n.oid and c.relname = split_part(source, '.', 2)
       where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^pg_'
         and n.nspname not in ('auth', 'storage', 'realtime', 'mayfly', 'information_schema') and pg_has_role(c.relowner, 'usage')),
    there as (
      select tgrelid as relation, tgname as name, tgargs as args from pg_trigger join pg_class as c on c.oid = tgrelid
       where tgfoid = 'mayfly.row_changed()'::regprocedure and tgparentid = 0 and pg_has_role(c.relowner, 'usage'))
    select coalesce(wanted.relation, there.relation) as relation, coalesce('mayfly_row_' || event, name) as name, event, source
      from wanted full join there on there.relation = wanted.relation and there.name = 'mayfly_row_' || event
       and args = convert_to(source, 'UTF8') || '\x00'::bytea
     where wanted.relation is null or there.relation is null
     -- What goes goes first: it may have the name of what comes.
     order by event is not null
  loop
    if one.event is null then
      execute format('drop trigger if exists %I on %s', one.name, one.relation::regclass);
    else
      execute format('create or replace trigger %I after %s on %s for each row execute function mayfly.row_changed(%L)',
        one.name, one.event, one.relation::regclass, one.source);
    end if;
  end loop;
end
$$;

-- A table that is made, renamed or moved afterwards; what is wrong with that is no fault of who did it.
create function mayfly.tables_changed() returns event_trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if has_schema_privilege('mayfly', 'usage') and exists (select from pg_event_trigger_ddl_commands() where schema_name is distinct from 'pg_temp') then
    if has_function_privilege('mayfly.watch_rows()', 'execute') then
      perform mayfly.watch_rows();
    end if;
  end if;
exception when others then
  raise warning 'functions that wait for rows may not start: %', sqlerrm;
end
$$;
do $$
begin
  if (select rolsuper from pg_roles where rolname = current_user) then
    create event trigger mayfly_tables_changed on ddl_command_end
      when tag in ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE', 'ALTER SCHEMA') execute function mayfly.tables_changed();
  end if;
  grant create on schema mayfly to :"owner";
  alter function mayfly.row_changed() owner to :"owner";
  revoke create on schema mayfly from :"owner";
end $$;

revoke all on function mayfly.row_sources(), mayfly.publish_row(text, text, jsonb, jsonb), mayfly.row_changed(), mayfly.watch_rows(), mayfly.tables_changed() from public;
grant execute on function mayfly.row_sources(), mayfly.publish_row(text, text, jsonb, jsonb), mayfly.watch_rows() to :"owner";
