-- realtime: a row that is put into realtime.messages is told as what realtime.send says, and does not stay.

-- In the role of the project's owner, whose table it is: triggers that the owner has put there, and that this one sets off,
-- run in no role that may do more. Rows that only ask what policies let in are told to nobody, whatever a trigger puts into them.
create function realtime.tell_message() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  told jsonb := coalesce(new.payload, '{}');
  content bytea;
  parts int;
begin
  delete from realtime.messages where id = new.id and inserted_at = new.inserted_at;
  if new.extension <> 'broadcast' then
    return null;
  end if;
  if new.topic = '' then
    raise warning 'ErrorSendingBroadcastMessage: a message needs a topic';
    return null;
  end if;
  if jsonb_typeof(told) = 'object' and not jsonb_exists(told, 'id') then
    told := jsonb_set(told, '{id}', to_jsonb(new.id));
  end if;
  content := convert_to(concat(
    jsonb_build_object('topic', new.topic, 'event', coalesce(new.event, ''), 'private', coalesce(new.private, true)), e'\n', told), 'UTF8');
  if octet_length(content) > 3072000 then
    raise warning 'ErrorSendingBroadcastMessage: a message may have 3072000 bytes';
    return null;
  end if;
  -- A notice has less than 8000 bytes, of texts that are four for three.
  parts := ceil(octet_length(content) / 5600.0);
  for part in 1 .. parts loop
    perform pg_notify('mayfly_broadcast',
      format('%s %s %s %s', new.id, part, parts, encode(substring(content, (part - 1) * 5600 + 1, 5600), 'base64')));
  end loop;
  return null;
end
$$;
revoke all on function realtime.tell_message() from public;
grant create on schema realtime to :"owner";
alter function realtime.tell_message() owner to :"owner";
revoke create on schema realtime from :"owner";
set local role :"owner";
create trigger mayfly_tell after insert on realtime.messages for each row
  when ((new.payload is not null or new.event is not null) and coalesce(current_setting('realtime.asks', true), '') = '') execute function realtime.tell_message();
reset role;

-- The table's policies and triggers decide by the row. One that cannot be said is a warning: what a transaction is for
-- does not fail with it.
create or replace function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void
language plpgsql as $$
declare
  message constant uuid := pg_catalog.gen_random_uuid();
  told jsonb := coalesce(payload, '{}');
  former constant text := coalesce(pg_catalog.current_setting('realtime.topic', true), '');
begin
  if topic is null or topic operator(pg_catalog.=) '' then
    raise warning 'ErrorSendingBroadcastMessage: a message needs a topic';
    return;
  end if;
  if pg_catalog.jsonb_typeof(told) operator(pg_catalog.=) 'object' and not pg_catalog.jsonb_exists(told, 'id') then
    told := pg_catalog.jsonb_set(told, '{id}', pg_catalog.to_jsonb(message));
  end if;
  begin
    perform pg_catalog.set_config('realtime.topic', topic, true);
    insert into realtime.messages (id, topic, extension, payload, event, private)
    values (message, topic, 'broadcast', told, event, coalesce(private, true));
    perform pg_catalog.set_config('realtime.topic', former, true);
  exception when others then
    raise warning 'ErrorSendingBroadcastMessage: %', sqlerrm;
  end;
end
$$;

-- What a trigger of the table's keeps out is not let in.
create or replace function realtime.may_write(of_topic text, of_extension text) returns boolean language plpgsql as $$
begin
  insert into realtime.messages (topic, extension, private) values (of_topic, of_extension, true);
  if not found then
    return false;
  end if;
  raise exception using errcode = 'MF001';
exception
  when sqlstate 'MF001' then return true;
  when insufficient_privilege then return false;
end
$$;

create or replace function mayfly.guard_realtime() returns event_trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  gone record;
begin
  for gone in select object_type, object_identity from pg_event_trigger_dropped_objects() loop
    if gone.object_type = 'table' and gone.object_identity = 'realtime.messages' then
      raise exception 'the table realtime.messages is the node''s: it takes policies' using errcode = 'insufficient_privilege';
    elsif (gone.object_type = 'trigger' and gone.object_identity = 'mayfly_tell on realtime.messages')
      or (gone.object_type = 'function' and gone.object_identity = 'realtime.tell_message()') then
      raise exception 'what tells of rows of realtime.messages is the node''s' using errcode = 'insufficient_privilege';
    end if;
  end loop;
end
$$;
do $$
begin
  if (select rolsuper from pg_roles where rolname = current_user) then
    drop event trigger mayfly_guard_realtime;
    create event trigger mayfly_guard_realtime on sql_drop
      when tag in ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED', 'DROP TRIGGER', 'DROP FUNCTION', 'DROP ROUTINE') execute function mayfly.guard_realtime();
  end if;
end $$;
