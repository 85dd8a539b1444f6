import { AlignedRows } from './rows.ts'
import type { DatabaseSession } from './session.ts'

/** Schemas that no user has made anything in; their relations are described by name. */
const OF_THE_NODE = '{information_schema,auth,storage,realtime,mayfly}'

const RELATIONS = (kinds: string) => `
  select n.nspname, c.relname,
         case c.relkind when 'r' then 'table' when 'p' then 'partitioned table' when 'v' then 'view' when 'm' then 'materialized view'
           when 'S' then 'sequence' when 'f' then 'foreign table' end,
         case when c.relkind in ('r', 'p') then case when c.relrowsecurity then 'on' else 'off' end else '' end,
         pg_get_userbyid(c.relowner)
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
   where c.relkind = any ('${kinds}') and n.nspname !~ '^pg_' and n.nspname <> all ('${OF_THE_NODE}')
   order by 1, 2`

const COLUMNS = `
  select a.attname, format_type(a.atttypid, a.atttypmod), case when a.attnotnull then 'not null' else '' end,
         case when a.attidentity <> '' then 'generated ' || case a.attidentity when 'a' then 'always' else 'by default' end || ' as identity'
           when a.attgenerated <> '' then 'generated: ' || pg_get_expr(d.adbin, d.adrelid)
           else coalesce(pg_get_expr(d.adbin, d.adrelid), '') end
    from pg_attribute as a left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
   where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped order by a.attnum`

const MORE: readonly (readonly [head: string, query: string])[] = [
  [
    'Indexes:',
    `select coalesce(quote_ident(c.conname) || ' ' || pg_get_constraintdef(c.oid), pg_get_indexdef(indexrelid))
       from pg_index left join pg_constraint as c on c.conindid = indexrelid and c.contype in ('p', 'u', 'x')
      where indrelid = $1::oid order by indisprimary desc, 1`,
  ],
  [
    'Constraints:',
    `select quote_ident(conname) || ' ' || pg_get_constraintdef(oid) from pg_constraint where conrelid = $1::oid and contype not in ('n', 'p', 'u', 'x') order by contype, 1`,
  ],
  [
    'Referenced by:',
    `select conrelid::regclass || ' ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid) from pg_constraint where confrelid = $1::oid order by 1`,
  ],
  [
    'Policies:',
    `select quote_ident(polname) || case when polpermissive then '' else ' as restrictive' end
       || ' for ' || case polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end
       || ' to ' || (select string_agg(case when role = 0 then 'public' else pg_get_userbyid(role) end, ', ') from unnest(polroles) as roles (role))
       || coalesce(' using (' || pg_get_expr(polqual, polrelid) || ')', '') || coalesce(' with check (' || pg_get_expr(polwithcheck, polrelid) || ')', '')
       from pg_policy where polrelid = $1::oid order by 1`,
  ],
  ['Triggers:', `select pg_get_triggerdef(oid) from pg_trigger where tgrelid = $1::oid and not tgisinternal order by 1`],
]

const named = (names: readonly string[]) => names.map((name) => ({ name, type: 25 }))

/** What relations there are of the project's own. */
export async function listRelations(session: DatabaseSession, kinds: 'all' | 'tables'): Promise<string> {
  const rows = await session.ask(RELATIONS(kinds === 'tables' ? '{r,p}' : '{r,p,v,m,S,f}'))
  if (rows.length === 0) return kinds === 'tables' ? 'There are no tables.' : 'There are no relations.'
  return `${new AlignedRows(named(['Schema', 'Name', 'Type', 'Row security', 'Owner'])).part(rows)}\n(${rows.length} row${rows.length === 1 ? '' : 's'})`
}

/** A relation with all that hangs on it; null where there is none of this name. */
export async function describeRelation(session: DatabaseSession, name: string): Promise<string | null> {
  const [found] = await session.ask(
    `select c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname), case when c.relkind in ('r', 'p') then c.relrowsecurity::text end,
            case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid, true) end
       from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.oid = to_regclass($1)`,
    [name],
  )
  const [oid, full, security, view] = found ?? []
  if (!oid) return null
  const parts = [String(full), new AlignedRows(named(['Column', 'Type', 'Nullable', 'Default'])).part(await session.ask(COLUMNS, [oid]))]
  if (security === 'true') parts.push('Row-level security is on.')
  if (security === 'false') parts.push('Row-level security is off: every key of the project may do what its role is granted.')
  for (const [head, query] of MORE) {
    const lines = await session.ask(query, [oid])
    if (lines.length > 0) parts.push([head, ...lines.map(([line]) => `    ${line}`)].join('\n'))
  }
  if (view) parts.push(`View definition:\n${view}`)
  return parts.join('\n')
}
