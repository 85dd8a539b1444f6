-- realtime: what SQL says in a channel, told to those who are in it when the transaction commits.

-- The table's policies decide by a row that does not stay: whoever they do not bind is not asked. What is said travels as
-- notices of PostgreSQL, in as many parts as it needs, which nobody keeps where nobody listens. One that cannot be said
-- is a warning: what a transaction is for does not fail with it.
create function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void
language plpgsql as $$
declare
  message constant uuid := pg_catalog.gen_random_uuid();
  told jsonb := coalesce(payload, '{}');
  content bytea;
  parts int;
begin
  if topic is null or topic operator(pg_catalog.=) '' then
    raise warning 'ErrorSendingBroadcastMessage: a message needs a topic';
    return;
  end if;
  if pg_catalog.jsonb_typeof(told) operator(pg_catalog.=) 'object' and not pg_catalog.jsonb_exists(told, 'id') then
    told := pg_catalog.jsonb_set(told, '{id}', pg_catalog.to_jsonb(message));
  end if;
  if pg_catalog.row_security_active('realtime.messages') or not pg_catalog.has_table_privilege('realtime.messages', 'insert') then
    begin
      perform pg_catalog.set_config('realtime.topic', topic, true);
      insert into realtime.messages (id, topic, extension, payload, event, private)
      values (message, topic, 'broadcast', told, event, coalesce(private, true));
      raise exception using errcode = 'MF001';
    exception
      when sqlstate 'MF001' then null;
      when others then
        raise warning 'ErrorSendingBroadcastMessage: %', sqlerrm;
        return;
    end;
  end if;
  content := pg_catalog.convert_to(pg_catalog.concat(
    pg_catalog.jsonb_build_object('topic', topic, 'event', coalesce(event, ''), 'private', coalesce(private, true)), e'\n', told), 'UTF8');
  if pg_catalog.octet_length(content) operator(pg_catalog.>) 3072000 then
    raise warning 'ErrorSendingBroadcastMessage: a message may have 3072000 bytes';
    return;
  end if;
  -- A notice has less than 8000 bytes, of texts that are four for three.
  parts := pg_catalog.ceil(pg_catalog.octet_length(content) operator(pg_catalog./) 5600.0);
  for part in 1 .. parts loop
    perform pg_catalog.pg_notify('mayfly_broadcast', pg_catalog.format('%s %s %s %s', message, part, parts,
      pg_catalog.encode(pg_catalog.substring(content, (part operator(pg_catalog.-) 1) operator(pg_catalog.*) 5600 operator(pg_catalog.+) 1, 5600), 'base64')));
  end loop;
end
$$;

-- What a trigger calls for a row.
create function realtime.broadcast_changes(
  topic_name text, event_name text, operation text, table_name text, table_schema text, new record, old record, level text default 'ROW') returns void
language plpgsql as $$
begin
  if level operator(pg_catalog.=) 'STATEMENT' then
    raise exception 'Failed to process the row: function can only be triggered for each row, not for each statement';
  end if;
  if operation is null or operation operator(pg_catalog.<>) all (array['INSERT', 'UPDATE', 'DELETE']) then
    raise exception 'Failed to process the row: Unexpected operation type: %', operation;
  end if;
  perform realtime.send(
    pg_catalog.jsonb_build_object('old_record', old, 'record', new, 'operation', operation, 'table', table_name, 'schema', table_schema),
    event_name, topic_name);
end
$$;
