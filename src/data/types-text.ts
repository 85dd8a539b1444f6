import type { Column, Output, Qualified, Relation, Relationship, Routine, Snapshot } from './schema/snapshot.ts'
import { nameOf } from './schema/snapshot.ts'

/** The schema as TypeScript types, in the form that `createClient<Database>` takes. */
export function typesText(snapshot: Snapshot): string {
  const { schemas } = snapshot.settings
  const places = [...new Set(schemas)].toSorted().map((schema) => `  ${key(schema)}: ${schemaText(snapshot, schema)}`)
  const json = 'export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[]'
  return `${json}\n\nexport type Database = {\n${SPEAKS}\n${places.join('\n')}\n}\n\n${SHORT_NAMES.replaceAll('FIRST', JSON.stringify(schemas[0] ?? 'public'))}`
}

/** By it the client offers what this version of PostgREST has: `maxAffected`, spreads of many rows. */
const SPEAKS = '  __InternalSupabase: { PostgrestVersion: "14" }'

/** How apps name what there is of one table: `Tables<'todos'>`; in another schema `Tables<{ schema: 'api' }, 'todos'>`. */
const SHORT_NAMES = `type Schemas = Omit<Database, "__InternalSupabase">
type Elsewhere = { schema: keyof Schemas }
type At<Name> = Name extends { schema: infer S extends keyof Schemas } ? S : FIRST
type Relations<S extends keyof Schemas> = Schemas[S]["Tables"] & Schemas[S]["Views"]
type Picked<All, Name, Of> = Name extends keyof All ? All[Name] : Of extends keyof All ? All[Of] : never
type Part<Entry, Name extends string> = Entry extends { [_ in Name]: infer Found } ? Found : never

export type Tables<Name extends keyof Relations<FIRST> | Elsewhere, Of extends keyof Relations<At<Name>> = never> = Part<Picked<Relations<At<Name>>, Name, Of>, "Row">
export type TablesInsert<Name extends keyof Schemas[FIRST]["Tables"] | Elsewhere, Of extends keyof Schemas[At<Name>]["Tables"] = never> = Part<Picked<Schemas[At<Name>]["Tables"], Name, Of>, "Insert">
export type TablesUpdate<Name extends keyof Schemas[FIRST]["Tables"] | Elsewhere, Of extends keyof Schemas[At<Name>]["Tables"] = never> = Part<Picked<Schemas[At<Name>]["Tables"], Name, Of>, "Update">
export type Enums<Name extends keyof Schemas[FIRST]["Enums"] | Elsewhere, Of extends keyof Schemas[At<Name>]["Enums"] = never> = Picked<Schemas[At<Name>]["Enums"], Name, Of>
`

const key = (name: string): string => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name))
const byName = (a: { readonly name: string }, b: { readonly name: string }) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)

function schemaText(snapshot: Snapshot, schema: string): string {
  const relations = [...snapshot.relations.values()].filter((relation) => relation.schema === schema).toSorted(byName)
  const tables = relations.filter(({ isView }) => !isView).map((relation) => relationText(relation, snapshot))
  const views = relations.filter(({ isView }) => isView).map((relation) => relationText(relation, snapshot))
  const routines = [...snapshot.routines.values()]
    .filter(([first]) => first?.schema === schema && first.name !== '')
    .toSorted(([a], [b]) => byName(a as Routine, b as Routine))
  const enumTexts = snapshot.enums
    .filter((each) => each.schema === schema)
    .toSorted(byName)
    .map(({ name, values }) => `${key(name)}: ${union(values)}`)
  return block(
    [
      `Tables: ${block(tables, 6)}`,
      `Views: ${block(views, 6)}`,
      `Functions: ${block(
        routines.map((overloads) => routineText(overloads, snapshot)),
        6,
      )}`,
      `Enums: ${block(enumTexts, 6)}`,
      `CompositeTypes: ${block([], 6)}`,
    ],
    4,
  )
}

function block(lines: readonly string[], indent: number): string {
  if (lines.length === 0) return '{ [_ in never]: never }'
  const before = ' '.repeat(indent)
  return `{\n${lines.map((line) => `${before}${line}`).join('\n')}\n${before.slice(2)}}`
}

function relationText(relation: Relation, snapshot: Snapshot): string {
  const columns = [...relation.columns.values()].toSorted(byName)
  const row = [
    ...columns.map((column) => ({ name: column.name, type: columnText(column, relation.isView, snapshot.enums) })),
    ...computedOf(relation, snapshot).map(({ name, ...routine }) => ({ name, type: `${typeText(returned(routine), snapshot.enums)} | null` })),
  ]
    .toSorted(byName)
    .map(({ name, type }) => `${key(name)}: ${type}`)
  const optional = (column: Column) => column.isNullable || column.default !== null || column.isGenerated
  const written = (isInsert: boolean) =>
    columns.map((column) =>
      column.isGenerated
        ? `${key(column.name)}?: never`
        : `${key(column.name)}${!isInsert || optional(column) ? '?' : ''}: ${columnText(column, relation.isView, snapshot.enums)}`,
    )
  const relationships = (snapshot.relationships.get(nameOf(relation)) ?? [])
    .filter(
      ({ cardinality, isToOne, constraint, from, to }) =>
        cardinality !== 'computed' && isToOne && constraint !== null && isFromKey(snapshot, constraint, from, to),
    )
    .map(relationshipText)
  const parts = [
    `Row: ${block(row, 10)}`,
    ...(relation.isInsertable || !relation.isView ? [`Insert: ${block(written(true), 10)}`] : []),
    ...(relation.isUpdatable || !relation.isView ? [`Update: ${block(written(false), 10)}`] : []),
    `Relationships: ${relationships.length === 0 ? '[]' : `[\n${relationships.map((text) => `          ${text},`).join('\n')}\n        ]`}`,
  ]
  return `${key(relation.name)}: ${block(parts, 8)}`
}

/** Functions of its rows that are read as columns are. */
const computedOf = (relation: Relation, snapshot: Snapshot): Routine[] =>
  [...snapshot.routines.values()].flatMap((overloads) =>
    overloads.filter(
      ({ computes, returns, returnsSet, schema, name }) =>
        returns === 'scalar' && !returnsSet && schema === relation.schema && isSame(computes, relation) && !relation.columns.has(name),
    ),
  )

const isSame = (a: Qualified | null, b: Qualified): boolean => a !== null && nameOf(a) === nameOf(b)

/** Of one to one both ends are to one: the end that has the key is told. */
function isFromKey(snapshot: Snapshot, constraint: string, from: Relationship['from'], to: Relationship['to']): boolean {
  const found = (snapshot.relationships.get(nameOf(from)) ?? []).find(
    (each) => each.constraint === constraint && each.isToOne && nameOf(each.to) === nameOf(to),
  )
  const columns = found?.columns.map(([column]) => column) ?? []
  const target = snapshot.relations.get(nameOf(to))
  const referenced = found?.columns.map(([, column]) => column) ?? []
  const isKey = (relation: Relation | undefined, names: readonly string[]) =>
    relation !== undefined && names.length > 0 && names.every((name) => relation.primaryKey.includes(name))
  return isKey(target, referenced) || !isKey(snapshot.relations.get(nameOf(from)), columns)
}

const relationshipText = ({ constraint, columns, cardinality, to }: Relationship): string =>
  `{ foreignKeyName: ${JSON.stringify(constraint)}; columns: [${columns.map(([column]) => JSON.stringify(column)).join(', ')}]; isOneToOne: ${cardinality === 'one-to-one'}; referencedRelation: ${JSON.stringify(to.name)}; referencedColumns: [${columns.map(([, column]) => JSON.stringify(column)).join(', ')}] }`

function columnText(column: Column, isOfView: boolean, enums: Snapshot['enums']): string {
  const type = column.enumValues ? union(column.enumValues) : typeText(column, enums)
  return column.isNullable || isOfView ? `${type} | null` : type
}

const union = (values: readonly string[]): string => (values.length === 0 ? 'never' : values.map((value) => JSON.stringify(value)).join(' | '))

const NUMBERS = new Set(['int2', 'int4', 'int8', 'float4', 'float8', 'numeric', 'oid'])
const TEXTS = new Set(
  'text varchar bpchar char name uuid date time timetz timestamp timestamptz interval bytea citext inet cidr macaddr macaddr8 money bit varbit xml tsvector tsquery vector ltree regclass regtype int4range int8range numrange tsrange tstzrange daterange'.split(
    ' ',
  ),
)

const returned = ({ returnBase, returnBaseSchema }: Pick<Routine, 'returnBase' | 'returnBaseSchema'>) => ({
  baseType: returnBase,
  baseSchema: returnBaseSchema,
})

/** By the name that PostgreSQL has for the type; a list begins with `_`, and is where its elements' type is. */
function typeText({ baseType: base, baseSchema }: Pick<Output, 'baseType' | 'baseSchema'>, enums: Snapshot['enums']): string {
  if (base.startsWith('_')) {
    const element = typeText({ baseType: base.slice(1), baseSchema }, enums)
    return element.includes('|') ? `(${element})[]` : `${element}[]`
  }
  const values = enums.find(({ schema, name }) => schema === baseSchema && name === base)?.values
  if (values) return union(values)
  if (NUMBERS.has(base)) return 'number'
  if (base === 'bool') return 'boolean'
  if (base === 'json' || base === 'jsonb') return 'Json'
  if (base === 'void') return 'undefined'
  return TEXTS.has(base) ? 'string' : 'unknown'
}

function routineText(overloads: readonly Routine[], snapshot: Snapshot): string {
  const texts = overloads
    .filter(({ parameters }) => parameters.length <= 1 || parameters.every(({ name }) => name !== ''))
    .map((routine) => oneText(routine, snapshot))
  return `${key(overloads[0]?.name ?? '')}: ${texts.join(' | ') || 'never'}`
}

function oneText(routine: Routine, snapshot: Snapshot): string {
  const { parameters, computes, returns, relation, outputs, returnsSet } = routine
  const named = parameters.map(
    (parameter) =>
      `${key(parameter.name)}${parameter.isRequired ? '' : '?'}: ${computes === null ? typeText(parameter, snapshot.enums) : rowOf(computes, snapshot)}`,
  )
  const args = named.length === 0 ? 'Record<PropertyKey, never>' : `{ ${named.join('; ')} }`
  const of = relation === null ? undefined : snapshot.relations.get(nameOf(relation))
  const columns = of
    ? [...of.columns.values()].map((column) => `${key(column.name)}: ${columnText(column, of.isView, snapshot.enums)}`)
    : outputs.map((output) => `${key(output.name)}: ${typeText(output, snapshot.enums)}`)
  const row = columns.length === 0 ? 'Record<string, unknown>' : `{ ${columns.join('; ')} }`
  const value = returns === 'void' ? 'undefined' : returns === 'row' ? row : typeText(returned(routine), snapshot.enums)
  const isToOne = !returnsSet || isOneRow(routine, snapshot)
  const list = value.includes('|') && returns !== 'row' ? `(${value})[]` : `${value}[]`
  // By these the client knows what its rows embed, and of which rows it is embedded.
  const options = of
    ? `; SetofOptions: { from: ${JSON.stringify(computes?.name ?? '*')}; to: ${JSON.stringify(of.name)}; isOneToOne: ${isToOne}; isSetofReturn: ${returnsSet} }`
    : ''
  return `{ Args: ${args}; Returns: ${isToOne ? value : list}${options} }`
}

function rowOf(relation: Qualified, snapshot: Snapshot): string {
  const kind = snapshot.relations.get(nameOf(relation))?.isView ? 'Views' : 'Tables'
  return snapshot.settings.schemas.includes(relation.schema)
    ? `Database[${JSON.stringify(relation.schema)}]["${kind}"][${JSON.stringify(relation.name)}]["Row"]`
    : 'unknown'
}

const isOneRow = ({ schema, name, computes }: Routine, snapshot: Snapshot): boolean =>
  computes !== null && (snapshot.relationships.get(nameOf(computes)) ?? []).some(({ routine, isToOne }) => isToOne && isSame(routine, { schema, name }))
