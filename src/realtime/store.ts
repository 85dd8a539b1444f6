import type { Row, Sql, Tx } from '../backends/database/database.ts'

export const PUBLICATION = 'supabase_realtime'

// Only catalogues are read in our own role: nothing that a user wrote runs here.

/** What streaming needs of the server. */
export const selectAbility = (sql: Sql) => sql<{ walLevel: string; mayReplicate: boolean; published: boolean }>`
  select current_setting('wal_level') as "walLevel",
         (select rolsuper or rolreplication from pg_roles where rolname = current_user) as "mayReplicate",
         exists (select from pg_publication where pubname = ${PUBLICATION}) as published`

export interface TypeRow {
  readonly oid: number
  readonly name: string
  readonly schema: string
  readonly category: string
  readonly base: string
  readonly elementBase: string | null
  readonly elementCategory: string | null
  readonly elementDelimiter: string | null
}

/** Types by their oids, domains with what lies below them. */
export const selectTypes = (sql: Sql, oids: readonly number[]) => sql<TypeRow>`
  with recursive below as (
    select oid as top, oid, typname, typcategory, typtype, typbasetype, typelem, typlen from pg_type where oid = any(${oids}::oid[])
    union all
    select below.top, t.oid, t.typname, t.typcategory, t.typtype, t.typbasetype, t.typelem, t.typlen
      from below join pg_type t on below.typtype = 'd' and t.oid = below.typbasetype)
  select type.oid::int8::float8 as oid, type.typname::text as name, schema.nspname::text as schema, below.typcategory::text as category,
         below.typname::text as base, element_base.typname::text as "elementBase", element_base.typcategory::text as "elementCategory",
         element.typdelim::text as "elementDelimiter"
    from below
    join pg_type type on type.oid = below.top
    join pg_namespace schema on schema.oid = type.typnamespace
    left join pg_type element on below.typcategory = 'A' and element.oid = below.typelem
    left join pg_type element_base on element_base.oid = case when element.typtype = 'd' then element.typbasetype else element.oid end
   where below.typtype <> 'd'`

/** The columns of a table's primary key, in its order. */
export const selectKey = (sql: Sql, table: number) => sql<{ name: string; typeOid: number }>`
  select a.attname::text as name, a.atttypid::int8::float8 as "typeOid"
    from pg_index i cross join unnest(i.indkey::int2[]) with ordinality as key (attnum, at)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = key.attnum
   where i.indrelid = ${table}::oid and i.indisprimary order by key.at`

/** A published table by its name; its columns with their types. */
export const selectPublished = (sql: Sql, schema: string, table: string) => sql<{ oid: number; column: string; typeOid: number }>`
  select c.oid::int8::float8 as oid, a.attname::text as column, a.atttypid::int8::float8 as "typeOid"
    from pg_publication_tables p
    join pg_namespace n on n.nspname = p.schemaname
    join pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
   where p.pubname = ${PUBLICATION} and p.schemaname = ${schema} and p.tablename = ${table}`

/** What a statement that begins now sees: every transaction below `xmax` that is not in `running`. */
export const selectSnapshot = (sql: Sql) => sql<{ xmax: string; running: string[] }>`
  select pg_snapshot_xmax(now)::text as xmax, array(select xid::text from pg_snapshot_xip(now) as xid) as running
    from pg_current_snapshot() as now`

// From here on in the subscriber's role.

/** A policy that takes long is no reason for all to wait. */
export const limitTime = (tx: Tx, ms: number) => tx`select set_config('statement_timeout', ${String(ms)}, true)`

/** What policies see as `realtime.topic()`. */
export const setTopic = (tx: Tx, topic: string) => tx`select set_config('realtime.topic', ${topic}, true)`

/** A row of each kind, as one said in a private channel would be. It stays for as long as its transaction has set what says so. */
export const insertProbes = async (tx: Tx, topic: string, kinds: readonly string[]) => {
  await tx`select set_config('realtime.asks', 'on', true)`
  return await tx<{ id: string }>`
    insert into realtime.messages (topic, extension, private) select ${topic}, kind, true from unnest(${kinds}::text[]) as kind returning id::text as id`
}

export const selectProbes = (tx: Tx, ids: readonly string[]) => tx<{ extension: string }>`
  select extension from realtime.messages where id = any(${ids}::uuid[])`

export const mayWrite = (tx: Tx, topic: string, kind: string) => tx<{ may: boolean }>`select realtime.may_write(${topic}, ${kind}) as may`

/** What the role of this transaction may see of a table: whether rows are filtered, and the columns; none when the table is gone. */
export const selectRights = (tx: Tx, table: number) => tx<{ filtered: boolean; columns: string[] }>`
  select row_security_active(c.oid) as filtered,
         array(select a.attname::text from pg_attribute a
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                  and has_schema_privilege(c.relnamespace, 'usage') and has_column_privilege(c.oid, a.attnum, 'select')) as columns
    from pg_class c where c.oid = ${table}::oid`

export interface KeyColumn {
  /** Quoted. */
  readonly name: string
  /** The type, quoted, with its schema. */
  readonly type: string
}

/**
 * Which of these keys lead to a row that the role of this transaction sees, by their place from 1.
 * @param table  quoted, with its schema
 * @param keys  a list of values for each column
 */
export const selectVisible = (tx: Tx, table: string, columns: readonly KeyColumn[], keys: readonly (readonly string[])[]) => {
  // The values have their type before they are compared: a cast in the comparison would keep row-level security from using the index.
  const texts = ['select key.at::int as at from unnest(', ...columns.map(({ type }) => `::text[]::${type}[], `)]
  const names = columns.map((_, at) => `k${at}`).join(', ')
  const where = columns.map(({ name }, at) => `t.${name} = key.k${at}`).join(' and ')
  const last = (texts.pop() as string).slice(0, -2)
  texts.push(`${last}) with ordinality as key (${names}, at) where exists (select from ${table} as t where ${where})`)
  return run<{ at: number }>(tx, texts, keys)
}

/** Values in the form in which PostgreSQL writes their type. @param type  quoted, with its schema */
export const selectCanonical = (tx: Tx, type: string, values: readonly string[]) =>
  run<{ text: string }>(tx, [`select (value::${type})::text as text from unnest(`, '::text[]) with ordinality as given (value, at) order by at'], [values])

/** A statement whose names are only known now; each of them was quoted, values stay parameters. */
const run = <R extends object = Row>(tx: Tx, texts: readonly string[], values: readonly unknown[]) =>
  tx<R>(Object.assign([...texts], { raw: texts }) as unknown as TemplateStringsArray, ...values)
