import type { FieldPlan, LogicPlan } from '../plan/plan.ts'
import type { Qualified } from '../schema/snapshot.ts'
import { PRESENT, qualifiedName, quoted, type Values } from './text.ts'

/** A column of a level, and the way into it. @param row  how SQL names the level's row */
export function fieldText(field: FieldPlan, row: string, values: Values): string {
  if (field.column === null) return '*'
  const column = field.column === '*' ? `${row}.*` : `${row}.${quoted(field.column)}`
  if (field.path.length === 0) return column
  const steps = field.path.map((step) => {
    const arrow = step.asText ? '->>' : '->'
    return 'key' in step ? `${arrow}${values.add(step.key)}::text` : `${arrow}${values.add(step.index)}::int`
  })
  return `(${field.asJson ? `to_jsonb(${column})` : column}${steps.join('')})`
}

/** @param rowOf  how SQL names the row of the level; @param joined  how it names what an embed is joined as */
export function logicText(logic: LogicPlan, row: string, values: Values): string {
  switch (logic.kind) {
    case 'and':
    case 'or': {
      const all = logic.of.map((each) => logicText(each, row, values)).join(` ${logic.kind} `)
      return `${logic.isNegated ? 'not ' : ''}(${all})`
    }
    case 'presence': {
      const { joinAlias, mode } = logic.embed
      const alias = quoted(joinAlias)
      const value = mode === 'spread-one' || mode === 'spread-many' ? `${alias}.${PRESENT}` : `${alias}.value`
      return `${value} is ${logic.isNegated ? 'not ' : ''}null`
    }
    case 'filter': {
      // Before its field: a parameter that the statement does not use has no type.
      if (logic.operation.kind === 'in' && logic.operation.values.length === 0) return logic.isNegated ? 'true' : 'false'
      const field = fieldText(logic.field, row, values)
      return `${logic.isNegated ? 'not ' : ''}${operationText(logic, field, values)}`
    }
  }
}

const IS = { null: 'is null', not_null: 'is not null', true: 'is true', false: 'is false', unknown: 'is unknown' } as const

/** Their right side is a pattern and no value of the column's type. */
const PATTERNS: ReadonlySet<string> = new Set(['like', 'ilike', '~', '~*'])

function operationText({ operation, asDocument, readBy }: Extract<LogicPlan, { kind: 'filter' }>, field: string, values: Values): string {
  switch (operation.kind) {
    case 'compare': {
      const by = PATTERNS.has(operation.operator) ? null : readBy
      return operation.quantifier === null
        ? `${field} ${operation.operator} ${valueText(operation.value, by, values)}`
        : `${field} ${operation.operator} ${operation.quantifier} (${valuesText(operation.value, by, values)})`
    }
    case 'in':
      // In one value, so that the statement is the same for lists of any length.
      return `${field} = any (${valuesText(arrayLiteral(operation.values), readBy, values)})`
    case 'is':
      return `${field} ${IS[operation.value]}`
    case 'distinct':
      return `${field} is distinct from ${valueText(operation.value, readBy, values)}`
    case 'search': {
      // A value that stands nowhere has no type, and PostgreSQL takes none of those.
      const language = () => (operation.language === null ? '' : `${values.add(operation.language)}::regconfig, `)
      const document = asDocument ? `to_tsvector(${language()}${field})` : field
      return `${document} @@ ${operation.call}(${language()}${values.add(operation.value)})`
    }
  }
}

/** A value of a filter; of a domain that says how, as its function reads it. */
export const valueText = (value: string, readBy: Qualified | null, values: Values): string =>
  readBy === null ? values.add(value) : `${qualifiedName(readBy)}(${values.add(value)}::text)`
const valuesText = (list: string, readBy: Qualified | null, values: Values): string =>
  readBy === null ? values.add(list) : `array(select ${qualifiedName(readBy)}(each) from unnest(${values.add(list)}::text[]) as each)`

/** `{"a","b"}`, as PostgreSQL reads a list of any type. */
export const arrayLiteral = (elements: readonly string[]): string => `{${elements.map((each) => `"${each.replace(/[\\"]/g, '\\$&')}"`).join(',')}}`
