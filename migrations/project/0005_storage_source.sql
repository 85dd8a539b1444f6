-- storage: the event of an object says from which address its cause came, where it came from outside.

create or replace function mayfly.storage_tell(of_object uuid, of_bucket text, of_name text, of_event text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  its mayfly.storage_blob;
begin
  select * into its from mayfly.storage_blob where object_id = of_object;
  if found then
    perform mayfly.publish('object', of_bucket, of_event, jsonb_build_object(
      'key', of_name, 'size', its.bytes, 'eTag', its.etag, 'contentType', its.content_type, 'version', its.version,
      'sequencer', lpad(to_hex(nextval('mayfly.storage_sequencer')), 16, '0'),
      'sourceAddress', nullif(current_setting('mayfly.source_address', true), '')));
  end if;
end
$$;
