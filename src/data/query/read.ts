import type { EmbedPlan, OrderPlan, ReadPlan, SelectPlan } from '../plan/plan.ts'
import { hoistedOf, hoistsAny } from '../plan/hoisted.ts'
import { fieldText, logicText } from './conditions.ts'
import { limitText, list, offsetText, PRESENT, qualifiedName, quoted, type Values } from './text.ts'

/** What the statement before has made stands under this name. */
export const MADE = 'mayfly_made'

/** A level's rows as a query of its own, with its embeds. */
export function readText(read: ReadPlan, values: Values, parent: Parent | null = null): string {
  const row = quoted(read.alias)
  // What is spread into its parent is counted there.
  const isSpread = parent?.embed.mode === 'spread-one'
  const isGrouped = !isSpread && (read.select.some(({ aggregate }) => aggregate !== null) || hoistsAny(read.embeds))
  const columns = [
    ...read.select.map((select) => selectText(select, read, values, isSpread)),
    ...read.embeds.flatMap((embed) => embedColumns(embed, isGrouped)).map(({ text }) => text),
  ]
  const from = fromText(read, values, parent)
  const grouped = isGrouped ? groupText(read) : ''
  return `select ${list(columns)}${from}${grouped}${orderText(read, row, values)}${rangeText(read, values)}`
}

/** Only whether there are rows, for counting: nothing is joined that does not decide it. */
export function countText(read: ReadPlan, values: Values): string {
  return `select 1${fromText(read, values, null, true)}`
}

interface Parent {
  readonly row: string
  readonly embed: EmbedPlan
  /** How SQL names the parent's row as a value of its relation's type. */
  readonly whole: string
}

function fromText(read: ReadPlan, values: Values, parent: Parent | null, onlyDeciding = false): string {
  const row = quoted(read.alias)
  const deciding = (embed: EmbedPlan) => embed.isInner || read.where.some((logic) => isAbout(logic, embed))
  const joins = read.embeds.filter((embed) => !onlyDeciding || deciding(embed)).map((embed) => joinText(embed, read, values))
  const ordered = onlyDeciding ? [] : read.order.flatMap((term, place) => relatedOrder(term, place, read, values))
  const junction = parent?.embed.junction
  const where = [...tiesText(read, parent), ...read.where.map((logic) => logicText(logic, row, values))]
  // What is joined speaks of the level's row, which therefore stands last.
  const between = junction ? `${qualifiedName(junction.of)} as ${quoted(junction.alias)}, ` : ''
  const from = `${between}${sourceText(read, parent)} as ${row}`
  return ` from ${from}${joins.join('')}${ordered.join('')}${where.length > 0 ? ` where ${where.join(' and ')}` : ''}`
}

const isAbout = (logic: ReadPlan['where'][number], embed: EmbedPlan): boolean =>
  logic.kind === 'presence' ? logic.embed === embed : logic.kind === 'filter' ? false : logic.of.some((each) => isAbout(each, embed))

function sourceText({ source }: ReadPlan, parent: Parent | null): string {
  switch (source.kind) {
    case 'relation':
      return qualifiedName(source.relation)
    case 'made':
      return MADE
    case 'routine':
      return `${qualifiedName(source.routine)}(${parent?.whole})`
  }
}

/** What ties a level to its parent's row. */
function tiesText(read: ReadPlan, parent: Parent | null): string[] {
  if (!parent || read.source.kind === 'routine') return []
  const row = quoted(read.alias)
  const { columns, junction } = parent.embed
  if (!junction) return columns.map(([theirs, own]) => `${row}.${quoted(own)} = ${parent.row}.${quoted(theirs)}`)
  const between = quoted(junction.alias)
  return [
    ...junction.of.fromColumns.map(([theirs, column]) => `${between}.${quoted(column)} = ${parent.row}.${quoted(theirs)}`),
    ...junction.of.toColumns.map(([column, own]) => `${row}.${quoted(own)} = ${between}.${quoted(column)}`),
  ]
}

/** @param isSpread  only what is to be counted is given, for the parent to count; of rows that they are there */
function selectText({ field, key, cast, aggregate, aggregateCast, shownBy }: SelectPlan, read: ReadPlan, values: Values, isSpread: boolean): string {
  if (isSpread && field.column === null && key !== null) return `true as ${quoted(key)}`
  let text = fieldText(field, rowFor(field.column, read), values)
  if (key === null) return text
  if (shownBy !== null) text = `${qualifiedName(shownBy)}(${text})`
  if (cast !== null) text = `cast(${text} as ${castText(cast)})`
  if (!isSpread) text = aggregated({ aggregate, aggregateCast }, text)
  return `${text} as ${quoted(key)}`
}

/** The level's row; of rows that a function gave, as a value of their relation's type, for what is computed from it. */
function rowFor(column: string | null, { source, relation, alias }: ReadPlan): string {
  const row = quoted(alias)
  const isComputed = source.kind === 'made' && source.isCalled && relation !== null && column !== null && column !== '*' && !relation.columns.has(column)
  return isComputed ? `((${row}.*)::${qualifiedName(relation)})` : row
}

/**
 * The name of a type, quoted as any other name: so that `numeric` and `my type` work. What PostgreSQL spells with several
 * words or in its own way is spelt so here.
 */
const castText = (cast: string): string => SPELT[cast.toLowerCase()] ?? quoted(cast)
const SPELT: Readonly<Record<string, string>> = {
  int: 'integer',
  integer: 'integer',
  smallint: 'smallint',
  bigint: 'bigint',
  real: 'real',
  float: 'double precision',
  'double precision': 'double precision',
  decimal: 'numeric',
  boolean: 'boolean',
  char: 'character(1)',
  character: 'character(1)',
  'character varying': 'character varying',
  time: 'time',
  timestamp: 'timestamp',
  'timestamp with time zone': 'timestamp with time zone',
  'timestamp without time zone': 'timestamp without time zone',
  'time with time zone': 'time with time zone',
  'time without time zone': 'time without time zone',
  'bit varying': 'bit varying',
}

/** The level's row as a value of its relation's type: with `.*`, for a column may have the row's name. */
const wholeOf = ({ alias, source, relation }: ReadPlan): string =>
  source.kind === 'made' && relation ? `(${quoted(alias)}.*)::${qualifiedName(relation)}` : `${quoted(alias)}.*`

function aggregated({ aggregate, aggregateCast }: Pick<SelectPlan, 'aggregate' | 'aggregateCast'>, text: string): string {
  const made = aggregate === null ? text : `${aggregate}(${text})`
  return aggregateCast === null ? made : `cast(${made} as ${castText(aggregateCast)})`
}

interface EmbedColumn {
  readonly text: string
  readonly isAggregate: boolean
}

/** The columns that a level shows of an embed. */
function embedColumns(embed: EmbedPlan, isGrouped: boolean): EmbedColumn[] {
  const joined = quoted(embed.joinAlias)
  const plain = (text: string): EmbedColumn => ({ text, isAggregate: false })
  switch (embed.mode) {
    case 'object':
    case 'array': {
      if (embed.isEmpty) return []
      const value = embed.mode === 'array' ? `coalesce(${joined}.value, '[]')` : `${joined}.value`
      return [plain(`${isGrouped ? `(${value})::jsonb` : value} as ${quoted(embed.key)}`)]
    }
    case 'spread-one': {
      const hoisted = isGrouped ? hoistedOf(embed.read) : null
      return keysOf(embed.read).map((key) => {
        const value = `${joined}.${quoted(key)}`
        const by = hoisted?.get(key)
        if (by) return { text: `${aggregated(by, value)} as ${quoted(key)}`, isAggregate: true }
        return plain(`${value}${isGrouped && madeKeysOf(embed.read).includes(key) ? '::jsonb' : ''} as ${quoted(key)}`)
      })
    }
    case 'spread-many':
      return keysOf(embed.read).map((key) => plain(`coalesce(${joined}.${quoted(key)}, '[]')${isGrouped ? '::jsonb' : ''} as ${quoted(key)}`))
  }
}

/** The keys of a level's rows; of a spread one all are known by name. */
function keysOf({ select, embeds }: ReadPlan): string[] {
  const own = select.flatMap(({ key }) => (key === null ? [] : [key]))
  const theirs = embeds.flatMap((embed) => (embed.mode === 'object' || embed.mode === 'array' ? (embed.isEmpty ? [] : [embed.key]) : keysOf(embed.read)))
  return [...new Set([...own, ...theirs])]
}

/** Those of them whose values are documents made here, which PostgreSQL groups by only as `jsonb`. */
const madeKeysOf = ({ select, embeds }: ReadPlan): string[] => [
  ...select.flatMap(({ key, shownBy }) => (key === null || shownBy === null ? [] : [key])),
  ...embeds.flatMap((embed) => (embed.mode === 'spread-one' ? madeKeysOf(embed.read) : embed.mode === 'spread-many' ? keysOf(embed.read) : [embed.key])),
]

function joinText(embed: EmbedPlan, parent: ReadPlan, values: Values): string {
  values.join()
  const { read, mode, isInner } = embed
  const row = quoted(parent.alias)
  const whole = wholeOf(parent)
  const inner = readText(read, values, { row, embed, whole })
  const joined = quoted(embed.joinAlias)
  const each = 'each'
  let text: string
  let present = 'true'
  switch (mode) {
    case 'object':
      text = `select row_to_json(${each}.*) as value from (${inner}) as ${each}`
      break
    case 'array':
      text = `select json_agg(${each}.*) as value from (${inner}) as ${each}`
      present = `${joined}.value is not null`
      break
    case 'spread-one':
      text = `select true as ${PRESENT}, ${each}.* from (${inner}) as ${each}`
      break
    case 'spread-many':
      text = `select ${list([`case when count(*) > 0 then true end as ${PRESENT}`, ...keysOf(read).map((key) => `json_agg(${each}.${quoted(key)}) as ${quoted(key)}`)])} from (${inner}) as ${each}`
      present = `${joined}.${PRESENT} is not null`
      break
  }
  return ` ${isInner ? 'inner' : 'left'} join lateral (${text}) as ${joined} on ${isInner ? present : 'true'}`
}

/** By a column of an embed to one: it is looked up as the embed is, with the embed's own conditions. */
function relatedOrder({ embed, field }: OrderPlan, place: number, parent: ReadPlan, values: Values): string[] {
  if (embed === null) return []
  values.join()
  const row = quoted(parent.alias)
  const whole = wholeOf(parent)
  const from = fromText(embed.read, values, { row, embed, whole }, true)
  return [` left join lateral (select ${fieldText(field, quoted(embed.read.alias), values)} as value${from} limit 1) as ${quoted(`order ${place}`)} on true`]
}

function orderText({ order }: ReadPlan, row: string, values: Values): string {
  if (order.length === 0) return ''
  const terms = order.map(({ field, embed, direction, nulls }, place) => {
    const by = embed === null ? fieldText(field, row, values) : `${quoted(`order ${place}`)}.value`
    return `${by}${direction === null ? '' : ` ${direction}`}${nulls === null ? '' : ` nulls ${nulls}`}`
  })
  return ` order by ${list(terms)}`
}

function rangeText({ range }: ReadPlan, values: Values): string {
  const max = range.max === null ? '' : limitText(range.max, values)
  return `${max}${offsetText(range.offset, values)}`
}

/** By their places: an expression with values in it is not recognised as the same one again. A domain by its value, for what it is shown as may be a document. */
function groupText(read: ReadPlan): string {
  const own = read.select.flatMap(({ field, aggregate, shownBy }, place) =>
    aggregate !== null ? [] : [shownBy === null || field.column === null ? place + 1 : `${rowFor(field.column, read)}.${quoted(field.column)}`],
  )
  const embedded = read.embeds
    .flatMap((embed) => embedColumns(embed, true))
    .flatMap(({ isAggregate }, place) => (isAggregate ? [] : [read.select.length + place + 1]))
  const places = [...own, ...embedded]
  return places.length === 0 ? '' : ` group by ${places.join(', ')}`
}
