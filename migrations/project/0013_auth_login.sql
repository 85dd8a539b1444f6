-- auth: sessions of the login's own. Whoever gets his SQL run in a session of the data API's login role, by a function that
-- builds its text for one, could take every role of that: the one that reads passwords is none of them any more.
do $$
begin
  if not exists (select from pg_roles where rolname = :'auth_authenticator') then
    create role :"auth_authenticator" login connection limit 20;
  end if;
  alter role :"auth_authenticator" password :'auth_password';
  execute format('grant connect on database %I to %I', current_database(), :'auth_authenticator');
  -- Who made a role may hand it on, but is no member of it by that alone; giving it tables takes one.
  if not (select rolsuper from pg_roles where rolname = current_user) then
    grant supabase_auth_admin to current_user with inherit true, set true;
  end if;
end $$;
revoke supabase_auth_admin from :"authenticator";
grant supabase_auth_admin to :"auth_authenticator";
grant usage on schema mayfly to :"auth_authenticator";
grant select on mayfly.auth_setting to :"auth_authenticator";

-- PostgreSQL runs some of what the project's owner wrote in the role that owns a table: triggers where a row goes with the one
-- it refers to, casts where a row of the owner's refers to one of these. That role must be none that may do more.
grant create on schema auth to supabase_auth_admin;
alter table auth.users owner to supabase_auth_admin;
alter table auth.identities owner to supabase_auth_admin;
alter table auth.sessions owner to supabase_auth_admin;
alter table auth.refresh_tokens owner to supabase_auth_admin;
alter table auth.mfa_amr_claims owner to supabase_auth_admin;
revoke create on schema auth from supabase_auth_admin;
