-- data: whoever changes the schema tells the data API of it, by the notice that tools send by hand as well.

create function mayfly.schema_changed() returns event_trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  -- What lives in one session alone is nobody else's.
  if tg_event = 'ddl_command_end' then
    if exists (select from pg_event_trigger_ddl_commands() where schema_name is distinct from 'pg_temp') then
      notify pgrst, 'reload schema';
    end if;
  elsif exists (select from pg_event_trigger_dropped_objects() where not is_temporary) then
    notify pgrst, 'reload schema';
  end if;
end
$$;

-- Only a superuser may make event triggers: elsewhere the schema is looked at again after some seconds.
do $$
begin
  if (select rolsuper from pg_roles where rolname = current_user) then
    create event trigger mayfly_schema_changed on ddl_command_end execute function mayfly.schema_changed();
    create event trigger mayfly_schema_dropped on sql_drop execute function mayfly.schema_changed();
  end if;
end $$;

-- What the project's owner has chosen of the data API, by the names that PostgREST has for it. They stand over the
-- settings `pgrst.*` of the login role, which only a superuser may attach.
create table mayfly.data_setting (
  name text primary key,
  value text not null
);
create function mayfly.configure_data(setting text, value text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if setting not in ('db_schemas', 'db_extra_search_path', 'db_max_rows', 'db_aggregates_enabled', 'db_plan_enabled', 'db_pre_request', 'db_tx_end') then
    raise exception 'the data API has no setting %', setting using errcode = 'invalid_parameter_value';
  end if;
  delete from mayfly.data_setting where name = setting;
  if configure_data.value is not null then
    insert into mayfly.data_setting (name, value) values (setting, configure_data.value);
  end if;
  notify pgrst, 'reload config';
end
$$;
revoke all on function mayfly.configure_data(text, text) from public;
grant usage on schema mayfly to :"owner";
grant execute on function mayfly.configure_data(text, text) to :"owner";

-- Schemas of one's own beside `public`: the API serves those that `db_schemas` names.
do $$
begin
  execute format('grant create on database %I to %I', current_database(), :'owner');
end $$;
