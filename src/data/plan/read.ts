import { LIMITS } from '../../core/limits.ts'
import { DataError, notImplemented } from '../errors.ts'
import type { At, Field, Filter, Logic, LogicTree, OrderTerm, Range, SelectedEmbed, SelectedField, SelectItem } from '../request/grammar.ts'
import { nameOf, type Qualified, type Relation, type Relationship, type Snapshot } from '../schema/snapshot.ts'
import { hoistsAny } from './hoisted.ts'
import type { EmbedMode, EmbedPlan, FieldPlan, LogicPlan, OrderPlan, ReadPlan, SelectPlan, Source } from './plan.ts'
import { resolveRelationship } from './relationship.ts'

/** What a request says of rows that are read. */
export interface Wanted {
  readonly select: readonly SelectItem[]
  readonly filters: readonly At<Filter>[]
  readonly logic: readonly At<LogicTree>[]
  readonly orders: readonly At<readonly OrderTerm[]>[]
  readonly ranges: readonly At<Range>[]
}

/** A level while it is being planned. */
interface Level extends ReadPlan {
  readonly embeds: Embed[]
  where: LogicPlan[]
  order: OrderPlan[]
  range: Range
}
type Embed = EmbedPlan & { readonly read: Level }

/** Whether a level's columns become its parent's: of one row, or lists of those of many. */
type Spread = 'one' | 'many' | null

const PLAIN_TYPES = new Set(['json', 'jsonb'])

/**
 * @param origin  the relation that rows are of; null for rows of no relation, of which nothing can be embedded
 * @param filtersRoot  whether the conditions of the root hold here: what was written has been chosen already
 * @throws DataError
 */
export function planRead(
  snapshot: Snapshot,
  root: { readonly name: string; readonly origin: Qualified | null; readonly source: Source },
  wanted: Wanted,
  filtersRoot: boolean,
): ReadPlan {
  return new Reader(snapshot).plan(root, wanted, filtersRoot)
}

class Reader {
  readonly #snapshot: Snapshot
  readonly #aliases = new Set<string>()
  #embeds = 0

  constructor(snapshot: Snapshot) {
    this.#snapshot = snapshot
  }

  plan(root: { readonly name: string; readonly origin: Qualified | null; readonly source: Source }, wanted: Wanted, filtersRoot: boolean): ReadPlan {
    const top = this.#level(root.name, root.origin, root.source, wanted.select, null)
    const isToRoot = ({ path }: At<unknown>) => path.length === 0
    for (const { path, value } of wanted.filters) if (filtersRoot || path.length > 0) this.#condition(at(top, path), value)
    for (const each of wanted.logic) if (filtersRoot || !isToRoot(each)) this.#condition(at(top, each.path), each.value)
    for (const { path, value } of wanted.orders) {
      const level = at(top, path)
      level.order = value.map((term) => this.#order(level, term))
    }
    for (const { path, value } of wanted.ranges) at(top, path).range = value
    this.#cap(top, root.source.kind !== 'made' || filtersRoot)
    return top
  }

  #alias(name: string): string {
    // Cut to what PostgreSQL keeps of a name, so that two never become one.
    const short =
      Buffer.byteLength(name) > 48
        ? Buffer.from(name)
            .subarray(0, 48)
            .toString('utf8')
            .replace(/\uFFFD+$/, '')
        : name
    let alias = short
    for (let count = 1; this.#aliases.has(alias); count++) alias = `${short}_${count}`
    this.#aliases.add(alias)
    return alias
  }

  #level(name: string, origin: Qualified | null, source: Source, items: readonly SelectItem[], spread: Spread): Level {
    const relation = origin === null ? null : (this.#snapshot.relations.get(nameOf(origin)) ?? null)
    const level: Level = { alias: this.#alias(name), source, relation, select: [], embeds: [], where: [], order: [], range: { offset: 0, max: null } }
    const fields = items.filter((item) => item.kind === 'field')
    const hasAggregate = fields.some(({ aggregate }) => aggregate !== null)
    if (hasAggregate && !this.#snapshot.settings.hasAggregates) throw new DataError('PGRST123', 'Use of aggregate functions is not allowed')
    // Of one row they are the parent's to make; of a list of rows nobody's.
    if (hasAggregate && spread === 'many') throw notImplemented('Aggregates are not implemented for one-to-many or many-to-many spreads.')
    for (const item of items) if (item.kind === 'embed') level.embeds.push(this.#embed(level, origin, item, spread))
    const select = fields.flatMap((field) => planField(field, relation, spread !== null || hasAggregate || hoistsAny(level.embeds)))
    return Object.assign(level, { select })
  }

  #embed(parent: Level, origin: Qualified | null, item: SelectedEmbed, within: Spread): Embed {
    if (++this.#embeds > LIMITS.embeds.value) throw new DataError('PGRST100', `a request may embed ${LIMITS.embeds.value} relations`)
    if (origin === null) throw noRelation(parent.alias, item.name)
    const relationship = resolveRelationship(this.#snapshot, origin, item)
    const { routine, junction } = relationship
    const mode = modeOf(relationship, item.isSpread)
    const read = this.#level(
      relationship.to.name,
      relationship.to,
      routine === null ? { kind: 'relation', relation: relationship.to } : { kind: 'routine', routine },
      item.items,
      mode === 'spread-many' || (mode === 'spread-one' && within === 'many') ? 'many' : mode === 'spread-one' ? 'one' : null,
    )
    return {
      key: item.alias ?? item.name,
      name: item.name,
      mode,
      isInner: item.join === 'inner',
      isEmpty: item.items.length === 0,
      joinAlias: this.#alias(`${read.alias}_joined`),
      columns: relationship.columns,
      junction: junction === null ? null : { alias: this.#alias(junction.name), of: junction },
      read,
    }
  }

  #condition(level: Level, logic: Logic): void {
    level.where.push(this.#logic(level, logic))
  }

  #logic(level: Level, logic: Logic): LogicPlan {
    if (logic.kind !== 'filter') return { kind: logic.kind, isNegated: logic.isNegated, of: logic.of.map((each) => this.#logic(level, each)) }
    const { field, isNegated, operation } = logic
    const embed = field.path.length === 0 && !level.relation?.columns.has(field.name) ? level.embeds.find(({ key }) => key === field.name) : undefined
    if (embed) {
      if (operation.kind !== 'is' || (operation.value !== 'null' && operation.value !== 'not_null'))
        throw new DataError('PGRST120', `Bad operator on the '${field.name}' embedded resource`, {
          details: 'Only is null or not is null filters are allowed on embedded resources',
        })
      return { kind: 'presence', embed, isNegated: (operation.value === 'null') === isNegated }
    }
    return planFilter(level.relation, logic)
  }

  #order(level: Level, { field, relation, direction, nulls }: OrderTerm): OrderPlan {
    if (relation === null) return { field: fieldOf(field, level.relation), embed: null, direction, nulls }
    const embed = embedOf(level, relation)
    if (!embed) throw notEmbedded(relation)
    if (embed.mode !== 'object' && embed.mode !== 'spread-one')
      throw new DataError('PGRST118', `A related order on '${relation}' is not possible`, {
        details: `'${level.alias}' and '${relation}' do not form a many-to-one or one-to-one relationship`,
      })
    return { field: fieldOf(field, embed.read.relation), embed, direction, nulls }
  }

  /** No list is longer than the project lets it be. */
  #cap(level: Level, isCapped: boolean): void {
    const { maxRows } = this.#snapshot.settings
    if (isCapped && maxRows !== null) level.range = { ...level.range, max: Math.min(level.range.max ?? maxRows, maxRows) }
    for (const { mode, read } of level.embeds) this.#cap(read, mode === 'array' || mode === 'spread-many')
  }
}

/** A condition on the rows of one relation alone. */
export function planFilter(relation: Relation | null, { field, isNegated, operation }: Filter): LogicPlan {
  const planned = fieldOf(field, relation)
  const column = relation?.columns.get(field.name)
  const asDocument = operation.kind === 'search' && (field.path.length > 0 || (column !== undefined && column.baseType !== 'tsvector'))
  const readBy = field.path.length === 0 ? (column?.casts.fromText ?? null) : null
  return { kind: 'filter', field: planned, isNegated, operation, asDocument, readBy }
}

const modeOf = ({ isToOne }: Relationship, isSpread: boolean): EmbedMode => (isSpread ? (isToOne ? 'spread-one' : 'spread-many') : isToOne ? 'object' : 'array')

function planField(item: SelectedField, relation: Relation | null, expands: boolean): SelectPlan[] {
  const { field, alias, cast, aggregate, aggregateCast } = item
  if (field === null) return [{ field: { column: null, path: [], asJson: false }, key: alias ?? 'count', cast, aggregate, aggregateCast, shownBy: null }]
  if (field.name === '*' && field.path.length === 0) {
    const all: SelectPlan = { field: { column: '*', path: [], asJson: false }, key: null, cast: null, aggregate: null, aggregateCast: null, shownBy: null }
    if (relation === null) return [all]
    const columns = [...relation.columns.values()]
    if (!expands && columns.every(({ casts }) => casts.toJson === null)) return [all]
    return columns.map(({ name, casts }) => ({ ...all, field: { column: name, path: [], asJson: false }, key: name, shownBy: casts.toJson }))
  }
  // Who casts or counts it means the value itself.
  const isPlain = field.path.length === 0 && cast === null && aggregate === null
  const shownBy = isPlain ? (relation?.columns.get(field.name)?.casts.toJson ?? null) : null
  return [{ field: fieldOf(field, relation), key: alias ?? aggregate ?? keyOf(field), cast, aggregate, aggregateCast, shownBy }]
}

/** The last key of the way in; of an index, and of no way, the column's name. */
const keyOf = ({ name, path }: Field): string => {
  const last = path.findLast((step) => 'key' in step)
  return last && 'key' in last ? last.key : name
}

export function fieldOf(field: Field, relation: Relation | null): FieldPlan {
  const column = relation?.columns.get(field.name)
  return { column: field.name, path: field.path, asJson: field.path.length > 0 && column !== undefined && !PLAIN_TYPES.has(column.baseType) }
}

/** By its alias, or else by the relation's name. */
const embedOf = (level: Level, name: string): Embed | undefined =>
  level.embeds.find(({ key }) => key === name) ?? level.embeds.find((embed) => embed.name === name)

function at(top: Level, path: readonly string[]): Level {
  let level = top
  for (const name of path) {
    const embed = embedOf(level, name)
    if (!embed) throw notEmbedded(name)
    level = embed.read
  }
  return level
}

const notEmbedded = (name: string) =>
  new DataError('PGRST108', `'${name}' is not an embedded resource in this request`, {
    hint: `Verify that '${name}' is included in the 'select' query parameter.`,
  })

const noRelation = (from: string, to: string) =>
  new DataError('PGRST200', `Could not find a relationship between '${from}' and '${to}' in the schema cache`, {
    details: `'${from}' returns rows of no table`,
  })
