import { LIMITS } from '../../core/limits.ts'
import type { SqlType } from './values.ts'

const OPERATORS = ['eq', 'neq', 'lt', 'lte', 'gt', 'gte', 'in', 'like', 'ilike', 'is', 'isdistinct'] as const
type Operator = (typeof OPERATORS)[number]

/** One condition as it was written: `not.` before the operator turns it round. */
export interface Condition {
  readonly column: string
  readonly operator: Operator
  readonly negated: boolean
  readonly values: readonly string[]
}

/** Why a filter cannot be used; told to its client. */
export class FilterError extends Error {}

const MOST_VALUES = 100

/** Reads `column=operator.value`, several by comma. @throws FilterError */
export function parseFilter(text: string): Condition[] {
  const [most, mostConditions] = [LIMITS.realtimeFilter.value, LIMITS.realtimeConditions.value]
  if (text.length > most) throw new FilterError(`a filter may have ${most} characters`)
  const conditions = split(text)
  if (conditions.length > mostConditions) throw new FilterError(`a filter may have ${mostConditions} conditions`)
  return conditions.map((part) => {
    const match = /^([^=]+)=(not\.)?([a-z]+)\.([\s\S]*)$/.exec(part.trim())
    if (!match) throw new FilterError(`the filter ${JSON.stringify(part)} has not the form column=operator.value`)
    const [, column = '', not, operator = '', value = ''] = match
    if (!OPERATORS.includes(operator as Operator)) throw new FilterError(`the operator ${operator} is not known`)
    return { column: unquote(column.trim()), operator: operator as Operator, negated: not !== undefined, values: valuesOf(operator as Operator, value) }
  })
}

function valuesOf(operator: Operator, value: string): string[] {
  if (operator === 'is') {
    if (!/^(null|true|false|unknown)$/i.test(value)) throw new FilterError('is takes null, true, false or unknown')
    return [value.toLowerCase()]
  }
  if (operator !== 'in') return [unquote(value)]
  if (!/^\([\s\S]*\)$/.test(value)) throw new FilterError('in takes values in parentheses')
  const values = split(value.slice(1, -1)).map((one) => unquote(one.trim()))
  if (values.length > MOST_VALUES) throw new FilterError(`in takes ${MOST_VALUES} values`)
  return values
}

/** By commas that stand outside of quotes and parentheses. */
function split(text: string): string[] {
  const parts: string[] = []
  let [depth, quoted, from] = [0, false, 0]
  for (let at = 0; at < text.length; at++) {
    const letter = text[at]
    if (quoted) {
      if (letter === '\\') at++
      else if (letter === '"') quoted = false
    } else if (letter === '"') quoted = true
    else if (letter === '(') depth++
    else if (letter === ')') depth--
    else if (letter === ',' && depth === 0) {
      parts.push(text.slice(from, at))
      from = at + 1
    }
  }
  if (quoted || depth !== 0) throw new FilterError('the filter has quotes or parentheses without end')
  parts.push(text.slice(from))
  return parts
}

const unquote = (text: string) => (/^".*"$/s.test(text) ? text.slice(1, -1).replace(/\\(.)/gs, '$1') : text)

/** A condition ready to be asked: its values in the form in which PostgreSQL writes the column. */
export interface Bound extends Condition {
  readonly type: SqlType
}

/** @param text  what stands in the row; undefined when that is not known */
export function fulfils(bound: Bound, text: string | null | undefined): boolean {
  if (text === undefined) return false
  const answer = holds(bound, text)
  // As in SQL: of null nothing is known, neither a thing nor its opposite.
  return answer === null ? false : answer !== bound.negated
}

function holds({ operator, values, type }: Bound, text: string | null): boolean | null {
  const [value = ''] = values
  if (operator === 'is') {
    if (value === 'null' || value === 'unknown') return text === null
    return text === (value === 'true' ? 't' : 'f')
  }
  if (operator === 'isdistinct') return text === null || compare(text, value, type) !== 0
  if (text === null) return null
  switch (operator) {
    case 'eq':
      return compare(text, value, type) === 0
    case 'neq':
      return compare(text, value, type) !== 0
    case 'lt':
      return compare(text, value, type) < 0
    case 'lte':
      return compare(text, value, type) <= 0
    case 'gt':
      return compare(text, value, type) > 0
    case 'gte':
      return compare(text, value, type) >= 0
    case 'in':
      return values.some((one) => compare(text, one, type) === 0)
    case 'like':
      return isLike(text, value)
    case 'ilike':
      return isLike(text.toLowerCase(), value.toLowerCase())
  }
}

/** In PostgreSQL's order for numbers and times; for text by code points, as the embedded server has it. */
function compare(a: string, b: string, { base, category }: SqlType): number {
  if (category === 'N') return compareNumbers(a, b)
  if (base === 'timestamp' || base === 'timestamptz' || base === 'date') return compareTimes(a, b)
  const [x, y] = base === 'bpchar' ? [a.trimEnd(), b.trimEnd()] : [a, b]
  return x === y ? 0 : Buffer.compare(Buffer.from(x), Buffer.from(y))
}

const NUMERAL = /^(-?)(\d+)(?:\.(\d+))?$/
/** Exact for digits of any length; what has an exponent or is no number goes by JavaScript's, NaN above all as in PostgreSQL. */
function compareNumbers(a: string, b: string): number {
  const [x, y] = [NUMERAL.exec(a), NUMERAL.exec(b)]
  if (x && y) {
    const digits = Math.max(x[3]?.length ?? 0, y[3]?.length ?? 0)
    const whole = ([, sign, int, fraction = '']: RegExpExecArray) => BigInt(`${sign}${int}${fraction.padEnd(digits, '0')}`)
    const [m, n] = [whole(x), whole(y)]
    return m < n ? -1 : m > n ? 1 : 0
  }
  const [m, n] = [Number(a), Number(b)].map((value) => (Number.isNaN(value) ? Number.POSITIVE_INFINITY : value)) as [number, number]
  if (a === 'NaN' || b === 'NaN') return a === b ? 0 : a === 'NaN' ? 1 : -1
  return m < n ? -1 : m > n ? 1 : 0
}

/** Both written by PostgreSQL in ISO and UTC: they sort as text once their parts have one length. */
function compareTimes(a: string, b: string): number {
  const key = (text: string) => {
    if (text === '-infinity') return [-1, ''] as const
    if (text === 'infinity') return [1, ''] as const
    const [, year = '', rest = '', fraction = ''] = /^(\d+)(-\d\d-\d\d(?: \d\d:\d\d:\d\d)?)(?:\.(\d+))?/.exec(text) ?? []
    return [0, `${year.padStart(7, '0')}${rest}.${fraction.padEnd(6, '0')}`, text.endsWith(' BC')] as const
  }
  const [x, y] = [key(a), key(b)]
  if (x[0] !== y[0]) return x[0] - y[0]
  if (x[2] !== y[2]) return x[2] ? -1 : 1
  return x[1] === y[1] ? 0 : x[1] < y[1] ? -1 : 1
}

/**
 * SQL's LIKE with `%`, `_` and `\`; steps back only to the last `%`. A pattern that would be compared with a text again
 * and again is given up after so many steps a letter, and then does not fit: it is tried in the node's own thread.
 */
export function isLike(text: string, pattern: string): boolean {
  const letters = [...text]
  const parts: (string | typeof ANY | typeof ONE)[] = []
  const given = [...pattern]
  for (let at = 0; at < given.length; at++) {
    const letter = given[at] as string
    if (letter === '\\' && at + 1 < given.length) parts.push(given[++at] as string)
    else parts.push(letter === '%' ? ANY : letter === '_' ? ONE : letter)
  }
  let [at, part, star, mark] = [0, 0, -1, 0]
  let steps = LEAST_STEPS + letters.length * LIMITS.realtimeLikeSteps.value
  while (at < letters.length) {
    if (steps-- === 0) return false
    const want = parts[part]
    if (want === ANY) {
      star = part++
      mark = at
    } else if (want !== undefined && (want === ONE || want === letters[at])) {
      at++
      part++
    } else if (star !== -1) {
      part = star + 1
      at = ++mark
    } else return false
  }
  while (parts[part] === ANY) part++
  return part === parts.length
}
const LEAST_STEPS = 10_000
const ANY = Symbol('%')
const ONE = Symbol('_')
