-- Where the crawler begins: everything below the folder of `start` is of the site.
create table sites (
  start text primary key check (start ~ '^https?://'),
  -- A page is fetched again after so long.
  every interval not null default '1 day'
);

create table pages (
  url text primary key check (length(url) <= 2000),
  site text not null references sites (start) on delete cascade,
  status int,
  title text,
  bytes int,
  fetched_at timestamptz,
  -- When it was sent to the queue: a page that is on its way is not sent again within the hour.
  sent_at timestamptz
);
create index pages_due on pages (site, fetched_at nulls first);

-- Functions come as service_role; nobody else reads or writes.
alter table sites enable row level security;
alter table pages enable row level security;

-- Marks up to `most` pages that are due as sent, and gives them: of two that ask at once each gets others.
create function take_due(most int) returns setof pages
language sql as $$
  update pages set sent_at = now()
   where url in (
     select url from pages join sites on start = site
      where (fetched_at is null or fetched_at < now() - every) and (sent_at is null or sent_at < now() - interval '1 hour')
      order by fetched_at nulls first limit most for update of pages skip locked)
  returning *
$$;
revoke execute on function take_due(int) from public, anon, authenticated;
