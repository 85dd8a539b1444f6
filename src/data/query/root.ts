import type { Query } from './query.ts'

/** What of a schema the role of who asks may use. */
export const rootQuery = (schema: string): Query => ({
  main: {
    text: `with answer as (select json_build_object(
        'relations', (select coalesce(json_agg(relname), '[]') from pg_catalog.pg_class
                       where relnamespace = place.oid and relkind in ('r', 'v', 'm', 'f', 'p')
                         and (has_table_privilege(oid, 'select, insert, update, delete') or has_any_column_privilege(oid, 'select, insert, update'))),
        'routines', (select coalesce(json_agg(distinct proname), '[]') from pg_catalog.pg_proc where pronamespace = place.oid and has_function_privilege(oid, 'execute')),
        'description', pg_catalog.obj_description(place.oid, 'pg_namespace'))::text as body
      from pg_catalog.pg_namespace as place where nspname = $1)
    select body, octet_length(body) as bytes, 1 as page, null as total, null as new_rows, null as location from answer`,
    values: [schema],
  },
  estimate: null,
  tellsResponse: false,
})
