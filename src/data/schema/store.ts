import type { Sql } from '../../backends/database/database.ts'

/** The functions of the implicit casts of a domain, as schema and name. */
export type CastsRow = Readonly<Partial<Record<'toJson' | 'fromJson' | 'fromText', { readonly schema: string; readonly name: string }>>>
export interface RelationRow {
  readonly oid: string
  readonly schema: string
  readonly name: string
  readonly kind: string
  readonly isPartition: boolean
  readonly updatable: number
  readonly description: string | null
  readonly columns: readonly {
    readonly number: number
    readonly name: string
    readonly type: string
    readonly base: string
    readonly baseSchema: string
    readonly nullable: boolean
    readonly default: string | null
    readonly generated: boolean
    readonly description: string | null
    readonly enum: readonly string[] | null
    readonly casts: CastsRow | null
  }[]
  /** The columns of each unique index that covers all rows, the primary key first. */
  readonly unique: readonly { readonly primary: boolean; readonly columns: readonly number[] }[]
  /** The parsed query of a view. */
  readonly query: string | null
}
export interface ForeignKeyRow {
  readonly name: string
  readonly from: string
  readonly to: string
  readonly fromColumns: readonly number[]
  readonly toColumns: readonly number[]
}
export interface RoutineRow {
  readonly schema: string
  readonly name: string
  readonly volatility: 'v' | 's' | 'i'
  readonly set: boolean
  readonly rows: number
  readonly returnType: string
  readonly returnKind: string
  /** The name of the type below all domains. */
  readonly returnBase: string
  readonly returnBaseSchema: string
  readonly returnRelation: string | null
  readonly defaults: number
  readonly isVariadic: boolean
  readonly settings: readonly string[] | null
  readonly description: string | null
  readonly parameters: readonly {
    readonly name: string | null
    readonly mode: string
    readonly type: string
    readonly base: string
    readonly baseSchema: string
    readonly relation: string | null
  }[]
}
export interface RoleSettingRow {
  readonly role: string
  readonly settings: readonly string[]
  readonly ofDatabase: boolean
}
/** What gives a media type, the name of a domain: an aggregate over rows or anything, or a function. */
export interface HandlerRow {
  readonly mediaType: string
  readonly isBytes: boolean
  readonly schema: string
  readonly name: string
  readonly isAggregate: boolean
  /** The relation whose rows an aggregate takes; null for anything. */
  readonly relation: { readonly schema: string; readonly name: string } | null
}
export interface EnumRow {
  readonly schema: string
  readonly name: string
  readonly values: readonly string[]
}
export interface SchemaRow {
  readonly handlers: readonly HandlerRow[]
  readonly relations: readonly RelationRow[]
  readonly foreignKeys: readonly ForeignKeyRow[]
  readonly routines: readonly RoutineRow[]
  readonly enums: readonly EnumRow[]
  readonly roles: readonly RoleSettingRow[]
  readonly settings: Readonly<Record<string, string>>
  readonly announced: boolean
  readonly acts_outside: boolean
  readonly leaves_settings: boolean
}

/** All of it in one statement, so that it is of one moment. What belongs to the system is nobody's to ask for. */
export const selectSchema = (sql: Sql, authenticator: string) => sql<SchemaRow>`
  with place as materialized (
    select oid, nspname from pg_namespace where nspname !~ '^pg_' and nspname not in ('information_schema', 'mayfly')),
  type as materialized (   -- each type with the one below all its domains
    with recursive down as (
      select oid, oid as base, typbasetype as next from pg_type
      union all
      select down.oid, pg_type.oid, pg_type.typbasetype from down join pg_type on pg_type.oid = down.next where down.next <> 0)
    select down.oid, pg_type.typname as base, pg_type.oid as base_oid, pg_namespace.nspname as base_schema
      from down join pg_type on pg_type.oid = down.base join pg_namespace on pg_namespace.oid = pg_type.typnamespace where down.next = 0),
  casts as materialized (   -- PostgreSQL ignores those of domains: that each has one argument is seen to here
    select domain.oid, json_object_agg(
             case when castsource = domain.oid then 'toJson' when castsource = 'json'::regtype then 'fromJson' else 'fromText' end,
             json_build_object('schema', nspname, 'name', proname)) as functions
      from pg_type as domain
      join pg_cast on (castsource = domain.oid and casttarget = 'json'::regtype) or (casttarget = domain.oid and castsource in ('json'::regtype, 'text'::regtype))
      join pg_proc on pg_proc.oid = castfunc and pronargs - pronargdefaults <= 1
      join pg_namespace on pg_namespace.oid = pronamespace
     where typtype = 'd' and castcontext = 'i' and castmethod = 'f'
     group by domain.oid),
  relation as (
    select class.oid, place.nspname, class.relname, class.relkind, class.relispartition,
           pg_relation_is_updatable(class.oid, true) as updatable, obj_description(class.oid, 'pg_class') as description,
           (select coalesce(json_agg(json_build_object(
                     'number', attribute.attnum, 'name', attribute.attname, 'type', format_type(attribute.atttypid, attribute.atttypmod),
                     'base', type.base, 'baseSchema', type.base_schema, 'nullable', not attribute.attnotnull, 'generated', attribute.attgenerated <> '' or attribute.attidentity = 'a',
                     'default', case
                        when attribute.attidentity <> '' then format('nextval(%L::regclass)', pg_get_serial_sequence(format('%I.%I', place.nspname, class.relname), attribute.attname))
                        when attribute.attgenerated = '' then coalesce(pg_get_expr(own.adbin, own.adrelid), (select typdefault from pg_type where oid = attribute.atttypid and typtype = 'd'))
                      end,
                     'description', col_description(class.oid, attribute.attnum),
                     'enum', (select json_agg(enumlabel order by enumsortorder) from pg_enum where enumtypid = type.base_oid),
                     'casts', (select functions from casts where casts.oid = attribute.atttypid)
                   ) order by attribute.attnum), '[]')
              from pg_attribute as attribute
              join type on type.oid = attribute.atttypid
              left join pg_attrdef as own on own.adrelid = class.oid and own.adnum = attribute.attnum
             where attribute.attrelid = class.oid and attribute.attnum > 0 and not attribute.attisdropped) as columns,
           (select coalesce(json_agg(json_build_object('primary', indisprimary, 'columns', (indkey::int2[])[0 : indnkeyatts - 1]) order by indisprimary desc), '[]')
              from pg_index where indrelid = class.oid and indisunique and indpred is null and indexprs is null and indisvalid) as "unique",
           (select ev_action::text from pg_rewrite where ev_class = class.oid and rulename = '_RETURN') as query
      from pg_class as class join place on place.oid = class.relnamespace
     where class.relkind in ('r', 'v', 'm', 'f', 'p')),
  foreign_key as (
    select conname, conrelid, confrelid, conkey, confkey
      from pg_constraint join place on place.oid = connamespace
     where contype = 'f' and conparentid = 0),
  routine as (
    select place.nspname, proc.proname, proc.provolatile, proc.proretset, proc.prorows, returned.typtype, returned.typname,
           below.base as base_name, below.base_schema, proc.pronargdefaults, proc.provariadic <> 0 as is_variadic, proc.proconfig,
           obj_description(proc.oid, 'pg_proc') as description,
           (select nullif(typrelid, 0) from pg_type where oid = below.base_oid) as relation,
           (select coalesce(json_agg(json_build_object(
                     'name', nullif(proc.proargnames[place_of], ''), 'mode', coalesce(proc.proargmodes[place_of]::text, 'i'),
                     'type', format_type(argument, null), 'base', type.base, 'baseSchema', type.base_schema,
                     'relation', (select nullif(typrelid, 0)::text from pg_type where oid = argument)) order by place_of), '[]')
              from unnest(coalesce(proc.proallargtypes, proc.proargtypes::oid[])) with ordinality as arguments (argument, place_of)
              join type on type.oid = argument) as parameters
      from pg_proc as proc join place on place.oid = proc.pronamespace
      join pg_type as returned on returned.oid = proc.prorettype
      join type as below on below.oid = proc.prorettype
     where proc.prokind = 'f' and returned.typname not in ('trigger', 'event_trigger', 'internal', 'language_handler', 'fdw_handler', 'index_am_handler', 'tsm_handler', 'table_am_handler')),
  handler as (
    select lower(media.typname) as media_type, type.base = 'bytea' as is_bytes, place.nspname, proc.proname, proc.prokind = 'a' as is_aggregate,
           (select json_build_object('schema', nspname, 'name', relname) from pg_class join pg_namespace on pg_namespace.oid = relnamespace where pg_class.oid = argument.typrelid) as relation
      from pg_type as media
      join type on type.oid = media.oid
      join pg_proc as proc on proc.prorettype = media.oid and not proc.proretset
      join place on place.oid = proc.pronamespace
      left join pg_type as argument on argument.oid = proc.proargtypes[0]
     where media.typtype = 'd' and (media.typname = '*/*' or media.typname ~ '^[A-Za-z0-9.-]+/[A-Za-z0-9.+-]+$')
       and (proc.prokind = 'f' or proc.prokind = 'a' and proc.pronargs = 1 and (argument.typrelid <> 0 or argument.typname = 'anyelement')))
  select (select coalesce(json_agg(json_build_object(
                   'mediaType', media_type, 'isBytes', is_bytes, 'schema', nspname, 'name', proname, 'isAggregate', is_aggregate, 'relation', relation)), '[]') from handler) as handlers,
         (select coalesce(json_agg(json_build_object(
                   'oid', oid::text, 'schema', nspname, 'name', relname, 'kind', relkind, 'isPartition', relispartition, 'updatable', updatable,
                   'description', description, 'columns', columns, 'unique', "unique", 'query', query)), '[]') from relation) as relations,
         (select coalesce(json_agg(json_build_object(
                   'name', conname, 'from', conrelid::text, 'to', confrelid::text, 'fromColumns', conkey, 'toColumns', confkey) order by conname), '[]') from foreign_key) as "foreignKeys",
         (select coalesce(json_agg(json_build_object(
                   'schema', nspname, 'name', proname, 'volatility', provolatile, 'set', proretset, 'rows', prorows, 'returnType', typname, 'returnKind', typtype, 'returnBase', base_name, 'returnBaseSchema', base_schema,
                   'returnRelation', relation::text, 'defaults', pronargdefaults, 'isVariadic', is_variadic, 'settings', proconfig,
                   'description', description, 'parameters', parameters)), '[]') from routine) as routines,
         (select coalesce(json_agg(json_build_object('schema', nspname, 'name', typname, 'values',
                   (select json_agg(enumlabel order by enumsortorder) from pg_enum where enumtypid = pg_type.oid))), '[]')
            from pg_type join place on place.oid = typnamespace where typtype = 'e') as enums,
         (select coalesce(json_agg(json_build_object(
                   'role', rolname, 'settings', setconfig, 'ofDatabase', setdatabase <> 0)), '[]')
            from pg_db_role_setting join pg_roles on pg_roles.oid = setrole
           where setdatabase in (0, (select oid from pg_database where datname = current_database()))
             and rolname in (${authenticator}, 'anon', 'authenticated', 'service_role')) as roles,
         (select coalesce(json_object_agg(name, value), '{}') from mayfly.data_setting) as settings,
         exists (select from pg_event_trigger where evtname = 'mayfly_schema_changed' and evtenabled <> 'D') as announced,
         exists (select from pg_language where lanispl and not lanpltrusted) or exists (select from pg_foreign_server)
           or exists (select from pg_extension where extname in ('dblink', 'http')) as acts_outside,
         exists (select from pg_proc join place on place.oid = pronamespace join pg_language on pg_language.oid = prolang
                  where nspname not in ('auth', 'storage', 'realtime') and lanname not in ('internal', 'c')
                    and (nspname <> 'extensions' or not exists (select from pg_depend where classid = 'pg_proc'::regclass and objid = pg_proc.oid and deptype = 'e'))
                    and prosrc ~* '\\m(set|set_config|execute|spi_\\w+)\\M')
           -- What is kept as a tree, and not as a text, calls set_config by its number, or writes to the view that does.
           or exists (select from (
                        select prosqlbody::text as tree from pg_proc join place on place.oid = pronamespace where prosqlbody is not null
                        union all select proargdefaults::text from pg_proc join place on place.oid = pronamespace where proargdefaults is not null
                        union all select adbin::text from pg_attrdef
                        union all select concat(polqual, polwithcheck) from pg_policy
                        union all select concat(ev_qual, ev_action) from pg_rewrite join pg_class on pg_class.oid = ev_class join place on place.oid = relnamespace
                        union all select tgqual::text from pg_trigger where tgqual is not null
                        union all select conbin::text from pg_constraint where conbin is not null and connamespace in (select oid from place)
                        union all select typdefaultbin::text from pg_type where typdefaultbin is not null) as kept
                      where tree ~ format(':(funcid %s|relid %s) ', 'pg_catalog.set_config'::regproc::oid, 'pg_catalog.pg_settings'::regclass::oid)) as leaves_settings`
