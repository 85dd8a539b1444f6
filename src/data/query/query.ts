import { LIMITS } from '../../core/limits.ts'
import type { Statement } from '../../backends/database/session-pool.ts'
import type { DataPlan, ReadPlan, Shape } from '../plan/plan.ts'
import type { Preferences } from '../request/preferences.ts'
import { countText, MADE, readText } from './read.ts'
import { NO_CASTS, type Relation } from '../schema/snapshot.ts'
import { limitText, list, offsetText, qualifiedName, quoted, Values } from './text.ts'
import { callText, NEW_ROWS, writeText } from './write.ts'

export type Made = Exclude<DataPlan, { kind: 'describe' | 'root' }>

/** What the main statement answers with: one row of these columns. */
export interface AnswerRow {
  /** Bytes of a form that is told as such. */
  readonly body: string | Buffer | null
  /** Of the body, also where it is too large to be told. */
  readonly bytes: number | null
  readonly page: string
  /** How many there are without limit and offset; null when nobody asks. */
  readonly total: string | null
  readonly new_rows: string | null
  readonly location: Readonly<Record<string, string | null>> | null
  /** What SQL has said of status and headers, where the query tells it. */
  readonly status?: string | null
  readonly headers?: string | null
}

export interface Query {
  readonly main: Statement
  /** Asks the planner how many rows there may be. */
  readonly estimate: Statement | null
  /** The main statement's row tells what SQL has said of status and headers; else that is asked behind it. */
  readonly tellsResponse: boolean
}

/** What `guardText` makes PostgreSQL say. */
export const TOO_LARGE = /"mayfly: an answer of (\d+) bytes"/
/** PostgreSQL refuses the statement, and with it the transaction: what has no number in it is cast to one. */
const guardText = `cast(cast('mayfly: an answer of ' || octet_length(body) || ' bytes' as integer) as text)`

/**
 * SQL of a plan: one statement, whose answer PostgreSQL has made ready as text.
 * @param countUpTo  an estimated count is exact up to here
 */
export function queryOf(plan: Made, { count }: Pick<Preferences, 'count'>, countUpTo: number | null): Query {
  const values = new Values()
  const made = madeText(plan, values)
  const rows = rowsText(plan, values)
  const { counted, total } = countedText(plan, count, countUpTo, values)
  const wrote = plan.kind === 'write' && plan.write.countsNew ? `nullif(current_setting('${NEW_ROWS}', true), '')` : 'null'
  // What a write starts may speak when its statement is over; a plan has no row of ours.
  const tellsResponse = plan.kind !== 'write' && plan.shape.media.kind !== 'plan'
  const { media } = plan.shape
  const isBytes = media.kind === 'custom' && media.handler.isBytes
  const text = [
    `with ${made === null ? '' : `${MADE} as (${made}), `}shown as (${rows})${counted}`,
    `, answer as (select ${bodyText(plan.shape)} as body, count(*) as page, ${total} as total, ${wrote} as new_rows, ${locationText(plan.shape)} as location${tellsResponse ? `, ${RESPONSE}` : ''} from shown) `,
    // What is too large does not leave PostgreSQL, and is not written.
    `select case when body is null or octet_length(body) <= ${LIMITS.dataAnswer.value} then body ${plan.kind === 'read' ? '' : `else ${guardText}${isBytes ? '::bytea' : ''} `}end as body, octet_length(body) as bytes, page, total, new_rows, location${tellsResponse ? ', status, headers' : ''} from answer`,
  ].join('')
  return { main: { text: explained(plan.shape, text), values: values.all }, estimate: estimateOf(plan, count), tellsResponse }
}

/** Read when all rows have been made: an aggregate's row comes last. */
export const RESPONSE = `nullif(current_setting('response.status', true), '') as status, nullif(current_setting('response.headers', true), '') as headers`

/** What is written or called, before rows of it are shown. */
export const madeText = (plan: Made, values: Values): string | null =>
  plan.kind === 'write' ? writeText(plan.write, values) : plan.kind === 'call' ? callText(plan.call, values) : null

/** How many rows there are without limit and offset: as a table to add to the others, and as what is asked of it. */
export function countedText(
  plan: Made,
  count: Preferences['count'],
  countUpTo: number | null,
  values: Values,
): { readonly counted: string; readonly total: string } {
  const counts = plan.kind !== 'write' && count !== null && count !== 'planned' && (plan.shape.value === 'rows' || plan.shape.value === 'scalars')
  const counted = counts ? (plan.shape.value === 'scalars' ? `select 1 from ${MADE}` : countText(plan.read, values)) : null
  if (counted === null) return { counted: '', total: 'null' }
  const bounded = count === 'estimated' && countUpTo !== null ? `${counted} limit ${countUpTo + 1}` : counted
  return { counted: `, counted as (select count(*) as total from (${bounded}) as rows)`, total: '(select total from counted)' }
}

export function rowsText(plan: Made, values: Values): string {
  const { kind, read, shape } = plan
  if (kind === 'write' && shape.location !== null && shape.location.length > 0)
    return `select ${list(shape.location.map((name) => keyText(name, plan.write.relation)))} from ${MADE}`
  if (shape.value === 'scalar' || shape.value === 'scalars' || shape.value === 'none') return `select * from ${MADE}${rangeOf(read, values)}`
  // Who wants no rows of what was written gets their number.
  if (kind === 'write' && read.select.length === 0 && read.embeds.length === 0) return `select 1 from ${MADE}`
  return readText(read, values)
}

/** A column that names the new row, in the form in which a filter takes it. */
function keyText(name: string, { columns }: Relation): string {
  const { toJson, fromText } = columns.get(name)?.casts ?? NO_CASTS
  return toJson === null || fromText === null ? quoted(name) : `${qualifiedName(toJson)}(${quoted(name)}) as ${quoted(name)}`
}

const rangeOf = ({ range }: ReadPlan, values: Values) => `${range.max === null ? '' : limitText(range.max, values)}${offsetText(range.offset, values)}`

function bodyText({ media, value, location }: Shape): string {
  if (value === 'none' || location !== null) return 'null'
  const element = value === 'scalar' || value === 'scalars' ? 'shown.value' : 'shown.*'
  const all = `json_agg(${element})`
  const kind = media.kind === 'plan' ? 'json' : media.kind
  const isStripped = (media.kind === 'array' || media.kind === 'object') && media.isStripped
  if (media.kind === 'custom') return customText(media, value)
  if (media.kind === 'geojson') return `json_build_object('type', 'FeatureCollection', 'features', coalesce(json_agg(${featureText(media)}), '[]'))::text`
  const stripped = isStripped ? `json_strip_nulls(${all})` : all
  if (kind === 'csv' && value !== 'scalar' && value !== 'scalars') return `${CSV_NAMES} || coalesce(string_agg(${CSV_ROW}, E'\\n'), '')`
  if (value === 'scalar' || value === 'row' || kind === 'object') return `coalesce((${stripped}) -> 0, 'null')::text`
  return `coalesce(${stripped}, '[]')::text`
}

/** The value of a form of the project's own: as text, or as the bytes that it is. */
export function customText({ handler, takes }: Extract<Shape['media'], { kind: 'custom' }>, value: Shape['value']): string {
  const isScalar = value === 'scalar' || value === 'scalars'
  const given = isScalar ? 'shown.value' : takes === null ? 'shown' : `shown::${qualifiedName(takes)}`
  const made = handler.aggregate === null ? '(select shown.value from shown limit 1)' : `${qualifiedName(handler.aggregate)}(${given})`
  return handler.isBytes ? `${made}::bytea` : `${made}::text`
}

export const featureText = ({ by }: Extract<Shape['media'], { kind: 'geojson' }>): string => `${qualifiedName(by)}(shown)::json`

/** The line of names, where there are rows. */
export const CSV_NAMES = `coalesce((select string_agg(case when key ~ '[",\\r\\n]' then '"' || replace(key, '"', '""') || '"' else key end, ',') from (select json_object_keys(row_to_json(first.*)) as key from (select * from shown limit 1) as first) as keys) || E'\\n', '')`
/** A row's own text has commas and quotes as CSV has them. */
export const CSV_ROW = 'substring((shown.*)::text, 2, length((shown.*)::text) - 2)'

/** Of several new rows none is named. */
const locationText = ({ location }: Shape) => (location === null || location.length === 0 ? 'null' : `case when count(*) = 1 then json_agg(shown.*) -> 0 end`)

function explained({ media }: Shape, text: string): string {
  if (media.kind !== 'plan') return text
  const options = [...media.options.map((option) => option), `format ${media.format}`]
  return `explain (${options.join(', ')}) ${text}`
}

export function estimateOf(plan: Made, count: Preferences['count']): Statement | null {
  if (plan.kind !== 'read' || (count !== 'planned' && count !== 'estimated')) return null
  const values = new Values()
  const text = countText(plan.read, values)
  return { text: `explain (format json) ${text}`, values: values.all }
}
