-- Lists and what is to be done; who sees which rows, the policies below say, and nothing else does.

create table lists (
  id uuid primary key default gen_random_uuid(),
  title text not null check (length(trim(title)) between 1 and 100),
  owner uuid not null default auth.uid() references auth.users (id) on delete cascade,
  -- What the others see of somebody. An address is what he said at sign-up: a name, and no proof.
  owner_name text not null default coalesce(nullif(auth.jwt() ->> 'email', ''), 'guest'),
  created_at timestamptz not null default now()
);
create index lists_owner on lists (owner);

-- With whom a list is shared. Of a row that is deleted everyone is told the key: so it is one that says nothing.
create table members (
  id uuid primary key default gen_random_uuid(),
  list_id uuid not null references lists (id) on delete cascade,
  user_id uuid not null references auth.users (id) on delete cascade,
  name text not null,
  unique (list_id, user_id)
);
create index members_user on members (user_id);

create table todos (
  id uuid primary key default gen_random_uuid(),
  list_id uuid not null references lists (id) on delete cascade,
  text text not null check (length(trim(text)) between 1 and 500),
  done boolean not null default false,
  created_at timestamptz not null default now()
);
create index todos_list on todos (list_id, created_at);

-- The lists of whoever asks. It reads past the policies, which ask it: they would ask themselves without end. No API serves this schema.
create schema private;
grant usage on schema private to authenticated;
create function private.my_lists() returns setof uuid
language sql stable security definer set search_path = '' as $$
  select id from public.lists where owner = (select auth.uid())
  union all
  select list_id from public.members where user_id = (select auth.uid())
$$;
revoke execute on function private.my_lists() from public;
grant execute on function private.my_lists() to authenticated;

alter table lists enable row level security;
alter table members enable row level security;
alter table todos enable row level security;

create policy see on lists for select to authenticated using (owner = (select auth.uid()) or id in (select private.my_lists()));
create policy make on lists for insert to authenticated with check (owner = (select auth.uid()));
create policy rename on lists for update to authenticated using (owner = (select auth.uid()));
create policy remove on lists for delete to authenticated using (owner = (select auth.uid()));

create policy see on members for select to authenticated using (list_id in (select private.my_lists()));
-- Its owner sends somebody away; everyone else leaves.
create policy remove on members for delete to authenticated
  using (user_id = (select auth.uid()) or list_id in (select id from lists where owner = (select auth.uid())));

create policy share on todos to authenticated
  using (list_id in (select private.my_lists())) with check (list_id in (select private.my_lists()));

-- A new table is open to all roles, as policies decide; here each may do what the page does and no more, so that nobody writes the name of another.
revoke all on lists, members, todos from anon, authenticated;
grant select, insert (title), update (title), delete on lists to authenticated;
grant select, delete on members to authenticated;
grant select, insert (list_id, text), update (text, done), delete on todos to authenticated;

-- Pages that are open hear of changes, each of the rows that it sees.
alter publication supabase_realtime add table lists, members, todos;
