import type { CallPlan, WritePlan } from '../plan/plan.ts'
import type { Column, Parameter } from '../schema/snapshot.ts'
import { logicText, valueText } from './conditions.ts'
import { list, qualifiedName, quoted, type Values } from './text.ts'

/** How many rows of an upsert were new, for its status. */
export const NEW_ROWS = 'mayfly.new_rows'
const counted = (by: string) =>
  `set_config('${NEW_ROWS}', (coalesce(nullif(current_setting('${NEW_ROWS}', true), ''), '0')::bigint ${by})::text, true) is not null`

/** The statement that writes, for `with … as`. */
export function writeText(write: WritePlan, values: Values): string {
  const table = qualifiedName(write.relation)
  const row = quoted(write.relation.name)
  const returning = ` returning ${returningText(write, row)}`
  const whereText = () => (write.where.length > 0 ? ` where ${write.where.map((logic) => logicText(logic, row, values)).join(' and ')}` : '')
  switch (write.kind) {
    case 'delete':
      return `delete from ${table} as ${row}${whereText()}${returning}`
    case 'update': {
      if (write.isNothing) return `select ${returningText(write, row)} from ${table} as ${row} where false`
      const set = list(write.columns.map(({ name }) => `${quoted(name)} = body.${quoted(name)}`))
      // Of several the first counts.
      return `update ${table} as ${row} set ${set} from (select * from ${bodyText(write, values)} limit 1) as body${whereText()}${returning}`
    }
    case 'insert':
      return insertText(write, table, row, values, returning)
  }
}

function insertText(write: WritePlan, table: string, row: string, values: Values, returning: string): string {
  const names = write.columns.map(({ name }) => quoted(name))
  const conditions = write.conditions.map(([{ name, type, casts }, value]) => `body.${quoted(name)} = ${valueText(value, casts.fromText, values)}::${type}`)
  if (write.countsNew) conditions.push(counted('+ 1'))
  const body = names.length === 0 ? emptyRows(write, values) : `select ${list(names.map((name) => `body.${name}`))} from ${bodyText(write, values)} as body`
  return [
    `insert into ${table} as ${row}`,
    names.length === 0 ? ' ' : ` (${list(names)}) `,
    body,
    conditions.length > 0 ? ` where ${conditions.join(' and ')}` : '',
    conflictText(write),
    returning,
  ].join('')
}

/** Rows of defaults alone: as many as were sent. */
const emptyRows = ({ json, isArray }: WritePlan, values: Values) => `select from json_array_elements(${values.add(isArray ? json : `[${json}]`)}::json) as body`

function conflictText({ conflict, columns, countsNew }: WritePlan): string {
  if (conflict === null) return ''
  const target = ` on conflict (${list(conflict.columns.map(quoted))})`
  if (!conflict.merges || columns.length === 0) return `${target} do nothing`
  const set = list(columns.map(({ name }) => `${quoted(name)} = excluded.${quoted(name)}`))
  return `${target} do update set ${set}${countsNew ? ` where ${counted('- 1')}` : ''}`
}

/** The rows of the body, with the types of the columns: `json_to_recordset` gives each value the form that its type takes. */
function bodyText({ columns, json, isArray, appliesDefaults }: WritePlan, values: Values): string {
  const body = values.add(isArray ? json : `[${json}]`)
  const rows = recordText(columns)
  const applied = appliesDefaults ? columns.filter((column) => column.default !== null) : []
  const isRead = columns.some(({ casts }) => casts.fromJson !== null)
  const made = isRead ? list(columns.map((column) => broughtText(column, applied.includes(column), values))) : 'body.*'
  if (applied.length === 0) return `(select ${made} from json_to_recordset(${body}::json) as body (${rows}))`
  // What is not named is taken from an object of the defaults, made for each row anew.
  const defaults = list(applied.filter(({ casts }) => casts.fromJson === null).map((column) => `${values.add(column.name)}::text, ${column.default}`))
  return `(select ${made} from jsonb_array_elements(${body}::jsonb) as sent (value), lateral jsonb_to_record(jsonb_build_object(${defaults}) || sent.value) as body (${rows}))`
}

const recordText = (columns: readonly (Column | Parameter)[]): string =>
  list(columns.map((column) => `${quoted(column.name)} ${'casts' in column && column.casts.fromJson !== null ? 'json' : column.type}`))

/** What the body brings of a column. A default is a value as it is, which a domain's own function would not read. */
function broughtText({ name, default: otherwise, casts: { fromJson } }: Column, isDefaulted: boolean, values: Values): string {
  const column = quoted(name)
  if (fromJson === null) return `body.${column}`
  const read = `${qualifiedName(fromJson)}(body.${column})`
  return `${isDefaulted ? `case when sent.value ? ${values.add(name)}::text then ${read} else ${otherwise} end` : read} as ${column}`
}

function returningText({ returning }: WritePlan, row: string): string {
  if (returning === null) return `${row}.*`
  if (returning.length === 0) return '1'
  return list(returning.map((name) => (name === '*' ? `${row}.*` : `${row}.${quoted(name)}`)))
}

/** The statement that calls a function. Of what is no row the value is named `value`. */
export function callText({ routine, arguments: given }: CallPlan, values: Values): string {
  const name = qualifiedName(routine)
  const isRow = routine.returns === 'row'
  const alone = (inside: string) => `select ${isRow ? `* from ${name}(${inside}) as called` : `${name}(${inside}) as value`}`
  switch (given.kind) {
    case 'whole':
      return alone(`${values.add(given.value)}::${given.parameter.type}`)
    case 'direct':
      return alone(list(given.of.map(({ parameter, value }) => named(parameter, `${values.add(value)}::${parameter.type}`))))
    case 'json': {
      if (given.parameters.length === 0) return alone('')
      const call = `${name}(${list(given.parameters.map((parameter) => named(parameter, `body.${quoted(parameter.name)}`)))})`
      const body = `json_to_record(${values.add(given.json)}::json) as body (${recordText(given.parameters)})`
      return isRow ? `select called.* from ${body}, lateral ${call} as called` : `select ${call} as value from ${body}`
    }
  }
}

const named = ({ name, isVariadic }: Parameter, value: string) => `${isVariadic ? 'variadic ' : ''}${quoted(name)} => ${value}`
