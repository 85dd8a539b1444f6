-- How a list is shared: by a code that its owner makes and hands on, good once and for a week. Whoever has it comes in;
-- addresses need not be confirmed, nor can anyone try out who has an account here.

create table invitations (
  code uuid primary key default gen_random_uuid(),
  list_id uuid not null references lists (id) on delete cascade,
  expires_at timestamptz not null default now() + interval '7 days'
);
create index invitations_list on invitations (list_id);
alter table invitations enable row level security;
create policy own on invitations to authenticated
  using (list_id in (select id from lists where owner = (select auth.uid())))
  with check (list_id in (select id from lists where owner = (select auth.uid())));
revoke all on invitations from anon, authenticated;
grant select, insert (list_id), delete on invitations to authenticated;

-- The one way into a list that is not one's own.
create function join_list(code uuid) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  joined public.lists;
begin
  select lists.* into joined from public.lists join public.invitations on invitations.list_id = lists.id
   where invitations.code = join_list.code and invitations.expires_at > now() for update of invitations;
  if joined.id is null then
    raise exception 'there is no such invitation, or no longer' using errcode = 'PT404';
  end if;
  -- Who sees the list already leaves the code to the one it is for.
  if joined.id in (select private.my_lists()) then return joined.id; end if;
  insert into public.members (list_id, user_id, name) values (joined.id, auth.uid(), coalesce(nullif(auth.jwt() ->> 'email', ''), 'guest'));
  delete from public.invitations where invitations.code = join_list.code;
  return joined.id;
end $$;
revoke execute on function join_list(uuid) from public, anon;
