import type { Cardinality, Column, DataSettings, Handler, Handlers, Qualified, Relation, Relationship, Routine, Snapshot } from './snapshot.ts'
import { nameOf, NO_CASTS, qualified } from './snapshot.ts'
import type { HandlerRow, RelationRow, RoleSettingRow, RoutineRow, SchemaRow } from './store.ts'
import { foundRelationships } from './relationships.ts'
import { isView, type Origin, originOf, originsOf } from './view-columns.ts'

export interface Defaults {
  readonly maxRows: number
}

const INSERT = 8
const UPDATE = 4
const DELETE = 16

/** @param authenticator  the login role, whose settings `pgrst.*` are those of the API */
export function buildSnapshot(row: SchemaRow, authenticator: string, defaults: Defaults): Snapshot {
  const byOid = new Map(row.relations.map((relation) => [relation.oid, relation]))
  const origins = new Map<string, ReadonlyMap<number, Origin>>()
  for (const relation of row.relations) if (relation.query !== null) origins.set(relation.oid, originsOf(relation.query))
  const relations = new Map<string, Relation>()
  for (const relation of row.relations) if (!relation.isPartition) relations.set(nameOf(relation), relationOf(relation, byOid, origins))
  const roleSettings = settingsOfRoles(row.roles)
  const chosen = new Map(roleSettings.get(authenticator))
  for (const [name, value] of Object.entries(row.settings)) chosen.set(`pgrst.${name}`, value)
  const settings = dataSettings(chosen, defaults)
  const routines = new Map<string, Routine[]>()
  for (const each of row.routines) {
    const routine = routineOf(each, byOid)
    const name = nameOf(routine)
    routines.set(name, [...(routines.get(name) ?? []), routine])
  }
  return {
    settings,
    handlers: handlersOf(row.handlers, settings),
    geojson: geojsonOf(row.routines, settings),
    relations,
    relationships: byOrigin([...foundRelationships(row, byOid, origins, relations, settings.schemas), ...computed(row.routines, byOid)]),
    routines,
    enums: row.enums,
    roleSettings,
    actsOutside: row.acts_outside,
    leavesSettings: row.leaves_settings,
    isAnnounced: row.announced,
  }
}

/** Aggregates are looked for where functions are; functions count where they are served, which is seen to when they are called. */
function handlersOf(rows: readonly HandlerRow[], { schemas, extraSearchPath }: DataSettings): Handlers {
  const relations = new Map<string, Map<string, Handler>>()
  const routines = new Map<string, Map<string, Handler>>()
  const any = new Map<string, Handler>()
  const places = [...schemas, ...extraSearchPath]
  // Of several for the same, the one that is found first.
  const inOrder = rows.filter(({ schema }) => places.includes(schema)).toSorted((a, b) => places.indexOf(a.schema) - places.indexOf(b.schema))
  const put = (of: Map<string, Handler>, { mediaType }: HandlerRow, handler: Handler) => of.set(mediaType, of.get(mediaType) ?? handler)
  const within = (of: Map<string, Map<string, Handler>>, name: string) => {
    const found = of.get(name) ?? new Map<string, Handler>()
    of.set(name, found)
    return found
  }
  for (const row of inOrder) {
    const contentType = row.mediaType === '*/*' ? 'application/octet-stream' : row.mediaType
    const handler = { aggregate: row.isAggregate ? qualified(row) : null, contentType, isBytes: row.isBytes }
    put(
      row.relation !== null && row.isAggregate ? within(relations, nameOf(row.relation)) : row.isAggregate ? any : within(routines, nameOf(row)),
      row,
      handler,
    )
  }
  return { relations, routines, any }
}

/** PostGIS makes a feature of a row; all else that its function takes has a default. */
function geojsonOf(routines: readonly RoutineRow[], { schemas, extraSearchPath }: DataSettings): Qualified | null {
  const places = [...schemas, ...extraSearchPath]
  const isOne = ({ schema, name, parameters, defaults, set }: RoutineRow) =>
    name === 'st_asgeojson' && !set && places.includes(schema) && parameters[0]?.base === 'record' && parameters.length - defaults <= 1
  const [found] = routines.filter(isOne).toSorted((a, b) => places.indexOf(a.schema) - places.indexOf(b.schema))
  return found ? qualified(found) : null
}

function byOrigin(relationships: readonly Relationship[]): ReadonlyMap<string, readonly Relationship[]> {
  const found = new Map<string, Relationship[]>()
  for (const relationship of relationships) {
    const name = nameOf(relationship.from)
    const known = found.get(name)
    if (known) known.push(relationship)
    else found.set(name, [relationship])
  }
  return found
}

function relationOf(row: RelationRow, byOid: ReadonlyMap<string, RelationRow>, origins: ReadonlyMap<string, ReadonlyMap<number, Origin>>): Relation {
  const columns = new Map<string, Column>()
  for (const column of row.columns)
    columns.set(column.name, {
      name: column.name,
      type: column.type,
      baseType: column.base,
      baseSchema: column.baseSchema,
      isNullable: column.nullable,
      default: column.default,
      isGenerated: column.generated,
      description: column.description,
      enumValues: column.enum,
      casts: column.casts === null ? NO_CASTS : { ...NO_CASTS, ...column.casts },
    })
  return {
    schema: row.schema,
    name: row.name,
    isView: isView(row.kind),
    columns,
    primaryKey: primaryKeyOf(row, byOid, origins),
    isInsertable: (row.updatable & INSERT) !== 0,
    isUpdatable: (row.updatable & UPDATE) !== 0,
    isDeletable: (row.updatable & DELETE) !== 0,
    description: row.description,
  }
}

function primaryKeyOf(row: RelationRow, byOid: ReadonlyMap<string, RelationRow>, origins: ReadonlyMap<string, ReadonlyMap<number, Origin>>): readonly string[] {
  const nameOfNumber = (number: number) => row.columns.find((column) => column.number === number)?.name as string
  if (!isView(row.kind)) {
    const key = row.unique.find(({ primary }) => primary)
    return key ? key.columns.map(nameOfNumber) : []
  }
  // A view has the key of a table all of whose key columns it shows.
  const shown = new Map<string, Map<number, number>>()
  for (const column of row.columns) {
    const origin = originOf(row.oid, column.number, byOid, origins)
    if (!origin) continue
    const of = shown.get(origin.relation) ?? new Map<number, number>()
    shown.set(origin.relation, of)
    if (!of.has(origin.column)) of.set(origin.column, column.number)
  }
  const keys = [...shown].flatMap(([oid, columns]) => {
    const key = byOid.get(oid)?.unique.find(({ primary }) => primary)
    return key?.columns.every((column) => columns.has(column)) ? [key.columns.map((column) => nameOfNumber(columns.get(column) as number))] : []
  })
  return keys.length === 1 ? (keys[0] ?? []) : []
}

const VOLATILITY = { v: 'volatile', s: 'stable', i: 'immutable' } as const

function routineOf(row: RoutineRow, byOid: ReadonlyMap<string, RelationRow>): Routine {
  const given = row.parameters.filter(({ mode }) => mode === 'i' || mode === 'b' || mode === 'v')
  const hasOut = row.parameters.some(({ mode }) => mode === 'o' || mode === 'b' || mode === 't')
  const required = given.length - row.defaults
  const relation = row.returnRelation === null ? undefined : byOid.get(row.returnRelation)
  const [argument, ...others] = given
  const of = argument?.relation == null || others.length > 0 ? undefined : byOid.get(argument.relation)
  return {
    schema: row.schema,
    name: row.name,
    parameters: given.map((parameter, place) => ({
      name: parameter.name ?? '',
      type: parameter.type,
      baseType: parameter.base,
      baseSchema: parameter.baseSchema,
      isRequired: place < required && parameter.mode !== 'v',
      isVariadic: parameter.mode === 'v',
    })),
    volatility: VOLATILITY[row.volatility],
    returnsSet: row.set,
    returns: row.returnType === 'void' && !hasOut ? 'void' : hasOut || row.returnRelation !== null ? 'row' : 'scalar',
    returnBase: row.returnBase,
    returnBaseSchema: row.returnBaseSchema,
    relation: relation ? qualified(relation) : null,
    outputs: row.parameters
      .filter(({ mode }) => mode === 'o' || mode === 'b' || mode === 't')
      .map(({ name, base, baseSchema }) => ({ name: name ?? '', baseType: base, baseSchema })),
    computes: of ? qualified(of) : null,
    settings: new Map((row.settings ?? []).map(splitSetting)),
    description: row.description,
  }
}

/** A function of one argument, a row, that returns rows of a relation. */
function computed(routines: readonly RoutineRow[], byOid: ReadonlyMap<string, RelationRow>): Relationship[] {
  return routines.flatMap((routine) => {
    const [argument, ...others] = routine.parameters
    const from = argument?.relation == null ? undefined : byOid.get(argument.relation)
    const to = routine.returnRelation === null ? undefined : byOid.get(routine.returnRelation)
    if (!from || !to || others.length > 0) return []
    const cardinality: Cardinality = 'computed'
    return [
      {
        cardinality,
        from: qualified(from),
        to: qualified(to),
        isToOne: !routine.set || routine.rows === 1,
        isSelf: from.oid === to.oid,
        toIsView: isView(to.kind),
        constraint: null,
        columns: [],
        junction: null,
        routine: qualified(routine),
      },
    ]
  })
}

const splitSetting = (text: string): readonly [string, string] => {
  const mark = text.indexOf('=')
  return [text.slice(0, mark).toLowerCase(), text.slice(mark + 1)]
}

/** What is set for this database stands over what is set for all. */
function settingsOfRoles(rows: readonly RoleSettingRow[]): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const byRole = new Map<string, Map<string, string>>()
  for (const { role, settings } of rows.toSorted((a, b) => Number(a.ofDatabase) - Number(b.ofDatabase))) {
    const of = byRole.get(role) ?? new Map<string, string>()
    byRole.set(role, of)
    for (const [name, value] of settings.map(splitSetting)) of.set(name, value)
  }
  return byRole
}

function dataSettings(given: ReadonlyMap<string, string>, defaults: Defaults): DataSettings {
  const list = (name: string, otherwise: readonly string[]) => {
    const names = given
      .get(`pgrst.${name}`)
      ?.split(',')
      .map((part) => part.trim().replace(/^"(.*)"$/, '$1'))
      .filter((part) => part !== '')
    return names && names.length > 0 ? names : otherwise
  }
  const isOn = (name: string) => /^(true|on|yes|1)$/i.test(given.get(`pgrst.${name}`) ?? '')
  const maxRows = given.get('pgrst.db_max_rows')
  const end = given.get('pgrst.db_tx_end') ?? 'commit'
  return {
    schemas: list('db_schemas', ['public']),
    extraSearchPath: list('db_extra_search_path', ['public', 'extensions']),
    maxRows: maxRows !== undefined && /^\d{1,9}$/.test(maxRows) ? Number(maxRows) : defaults.maxRows,
    hasAggregates: isOn('db_aggregates_enabled'),
    hasPlans: isOn('db_plan_enabled'),
    preRequest: given.get('pgrst.db_pre_request') || null,
    mayRollBack: end.endsWith('-allow-override'),
    rollsBack: end.startsWith('rollback'),
  }
}
