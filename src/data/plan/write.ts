import { DataError } from '../errors.ts'
import type { DataRequest } from '../request/request.ts'
import type { Column, Relation } from '../schema/snapshot.ts'
import type { EmbedPlan, LogicPlan, ReadPlan, WritePlan } from './plan.ts'
import { planFilter } from './read.ts'

/**
 * What is written, and which columns of it the answer needs.
 * @throws DataError PGRST105, PGRST114, PGRST204
 */
export function planWrite(request: DataRequest, relation: Relation, read: ReadPlan): WritePlan {
  const { action, payload, preferences } = request
  const where = rootConditions(request, relation)
  const returning = preferences.return === 'representation' ? neededOf(read) : preferences.return === 'headers-only' ? relation.primaryKey : []
  const none = {
    columns: [],
    json: '[]',
    isArray: true,
    isNothing: false,
    appliesDefaults: false,
    conflict: null,
    countsNew: false,
    conditions: [],
    where,
    returning,
  }
  if (action === 'delete') return { kind: 'delete', relation, ...none }
  if (payload?.kind !== 'json') throw new DataError('PGRST102', 'Content-Type not acceptable')
  const conditions = action === 'put' ? keyConditions(request, relation) : []
  const columns = payload.keys.map((key) => columnOf(relation, key))
  const body = { columns, json: payload.text, isArray: payload.isArray, appliesDefaults: preferences.missing === 'default' }
  if (action === 'update') return { kind: 'update', relation, ...none, ...body, isNothing: columns.length === 0 || (payload.isArray && payload.isEmpty) }
  if (action === 'put') {
    if (request.ranges.some(({ path }) => path.length === 0)) throw new DataError('PGRST114', 'limit/offset querystring parameters are not allowed for PUT')
    if (!relation.primaryKey.every((name) => payload.keys.includes(name)))
      throw new DataError('PGRST115', 'Payload values do not match URL in primary key column(s)')
    return { kind: 'insert', relation, ...none, where: [], ...body, conflict: { columns: relation.primaryKey, merges: true }, countsNew: true, conditions }
  }
  const target = request.onConflict ?? relation.primaryKey
  const isUpsert = preferences.resolution !== null && target.length > 0
  const merges = preferences.resolution === 'merge-duplicates'
  return {
    kind: 'insert',
    relation,
    ...none,
    where: [],
    ...body,
    isNothing: payload.isArray && payload.isEmpty,
    conflict: isUpsert ? { columns: target, merges } : null,
    countsNew: isUpsert && merges,
  }
}

function columnOf(relation: Relation, key: string): Column {
  const column = relation.columns.get(key)
  if (!column) throw new DataError('PGRST204', `Could not find the '${key}' column of '${relation.name}' in the schema cache`)
  return column
}

const rootConditions = ({ filters, logic }: DataRequest, relation: Relation): LogicPlan[] => [
  ...filters.filter(({ path }) => path.length === 0).map(({ value }) => planFilter(relation, value)),
  ...logic.filter(({ path }) => path.length === 0).map(({ value }) => planTree(relation, value)),
]

function planTree(relation: Relation, tree: DataRequest['logic'][number]['value']): LogicPlan {
  return {
    kind: tree.kind,
    isNegated: tree.isNegated,
    of: tree.of.map((each) => (each.kind === 'filter' ? planFilter(relation, each) : planTree(relation, each))),
  }
}

/** One row is put by its key, and by nothing else. */
function keyConditions({ filters, logic }: DataRequest, relation: Relation): (readonly [Column, string])[] {
  const invalid = () => new DataError('PGRST105', "Filters must include all and only primary key columns with 'eq' operators")
  if (logic.length > 0 || relation.primaryKey.length === 0 || filters.length !== relation.primaryKey.length) throw invalid()
  return relation.primaryKey.map((name) => {
    const filter = filters.find(({ path, value }) => path.length === 0 && value.field.name === name && value.field.path.length === 0)?.value
    const column = relation.columns.get(name)
    if (!filter || !column || filter.isNegated) throw invalid()
    const { operation } = filter
    if (operation.kind !== 'compare' || operation.operator !== '=' || operation.quantifier !== null) throw invalid()
    return [column, operation.value] as const
  })
}

/** The columns of what was written that a level reads: those selected, sorted by, and those that tie embeds. Null for all. */
function neededOf(read: ReadPlan): readonly string[] | null {
  const names = new Set<string>()
  const add = (name: string | null) => {
    if (name !== null) names.add(name)
  }
  for (const { field } of read.select) add(field.column)
  for (const { field, embed } of read.order) if (embed === null) add(field.column)
  const ties = (embed: EmbedPlan) => {
    // A computed relationship takes the whole row.
    if (embed.read.source.kind === 'routine') names.add('*')
    for (const [column] of embed.junction === null ? embed.columns : embed.junction.of.fromColumns) names.add(column)
  }
  for (const embed of read.embeds) ties(embed)
  if (!names.has('*')) return [...names]
  const computed = [...names].filter((name) => name !== '*' && !read.relation?.columns.has(name))
  return computed.length === 0 ? null : ['*', ...computed]
}
