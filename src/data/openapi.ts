import type { Column, Parameter, Relation, Routine, Snapshot } from './schema/snapshot.ts'
import { nameOf } from './schema/snapshot.ts'

/** What of a schema the one who asks may use, as PostgreSQL says it in his role. */
export interface Visible {
  readonly relations: readonly string[]
  readonly routines: readonly string[]
  readonly description: string | null
}
type Json = Readonly<Record<string, unknown>>

const TYPES: Readonly<Record<string, string>> = {
  bool: 'boolean',
  int2: 'integer',
  int4: 'integer',
  int8: 'integer',
  numeric: 'number',
  float4: 'number',
  float8: 'number',
}
const FORMATS: Readonly<Record<string, string>> = { int2: 'int32', int4: 'int32', int8: 'int64' }
const MEDIA = ['application/json', 'application/vnd.pgrst.object+json;nulls=stripped', 'application/vnd.pgrst.object+json', 'text/csv']

/**
 * The API of a schema as a document of OpenAPI 2.0, which tools and generators of types read.
 * @param base  where it is served, such as `http://127.0.0.1:54321/rest/v1`
 */
export function openapiOf(snapshot: Snapshot, schema: string, visible: Visible, base: URL): Json {
  const named = new Set(visible.relations)
  const relations = [...snapshot.relations.values()].filter((relation) => relation.schema === schema && named.has(relation.name)).toSorted(byName)
  const callable = new Set(visible.routines)
  const routines = [...snapshot.routines.values()]
    .flatMap(([routine]) => (routine && routine.schema === schema && callable.has(routine.name) ? [routine] : []))
    .toSorted(byName)
  const [title, ...more] = (visible.description ?? '').split('\n')
  return {
    swagger: '2.0',
    info: { title: title || 'Data API', description: more.join('\n').trim() || 'The tables, views and functions of a project', version: '14' },
    host: base.host,
    basePath: base.pathname,
    schemes: [base.protocol.slice(0, -1)],
    consumes: MEDIA,
    produces: MEDIA,
    paths: Object.fromEntries([
      [
        '/',
        {
          get: {
            tags: ['Introspection'],
            summary: 'OpenAPI description (this document)',
            produces: ['application/openapi+json', 'application/json'],
            responses: OK,
          },
        },
      ],
      ...relations.map((relation) => [`/${relation.name}`, relationPaths(relation)]),
      ...routines.map((routine) => [`/rpc/${routine.name}`, routinePaths(routine)]),
    ]),
    definitions: Object.fromEntries(relations.map((relation) => [relation.name, definitionOf(relation, snapshot)])),
    parameters: { ...COMMON, ...Object.fromEntries(relations.flatMap(ownParameters)) },
  }
}

const byName = (a: { readonly name: string }, b: { readonly name: string }) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
const OK = { 200: { description: 'OK' } }
const inQuery = (name: string, description: string) => ({ name, description, required: false, in: 'query', type: 'string' })
const inHeader = (name: string, description: string, more: Json = {}) => ({ name, description, required: false, in: 'header', type: 'string', ...more })
const RETURNS = ['return=representation', 'return=minimal', 'return=none']
const COMMON: Json = {
  preferParams: inHeader('Prefer', 'Preference'),
  preferReturn: inHeader('Prefer', 'Preference', { enum: RETURNS }),
  preferCount: inHeader('Prefer', 'Preference', { enum: ['count=none'] }),
  preferPost: inHeader('Prefer', 'Preference', { enum: [...RETURNS, 'resolution=ignore-duplicates', 'resolution=merge-duplicates'] }),
  select: inQuery('select', 'Filtering Columns'),
  on_conflict: inQuery('on_conflict', 'On Conflict'),
  order: inQuery('order', 'Ordering'),
  range: inHeader('Range', 'Limiting and Pagination'),
  rangeUnit: inHeader('Range-Unit', 'Limiting and Pagination', { default: 'items' }),
  offset: inQuery('offset', 'Limiting and Pagination'),
  limit: inQuery('limit', 'Limiting and Pagination'),
}

const ownParameters = ({ name, columns }: Relation): (readonly [string, Json])[] => [
  [`body.${name}`, { name, description: name, required: false, in: 'body', schema: { $ref: `#/definitions/${name}` } }],
  ...[...columns.values()].map(
    (column) =>
      [
        `rowFilter.${name}.${column.name}`,
        { name: column.name, required: false, in: 'query', type: 'string', ...(column.description === null ? {} : { description: column.description }) },
      ] as const,
  ),
]

const refs = (names: readonly string[]) => names.map((name) => ({ $ref: `#/parameters/${name}` }))

function relationPaths({ name, columns, description, isInsertable, isUpdatable, isDeletable }: Relation): Json {
  const about = { tags: [name], ...summaryOf(description) }
  const filters = [...columns.keys()].map((column) => `rowFilter.${name}.${column}`)
  return {
    get: {
      ...about,
      parameters: refs([...filters, 'select', 'order', 'range', 'rangeUnit', 'offset', 'limit', 'preferCount']),
      responses: {
        200: { description: 'OK', schema: { type: 'array', items: { $ref: `#/definitions/${name}` } } },
        206: { description: 'Partial Content' },
      },
    },
    ...(isInsertable ? { post: { ...about, parameters: refs([`body.${name}`, 'select', 'preferPost']), responses: { 201: { description: 'Created' } } } } : {}),
    ...(isUpdatable
      ? { patch: { ...about, parameters: refs([...filters, `body.${name}`, 'preferReturn']), responses: { 204: { description: 'No Content' } } } }
      : {}),
    ...(isDeletable ? { delete: { ...about, parameters: refs([...filters, 'preferReturn']), responses: { 204: { description: 'No Content' } } } } : {}),
  }
}

const summaryOf = (description: string | null): Json => {
  if (description === null) return {}
  const [summary, ...rest] = description.split('\n')
  const more = rest.join('\n').replace(/^\n+/, '')
  return { summary, ...(more === '' ? {} : { description: more }) }
}

function definitionOf(relation: Relation, snapshot: Snapshot): Json {
  const columns = [...relation.columns.values()]
  const required = columns.filter(({ isNullable }) => !isNullable).map(({ name }) => name)
  return {
    type: 'object',
    ...(relation.description === null ? {} : { description: relation.description }),
    ...(required.length > 0 ? { required } : {}),
    properties: Object.fromEntries(columns.map((column) => [column.name, propertyOf(column, relation, snapshot)])),
  }
}

function propertyOf(column: Column, relation: Relation, snapshot: Snapshot): Json {
  const notes: string[] = []
  if (relation.primaryKey.includes(column.name)) notes.push('This is a Primary Key.<pk/>')
  const key = (snapshot.relationships.get(nameOf(relation)) ?? [])
    .filter(({ isToOne, constraint, columns }) => isToOne && constraint !== null && columns.length === 1 && columns[0]?.[0] === column.name)
    .toSorted((a, b) => Number(a.toIsView) - Number(b.toIsView))[0]
  // Of one to one the end without the key refers to nothing.
  if (key && !(key.cardinality === 'one-to-one' && relation.primaryKey.includes(column.name))) {
    const at = key.columns[0]?.[1] ?? ''
    notes.push(`This is a Foreign Key to \`${key.to.name}.${at}\`.<fk table='${key.to.name}' column='${at}'/>`)
  }
  const noted = notes.length === 0 ? null : `Note:\n${notes.join('\n')}`
  const description = [column.description, noted].filter((part) => part !== null).join('\n\n')
  return {
    ...typeOf(column.baseType, column.type),
    ...(column.default === null ? {} : { default: column.default }),
    ...(column.enumValues === null ? {} : { enum: column.enumValues }),
    ...(description === '' ? {} : { description }),
  }
}

function typeOf(base: string, type: string): Json {
  const format = FORMATS[base] ?? type
  if (base === 'json' || base === 'jsonb') return { format }
  if (base.startsWith('_')) return { format, type: 'array', items: { type: TYPES[base.slice(1)] ?? 'string' } }
  return { format, type: TYPES[base] ?? 'string' }
}

function routinePaths({ name, parameters, description, volatility }: Routine): Json {
  const about = { tags: [`(rpc) ${name}`], ...summaryOf(description), produces: MEDIA.slice(0, 3), responses: OK }
  const required = parameters.filter(({ isRequired }) => isRequired).map((parameter) => parameter.name)
  const schema = {
    type: 'object',
    ...(required.length > 0 ? { required } : {}),
    properties: Object.fromEntries(parameters.map((parameter) => [parameter.name, typeOf(parameter.baseType, parameter.type)])),
  }
  const post = { ...about, parameters: [{ name: 'args', required: true, in: 'body', schema }, ...refs(['preferParams'])] }
  return volatility === 'volatile' ? { post } : { get: { ...about, parameters: parameters.map(getParameter) }, post }
}

function getParameter({ name, baseType, type, isRequired, isVariadic }: Parameter): Json {
  const said = typeOf(baseType, type)
  const as = isVariadic
    ? { ...said, collectionFormat: 'multi' }
    : said.type === 'array' || said.type === undefined
      ? { format: said.format, type: 'string' }
      : said
  return { name, required: isRequired, in: 'query', ...as }
}
