-- realtime: the publication whose tables tell their row changes; whoever owns the project's tables adds them to it.
do $$
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
  -- Its owner has to be one who may make publications in this database: a superuser may give it to anyone.
  if (select rolsuper from pg_roles where rolname = current_user) then
    alter publication supabase_realtime owner to :"owner";
  else
    execute format('grant create on database %I to %I', current_database(), :'owner');
    alter publication supabase_realtime owner to :"owner";
    execute format('revoke create on database %I from %I', current_database(), :'owner');
  end if;
end $$;
