import type { Sql } from '../../backends/database/database.ts'

interface Found {
  /** What it is about, such as `table public.todos`. */
  readonly object: string
}

export interface Rule {
  readonly name: string
  /** `error`: somebody may read or write what is not meant for him. */
  readonly level: 'error' | 'warning'
  readonly why: string
  readonly mend: string
  /** @param served  schemas that the data API serves */
  readonly find: (sql: Sql, served: readonly string[]) => Promise<readonly Found[]>
}

/** What our own schemas have is ours to judge, and what extensions brought theirs. */
export const RULES: readonly Rule[] = [
  {
    name: 'rls_missing',
    level: 'error',
    why: 'everybody with the publishable key can read it, for the API serves its schema and row-level security is off',
    mend: 'alter table … enable row level security; then a policy for each who may see or write rows. Or revoke all on the table from anon, authenticated.',
    find: (sql, served) => sql<Found>`
      select format('table %I.%I', n.nspname, c.relname) as object
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where c.relkind in ('r', 'p') and not c.relrowsecurity and n.nspname = any (${served}::text[])
         and (has_any_column_privilege('anon', c.oid, 'select') or has_any_column_privilege('authenticated', c.oid, 'select'))
         and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
       order by 1`,
  },
  {
    name: 'open_to_writes',
    level: 'error',
    why: 'everybody with the publishable key can write, change or delete its rows: anon has the right, and row-level security is off',
    mend: 'alter table … enable row level security; or revoke insert, update, delete, truncate on the table from anon.',
    find: (sql, served) => sql<Found>`
      select format('table %I.%I', n.nspname, c.relname) as object
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where c.relkind in ('r', 'p') and not c.relrowsecurity and n.nspname = any (${served}::text[])
         and (has_any_column_privilege('anon', c.oid, 'insert, update') or has_table_privilege('anon', c.oid, 'delete'))
         and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
       order by 1`,
  },
  {
    name: 'policies_not_in_force',
    level: 'error',
    why: 'it has policies, but row-level security is off: none of them is asked',
    mend: 'alter table … enable row level security;',
    find: (sql) => sql<Found>`
      select format('table %I.%I', n.nspname, c.relname) as object
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where not c.relrowsecurity and exists (select from pg_policy p where p.polrelid = c.oid) and n.nspname not in ('auth', 'storage', 'realtime', 'mayfly')
       order by 1`,
  },
  {
    name: 'rls_without_policy',
    level: 'warning',
    why: 'row-level security is on and no policy lets anybody in: only the secret key sees its rows',
    mend: 'Write a policy; or leave it, where that is meant.',
    find: (sql, served) => sql<Found>`
      select format('table %I.%I', n.nspname, c.relname) as object
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where c.relkind in ('r', 'p') and c.relrowsecurity and n.nspname = any (${served}::text[])
         and not exists (select from pg_policy p where p.polrelid = c.oid)
       order by 1`,
  },
  {
    name: 'policy_trusts_user_metadata',
    level: 'error',
    why: 'users write their own user_metadata: whoever it lets in lets himself in',
    mend: 'Ask app_metadata, which only the server writes, or a table of your own.',
    find: (sql) => sql<Found>`
      select format('policy %I on %I.%I', p.polname, n.nspname, c.relname) as object
        from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
       where concat(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) ~ 'user_metadata'
       order by 1`,
  },
  {
    name: 'policy_lets_all_write',
    level: 'warning',
    why: 'it lets everybody of its roles write any row: its condition is true',
    mend: 'Say whose rows they are, such as using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id).',
    find: (sql, served) => sql<Found>`
      select format('policy %I on %I.%I', p.polname, n.nspname, c.relname) as object
        from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
       where p.polpermissive and p.polcmd in ('a', 'w', 'd', '*') and n.nspname = any (${served}::text[])
         and coalesce(pg_get_expr(p.polwithcheck, p.polrelid), pg_get_expr(p.polqual, p.polrelid)) = 'true'
         and exists (select from unnest(p.polroles) r where r = 0 or pg_get_userbyid(r) in ('anon', 'authenticated'))
       order by 1`,
  },
  {
    name: 'policy_asks_for_each_row',
    level: 'warning',
    why: 'auth.uid(), auth.jwt() or auth.role() is called for each row that is looked at',
    mend: 'Write (select auth.uid()): it is asked once for a statement.',
    find: (sql) => sql<Found>`
      select format('policy %I on %I.%I', p.polname, n.nspname, c.relname) as object
        from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
       where regexp_replace(concat(pg_get_expr(p.polqual, p.polrelid), ' ', pg_get_expr(p.polwithcheck, p.polrelid)),
                            'select\\s+\\(?auth\\.(uid|jwt|role|email)\\(\\)', '', 'gi') ~ 'auth\\.(uid|jwt|role|email)\\(\\)'
       order by 1`,
  },
  {
    name: 'policy_without_index',
    level: 'warning',
    why: 'a policy asks for it with each statement, and no index begins with it: whole tables are read',
    mend: 'create index on … (…);',
    find: (sql) => sql<Found>`
      select distinct format('column %I.%I.%I', n.nspname, c.relname, a.attname) as object
        from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
        join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid and d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid and d.refobjsubid > 0
        join pg_attribute a on a.attrelid = c.oid and a.attnum = d.refobjsubid
        join pg_type t on t.oid = a.atttypid
       where n.nspname not in ('auth', 'storage', 'realtime', 'mayfly') and t.typname in ('uuid', 'int2', 'int4', 'int8', 'text', 'varchar')
         and not exists (select from pg_index i where i.indrelid = c.oid and i.indkey[0] = a.attnum)
       order by 1`,
  },
  {
    name: 'foreign_key_without_index',
    level: 'warning',
    why: 'a delete or change in the table that it points at reads this one whole, and so do joins and embeds',
    mend: 'create index on … (…), with the columns of the key first.',
    find: (sql) => sql<Found>`
      select format('foreign key %I of %I.%I', k.conname, n.nspname, c.relname) as object
        from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
       where k.contype = 'f' and k.conparentid = 0 and n.nspname not in ('auth', 'storage', 'realtime', 'mayfly')
         and not exists (select from pg_index i where i.indrelid = k.conrelid and i.indpred is null
                           and k.conkey <@ (string_to_array(i.indkey::text, ' ')::int2[])[1:cardinality(k.conkey)])
       order by 1`,
  },
  {
    name: 'definer_without_search_path',
    level: 'error',
    why: 'it runs with the rights of its owner and finds names where its caller says: who can make a function there is its owner',
    mend: "alter function … set search_path = ''; and write names with their schema in it.",
    find: (sql) => sql<Found>`
      select format('function %I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) as object
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
       where p.prosecdef and n.nspname not in ('auth', 'storage', 'realtime', 'mayfly', 'pg_catalog', 'information_schema')
         and not exists (select from unnest(p.proconfig) one where one like 'search_path=%')
         and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
       order by 1`,
  },
  {
    name: 'definer_open_to_all',
    level: 'warning',
    why: 'everybody with the publishable key can call it, and no row-level security holds it: it runs with the rights of its owner',
    mend: 'revoke execute on function … from public, anon; or let it run as its caller (security invoker); or keep it in a schema that is not served.',
    find: (sql, served) => sql<Found>`
      select format('function %I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) as object
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
       where p.prosecdef and p.prorettype <> 'trigger'::regtype and n.nspname = any (${served}::text[]) and has_function_privilege('anon', p.oid, 'execute')
         and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
       order by 1`,
  },
  {
    name: 'view_without_invoker',
    level: 'error',
    why: 'a view reads its tables with the rights of its owner, whom no row-level security holds: it shows all rows',
    mend: 'alter view … set (security_invoker = true);',
    find: (sql, served) => sql<Found>`
      select format('view %I.%I', n.nspname, c.relname) as object
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where c.relkind = 'v' and n.nspname = any (${served}::text[])
         and not exists (select from unnest(c.reloptions) one where one ~* '^security_invoker=(true|on|yes|1)$')
         and (has_any_column_privilege('anon', c.oid, 'select') or has_any_column_privilege('authenticated', c.oid, 'select'))
         and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
       order by 1`,
  },
  {
    name: 'materialized_view_served',
    level: 'warning',
    why: 'it has no row-level security: everybody with the publishable key reads all of it',
    mend: 'revoke all on … from anon, authenticated; or keep it in a schema that is not served.',
    find: (sql, served) => sql<Found>`
      select format('materialized view %I.%I', n.nspname, c.relname) as object
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where c.relkind = 'm' and n.nspname = any (${served}::text[]) and (has_any_column_privilege('anon', c.oid, 'select') or has_any_column_privilege('authenticated', c.oid, 'select'))
       order by 1`,
  },
]
