-- triggers: SQL starts a function, if and only if its transaction commits.

-- The owner's to call, and of functions that it makes `security definer`: whoever may call those decides it by them.
create function mayfly.invoke(function_name text, payload jsonb default '{}') returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  invocation uuid;
begin
  if function_name is null or function_name !~ '^[a-zA-Z0-9_-]{1,64}$' then
    raise exception 'no function can have the name %', function_name using errcode = 'invalid_parameter_value';
  end if;
  if octet_length(coalesce(payload, 'null')::text) > 65536 then
    raise exception 'the payload of a function that SQL starts may have 65536 bytes' using errcode = 'program_limit_exceeded',
      hint = 'Write it into a row, and give the function the key of that row.';
  end if;
  insert into mayfly.outbox (kind, source, event, trigger_ids, depth, data)
  values ('invoke', function_name, 'invoked', '{}', coalesce(nullif(current_setting('mayfly.depth', true), ''), '0')::smallint, coalesce(payload, 'null'))
  returning event_id into invocation;
  return invocation;
end
$$;
revoke all on function mayfly.invoke(text, jsonb) from public;
grant execute on function mayfly.invoke(text, jsonb) to :"owner";
